"""A checkpoint that fails or is cut anywhere leaves a good one, from which the run goes on.

The points at which it can fail are counted in a dry pass over the calls to the operating system, and then
failed one by one: so a call that is new is tried as well.
"""

from __future__ import annotations

import builtins
import errno
import gc
import io
import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from eqprop_core.config import RunConfig
from eqprop_core.learning.trainer import Trainer
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.log import read_events
from eqprop_core.runs.settings import Plan
from eqprop_core.worker import checkpoint, preparing, training
from eqprop_core.worker.session import Session

CALLS = ("open", "write", "fsync", "fdatasync", "ftruncate", "close", "link", "unlink", "remove", "rename", "replace", "mkdir", "symlink", "stat", "fstat", "lstat")  # fmt: skip
KEPT = {"checkpoint.tar", "checkpoint.prev.tar", "config.toml", "hyperparameters.txt", "meta.json", "events.jsonl", "console.log", "state.json", "lock"}  # fmt: skip
LEFT_BEHIND = {".checkpoint.tar.tmp", ".checkpoint.prev.tar"}


class Dies(BaseException):
    """The process ends here: nothing that would come after it happens."""


@dataclass
class Fault:
    """Counts calls, and makes number `at` fail; `after` bytes of a write are written before."""

    folder: Path
    at: int = -1
    how: BaseException | None = None
    after: int = 0
    power: bool = False
    count: int = 0
    dead: bool = False
    names: list[str] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    synced: set[int] = field(default_factory=set)
    written: set[Path] = field(default_factory=set)
    held: set[int] = field(default_factory=set)

    def reach(self, name: str, size: int | None = None) -> bool:
        """Note a call; True if it is the one that fails."""
        if self.dead:
            raise Dies(name)
        if size is not None:
            self.sizes[self.count] = size
        self.names.append(name)
        self.count += 1
        return self.count - 1 == self.at

    def fail(self) -> None:
        assert self.how is not None
        self.dead = isinstance(self.how, Dies)
        raise self.how


class Watched:
    """A file that is open for writing, every call of which can fail."""

    def __init__(self, file: Any, fault: Fault, path: Path) -> None:
        self._file, self._fault = file, fault
        fault.written.add(path)

    def write(self, content: Any) -> int:
        if self._fault.reach("file.write", len(content)):
            self._file.write(memoryview(content)[: self._fault.after])
            self._file.flush()
            self._fault.fail()
        return int(self._file.write(content))

    def flush(self) -> None:
        if self._fault.reach("file.flush"):
            self._fault.fail()
        self._file.flush()

    def fileno(self) -> int:
        return int(self._file.fileno())

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        if self._fault.reach("file.close"):
            self._fault.fail()


@contextmanager
def failing(fault: Fault) -> Iterator[Fault]:
    """Let every call to the operating system that concerns the folder pass through `fault`."""
    real = {name: getattr(os, name) for name in CALLS}
    real_open = io.open
    descriptors: set[int] = set()

    def concerns(arguments: tuple[Any, ...]) -> bool:
        for value in arguments:
            if isinstance(value, int) and value in descriptors:
                return True
            if isinstance(value, (str, Path)) and str(value).startswith(str(fault.folder)):
                return True
        return False

    def patched(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if not concerns(arguments[:2]):
                return real[name](*arguments, **named)
            size = len(arguments[1]) if name == "write" else None
            if fault.reach(f"os.{name}", size):
                if name == "write":
                    real[name](arguments[0], arguments[1][: fault.after])
                fault.fail()
            result = real[name](*arguments, **named)
            if name == "open":
                descriptors.add(result)
            elif name == "close":
                descriptors.discard(arguments[0])
            elif name == "fsync":
                fault.synced.add(real["fstat"](arguments[0]).st_ino)
            return result

        return call

    def open_file(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if isinstance(path, int):  # the lock and the console: no more than lines for people
            descriptors.discard(path)
            return real_open(path, mode, *arguments, **named)
        writes = set(mode) & set("wxa+")
        if not writes or not concerns((path,)):
            return real_open(path, mode, *arguments, **named)
        if fault.reach("open"):
            fault.fail()
        file = real_open(path, mode, *arguments, **named)
        descriptors.add(file.fileno())
        return Watched(file, fault, Path(path))

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, patched(name))
        patch.setattr(io, "open", open_file)
        patch.setattr(builtins, "open", open_file)
        yield fault
    fault.held = descriptors


def cut_power(fault: Fault) -> None:
    """Empty what was written and not synced, wherever it is now."""
    for path in fault.folder.iterdir():
        if path.suffix in (".tar", ".tmp") and path.stat().st_ino not in fault.synced:
            path.write_bytes(b"")


@dataclass
class Bench:
    """A run with two checkpoints of one training, and the state in memory that comes next."""

    run: RunFolder
    plan: Plan
    trainer: Trainer
    kept: Path
    weights: dict[str, torch.Tensor]

    def lay_out(self, *, damaged: bool = False) -> None:
        """Put the folder back to where checkpoint.tar is of epoch 2, checkpoint.prev.tar of epoch 1."""
        for path in self.run.path.iterdir():  # the folder itself is held: another would not be it
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.kept, self.run.path, dirs_exist_ok=True)
        if damaged:
            path = self.run.path / "checkpoint.tar"
            path.write_bytes(path.read_bytes()[:-300])

    def session(self) -> Session:
        return Session(self.run.path, folder=self.run, config=self.plan.config, epochs=9)

    def resumed(self) -> tuple[int, dict[str, torch.Tensor]]:
        """Epochs and weights that the run goes on from."""
        trainer = Trainer(self.plan.config, self.trainer.net, self.trainer.dataset)
        training.resume(trainer, self.plan, self.run)
        return trainer.epoch, {name: value.clone() for name, value in trainer.net.state_dict().items()}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    root = tmp_path_factory.mktemp("atomic")
    config = RunConfig(task="digits", archi=[64, 4, 10], lrs=[0.1, 0.1], mmt=0.5, T1=3, T2=2, betas=[0, 0.5], train_samples=20, test_samples=10, epochs=9, seed=1)  # type: ignore[call-arg, arg-type]  # fmt: skip
    plan = Plan(config)
    ready = preparing.prepare(plan)
    trainer = Trainer(config, ready.net, ready.dataset)
    run = RunFolder.create(root, config, command=["test"])
    trainer.epochs = 1
    for epochs in (1, 2):
        trainer.epochs = epochs
        list(trainer.run())
        trainer.epochs = 9
        session = Session(run.path, folder=run, config=config, epochs=9)
        list(session.save_checkpoint(trainer))
        session.__exit__(None, None, None)
    kept = root / "kept"
    shutil.copytree(run.path, kept)
    trainer.epochs = 3
    list(trainer.run())
    trainer.epochs = 9
    weights = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    gc.collect()
    gc.freeze()  # so that a thousand collections do not go through all that other tests have imported
    yield Bench(run, plan, trainer, kept, weights)
    gc.unfreeze()


def outcome(bench: Bench, fault: Fault) -> None:
    """Save the third state with a fault on the way; whatever happens is an event, or the end."""
    for name, value in bench.trainer.net.state_dict().items():
        value.copy_(bench.weights[name])
    session: Session | None = None
    with failing(fault):
        try:
            session = bench.session()
            list(session.save_checkpoint(bench.trainer))
        except RunError as error:  # a session that cannot write does not begin
            assert session is None and "cannot be written" in str(error)
        except Dies:
            assert fault.dead
    if session is not None:
        session.__exit__(None, None, None)
    elif fault.how is not None:  # what a process holds, it holds no longer
        fault.how.__traceback__ = None
        gc.collect()
        for descriptor in fault.held:
            with suppress(OSError):
                os.close(descriptor)


def cuts(size: int, whole: Path) -> list[int]:
    """Places to cut a write: around every boundary inside the file, and between."""
    places = {0, 1, size // 2, size - 1, size}
    with zipfile.ZipFile(whole) as file:
        edges = [part.header_offset for part in file.infolist()]
        edges += [part.header_offset + part.file_size for part in file.infolist()]
        edges.append(file.start_dir)
    places |= {edge + near for edge in edges for near in (-1, 0, 1)}
    places |= set(range(0, size, 4096))
    return sorted(place for place in places if 0 <= place <= size)


def points(bench: Bench, *, damaged: bool) -> Iterator[tuple[str, Fault]]:
    """Every way in which the save can fail: each call, and each cut of a write."""
    bench.lay_out(damaged=damaged)
    dry = Fault(bench.run.path)
    outcome(bench, dry)
    assert bench.resumed()[0] == 3
    whole = bench.run.path / "checkpoint.tar"
    size = whole.stat().st_size
    places = cuts(size, whole)
    for at, name in enumerate(dry.names):
        big = dry.sizes.get(at, 0) > 1000
        parts = places if big else (0, dry.sizes[at] // 2) if at in dry.sizes else (0,)
        for number, after in enumerate(parts):
            errors = [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "Input/output error")]  # fmt: skip
            for how in [errors[number % 2]] if big else errors:  # in turn: there are many places
                yield name, Fault(bench.run.path, at, how, after)
            yield name, Fault(bench.run.path, at, Dies(), after)
            if number % 2 == 0:
                yield f"{name}, power cut", Fault(bench.run.path, at, Dies(), after, power=True)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damaged", [False, True], ids=["two good checkpoints", "the latest is damaged"])
def test_a_save_that_fails_anywhere_leaves_a_checkpoint_to_go_on_from(bench: Bench, damaged: bool) -> None:
    expected = {1: bench.kept / "checkpoint.prev.tar", 2: bench.kept / "checkpoint.tar"}
    states = {n: checkpoint.load(path)["model_state_dict"] for n, path in expected.items()}
    states[3] = bench.weights
    tried: Counter[str] = Counter()
    ends: Counter[int] = Counter()
    for name, fault in list(points(bench, damaged=damaged)):
        bench.lay_out(damaged=damaged)
        held = {path.stat().st_ino for path in bench.run.path.glob("*.tar")}
        fault.synced |= held
        outcome(bench, fault)
        if fault.power:
            cut_power(fault)
        where = f"call {fault.at} ({name}), after {fault.after} bytes, {fault.how!r}"
        assert fault.count > fault.at, where
        files = {path.name for path in bench.run.path.iterdir()}
        assert files <= KEPT | LEFT_BEHIND, where
        if isinstance(fault.how, OSError):
            assert ".checkpoint.tar.tmp" not in files or name == "os.unlink", where
        epoch, weights = bench.resumed()
        assert epoch in ((1, 3) if damaged else (2, 3)), where
        assert all(torch.equal(weights[key], states[epoch][key]) for key in weights), where
        good = [path for path in bench.run.path.glob("checkpoint*.tar") if checkpoint.is_whole(path)]
        assert good, where
        list(read_events(bench.run.path / "events.jsonl"))
        tried[name] += 1
        ends[epoch] += 1
        if fault.dead and fault.after in (0, 4096):  # the process that comes next saves, and tidies up
            for key, value in bench.trainer.net.state_dict().items():
                value.copy_(bench.weights[key])
            session = bench.session()
            list(session.save_checkpoint(bench.trainer))
            session.__exit__(None, None, None)
            assert bench.resumed()[0] == 3, where
            assert not {path.name for path in bench.run.path.iterdir()} & {".checkpoint.tar.tmp"}, where
    print(f"\n{sum(tried.values())} points, resumed at epoch {dict(ends)}: {dict(tried)}")
    assert sum(tried.values()) > 150
    assert len(ends) == 2


@pytest.mark.parametrize("name", sorted(LEFT_BEHIND))
def test_what_a_killed_process_left_is_no_checkpoint(bench: Bench, name: str) -> None:
    bench.lay_out()
    whole = (bench.run.path / "checkpoint.tar").read_bytes()
    for path in bench.run.path.glob("checkpoint*.tar"):
        path.unlink()
    (bench.run.path / name).write_bytes(whole)
    with pytest.raises(RunError, match=r"holds none of checkpoint\.tar"):
        bench.resumed()


def test_checkpoints_are_written_where_there_are_no_hard_links(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    bench.lay_out()
    session = bench.session()
    list(session.save_checkpoint(bench.trainer))
    session.__exit__(None, None, None)
    assert bench.resumed()[0] == 3
    assert checkpoint.load(bench.run.path / "checkpoint.prev.tar")["position"]["epoch"] == 2


def test_a_checkpoint_of_another_version_is_not_gone_back_behind(bench: Bench) -> None:
    bench.lay_out()
    path = bench.run.path / "checkpoint.tar"
    torch.save({**checkpoint.load(path), "format": 2}, path)
    with pytest.raises(RunError, match="has format 2; this version reads 1"):
        bench.resumed()
