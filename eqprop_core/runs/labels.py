"""What a person calls a run: its name, its tags and a note, which may be changed at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eqprop_core.names import same, wrong_with
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.rules import NAME_RULE, may_name

LONGEST_NAME, LONGEST_TEXT = 120, 200  # characters


def labels_of(tags: Sequence[str] | None, note: str | None) -> dict[str, Any]:
    """Tags and note as a run keeps them. Raises `ConfigError` for what a list could not show."""
    problems = [
        Problem(name, value, wrong)
        for name, values in (("tag", tags or []), ("note", [note] if note is not None else []))
        for value in values
        if (wrong := wrong_with(value, LONGEST_TEXT))
    ]
    if problems:
        raise ConfigError(problems)
    return {**({"tags": list(tags)} if tags else {}), **({"note": note} if note else {})}


def changed_tags(tags: Sequence[str], add: Sequence[str], remove: Sequence[str]) -> list[str]:
    """Tags without those to `remove` and with those to `add`, each once, in the order they came.

    Raises `ConfigError` for one to remove that is not there.
    """
    there_are, unwanted = set(map(same, tags)), set(map(same, remove))
    missing = [tag for tag in remove if same(tag) not in there_are]
    if missing:
        there = f"its tags are {', '.join(tags)}" if tags else "the run has no tags"
        raise ConfigError([Problem("untag", tag, f"is not a tag of the run; {there}") for tag in missing])
    kept = [*(tag for tag in tags if same(tag) not in unwanted), *add]
    return list({same(tag): tag for tag in reversed(kept)}.values())[::-1]


def check_name(name: str) -> None:
    """Raise `ConfigError` for a name that a list could not show, or a command not find."""
    if wrong := wrong_with(name, LONGEST_NAME):
        raise ConfigError([Problem("name", name, wrong)])
    if not may_name(name):
        raise ConfigError([Problem("name", name, NAME_RULE)])
