"""Finding runs, and telling from their `state.json` alone how they stand."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from eqprop_core.files import expanded
from eqprop_core.names import same
from eqprop_core.problems import shown
from eqprop_core.runs.folder import NoSuchRunError, RunFolder, id_of, text
from eqprop_core.runs.names import CONFIG, SWEEPS
from eqprop_core.runs.reference import is_reference
from eqprop_core.runs.roots import default_roots, known_roots, results_root
from eqprop_core.runs.scores import Scores, scores_of_state
from eqprop_core.spelling import did_you_mean

STALE_SECONDS = 60.0  # without a heartbeat, on another host
NEAR_ITS_LIMIT = 0.9  # share of the memory that a run may have; a process that is refused more is killed
ALIVE = ("starting", "queued", "running", "paused")
AT_REST = ("finished", "failed", "stopped", "lost")  # no process writes there
STATES = (*ALIVE, *AT_REST, "unreachable")


@dataclass(frozen=True)
class RunSummary:
    """One run as a list shows it; accuracies in per cent, None for what is not known.

    `best` is `best_val` where images are held out, else `best_test`; see `runs.scores`.
    `ahead` is how many runs come before a queued one; `reason` says what may have ended one that is lost;
    `trained` is how many seconds its epochs took, with their tests; `took` how long its processes have
    trained it, with checks, saving, drawing and pauses, but without waiting in line and loading. A run from
    before these were kept has neither.
    `fetching` says how far the download is that a starting run waits for; `waits` names the files that a run
    whose epochs are all over cannot write yet, and why.
    """

    path: Path
    id: str
    name: str
    state: str
    preset: str | None
    model: str | None
    task: str | None
    alg: str | None
    loss: str | None
    epoch: int
    epochs: int | None
    best: float | None
    last: float | None
    device: str | None
    created: str | None
    seconds_an_epoch: float | None
    ahead: int | None
    tags: tuple[str, ...] = ()
    samples_per_s: float | None = None
    reason: str | None = None
    trained: float | None = None
    took: float | None = None
    fetching: str | None = None
    waits: str | None = None
    processes: int = 1
    best_val: float | None = None
    test_at_best: float | None = None

    @property
    def best_test(self) -> float | None:
        """`best` where no images are held out for validation."""
        return self.best if self.best_val is None else None

    @property
    def test_last(self) -> float | None:
        """The test accuracy of the last epoch, `last` by its full name."""
        return self.last

    @property
    def scores(self) -> Scores:
        """The accuracies by their names."""
        return Scores(self.best_val, self.best_test, self.test_at_best, self.last)

    @property
    def seconds_left(self) -> float | None:
        """Time to the end of the plan, while the run is running and has finished an epoch."""
        if self.state != "running" or self.epochs is None or self.seconds_an_epoch is None:
            return None
        return max(0, self.epochs - self.epoch) * self.seconds_an_epoch


def standing(path: Path, state: dict[str, Any], *, now: float | None = None) -> str:
    """What its `state.json` says of a run, or `lost` or `unreachable` if its process is gone or silent."""
    said = text(str(state.get("state", "unknown"))) or "unknown"
    if said not in ALIVE:
        return said
    beat = number(state.get("heartbeat"))
    since = None if beat is None else (time.time() if now is None else now) - beat
    silent = since is None or not -STALE_SECONDS <= since <= STALE_SECONDS  # a clock may have jumped
    if said == "starting" and state.get("pid") is None:  # its process has not come to write for itself yet
        return "lost" if silent else said
    if state.get("host") != socket.gethostname():
        return "unreachable" if silent else said
    from eqprop_core.runs.processes import process_of  # psutil: only for runs of which a process may be here

    there = state.get("pid") is not None and process_of(path, state) is not None
    return said if there else "lost"


def why_lost(state: dict[str, Any]) -> str | None:
    """What may have ended a run that is lost: `perhaps out of memory` if it was near its limit at the end."""
    used, limit = number(state.get("memory")), number(state.get("memory_limit"))
    if used is None or limit is None or limit <= 0 or used < NEAR_ITS_LIMIT * limit:
        return None
    return "perhaps out of memory"


def number(value: object) -> float | None:
    """A value of a file as a number that can be reckoned with, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < 1e15 else None


def summarize(path: Path) -> RunSummary:
    """The summary of the run at `path`, from `state.json` alone; what cannot be read is unknown."""
    state = RunFolder(path).read_state()
    if state.get("state") == "starting" and not RunFolder(path).is_owned():
        state["heartbeat"] = None  # its process has ended before it could say anything

    def words(key: str) -> str | None:
        return text(state.get(key))

    def figure(key: str) -> float | None:
        return number(state.get(key))

    tags = state.get("tags")
    stands = standing(path, state)
    kept = [name for name in ("best", "last", "best_val", "test_at_best") if name in state]
    held: dict[str, float | None] = {name: figure(name) for name in kept}
    scores = scores_of_state(held, path)
    return RunSummary(
        path=path,
        id=id_of(state.get("id")) or "",
        name=words("name") or shown(path.name),
        state=stands,
        preset=words("preset"),
        model=words("model"),
        task=words("task"),
        alg=words("alg"),
        loss=words("loss"),
        epoch=int(figure("epoch") or 0),
        epochs=int(epochs) if (epochs := figure("epochs")) is not None else None,
        best=figure("best"),
        last=figure("last"),
        device=words("device"),
        created=words("created"),
        seconds_an_epoch=figure("seconds_an_epoch"),
        ahead=int(ahead) if (ahead := figure("ahead")) is not None else None,
        tags=tuple(tags) if isinstance(tags, list) else (),
        samples_per_s=figure("samples_per_s"),
        reason=why_lost(state) if stands == "lost" else None,
        trained=figure("trained"),
        took=figure("took"),
        fetching=words("fetching") if stands == "starting" else None,
        waits=words("waits") if stands == "running" else None,
        processes=int(figure("processes") or 1),
        best_val=scores.best_val,
        test_at_best=scores.test_at_best,
    )


def matching(
    runs: Iterable[RunSummary],
    words: Iterable[str] = (),
    *,
    states: Collection[str] = (),
    tags: Iterable[str] = (),
) -> list[RunSummary]:
    """Runs that mention all `words`, stand in one of `states` if any is given, and have all `tags`.

    A word is looked for in id, state, name, preset, model, algorithm, loss, data set, device and tags,
    whatever its case.
    """
    wanted, all_tags = [same(word.casefold()) for word in words], set(map(same, tags))

    def mentions(run: RunSummary) -> str:
        named = (run.id, run.state, run.name, run.preset, run.model, run.alg, run.loss, run.task, run.device)
        return same("\n".join(text for text in (*named, *run.tags) if text).casefold())

    return [
        run
        for run in runs
        if (not states or run.state in states)
        and all_tags <= set(map(same, run.tags))
        and (not wanted or all(word in mentions(run) for word in wanted))
    ]


def run_folders(roots: Iterable[Path]) -> Iterator[Path]:
    """Every run below the given results folders, with a `config.toml` or as the reference leaves it.

    They are root/<alg>/<loss>/<date>/<time>, and those of sweeps root/sweeps/<sweep>/runs/<cell>/<seed>.
    """
    seen: set[Path] = set()
    for root in roots:
        root = root.resolve()
        if root in seen:
            continue
        seen.add(root)
        for path in chain(_below([str(root)], 4), _below([str(root / SWEEPS)], 4)):
            if is_run(path) or is_reference(path):
                yield Path(path)


def is_run(path: Path | str) -> bool:
    """Whether a folder that can be looked into has a `config.toml`."""
    return os.path.exists(os.path.join(path, CONFIG))  # noqa: PTH110, PTH118  much quicker, and never raises


def _below(folders: Iterable[str], depth: int) -> Iterator[str]:
    for folder in folders:
        if depth == 0:
            yield folder
            continue
        try:
            with os.scandir(folder) as entries:
                inner = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            continue
        yield from _below(inner, depth - 1)


def list_runs(roots: Iterable[Path] | None = None) -> list[RunSummary]:
    """All runs below `roots` (those used before and ./results if None), the newest first."""
    places = list(roots) if roots is not None else default_roots()
    runs = [summarize(path) for path in run_folders(places)]
    return sorted(runs, key=lambda run: run.created or "", reverse=True)


def find_run(wanted: str, roots: Iterable[Path] | None = None) -> RunFolder:
    """The run named by a folder, `last`, a name, or the first letters of an id. Raises `NoSuchRunError`."""
    folder = expanded(Path(wanted))
    if is_run(folder) or is_reference(folder):
        return RunFolder(folder)
    runs = list_runs(roots)
    if wanted == "last" and runs:
        here = list_runs([results_root()]) if roots is None else []
        return RunFolder((here or runs)[0].path)
    found = [
        run
        for run in runs
        if same(run.name or "") == same(wanted) or (len(wanted) >= 2 and run.id.startswith(wanted))
    ]
    if len(found) == 1:
        return RunFolder(found[0].path)
    if found:
        some = ", ".join(run.id or str(run.path) for run in found[:6])
        raise NoSuchRunError(
            f"{wanted}: means {len(found)} runs ({some}); give more of the id, or the folder"
        )
    raise NoSuchRunError(f"{shown(wanted)}: is no run; {_hint(wanted, runs)}")


def called(run: RunFolder) -> str:
    """What commands find a run by: its id where its results folder is remembered, else its folder."""
    path = run.path.resolve()
    id = id_of(run.meta().get("id"))
    above = 4 if path.parents[3:4] and path.parents[3].name == SWEEPS else 3
    known = len(path.parents) > above and path.parents[above] in known_roots()
    return id if id and known else str(run.path.absolute())


def _hint(wanted: str, runs: Sequence[RunSummary]) -> str:
    """What may have been meant by something that names no run."""
    if not runs:
        return "there are none yet here; give the folder of one"
    known = list(dict.fromkeys(name for run in runs for name in (run.name, run.id) if name))
    near = did_you_mean(wanted, [*known, "last"])
    return near or "give a folder, an id from `eqprop runs list`, a name, or last"
