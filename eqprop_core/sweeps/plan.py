"""What a sweep is: cells, each a combination of settings, and the seeds with which each is trained.

A plan is complete by itself: it holds the settings of the presets that its cells stand on as they were when
it was made. Knows nothing of folders, processes and schedulers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from eqprop_core.config import RunConfig, combine
from eqprop_core.presets import load_preset
from eqprop_core.problems import ConfigError, Problem, printable

MOST_SEEDS = 1000
MOST_CELLS = 10_000
MOST_LINES = 20  # of what is wrong


class Cell(BaseModel):
    """One combination of settings, which is trained once a seed.

    `settings` are those over the preset, without the seed; `expected_error` is the published test error in
    per cent of the preset, if there is one, and `source` says where it is published.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    preset: str | None = None
    settings: dict[str, JsonValue] = {}
    expected_error: float | None = None
    source: str | None = None


class SweepPlan(BaseModel):
    """Cells and seeds; `bases` has the settings of each preset that a cell names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    title: str = ""
    description: str = ""
    cells: tuple[Cell, ...] = Field(min_length=1, max_length=MOST_CELLS)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(min_length=1, max_length=MOST_SEEDS)
    bases: dict[str, dict[str, JsonValue]] = {}

    def base(self, cell: Cell) -> dict[str, Any]:
        """The settings that a cell's own stand on. Raises `ConfigError` for a preset that is not there."""
        if cell.preset is None:
            return {}
        if cell.preset in self.bases:
            return dict(self.bases[cell.preset])
        return dict(load_preset(cell.preset).config)

    def config(self, cell: Cell, seed: int) -> RunConfig:
        """The complete configuration of one run. Raises `ConfigError`, which names the cell."""
        try:
            return combine(self.base(cell), cell.settings, {"seed": seed, "todo": "train"})
        except ConfigError as error:
            raise in_cell(cell.name, error) from None


class CellError(ConfigError):
    """Settings that cannot be used, of the cell named `cell`; each line of the text names it."""

    def __init__(self, cell: str, error: ConfigError) -> None:
        super().__init__(error.problems)
        self.cell = cell
        where = "" if not cell else f"cell {printable(cell)}: "
        self.args = ("\n".join(f"{where}{line}" for line in str(error).splitlines()),)


class CellsError(ConfigError):
    """What is wrong with several cells, a line each thing."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__([problem for error in errors for problem in error.problems])
        lines = [line for error in errors for line in str(error).splitlines()]
        more = [f"… and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        self.args = ("\n".join([*lines[:MOST_LINES], *more]),)


def in_cell(name: str, error: ConfigError) -> CellError:
    """What is wrong, with the name of the cell that it is wrong in."""
    return error if isinstance(error, CellError) else CellError(name, error)


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds as they are typed: `0-4`, `0,2,5`, `0 1 2`, and mixtures. Raises `ConfigError`."""
    seeds: list[int] = []
    for word in text.replace(",", " ").split():
        first, dash, last = word.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(word) > 40:
            raise _no_seeds(text, f"{word} is neither a whole number, 0 or more, nor a range such as 0-4")
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high - low >= MOST_SEEDS or high >= 2**63:
            raise _no_seeds(text, f"{word} is no range of at most {MOST_SEEDS} seeds below 2**63")
        seeds += range(low, high + 1)
    return checked_seeds(seeds, text)


def checked_seeds(seeds: Sequence[int], given: Any) -> tuple[int, ...]:
    """Seeds, each once and not too many. Raises `ConfigError`."""
    if not seeds:
        raise _no_seeds(given, "give one or more, such as 0-4 or 0,2,5")
    if len(seeds) > MOST_SEEDS:
        raise _no_seeds(given, f"{len(seeds):,} seeds; {MOST_SEEDS:,} at most")
    if twice := [seed for seed, count in Counter(seeds).items() if count > 1]:
        raise _no_seeds(given, f"{twice[0]} is there twice")
    return tuple(seeds)


def _no_seeds(given: Any, message: str) -> ConfigError:
    return ConfigError([Problem("seeds", given, message)])
