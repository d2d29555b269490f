#!/usr/bin/env python3
"""Kill, stop, pause and change runs again and again, resume them, and see whether anything was lost.

    python tests/soak_kill.py --kills 1000 --minutes 60

Small trainings by every algorithm, with accelerations, checks, images of one's own and pictures, are struck:

- `end`: before each call by which a file, a name or a lock changes, from the process's last to the last epoch's end,
- `start`: before such a call of a process that goes on with a run,
- `point`: in a batch, an update, half a checkpoint, a rename, or at such a call after some batch,
- `moment`: at any moment, by SIGKILL mostly, SIGTERM, and requests to stop, to pause and to change settings,
- `launched`: likewise, of processes that the launcher started as it does for a person,
- `several`: likewise, one of the processes that train a run together.

The others are forked from a process that has imported torch (`warm_worker.py`). After each blow the run must stand
as it is: lost, finished once all is there, and never failed. It is resumed until it is finished, and must then
have the weights, the best weights, the optimizer's state, the histories, the epochs among its events and the best
accuracy of a run that was left alone, bit for bit, and no unfinished files. Where it was changed in flight, the one
left alone is trained afterwards with the same changes at the same places. What differs is kept in `--keep`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import psutil
import torch
import warm_worker
from interruptions import Strike, end_of, same
from small_files import cifar10_files, idx_files
from warm_worker import Blow

from eqprop_core.config import RunConfig
from eqprop_core.events import Amended
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.history import current_events
from eqprop_core.runs.launcher import Start, launch
from eqprop_core.runs.listing import list_runs
from eqprop_core.runs.log import EventLog, read_events
from eqprop_core.runs.names import EVENTS, STATE

BASE: dict[str, Any] = {
    "task": "digits", "archi": [64, 16, 10], "lrs": [0.05, 0.05], "T1": 8, "T2": 4, "betas": [0.0, 0.3],
    "mbs": 4, "epochs": 4, "seed": 5, "checkpoint_every": 0.001, "train_samples": 100, "test_samples": 40,
}  # fmt: skip
CNN: dict[str, Any] = {
    "archi": None, "channels": [4, 6], "kernels": [3, 3], "paddings": [1, 1], "lrs": [0.1] * 3, "mbs": 10,
    "act": "my_hard_sig",
}  # fmt: skip
TABLE: dict[str, dict[str, Any]] = {
    "one-sided, momentum": {"mmt": 0.9},
    "checks, pictures": {"mmt": 0.9, "check_thm": True, "epochs": 2},
    "random sign, adam": {"random_sign": True, "optim": "adam", "lrs": [1e-3, 1e-3]},
    "symmetric, dropout, decay": {"thirdphase": True, "dropouts": [0.9, 0.7, 1.0], "lr_decay": True},
    "bptt, validation": {"alg": "BPTT", "val_split": 0.2, "mmt": 0.9},
    "continual": {"alg": "CEP", "thirdphase": True, "wds": [1e-3, 1e-3]},
    "vector field": {
        **CNN, "model": "VFCNN", "loss": "cel", "softmax": True, "thirdphase": True, "same_update": True,
    },
    "tolerance, validation": {"tol": 1e-3, "T1": 40, "T2": 20, "val_split": 0.2},
    "bfloat16": {"precision": "bf16", "thirdphase": True},
    "updates in turn, checks": {"updates": "async", "check_thm": True},
    "augmented": {**CNN, "model": "CNN", "task": "CIFAR10", "strides": [2, 2], "data_aug": True, "mbs": 5, "train_samples": 50, "test_samples": 10},
    "own IDX files": {"task": "idx", "archi": None, "lrs": [0.05] * 2, "samples": "drawn", "train_samples": 60, "test_samples": 20},
    "image folder, pictures": {"task": "imagefolder", "image_size": 6, "archi": None, "lrs": [0.05] * 2, "epochs": 2, "train_samples": 40, "test_samples": 10},
}  # fmt: skip
DEEDS = {"kill": 8, "term": 1, "stop": 1, "pause": 1, "set": 1}  # how likely
WAYS = {"end": 14, "start": 4, "point": 5, "moment": 5, "launched": 0.5, "several": 0.15}
POINTS = (
    "free phase",
    "update",
    "boundary",
    "batch",
    "event",
    "half a file",
    "sync",
    "rename",
    "link",
    "end",
)
WAIT = 300.0  # seconds in which a process ends that is to


class DifferenceError(AssertionError):
    """Something of a run is not as it must be."""


class Soak:
    """Runs below `root`, and what has been done to them."""

    def __init__(self, root: Path, chance: random.Random, keep: Path) -> None:
        self.root, self.chance, self.keep = root, chance, keep
        self.done: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self.differences: list[str] = []
        self.whole: dict[str, RunFolder] = {}
        self.almost: dict[str, RunFolder] = {}
        self.lengths: dict[str, float] = {}
        self.calls: dict[tuple[str, str], int] = {}
        self._numbers = itertools.count(1)
        make_data(root / "data")

    def new(self, name: str) -> RunFolder:
        """A new run of a configuration, in a results folder of its own."""
        settings = {**BASE, **TABLE[name], "data_dir": str(self.root / "data")}
        return RunFolder.create(self.root / f"{next(self._numbers)}", RunConfig(**settings), command=[name])

    def copied(self, name: str) -> RunFolder:
        """The run of a configuration that has a batch left."""
        source = self.almost[name]
        root = self.root / f"{next(self._numbers)}"
        path = root / source.path.relative_to(source.path.parents[3])
        shutil.copytree(source.path, path)
        return RunFolder(path)

    def prepare(self, name: str) -> None:
        """Train a run of a configuration that nothing happens to, and one until it has a batch left."""
        begun = time.monotonic()
        self.whole[name] = self.left_alone(name, [])
        self.lengths[name] = time.monotonic() - begun
        self.almost[name] = self.new(name)
        batches = sum(r.event.kind == "epoch_finished" for r in events_of(self.whole[name])) * batches_of(
            name
        )
        self.work(self.almost[name], name, Strike("boundary", batches - 1, "stop"))
        for since in ("start", "end"):
            listed = self.root / f"{name} {since}"
            run = self.copied(name)
            self.work(run, name, Blow(since, 0), listed)
            self.compare(run, self.whole[name])
            self.calls[name, since] = len(listed.read_text().splitlines())

    def left_alone(self, name: str, changes: list[Amended]) -> RunFolder:
        """A run that nothing happened to, changed at the same places as another."""
        run = self.new(name)
        if changes:  # as if its first process had died after them: they are made again
            log = EventLog(run.path / EVENTS)
            for change in changes:
                log.write(change)
            log.close()
        self.work(run, name)
        self.finish(run, name)
        return run

    def work(
        self, run: RunFolder, name: str, struck: Blow | Strike | None = None, places: Path | None = None
    ) -> int:
        """Train a run until it ends or is struck; the exit status."""
        process = warm_worker.start(run.path, struck, places=places, draws="pictures" in name)
        return self.ended(run, process)

    def ended(self, run: RunFolder, process: Any) -> int:
        """The exit status of a worker, negative for a signal; how the run stands must be right."""
        status = waited(process, WAIT)
        if status is None:
            process.kill()
            raise DifferenceError(f"has not ended within {WAIT:.0f} s")
        state = state_of(run)
        if status < 0:  # a SIGTERM, too, ends a process that is not yet so far as to hear it
            self.done["kill"] += status == -signal.SIGKILL
            right = state in ("lost", "stopped", "finished") or not (run.path / STATE).exists()
        elif status == 0:
            right = state in ("finished", "stopped")
        else:
            right = state in ("finished", "stopped") and status == 128 + signal.SIGTERM
        if not right:
            message = run.read_state().get("message")
            raise DifferenceError(f"is {state} ({message}) after exit status {status}")
        self.done[f"{state} after {'a kill' if status < 0 else f'status {status}'}"] += 1
        return status

    def finish(self, run: RunFolder, name: str) -> None:
        """Go on with a run until it says that it is finished."""
        for _ in range(4):
            if state_of(run) == "finished":
                return
            self.work(run, name)
        raise DifferenceError(f"is {state_of(run)} for ever")

    def compare(self, run: RunFolder, whole: RunFolder) -> None:
        """Raise `DifferenceError` where a finished run is not as one that was left alone."""
        ends = [end_of(one) for one in (run, whole)]
        if differing := [name for name in ends[1] if not same(ends[0][name], ends[1][name])]:
            raise DifferenceError(f"has other {differing}")
        told = [[epoch_told(record.event) for record in events_of(one)] for one in (run, whole)]
        told = [[one for one in some if one] for some in told]
        if told[0] != told[1]:
            raise DifferenceError(f"tells of {told[0]}, not of {told[1]}")
        numbers = [record.seq for record in read_events(run.path / EVENTS)]
        if any(b <= a for a, b in itertools.pairwise(numbers)):
            raise DifferenceError("has events of one number")
        if left := [path.name for path in run.path.rglob("*") if path.name.startswith(".")]:
            raise DifferenceError(f"has unfinished files {left}")

    # --- ways ----------------------------------------------------------------------------------------

    def end(self, name: str) -> None:
        """Kill a process at one of its last calls: the very last one first, and so on, over all configurations."""
        calls = self.calls[name, "end"]
        nth = calls - (self.done["end"] - 1) % calls
        self._at_calls(name, Blow("end", nth))

    def start(self, name: str) -> None:
        """Kill a process that goes on with a run, at one of its calls."""
        self._at_calls(name, Blow("start", self.chance.randint(1, self.calls[name, "start"])))

    def _at_calls(self, name: str, blow: Blow) -> None:
        run = self.copied(name)
        for struck in (blow, *self._more(name)):
            self.said = f"{self.said} {struck}"
            with tempfile.NamedTemporaryFile() as places:
                if self.work(run, name, struck, Path(places.name)) < 0:
                    self.places[Path(places.name).read_text().splitlines()[-1]] += 1
            if state_of(run) == "finished":
                break
        self.finish(run, name)
        self.compare(run, self.whole[name])

    def _more(self, name: str) -> Iterator[Blow]:
        """Blows that a run may be dealt again as it is resumed."""
        while self.chance.random() < 0.3:
            since = self.chance.choice(["start", "end"])
            yield Blow(since, self.chance.randint(1, self.calls[name, since]))

    def point(self, name: str) -> None:
        """Kill processes of a run at named points, or at a call after some batch."""
        run = self.new(name)
        for _ in range(self.chance.randint(1, 4)):
            where, nth = self.chance.choice(POINTS), self.chance.randint(1, 12)
            struck: Blow | Strike = Strike(where, nth, "kill", self.chance.random() < 0.5)
            if self.chance.random() < 0.5:
                struck = Blow(self.chance.randint(1, 100), self.chance.randint(1, 40))
            self.said = f"{self.said} {struck}"
            if self.work(run, name, struck) < 0:
                self.places[struck.where if isinstance(struck, Strike) else "a call after some batch"] += 1
            if state_of(run) == "finished":
                break
        self.finish(run, name)
        self.compare(run, self.whole[name])

    def moment(self, name: str) -> None:
        """Meet the processes of a run at any moments."""
        self._meet(
            name, self.lengths[name], lambda run: warm_worker.start(run.path, draws="pictures" in name)
        )

    def launched(self, name: str) -> None:
        """Meet processes that were started as for a person."""
        self._meet(name, 6 + self.lengths[name], lambda run: launched(run, 1))

    def several(self, name: str) -> None:
        """Kill one of two processes that train a run together."""
        run = self.new(name)
        for _ in range(2):
            process = launched(run, 2)
            waited(process, self.chance.uniform(2.0, 25.0))
            with suppress(psutil.Error):
                self.chance.choice([process, *process.children(recursive=True)]).kill()
                self.done["kill"] += 1
            waited(process, WAIT)
            deadline = time.monotonic() + WAIT
            while run.is_owned():
                if time.monotonic() > deadline:
                    raise DifferenceError("is owned by processes that are left behind")
                time.sleep(0.1)
            if state_of(run) not in ("lost", "failed", "finished", "stopped"):
                raise DifferenceError(f"is {state_of(run)}")
        if state_of(run) != "finished" and waited(launched(run, 2), WAIT) != 0:
            raise DifferenceError(f"is {state_of(run)} at the end: {run.read_state().get('message')}")
        if state_of(run) != "finished":
            raise DifferenceError(f"is {state_of(run)} at the end")
        key = f"{name}, two processes"
        if key not in self.whole:
            self.whole[key] = self.new(name)
            waited(launched(self.whole[key], 2), WAIT)
        self.compare(run, self.whole[key])

    def _meet(self, name: str, length: float, begin: Any) -> None:
        run = self.new(name)
        for _ in range(12):
            process = begin(run)
            moment = self.chance.uniform(0.0, length)
            while waited(process, moment) is None:
                (deed,) = self.chance.choices(list(DEEDS), list(DEEDS.values()))
                self.done[deed] += deed != "kill"
                self.said = f"{self.said} {deed} after {moment:.3f} s"
                if meet(run, process, deed, self.chance):
                    break
                moment = self.chance.uniform(0.0, length)
            self.ended(run, process)
            if state_of(run) == "finished":
                break
        self.finish(run, name)
        changes = changes_of(run)
        self.done["changed in flight"] += bool(changes)
        self.compare(run, self.left_alone(name, changes) if changes else self.whole[name])

    def trial(self, way: str, name: str) -> None:
        """One run, met in one way."""
        self.said = f"{way}, {name}:"
        before = {path.name for path in self.root.iterdir()}
        self.done[way] += 1
        try:
            getattr(self, way)(name)
        except Exception as error:
            self.differences.append(
                f"{self.said} {error if isinstance(error, DifferenceError) else repr(error)}"
            )
            print("DIFFERENCE", self.differences[-1], flush=True)
            shutil.copytree(self.root, self.keep / f"{len(self.differences)}", ignore=lambda folder, names: [
                one for one in names if Path(folder) == self.root and one in before
            ])  # fmt: skip
        kept = {str(run.path.relative_to(self.root).parts[0]) for run in self.whole.values()}
        for path in self.root.iterdir():
            if path.name not in before | kept:
                shutil.rmtree(path)


def make_data(root: Path) -> None:
    """CIFAR-10, an own data set of small IDX files, and an image folder, of noise."""
    from PIL import Image

    (root / "cifar-10-batches-bin").mkdir(parents=True)
    for name, content in cifar10_files(10).items():
        (root / "cifar-10-batches-bin" / name).write_bytes(content)
    for name, content in idx_files(80, 20).items():
        (root / name).write_bytes(content)
    for split, count in (("train", 20), ("test", 5)):
        for label, kind in enumerate(("cats", "dogs")):
            (root / split / kind).mkdir(parents=True)
            for number in range(count):
                color = (100 * label + number, 20 * number % 256, number)
                Image.new("RGB", (6, 6), color).save(root / split / kind / f"{number}.png")


def batches_of(name: str) -> int:
    """Batches of an epoch of a configuration."""
    settings = {**BASE, **TABLE[name]}
    images = settings["train_samples"] * (1 - settings.get("val_split", 0.0))
    return -(-round(images) // int(settings["mbs"]))


def launched(run: RunFolder, processes: int) -> psutil.Process:
    """The worker of a run, started as for a person."""
    config = RunConfig(**run.config())  # type: ignore[arg-type]
    started = launch(run, config, Start(now=True, apart=False, nproc=processes if processes > 1 else None))
    assert started.pid is not None
    return psutil.Process(started.pid)


def waited(process: Any, seconds: float) -> int | None:
    """The exit status of a process if it ends in so many seconds, negative for a signal."""
    if not isinstance(process, psutil.Process):
        process.join(seconds)
        return process.exitcode
    try:
        return process.wait(seconds)
    except psutil.TimeoutExpired:
        return None


def meet(run: RunFolder, process: Any, deed: str, chance: random.Random) -> bool:
    """Do something to a run's process; whether it ends by that."""
    match deed:
        case "kill":
            process.kill()
        case "term":
            process.terminate()
        case "stop":
            ask(run.path, "stop")
        case "set":
            factor, epochs = {"lr_factor": chance.choice([0.5, 2.0])}, {"epochs": chance.randint(3, 5)}
            ask(run.path, "set", chance.choice([factor, epochs]))
        case "pause":
            ask(run.path, "pause")
            waited(process, chance.uniform(0.1, 1.0))
            ask(run.path, "resume")
    return deed in ("kill", "term", "stop")


def state_of(run: RunFolder) -> str:
    """How a list shows a run."""
    (summary,) = list_runs([run.path.parents[3]])
    return summary.state


def events_of(run: RunFolder) -> Iterator[Any]:
    """The events that hold."""
    return current_events(run.path / EVENTS)


def epoch_told(event: Any) -> Any:
    """What an event says of an epoch or of the end; None of others."""
    if event.kind not in ("epoch_finished", "run_finished"):
        return None
    return event.kind, event.model_dump(exclude={"seconds", "trained"})


def changes_of(run: RunFolder) -> list[Amended]:
    """The changes that were made in flight, each once."""
    found: list[Amended] = []
    for record in read_events(run.path / EVENTS):
        if isinstance(record.event, Amended) and record.event not in found:
            found.append(record.event)
    return found


def main() -> int:
    """Kill, resume, compare; returns 1 if anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--only", nargs="+", choices=TABLE, default=list(TABLE), help="configurations")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "soak-kept")
    words = parser.parse_args()
    torch.set_num_threads(1)
    chance = random.Random(words.seed)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        for name in (
            "HOME",
            "XDG_STATE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_CACHE_HOME",
            "EQPROP_LINES",
        ):
            os.environ[name] = str(
                Path(temporary) / "home"
            )  # the folders of this script are nobody's results
        os.environ.pop("EQPROP_FOREGROUND", None)
        soak = Soak(Path(temporary) / "soak", chance, words.keep)
        for name in words.only:
            soak.prepare(name)
        print({f"{name}, {since}": count for (name, since), count in soak.calls.items()}, flush=True)
        names = itertools.cycle(words.only)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            while soak.done["kill"] < words.kills and time.monotonic() - begun < 60 * words.minutes:
                (way,) = chance.choices(words.ways, [WAYS[way] for way in words.ways])
                soak.trial(way, next(names))
                if sum(soak.done[way] for way in WAYS) % 20 == 0:
                    print(f"{soak.done['kill']:5d} kills, {time.monotonic() - begun:.0f} s", flush=True)
    for place, count in sorted(soak.places.items()):
        print(f"{count:6d} × {place}")
    print(", ".join(f"{what} {count}" for what, count in sorted(soak.done.items())))
    print(f"{soak.done['kill']} kills; {len(soak.differences)} runs differ from one left alone")
    for said in soak.differences:
        print(said)
    return int(bool(soak.differences))


if __name__ == "__main__":
    sys.exit(main())
