"""Choosing runs by words and by expressions on settings and scores: `mnist alg=EP test_last>95 T1<50`.

A word is looked for wherever `listing.matching` looks. An expression compares what the summary of a run says,
or else a setting of its `config.toml`; a list matches where one of its values does. All parts must hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from eqprop_core.config import RunConfig, facts
from eqprop_core.names import same
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.runs import scores
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import STATES, RunSummary, matching
from eqprop_core.spelling import did_you_mean

ACCEPTED = "words, or expressions such as alg=EP  test_last>95  epochs>=10  state=running  T1<50  name=foo*"
TEXTS = ("id", "name", "preset", "state", "device", "tag", "model", "task", "alg", "loss")
SCORES = ("epoch", "epochs", *scores.NAMES, "best", "last", "left", "took")
SETTINGS = tuple(name for name in RunConfig.model_fields if facts(name)["stored"])
NAMES = tuple(dict.fromkeys((*TEXTS, *SCORES, *SETTINGS)))
NAMED_OTHERWISE = {"tag": "tags", "left": "seconds_left", "took": "seconds"}  # in a summary
ON, OFF, NOT_SET = ("on", "true", "yes"), ("off", "false", "no"), ("none", "–")
_PART = re.compile(r"""(?P<name>[A-Za-z][\w-]*)(?P<sign>!=|<=|>=|=|<|>)(?P<value>.*)""", re.DOTALL)
_SPLIT = re.compile(r"""(?:[^\s"]|"[^"]*(?:"|$))+""")

Kind = Literal["text", "number", "switch"]
Settings = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Term:
    """One comparison: of a setting or score with a value as it was typed."""

    name: str
    sign: str
    value: str

    def holds(self, found: Any) -> bool:
        """Whether the value that a run has for `name` compares so; None and an empty list are not set."""
        if isinstance(found, (list, tuple)):
            values = [*found, tuple(found)] if found else [None]
        else:
            values = [found]
        if self.sign == "!=":
            return not any(self._equal(value) for value in values)
        if self.sign == "=":
            return any(self._equal(value) for value in values)
        return any(self._ordered(value) for value in values)

    def _equal(self, found: Any) -> bool:
        wanted = self.value.casefold()
        if found is None:
            return wanted in NOT_SET
        if isinstance(found, bool):
            return wanted in (ON if found else OFF)
        if isinstance(found, tuple):
            return [_number(value) for value in self.value.split(",")] == list(found)
        number = _number(self.value)
        if isinstance(found, (int, float)) and number is not None:
            return found == number
        return fnmatchcase(same(str(found).casefold()), _literal_brackets(same(wanted)))

    def _ordered(self, found: Any) -> bool:
        wanted = _number(self.value)
        if wanted is None or isinstance(found, bool) or not isinstance(found, (int, float)):
            return False
        compare = {
            "<": found < wanted,
            "<=": found <= wanted,
            ">": found > wanted,
            ">=": found >= wanted,
        }
        return compare[self.sign]


@dataclass(frozen=True)
class Filter:
    """What runs must mention, and what must hold of them; an empty one takes all."""

    words: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()

    def accepts(self, run: RunSummary, settings: Settings) -> bool:
        """Whether a run is wanted; `settings` gives those of its `config.toml`, and is called if need be."""
        if not matching([run], self.words):
            return False
        return all(term.holds(_found(run, term.name, settings)) for term in self.terms)

    def choose(
        self, runs: Iterable[RunSummary], settings_of: Callable[[Path], Mapping[str, Any]]
    ) -> list[RunSummary]:
        """Those of the runs that are wanted; `settings_of` gives the settings of the run in a folder."""
        return [run for run in runs if self.accepts(run, partial(settings_of, run.path))]


def parse(text: str) -> tuple[Filter, str | None]:
    """The filter that a person is typing, of what is right so far, and what is wrong with the rest if any."""
    wanted, problems = _read(_SPLIT.findall(text))
    return wanted, str(problems[0]) if problems else None


def filter_of(parts: Iterable[str]) -> Filter:
    """The filter of words and expressions, each by itself. Raises `ConfigError`."""
    wanted, problems = _read(parts)
    if problems:
        raise ConfigError(problems)
    return wanted


def _read(parts: Iterable[str]) -> tuple[Filter, list[Problem]]:
    words: list[str] = []
    terms: list[Term] = []
    problems: list[Problem] = []
    for part in parts:
        if part.count('"') % 2:
            problems.append(Problem("config", part, 'a quote is not closed; write name="two words"'))
            continue
        found = _PART.fullmatch(part.replace('"', ""))
        if found is None or part.startswith('"'):
            words.append(part.replace('"', ""))
            continue
        term = Term(_known(found["name"]) or found["name"], found["sign"], found["value"])
        if message := _wrong(term):
            problems.append(Problem("config", part, message))
        else:
            terms.append(term)
    return Filter(tuple(word for word in words if word), tuple(terms)), problems


def kind_of(name: str) -> Kind:
    """What a setting or score holds: text, numbers or on and off."""
    if name in TEXTS:
        return "text"
    if name in SCORES:
        return "number"
    held = repr(RunConfig.model_fields[name].annotation)
    if "bool" in held:
        return "switch"
    return "number" if "int" in held or "float" in held else "text"


def choices_of(name: str) -> tuple[str, ...]:
    """The values that a text can have; empty where it can have any."""
    if name == "state":
        return STATES
    if name in RunConfig.model_fields:
        held = get_args(RunConfig.model_fields[name].annotation)
        return tuple(value for value in held if isinstance(value, str))
    return ()


def _known(name: str) -> str | None:
    """The setting or score that is meant, whatever its case, with - or _."""
    name = name.replace("-", "_")
    if name in NAMES:
        return name
    return next((known for known in NAMES if known.casefold() == name.casefold()), None)


def _wrong(term: Term) -> str | None:
    """What is wrong with a comparison, and what would be accepted."""
    if term.name not in NAMES:
        near = did_you_mean(term.name.replace("-", "_"), NAMES, most=2)
        hint = near or "there are alg, test_last, T1 …"
        return f"is no setting or score; {hint}"
    kind, choices = kind_of(term.name), choices_of(term.name)
    if not term.value:
        return f"needs a value, such as {_example(term.name, kind, choices)}"
    if kind != "number" and term.sign not in ("=", "!="):
        return f"{term.name} has no order; only = and !="
    unset = term.value.casefold() in NOT_SET and term.sign in ("=", "!=")
    if kind == "number" and not unset and not _numbers(term):
        return f"needs a number, such as {_example(term.name, kind, choices)}"
    if kind == "switch" and term.value.casefold() not in (*ON, *OFF):
        return f"is on or off: {term.name}=on"
    plain = not set(term.value) & set("*?")
    if choices and plain and not unset and term.value.casefold() not in map(str.casefold, choices):
        return f"is not one of {', '.join(choices)}"
    return None


def _numbers(term: Term) -> bool:
    """Whether the value is a number, or for = and != several with commas."""
    values = term.value.split(",") if term.sign in ("=", "!=") else [term.value]
    return all(_number(value) is not None for value in values)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if value != value else value


def _literal_brackets(pattern: str) -> str:
    """The pattern with [ as the character that it is; only * and ? stand for others."""
    return pattern.replace("[", "[[]")


def _example(name: str, kind: Kind, choices: tuple[str, ...]) -> str:
    value = choices[0] if choices else {"text": "foo*", "switch": "on", "number": "10"}[kind]
    return f"{name}={value}"


def _found(run: RunSummary, name: str, settings: Settings) -> Any:
    """What a run has for a name of NAMES."""
    if name in NAMED_OTHERWISE:
        return getattr(run, NAMED_OTHERWISE[name])
    if name in TEXTS or name in SCORES:
        return getattr(run, name)
    return settings().get(name)


def stored_settings(path: Path) -> Mapping[str, Any]:
    """The settings in the `config.toml` of the run in a folder; none where they cannot be read."""
    try:
        return RunFolder(path).config() or {}
    except ConfigError:
        return {}
