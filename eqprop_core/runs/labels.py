"""What a person calls a run: its name, its tags and a note, which may be changed at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eqprop_core.problems import ConfigError, Problem
from eqprop_core.rules import NAME_RULE, may_name
from eqprop_core.runs.folder import META, RunError, RunFolder

LONGEST_NAME = 120


def relabel(run: RunFolder, **labels: Any) -> None:
    """Change `name`, `tags`, `note` or another entry of `meta.json`. Raises `RunError`.

    A `meta.json` that cannot be read is left as it is: what it held would be lost.
    """
    if not run.meta() and (run.path / META).exists():
        raise RunError(f"{run.path / META}: cannot be read; repair it, or move it away to begin a new one")
    try:
        run.relabel(**labels)
    except OSError as error:
        raise RunError(f"{run.path}: cannot write there: {error.strerror or error}") from None


def changed_tags(tags: Sequence[str], add: Sequence[str], remove: Sequence[str]) -> list[str]:
    """Tags without those to `remove` and with those to `add`, each once, in the order they came.

    Raises `ConfigError` for one to remove that is not there.
    """
    missing = [tag for tag in remove if tag not in tags]
    if missing:
        there = f"its tags are {', '.join(tags)}" if tags else "the run has no tags"
        raise ConfigError([Problem("untag", tag, f"is not a tag of the run; {there}") for tag in missing])
    return list(dict.fromkeys([*(tag for tag in tags if tag not in remove), *add]))


def tags_of(run: RunFolder) -> list[str]:
    """The tags of a run; what is no text is left out."""
    tags = run.meta().get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def check_name(name: str) -> None:
    """Raise `ConfigError` for a name that a list could not show, or a command not find."""
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        message = f"must be text on one line, 1 to {LONGEST_NAME} printable characters"
        raise ConfigError([Problem("name", name, message)])
    if not may_name(name):
        raise ConfigError([Problem("name", name, NAME_RULE)])
