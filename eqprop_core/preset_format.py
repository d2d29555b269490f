"""What a preset file may hold: its keys, what is accepted for each, and the line where a key stands.

Judges parsed TOML and knows nothing of files and folders. What is wrong comes out as `Problem`s whose
settings are dotted keys of the file, as in `config.lrs`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eqprop_core.config import RunConfig
from eqprop_core.names import can_be_shown
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.spelling import did_you_mean

KEYS = ("title", "description", "tags", "expected", "config")
EXPECTED_KEYS = ("test_error", "source")
OFTEN_PARSED = 20_000  # characters of a text that is parsed again and again to find a line
TITLE_LIMIT, DESCRIPTION_LIMIT, TAGS_LIMIT = 200, 4000, 20


def document_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with a parsed file, by dotted key."""
    yield from _unknown_keys(document, KEYS, "")
    yield from _line_problems("title", document.get("title", "a title"), TITLE_LIMIT)
    description = document.get("description", "")
    if not isinstance(description, str) or not _is_shown(flowing(description), DESCRIPTION_LIMIT):
        yield Problem(
            "description", description, f"must be text, at most {DESCRIPTION_LIMIT} printable characters"
        )
    tags = document.get("tags", [])
    if not isinstance(tags, list) or len(tags) > TAGS_LIMIT:
        yield Problem("tags", tags, f'must be a list of at most {TAGS_LIMIT} tags, such as ["MNIST", "cel"]')
    else:
        for tag in tags:
            yield from _line_problems("tags", tag, TITLE_LIMIT)
    yield from _expected_problems(document.get("expected"))
    yield from _config_problems(document.get("config"))


def _expected_problems(expected: Any) -> Iterator[Problem]:
    if expected is None:
        return
    if not isinstance(expected, dict):
        yield Problem("expected", expected, f"must be a table [expected] with {' and '.join(EXPECTED_KEYS)}")
        return
    yield from _unknown_keys(expected, EXPECTED_KEYS, "expected.")
    error = expected.get("test_error")
    if isinstance(error, bool) or not isinstance(error, (int, float)) or not 0 <= error <= 100:
        yield Problem("expected.test_error", error, "must be a number of per cent, 0 to 100")
    yield from _line_problems("expected.source", expected.get("source"), DESCRIPTION_LIMIT)


def _config_problems(config: Any) -> Iterator[Problem]:
    if config is None:
        yield Problem("config", None, "is missing: the settings of the run, in a table [config]")
        return
    if not isinstance(config, dict):
        yield Problem("config", config, "must be a table [config] of settings")
        return
    yield from _unknown_keys(config, tuple(RunConfig.model_fields), "config.")
    try:
        RunConfig(**{key: value for key, value in config.items() if key in RunConfig.model_fields})
    except ConfigError as error:
        for problem in error.problems:
            yield Problem(f"config.{problem.setting}", problem.value, problem.message)


def _unknown_keys(table: Mapping[str, Any], known: Sequence[str], prefix: str) -> Iterator[Problem]:
    for key in table:
        if key in known:
            continue
        if not prefix and key in RunConfig.model_fields:
            accepted = "settings of the run stand below [config]"
        else:
            near = did_you_mean(key.replace("-", "_"), known, cutoff=0.5)
            accepted = near or f"accepted are {', '.join(known)}"
        what = "setting" if prefix == "config." else "key of a preset"
        yield Problem(prefix + key, None, f"is not a {what}; {accepted}")


def _line_problems(key: str, value: Any, limit: int) -> Iterator[Problem]:
    if not isinstance(value, str) or not value.strip() or not _is_shown(value, limit):
        yield Problem(key, value, f"must be text on one line, 1 to {limit} printable characters")


def _is_shown(text: str, limit: int) -> bool:
    """Whether a terminal can show it: control characters in a file from elsewhere could take it over."""
    return can_be_shown(text) and len(text) <= limit


def flowing(text: str) -> str:
    """A paragraph without its line breaks, for whoever shows it to wrap."""
    return " ".join(text.split())


def line_of(text: str, dotted: str) -> int | None:
    """Number of the line that gives a key (renaming it there makes the key go); `None` if none does.

    In a text too long to be parsed so often, the only line that could be it.
    """
    table, _, key = dotted.rpartition(".")
    lines = text.split("\n")
    assignment = re.compile(rf"""(\s*["']?)({re.escape(key)})(["']?\s*=)""")
    candidates = [(n, found) for n, line in enumerate(lines) if (found := assignment.match(line))]
    if len(text) > OFTEN_PARSED:
        return candidates[0][0] + 1 if len(candidates) == 1 else None
    for n, found in candidates[:20]:
        renamed = f"{found[1]}{key}_{found[3]}{lines[n][found.end() :]}"
        try:
            document = tomllib.loads("\n".join([*lines[:n], renamed, *lines[n + 1 :]]))
        except (ValueError, RecursionError):
            continue
        part = document.get(table, {}) if table else document
        if isinstance(part, dict) and key not in part:
            return n + 1
    return None
