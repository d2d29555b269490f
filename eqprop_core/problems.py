"""What is wrong with a configuration, in words that name the flag, the value and what would be accepted."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eqprop_core.names import can_be_shown
from eqprop_core.spelling import alike, spelled

if TYPE_CHECKING:
    from pydantic import ValidationError


MOST_SAID = 50  # problems in the text of an error


def flag(setting: str) -> str:
    """The command line flag of a setting: `check_thm` -> `--check-thm`."""
    return "--" + setting.replace("_", "-")


def shown(value: Any) -> str:
    """A value as one would type it on the command line, cut to a readable length."""
    return _line(_typed(value), 60) or "(empty)"


def _typed(value: Any, depth: int = 3) -> str:
    """A value in words, of bounded length whatever it is."""
    if isinstance(value, (list, tuple)):
        return " ".join(_typed(item, depth - 1) for item in value[:60]) if depth else "…"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"(a number of {int(value.bit_length() * 0.30103) + 1} digits)"
    if isinstance(value, (str, int, float)):
        return str(value)[:400]
    return "(a table)" if isinstance(value, Mapping) else f"({type(value).__name__})"


def printable(text: str) -> str:
    """The text with every character escaped that could do something to a terminal; lines become one."""
    if can_be_shown(text):
        return text
    return "".join(c if can_be_shown(c) else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """The text likewise, with its lines as they are."""
    return text if can_be_shown(text) else "\n".join(map(printable, text.split("\n")))


def tell(text: str) -> None:
    """Say something on standard error, printable."""
    print(printable_lines(text), file=sys.stderr, flush=True)  # noqa: T201


def _line(text: str, limit: int) -> str:
    """The text on one printable line of at most `limit` characters."""
    if not can_be_shown(text):
        text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= limit else text[: limit - 1] + "…"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the setting, its value (`None` when it was not given) and what is accepted.

    As text it is one printable line of fewer than 500 characters, whatever was given.
    """

    setting: str
    value: Any
    message: str

    def __str__(self) -> str:
        if self.setting == "config" and isinstance(self.value, str):  # a file, not a flag
            return f"{_line(self.value, 300)}: {_line(self.message, 360)}"
        value = "" if self.value is None else f" {shown(self.value)}"
        return f"{_line(flag(self.setting), 60)}{value}: {_line(self.message, 360)}"


class NotThereError(Exception):
    """Something was named that is not there, or several are: a folder, an id, a name."""


class ConfigError(ValueError):
    """A configuration that cannot be used; `problems` lists everything that was found wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        said = [str(problem) for problem in self.problems[:MOST_SAID]]
        if len(self.problems) > MOST_SAID:
            said.append(f"… and {len(self.problems) - MOST_SAID:,} more")
        super().__init__("\n".join(said))


def _plain(bound: Any) -> Any:
    """A bound without the `.0` that a whole number need not have."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _expected(error: dict[str, Any]) -> str:
    """Say what would have been accepted, from one of pydantic's error records."""
    context = {name: _plain(bound) for name, bound in error.get("ctx", {}).items()}
    kind = error["type"]
    if kind == "literal_error":
        return f"is not one of {str(context['expected']).replace(' or ', ', ').replace(chr(39), '')}"
    bounds = {
        "greater_than": "must be greater than {gt}",
        "greater_than_equal": "must be {ge} or more",
        "less_than": "must be less than {lt}",
        "less_than_equal": "must be {le} or less",
        "too_short": "needs at least {min_length} values",
        "too_long": "takes at most {max_length} values",
        "string_too_short": "must not be empty",
        "string_too_long": "takes at most {max_length} characters",
        "finite_number": "must be a finite number",
    }
    if kind in bounds:
        return bounds[kind].format(**context)
    if kind.startswith("int"):
        return "is not a whole number"
    if kind.startswith(("float", "decimal")):
        return "is not a number"
    if kind.startswith("bool"):
        return "must be true or false"
    if kind.startswith(("tuple", "list")):
        return "must be a list of values"
    if kind == "string_pattern_mismatch":
        return "must not contain control characters"
    if kind == "string_unicode":
        return "has bytes in it that are not UTF-8"
    if kind.startswith("string"):
        return "must be text"
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "is not a setting"
    return str(error["msg"]).removeprefix("Value error, ")


def problems_of(error: ValidationError) -> list[Problem]:
    """Translate pydantic's records, one `Problem` a setting, without its jargon and links."""
    found: dict[str, Problem] = {}
    for record in error.errors(include_url=False):
        setting = str(record["loc"][0]) if record["loc"] else "config"
        message = _expected(dict(record))
        if record["type"] == "literal_error" and isinstance(given := record.get("input"), str):
            choices = re.findall(r"'([^']*)'", str(record["ctx"]["expected"]))
            message += (
                f"; what was given is {spelled(given)}" if any(alike(given, c) for c in choices) else ""
            )
        value = None if record["type"] == "missing" else record.get("input")
        found.setdefault(setting, Problem(setting, value, message))
    return list(found.values())
