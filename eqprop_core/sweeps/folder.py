"""A sweep as a folder: its plan, the folders of its runs, and what the scheduler keeps of its jobs.

Layout: results/sweeps/<name>-<yyyy-mm-dd>-<hh-mm-ss>/ with `sweep.json` (the plan, to which only a search
adds), runs/<NN>-<cell>/seed-<S>/ (ordinary run folders) and jobs/ of the same shape (submitit's files). How
the sweep stands is nowhere written down: it is how its runs stand.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from eqprop_core import __version__
from eqprop_core.files import bounded_json, expanded, read_text, write_text
from eqprop_core.names import can_be_shown
from eqprop_core.problems import shown
from eqprop_core.runs.folder import NoSuchRunError, RunError, new_folder
from eqprop_core.runs.names import SWEEPS
from eqprop_core.runs.roots import default_roots, known_roots, remember_root, results_root
from eqprop_core.spelling import did_you_mean
from eqprop_core.sweeps.plan import Cell, SweepPlan

PLAN = "sweep.json"
RUNS, JOBS = "runs", "jobs"
PLAN_LIMIT = 20_000_000  # bytes
LONGEST_SLUG = 60
TRIAL_DIGITS = 4  # of the numbers of a search's cells, however many there are yet


@dataclass(frozen=True)
class Job:
    """One training of a sweep; `path` is the run's folder, which may not exist yet."""

    cell: Cell
    seed: int
    path: Path


class SweepFolder:
    """One sweep's folder at `path`, with its `plan`.

    `launcher` says by what the runs are started and with which settings; `command` and `created` are of the
    command that made the sweep; `search` says what is chosen where the cells are the trials of a search.
    """

    def __init__(self, path: Path, plan: SweepPlan, document: Mapping[str, Any]) -> None:
        self.path, self.plan = path, plan
        self.created = _text(document.get("created"))
        command, launcher = document.get("command"), document.get("launcher")
        self.command: tuple[str, ...] = tuple(map(str, command)) if isinstance(command, list) else ()
        self.launcher: dict[str, JsonValue] = dict(launcher) if isinstance(launcher, dict) else {}
        search = document.get("search")
        self.search: dict[str, JsonValue] | None = dict(search) if isinstance(search, dict) else None
        self._document = document

    @classmethod
    def create(
        cls,
        root: Path,
        plan: SweepPlan,
        *,
        command: Sequence[str] = (),
        launcher: Mapping[str, JsonValue] | None = None,
        search: Mapping[str, JsonValue] | None = None,
        now: datetime | None = None,
    ) -> SweepFolder:
        """Make the folder of a new sweep below a results folder. Raises `RunError`.

        Where its name is taken, it has a suffix -2, -3 … .
        """
        now = now or datetime.now()
        document = {
            "created": now.astimezone().isoformat(timespec="seconds"),
            "command": list(command),
            "host": socket.gethostname(),
            "eqprop": __version__,
            "launcher": dict(launcher or {}),
            **({"search": dict(search)} if search is not None else {}),
            "plan": plan.model_dump(mode="json"),
        }
        path: Path | None = None
        try:
            path = new_folder(root / SWEEPS, f"{plan.name}-{now:%Y-%m-%d-%H-%M-%S}")
            write_text(path / PLAN, json.dumps(document, indent=2) + "\n")
        except OSError as error:
            if path is not None and not (path / PLAN).exists():
                path.rmdir()
            raise RunError(
                f"--results {root}: cannot make a sweep there: {error.strerror or error}; "
                f"choose a folder that can be written"
            ) from None
        remember_root(root)
        return cls(path, plan, document)

    @classmethod
    def open(cls, path: Path) -> SweepFolder:
        """The sweep in a folder. Raises `RunError` where there is none, or one that cannot be read."""
        path = expanded(path)
        if not is_sweep(path):
            raise NoSuchRunError(f"{shown(str(path))}: holds no sweep: it has no {PLAN}")
        try:
            document = bounded_json(read_text(path / PLAN, PLAN_LIMIT))
            plan = SweepPlan.model_validate(document["plan"])
        except OSError as error:
            raise RunError(f"{path / PLAN}: cannot be read: {error.strerror or error}") from None
        except (ValidationError, ValueError, TypeError, KeyError, RecursionError):
            raise RunError(f"{path / PLAN}: is not the plan of a sweep") from None
        return cls(path, plan, document)

    @property
    def name(self) -> str:
        """What the folder is called; unlike the plan's name, no other sweep of these results has it."""
        return self.path.resolve().name

    @property
    def called(self) -> str:
        """What commands find it by: its name where its results folder is remembered, else its folder."""
        path = self.path.resolve()
        known = path.parent.name == SWEEPS and path.parent.parent in known_roots()
        plain = re.fullmatch(r"\w[\w.=+-]*", path.name) and path.name != "last"
        return path.name if known and plain else str(path)

    @property
    def planned(self) -> int:
        """How many trainings there are to be, those of a search that are still to be chosen among them."""
        trials = (self.search or {}).get("trials")
        cells = max(trials, len(self.plan.cells)) if isinstance(trials, int) else len(self.plan.cells)
        return cells * len(self.plan.seeds)

    def jobs(self) -> list[Job]:
        """All trainings: cells in order, seeds within."""
        width = TRIAL_DIGITS if self.search is not None else max(2, len(str(len(self.plan.cells))))
        return [
            Job(cell, seed, self.path / RUNS / f"{number:0{width}}-{_slug(cell.name)}" / f"seed-{seed}")
            for number, cell in enumerate(self.plan.cells, start=1)
            for seed in self.plan.seeds
        ]

    def extended(self, *cells: Cell, search: Mapping[str, JsonValue] | None = None) -> SweepFolder:
        """The same sweep with more cells or another `search`, written down. Raises `OSError`."""
        plan = self.plan.model_copy(update={"cells": (*self.plan.cells, *cells)})
        document = {**self._document, "plan": plan.model_dump(mode="json")}
        if search is not None:
            document["search"] = dict(search)
        write_text(self.path / PLAN, json.dumps(document, indent=2) + "\n")
        return SweepFolder(self.path, plan, document)

    def job_at(self, run: Path) -> Job:
        """The training whose run is, or will be, at a path. Raises `RunError`."""
        found = next((job for job in self.jobs() if job.path.resolve() == run.resolve()), None)
        if found is None:
            raise RunError(f"{run}: is no run of the sweep {self.path}")
        return found


def is_sweep(path: Path) -> bool:
    """Whether a folder has the plan of a sweep."""
    try:
        return (path / PLAN).is_file()
    except (OSError, ValueError):
        return False


def sweep_of(run: Path) -> Path | None:
    """The folder of the sweep that a run belongs to, None for one that belongs to none."""
    parents = run.resolve().parents
    if len(parents) < 3 or parents[1].name != RUNS or not is_sweep(parents[2]):
        return None
    return parents[2]


def list_sweeps(roots: Iterable[Path] | None = None) -> list[SweepFolder]:
    """All sweeps below some results folders (those used before and ./results if None), the newest first.

    One that cannot be read is left out.
    """
    found: dict[Path, SweepFolder] = {}
    for root in roots if roots is not None else default_roots():
        try:
            paths = [path for path in (expanded(root) / SWEEPS).iterdir() if is_sweep(path)]
        except OSError:
            continue
        for path in paths:
            if path.resolve() not in found:
                try:
                    found[path.resolve()] = SweepFolder.open(path)
                except RunError:
                    continue
    return sorted(found.values(), key=lambda sweep: (sweep.created, sweep.name), reverse=True)


def find_sweep(which: str, roots: Iterable[Path] | None = None) -> SweepFolder:
    """The sweep that is meant by a folder, the name of one, the name of a plan, or `last`.

    Raises `RunError` for none, and where a plan's name means several.
    """
    place = expanded(Path(which))
    if is_sweep(place):
        return SweepFolder.open(place)
    sweeps = list_sweeps(roots)
    if which == "last" and sweeps:
        here = list_sweeps([results_root()]) if roots is None else []
        return (here or sweeps)[0]
    named = [sweep for sweep in sweeps if sweep.name == which]
    named = named or [sweep for sweep in sweeps if sweep.plan.name == which]
    if len(named) == 1:
        return named[0]
    if named:
        some = ", ".join(sweep.name for sweep in named[:6])
        raise NoSuchRunError(
            f"{which}: means {len(named)} sweeps ({some}); give the whole name, or the folder"
        )
    raise NoSuchRunError(f"{shown(which)}: is no sweep; {_hint(which, sweeps)}")


def _hint(wanted: str, sweeps: Sequence[SweepFolder]) -> str:
    """What may have been meant by something that names no sweep."""
    if not sweeps:
        return "there are none yet here; give the folder of one"
    known = list(dict.fromkeys(name for sweep in sweeps for name in (sweep.plan.name, sweep.name)))
    return did_you_mean(wanted, [*known, "last"]) or "give a folder, a name from `eqprop sweep list`, or last"


def _slug(name: str) -> str:
    """A name as part of a path: `alg=EP betas=0 0.1` -> `alg=EP-betas=0-0.1`."""
    return re.sub(r"[^A-Za-z0-9._=+-]+", "-", name)[:LONGEST_SLUG].strip("-.") or "cell"


def _text(value: object) -> str:
    return value if isinstance(value, str) and can_be_shown(value) else ""
