"""What a search may choose: for each setting a range of numbers or some values, and how it becomes a setting.

As it is typed: `lrs=loguniform:1e-4,1e-1`, `T1=int:10,60`, `mbs=logint:8,256`, `act=mysig,tanh`,
`betas=uniform:0.05,0.5`. One number for a setting of a layer each is that of all layers. Knows nothing of who
chooses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field

from eqprop_core.config import RunConfig, combine
from eqprop_core.preset_files import plain
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.spelling import did_you_mean
from eqprop_core.sweeps.file import not_swept
from eqprop_core.sweeps.plan import Cell, SweepPlan

Kind = Literal["uniform", "loguniform", "int", "logint", "values"]
RANGES = ("uniform", "loguniform", "int", "logint")
EXAMPLES = "lrs=loguniform:1e-4,1e-1, T1=int:10,60 or act=mysig,tanh"
LOGARITHMIC = ("loguniform", "logint")
WHOLE = ("int", "logint")
MOST_VALUES = 100
MOST_TRIALS = 9_999
# Lists whose first or last values are fixed by the data: one number is that of those between.
HIDDEN = {"archi": (1, 1), "fc": (0, 1)}
CONNECTIONS = ("lrs", "wds")

Chosen = Mapping[str, Any]  # a number or one of the values, by setting


class Choice(BaseModel):
    """What may be chosen for one setting: numbers from `low` to `high`, both included, or `values`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    step: int = Field(default=1, ge=1)
    values: tuple[str, ...] = ()

    @property
    def middle(self) -> Any:
        """A number in the middle of the range, on its scale; the first of the values."""
        if self.kind == "values":
            return self.values[0]
        middle = math.sqrt(self.low * self.high) if self.kind in LOGARITHMIC else (self.low + self.high) / 2
        if self.kind not in WHOLE:
            return min(max(middle, self.low), self.high)
        return int(self.low) + int((middle - self.low) / self.step) * self.step

    @property
    def ends(self) -> tuple[Any, ...]:
        """What has to be valid for all of it to be: both ends of a range, or each value."""
        if self.kind == "values":
            return self.values
        return (int(self.low), int(self.high)) if self.kind in WHOLE else (self.low, self.high)

    def holds(self, number: float) -> bool:
        """Whether a number is one of the range."""
        inside = self.low <= number <= self.high
        return inside and (self.kind not in WHOLE or (number - self.low) % self.step == 0)

    def __str__(self) -> str:
        """As it is typed."""
        if self.kind == "values":
            return f"{self.name}={','.join(self.values)}"
        numbers = ",".join(f"{end:g}" for end in (self.low, self.high))
        return f"{self.name}={self.kind}:{numbers}{f',{self.step}' if self.step != 1 else ''}"


class SearchSettings(BaseModel):
    """A search: what may be chosen, how many trials, how many of them at a time, whether bad ones are ended.

    Without `at_once`, as many trials are on the way as there is room for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: tuple[Choice, ...] = Field(min_length=1)
    trials: int = Field(ge=1, le=MOST_TRIALS)
    at_once: int | None = Field(default=None, ge=1, le=1000)
    prune: bool = True

    @classmethod
    def stored(cls, document: object) -> Self | None:
        """The search that a sweep's file holds, None for a sweep that is none. Raises `ValueError`."""
        return None if document is None else cls.model_validate(document)


# --- as it is typed -----------------------------------------------------------------------------------


def space_of(words: Iterable[str]) -> tuple[Choice, ...]:
    """What `--search` says. Raises `ConfigError`, which says what is accepted."""
    found: dict[str, Choice] = {}
    problems = []
    for word in words:
        try:
            choice = _choice(word)
        except ValueError as error:
            problems.append(Problem("search", word, str(error)))
            continue
        if choice.name in found:
            problems.append(Problem("search", word, f"{choice.name} is given twice"))
        found[choice.name] = choice
    if problems:
        raise ConfigError(problems)
    return tuple(found.values())


def _choice(word: str) -> Choice:
    """One of the words. Raises `ValueError` with what is wrong with it."""
    typed, equals, said = word.partition("=")
    name = typed.strip().removeprefix("--").replace("-", "_")
    if not equals or not said.strip():
        raise ValueError(f"write SETTING=KIND:LOW,HIGH or SETTING=VALUE,VALUE, as in {EXAMPLES}")
    if message := not_swept(name):
        raise ValueError(f"{typed.strip()} {message}")
    kind, colon, numbers = said.strip().partition(":")
    if not colon:
        return _values(name, said)
    if kind not in RANGES:
        near = did_you_mean(kind, RANGES, most=1)
        hint = f"; {near}" if near else ""
        raise ValueError(f"{kind} is not one of {', '.join(RANGES)}{hint}")
    return _range(name, kind, numbers)  # type: ignore[arg-type]


def _values(name: str, said: str) -> Choice:
    values = tuple(value.strip() for value in said.split(","))
    if not all(values) or len(set(values)) < len(values):
        raise ValueError("has a value that is empty, or one twice")
    if len(values) < 2:
        raise ValueError(f"is one value: nothing to choose from; give it as --{name.replace('_', '-')}")
    if len(values) > MOST_VALUES:
        raise ValueError(f"{len(values)} values; {MOST_VALUES} at most, or a range such as int:10,60")
    return Choice(name=name, kind="values", values=values)


def _range(name: str, kind: Kind, said: str) -> Choice:
    held = repr(RunConfig.model_fields[name].annotation)
    if "int" not in held and "float" not in held:
        raise ValueError(f"{name} has no range of numbers; give values, such as {name}={_example(name)}")
    if "float" not in held and kind not in WHOLE:
        raise ValueError(f"{name} takes whole numbers: {name}=int:LOW,HIGH or logint:LOW,HIGH")
    words = said.split(",")
    most = 3 if kind == "int" else 2
    if not 2 <= len(words) <= most:
        steps = ", and int a step: int:LOW,HIGH,STEP" if kind == "int" else ""
        raise ValueError(f"{kind} takes LOW,HIGH{steps}")
    numbers = [_number(word, whole=kind in WHOLE) for word in words]
    low, high = numbers[:2]
    step = int(numbers[2]) if len(numbers) > 2 else 1
    if low >= high:
        raise ValueError(
            f"LOW must be less than HIGH, and {words[0].strip()} is not less than {words[1].strip()}"
        )
    if kind in LOGARITHMIC and low <= 0:
        raise ValueError(f"{kind} begins above 0")
    if len(numbers) > 2 and not 1 <= step <= high - low:
        raise ValueError(f"the step must be from 1 to {high - low:g}")
    high = low + (high - low) // step * step if step > 1 else high
    return Choice(name=name, kind=kind, low=low, high=high, step=step)


def _number(word: str, *, whole: bool) -> float:
    try:
        number = float(int(word)) if whole else float(word)
    except ValueError:
        raise ValueError(f"{word.strip() or 'nothing'} is not a {'whole ' if whole else ''}number") from None
    if not abs(number) < 1e15:
        raise ValueError(f"{word.strip()} is too large")
    return number


def _example(name: str) -> str:
    held = RunConfig.model_fields[name].annotation
    options = [str(item) for item in get_args(held)]
    return ",".join(options[:2]) if len(options) > 1 and get_origin(held) is Literal else "on,off"


# --- as settings --------------------------------------------------------------------------------------


def trial_cell(plan: SweepPlan, space: Sequence[Choice], number: int, chosen: Chosen) -> Cell:
    """The cell of a trial: like the first cell of the plan, with what was chosen.

    Where that does not go together, the run says so when it is to begin.
    """
    first = plan.cells[0]
    settings, config = settings_of(plan, first, space, chosen)
    kept = {name: plain(getattr(config, name) if config else value) for name, value in settings.items()}
    words = " ".join(f"{name}={_short(chosen[name])}" for name in chosen)
    return Cell(
        name=f"trial {number} {words}"[:200], preset=first.preset, settings={**first.settings, **kept}
    )


def settings_of(
    plan: SweepPlan, first: Cell, space: Sequence[Choice], chosen: Chosen
) -> tuple[dict[str, Any], RunConfig | None]:
    """What was chosen as settings, and the configuration with them, None where they do not go together."""
    config = plan.config(first, plan.seeds[0])
    settings = {choice.name: spread(choice.name, chosen[choice.name], config) for choice in space}
    try:
        return settings, combined(plan, first, settings)
    except ConfigError:
        return settings, None


def combined(plan: SweepPlan, first: Cell, settings: Mapping[str, Any]) -> RunConfig:
    """The configuration of the first cell with other settings. Raises `ConfigError`."""
    return combine(plan.base(first), first.settings, settings, {"seed": 0, "todo": "train"})


def spread(name: str, value: Any, config: RunConfig) -> Any:
    """A value as a setting: one number for a list is that of all layers, for `archi` and `fc` of all hidden
    ones, for `betas` the second."""
    if not _is_list(name) or len(words := str(value).split()) != 1:
        return value
    one = words[0] if isinstance(value, str) else value
    now: Sequence[Any] | None = getattr(config, name)
    if name == "betas":
        return (config.betas[0], one)
    if name in HIDDEN and now is not None:
        before, after = HIDDEN[name]
        if len(now) <= before + after:
            return value  # there is no hidden layer: what is wrong with it is said where it is judged
        return (*now[:before], *([one] * max(0, len(now) - before - after)), *now[len(now) - after :])
    if name in CONNECTIONS:
        return (one,) * len(config.connections())
    if name == "dropouts" and now is None:
        return (one,) * (len(config.connections()) - config.softmax + 1)
    return value if now is None else (one,) * len(now)


def present(choice: Choice, config: RunConfig) -> Any:
    """What a configuration has of what may be chosen, in its terms; None where it has something else."""
    now = getattr(config, choice.name)
    if choice.kind == "values":
        same = (value for value in choice.values if _typed(choice.name, value, config) == now)
        return next(same, None)
    if isinstance(now, tuple):
        inner = now[1:] if choice.name == "betas" else now
        if choice.name in HIDDEN:
            before, after = HIDDEN[choice.name]
            inner = now[before : len(now) - after]
        now = inner[0] if inner and all(value == inner[0] for value in inner) else None
    if now is None or isinstance(now, (bool, str)) or not choice.holds(now):
        return None
    return int(now) if choice.kind in WHOLE else float(now)


def _typed(name: str, value: Any, config: RunConfig) -> Any:
    """A value as a configuration holds it; None for one that it cannot."""
    try:
        return getattr(config.changed(**{name: spread(name, value, config)}), name)
    except ConfigError:
        return None


def _is_list(name: str) -> bool:
    return "tuple" in repr(RunConfig.model_fields[name].annotation)


def check_space(plan: SweepPlan, space: Sequence[Choice]) -> None:
    """Judge every end of what may be chosen, one setting at a time. Raises `ConfigError`."""
    first = plan.cells[0]
    problems: list[Problem] = []
    start = first_choice(plan, space)
    for choice in space:
        for end in choice.ends:
            settings, _ = settings_of(plan, first, space, {**start, choice.name: end})
            try:
                combined(plan, first, settings)
            except ConfigError as error:
                problem = error.problems[0]
                said = problem.message if problem.setting == choice.name else str(problem)
                problems.append(Problem("search", str(choice), f"{choice.name} {_short(end)}: {said}"))
                break
    if problems:
        raise ConfigError(problems)


def first_choice(plan: SweepPlan, space: Sequence[Choice]) -> dict[str, Any]:
    """What the first trial tries: the preset's own values where they may be chosen, else the middle."""
    config = plan.config(plan.cells[0], plan.seeds[0])
    found = {choice.name: present(choice, config) for choice in space}
    return {
        choice.name: choice.middle if found[choice.name] is None else found[choice.name] for choice in space
    }


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
