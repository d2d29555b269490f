"""Sweeps as TOML files: what may stand in one, and where the shipped ones and a person's own are found.

Shipped ones lie in `presets/sweeps`, a person's own in `sweeps` below the folders of own presets. What is
wrong with a file is a `PresetError` that names the file, the line and the key, as for presets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eqprop_core.config import RunConfig, facts
from eqprop_core.names import can_be_shown, wrong_with
from eqprop_core.preset_format import flowing
from eqprop_core.presets import (
    NAME,
    NAME_RULE,
    file_error,
    judged_document,
    read_text,
    shipped_folder,
    user_folders,
)
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.spelling import did_you_mean
from eqprop_core.sweeps.plan import checked_seeds, seeds_of

KEYS = ("title", "description", "seeds", "preset", "config", "cells", "grid")
CELL_KEYS = ("name", "preset", "config")
SWEPT = tuple(
    name
    for name in RunConfig.model_fields
    if facts(name)["stored"] and name not in ("todo", "seed", "name", "device")
)
ELSEWHERE = {
    "seed": "seeds are given by `seeds` (--seeds), not among the settings",
    "device": "devices are given by --devices",
    "todo": "a sweep trains",
    "name": "runs of a sweep are named by their cells",
    "results": "is given by --results",
    "load_path": "each run of a sweep begins anew",
}


@dataclass(frozen=True)
class Row:
    """A row of a sweep's cells: its own name (None: made of its settings), a preset, settings over it."""

    name: str | None
    preset: str | None
    config: dict[str, Any]


@dataclass(frozen=True)
class SweepFile:
    """A sweep as its file has it, not completed; `grid` has the values of each setting that is multiplied."""

    name: str
    title: str
    description: str
    seeds: tuple[int, ...] | None
    config: dict[str, Any]
    rows: tuple[Row, ...]
    grid: dict[str, list[Any]]
    path: Path

    @property
    def shipped(self) -> bool:
        """Whether it came with this program."""
        return self.path.parent.resolve() == (shipped_folder() / "sweeps").resolve()


# --- where they are ------------------------------------------------------------------------------------


def sweep_folders() -> list[Path]:
    """Folders of sweeps, the shipped ones first; they need not exist."""
    return [folder / "sweeps" for folder in (shipped_folder(), *user_folders())]


def sweep_files() -> dict[str, Path]:
    """The files of sweeps by name; a name belongs to the first file that has it."""
    found: dict[str, Path] = {}
    for folder in sweep_folders():
        try:
            paths = sorted(folder.glob("*.toml"))
        except OSError:
            continue
        for path in paths:
            if NAME.fullmatch(path.stem):
                found.setdefault(path.stem, path)
    return found


def is_sweep_file(path: Path) -> bool:
    """Whether a TOML file has what a sweep has and a preset has not. Raises `PresetError`."""
    document = judged_document(read_text(path), path, lambda _: ())
    return bool({"cells", "grid", "seeds", "preset"} & set(document))


# --- reading one ---------------------------------------------------------------------------------------


def read_sweep(path: Path) -> SweepFile:
    """Read and judge a file; its settings are judged cell by cell, later. Raises `PresetError`."""
    if not NAME.fullmatch(path.stem) or path.suffix != ".toml":
        raise file_error(path, f"is not named like a sweep: {NAME_RULE}, then .toml")
    document = judged_document(read_text(path), path, _problems)
    presets = document.get("preset")
    rows = [
        Row(cell.get("name"), cell.get("preset"), cell.get("config", {}))
        for cell in document.get("cells", [])
    ]
    if not rows:
        rows = [
            Row(None, name, {}) for name in ([presets] if isinstance(presets, str) else presets or [None])
        ]
    elif isinstance(presets, str):
        rows = [Row(row.name, row.preset or presets, row.config) for row in rows]
    return SweepFile(
        name=path.stem,
        title=document.get("title", path.stem),
        description=flowing(document.get("description", "")),
        seeds=_seeds(document["seeds"]) if "seeds" in document else None,
        config=document.get("config", {}),
        rows=tuple(rows),
        grid=document.get("grid", {}),
        path=path,
    )


def _seeds(value: Any) -> tuple[int, ...]:
    if isinstance(value, str):
        return seeds_of(value)
    values = value if isinstance(value, list) else [value]
    if not all(type(seed) is int and 0 <= seed < 2**63 for seed in values):
        raise ConfigError(
            [Problem("seeds", value, 'must be a text such as "0-2" or a list of whole numbers')]
        )
    return checked_seeds(values, value)


def _problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with the form of a parsed file, by dotted key."""
    for key in document:
        if key not in KEYS:
            yield Problem(key, None, f"is not a key of a sweep; {_near(key, KEYS)}")
    for key in ("title", "description"):
        if not isinstance(document.get(key, ""), str) or not can_be_shown(flowing(document.get(key, ""))):
            yield Problem(key, document[key], "must be printable text")
    if "seeds" in document:
        try:
            _seeds(document["seeds"])
        except ConfigError as error:
            yield error.problems[0]
    preset = document.get("preset", "")
    if not isinstance(preset, str) and not (
        isinstance(preset, list) and preset and all(isinstance(name, str) for name in preset)
    ):
        yield Problem("preset", preset, "must be the name of a preset, or a list of names")
    if isinstance(preset, list) and "cells" in document:
        yield Problem("preset", preset, "must be one name where there are [[cells]]")
    yield from _settings_problems(document.get("config", {}), "config")
    cells = document.get("cells", [])
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        yield Problem("cells", None, "must be tables [[cells]]")
        return
    for number, cell in enumerate(cells, start=1):
        for key in cell:
            if key not in CELL_KEYS:
                yield Problem("cells", None, f"{key} of cell {number} is not a key; {_near(key, CELL_KEYS)}")
        for key in ("name", "preset"):
            value = cell.get(key, "x")
            wrong = wrong_with(value, 100) if isinstance(value, str) else "must be text"
            if wrong:
                yield Problem("cells", None, f"{key} of cell {number} {wrong}")
        yield from _settings_problems(cell.get("config", {}), "cells")
    yield from _settings_problems(document.get("grid", {}), "grid")
    for name, values in document["grid"].items() if isinstance(document.get("grid"), dict) else ():
        if not isinstance(values, list) or not values:
            yield Problem(f"grid.{name}", values, "must be a list of values, one or more")


def _settings_problems(table: Any, key: str) -> Iterator[Problem]:
    if not isinstance(table, dict):
        yield Problem(key, table, "must be a table of settings")
        return
    for name in table:
        if message := not_swept(name):
            yield Problem(key if key == "cells" else f"{key}.{name}", None, f"{name} {message}")


def not_swept(name: str) -> str:
    """Why a cell cannot have a setting of this name; empty if it can."""
    if name in SWEPT:
        return ""
    if name in ELSEWHERE:
        return f"cannot be swept: {ELSEWHERE[name]}"
    return f"is not a setting; {_near(name.replace('-', '_'), SWEPT)}"


def _near(name: str, known: tuple[str, ...]) -> str:
    if near := did_you_mean(name, known, cutoff=0.5):
        return near
    return "`eqprop train --help` lists them" if known is SWEPT else f"accepted are {', '.join(known)}"
