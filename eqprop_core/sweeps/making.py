"""Makes the plan of a sweep: presets or a sweep by its name, settings for all cells, a grid, and seeds.

Every cell is completed and judged here, before anything is started.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from eqprop_core.config import RunConfig, combine, facts
from eqprop_core.files import expanded
from eqprop_core.preset_files import plain
from eqprop_core.presets import NAME, NAME_RULE, Preset, all_presets, load_preset
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.rules import inapplicable, refused_flags
from eqprop_core.spelling import did_you_mean
from eqprop_core.sweeps.file import Row, SweepFile, is_sweep_file, not_swept, read_sweep, sweep_files
from eqprop_core.sweeps.plan import Cell, CellsError, SweepPlan, in_cell, seeds_of

MOST_RUNS = 10_000
# Settings that a cell may have of its own and still be what a published figure is of.
BESIDE_THE_FIGURE = ("device", "layout", "data_dir", "checkpoint_every")


@dataclass(frozen=True)
class Wanted:
    """A sweep as it is asked for: names of presets or one of a sweep, and what is typed over them.

    `grid` has the typed values of each setting; `flags` are raw settings for all cells, which win over all
    others. `seeds` is the text of --seeds.
    """

    names: Sequence[str] = ()
    flags: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    seeds: str | None = None
    name: str | None = None


def make_sweep(wanted: Wanted) -> SweepPlan:
    """The plan of a sweep, all of whose cells are valid. Raises `ConfigError`, naming the cell."""
    source, presets = _source(wanted.names)
    grid: dict[str, Sequence[Any]] = {**(source.grid if source else {}), **wanted.grid}
    flags = {name: value for name, value in wanted.flags.items() if value is not None}
    _refuse(grid, flags)
    rows = source.rows if source else tuple(Row(None, name, {}) for name in presets) or (Row(None, None, {}),)
    seeds = seeds_of(wanted.seeds) if wanted.seeds is not None else source.seeds if source else None
    many = len(rows) * prod(map(len, grid.values())) * len(seeds or (0,))
    if many > MOST_RUNS:
        raise ConfigError([Problem("grid", None, f"makes {many:,} runs; {MOST_RUNS:,} at most")])
    used = {row.preset: load_preset(row.preset) for row in rows if row.preset is not None}
    bases = {name: _base(preset) for name, preset in used.items()}
    if seeds is None:
        seeds = (next((preset.config["seed"] for preset in used.values() if "seed" in preset.config), 0),)
    common = dict(source.config) if source else {}
    cells: list[Cell] = []
    complete: dict[str, str] = {}
    wrong: list[ConfigError] = []
    for row in rows:
        for values in product(*grid.values()):
            combo = dict(zip(grid, values, strict=True))
            name = _name(row, combo, several=len(rows) > 1)
            base = bases[row.preset] if row.preset is not None else {}
            try:
                settings, config = _typed(base, common, {**row.config, **combo, **flags})
            except ConfigError as error:
                wrong.append(in_cell(name, error))
                continue
            typed = Row(row.name, row.preset, {key: settings.get(key, row.config[key]) for key in row.config})
            name = _name(typed, {key: settings.get(key, combo[key]) for key in combo}, several=len(rows) > 1)
            if message := _double(name, config, cells, complete):
                wrong.append(in_cell(name, ConfigError([Problem("grid", None, message)])))
            expected = used[row.preset].expected if row.preset is not None else None
            if expected is not None and _differs(base, settings):
                expected = None
            cells.append(
                Cell(
                    name=name,
                    preset=row.preset,
                    settings=settings,
                    expected_error=expected.test_error if expected else None,
                    source=expected.source if expected else None,
                )
            )
    if wrong:
        raise CellsError(wrong)
    return SweepPlan(
        name=_plan_name(wanted.name, source, presets),
        title=source.title if source else _title(presets, grid),
        description=source.description if source else "",
        cells=tuple(cells),
        seeds=seeds,
        bases=bases,
    )


def grid_of(words: Iterable[str]) -> dict[str, list[str]]:
    """A grid as it is typed, `alg=EP,BPTT` and `betas=0 0.1,0 0.5`. Raises `ConfigError`."""
    grid: dict[str, list[str]] = {}
    problems = []
    for word in words:
        typed, equals, values = word.partition("=")
        name = typed.strip().removeprefix("--").replace("-", "_")
        if not equals or not all(value.strip() for value in values.split(",")):
            problems.append(Problem("grid", word, "write SETTING=VALUE,VALUE,… , as in alg=EP,BPTT"))
        elif message := not_swept(name):
            problems.append(Problem("grid", word, f"{typed.strip()} {message}"))
        elif name in grid:
            problems.append(Problem("grid", word, f"{name} is given twice; give all of its values at once"))
        else:
            grid[name] = [value.strip() for value in values.split(",")]
    if problems:
        raise ConfigError(problems)
    return grid


def configurations(plan: SweepPlan) -> list[RunConfig]:
    """The configuration of each cell, with the first seed."""
    return [plan.config(cell, plan.seeds[0]) for cell in plan.cells]


# --- what it is made from ------------------------------------------------------------------------------


def _source(names: Sequence[str]) -> tuple[SweepFile | None, list[str]]:
    """The sweep that is named, or the presets that are. Raises `ConfigError` for a name of neither."""
    files = sweep_files()
    sweeps = {
        name: path
        for name in names
        if (path := files.get(name) or (expanded(Path(name)) if name.endswith(".toml") else None))
        and (name in files or is_sweep_file(path))
    }
    if sweeps and len(names) > 1:
        message = "is a sweep, which is given alone; several presets may be given"
        raise ConfigError([Problem("config", next(iter(sweeps)), message)])
    if sweeps:
        return read_sweep(next(iter(sweeps.values()))), []
    presets = list(names)
    if twice := [name for name in dict.fromkeys(presets) if presets.count(name) > 1]:
        raise ConfigError([Problem("config", twice[0], "is given twice")])
    for name in presets:
        if not name.endswith(".toml") and name not in all_presets().presets:
            _refuse_unknown(name, files)
    return None, presets


COMMANDS = ("start", "status", "stop", "resume", "list", "table")


def _refuse_unknown(name: str, files: Mapping[str, Path]) -> None:
    """Raise for a name that neither a preset nor a sweep has, with those that come close."""
    if NAME.fullmatch(name):
        near = did_you_mean(name, [*files, *all_presets().presets, *COMMANDS], cutoff=0.5)
        hint = near or "`eqprop sweep list` and `eqprop presets list` show them"
        if not any(problem.path.name == f"{name}.toml" for problem in all_presets().problems):
            raise ConfigError([Problem("config", name, f"there is no sweep or preset of this name; {hint}")])
    load_preset(name)


def _base(preset: Preset) -> dict[str, Any]:
    """The settings of a preset that its runs in a sweep have."""
    own = ("seed", "name", "todo")
    return {
        name: plain(value)
        for name, value in preset.config.items()
        if facts(name)["stored"] and name not in own
    }


def _refuse(grid: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
    """Raise for a setting that is both one for all cells and one of the grid."""
    problems = [
        Problem(name, value, f"is one for all cells, and the grid has {name}; leave one of them out")
        for name, value in flags.items()
        if name in grid
    ]
    if problems:
        raise ConfigError(problems)


# --- cells ---------------------------------------------------------------------------------------------


def _typed(
    base: Mapping[str, Any], common: Mapping[str, Any], own: Mapping[str, Any]
) -> tuple[dict[str, Any], RunConfig]:
    """A cell's settings over its preset as JSON has them, and its configuration. Raises `ConfigError`."""
    given = {**common, **own}
    if "data_dir" in given:
        given["data_dir"] = str(expanded(Path(str(given["data_dir"]))).absolute())
    config = combine(base, given, {"seed": 0, "todo": "train"})
    if refused := refused_flags(config, own):
        raise ConfigError(refused)
    unused = inapplicable(config)
    values = {name: plain(getattr(config, name)) for name in given if name not in unused}
    return {name: value for name, value in values.items() if value is not None}, config


def _differs(base: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a cell is another experiment than its preset, which a published figure is of."""
    return any(base.get(name) != value for name, value in settings.items() if name not in BESIDE_THE_FIGURE)


def _double(name: str, config: RunConfig, cells: Sequence[Cell], complete: dict[str, str]) -> str:
    """What is wrong with a cell that has the settings, or the name, of one before; notes it in `complete`."""
    settings = json.dumps(config.stored(), sort_keys=True)
    if (same := complete.setdefault(settings, name)) != name:
        return f"has the same settings as the cell {same}"
    return "is there twice" if any(cell.name == name for cell in cells) else ""


def _name(row: Row, combo: Mapping[str, Any], *, several: bool) -> str:
    """What a cell is called: `alg=EP betas=0 0.1`, after its row's name, or preset where there are more."""
    own = [row.name] if row.name else [row.preset] if row.preset and several else []
    if not row.name:
        own += [f"{name}={_short(value)}" for name, value in row.config.items()]
    words = [*own, *(f"{name}={_short(value)}" for name, value in combo.items())]
    return " ".join(filter(None, words))[:200] or row.preset or "run"


def _short(value: Any) -> str:
    """A value as one types it: `0 0.1`, `on`."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(_short, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _plan_name(given: str | None, source: SweepFile | None, presets: Sequence[str]) -> str:
    if given is not None:
        if not NAME.fullmatch(given) or given == "last":
            raise ConfigError([Problem("name", given, f"is not the name of a sweep: {NAME_RULE}; not last")])
        return given
    if source is not None:
        return source.name
    if len(presets) == 1:
        return re.sub(r"[^a-z0-9._-]+", "-", Path(presets[0]).name.removesuffix(".toml").lower())[:100]
    return "sweep"


def _title(presets: Sequence[str], grid: Mapping[str, Any]) -> str:
    """A title for a sweep that no file has one for."""
    what = ", ".join(presets[:4]) + (" …" if len(presets) > 4 else "")
    over = " × ".join(grid)
    return f"{what or 'own settings'}{': ' if over else ''}{over}"
