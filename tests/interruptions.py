"""Real worker processes that end themselves at an exact point, and what a run's end is compared by.

A `Strike` names a point by what is called there and how often it has been called in this process; requests
are made at an epoch and a batch. The clock that the trainer reads is a counter and checkpoints are due at
every `CHECKPOINT_EVERY`th batch, so that every run has all of its batch events and nothing depends on how fast
the machine is. Processes are forked from one that has imported all it needs.
"""

from __future__ import annotations

import io
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from forked import CONTEXT
from torch.optim.optimizer import register_optimizer_step_post_hook

from eqprop_core.events import Amended, RunResumed
from eqprop_core.runs.control import Request, ask
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.log import read_events
from eqprop_core.runs.names import BEST_MODEL, CHECKPOINT, EVENTS, FINAL_CHECKPOINT, FINAL_MODEL
from eqprop_core.worker import checkpoint

CHECKPOINT_EVERY = 4  # batches
SECONDS_A_LOOK = 0.6  # at the clock: enough for an event each time
EVALUATION_VALUES = 512  # so that an evaluation has several steps
ENDS = {"kill": -signal.SIGKILL, "term": 143, "term twice": 143, "stop": 0}
BOOKKEEPING = (
    "run_resumed", "checkpoint_saved", "control_received", "control_applied", "phase", "warning",
)  # fmt: skip
CLOCKS = {"samples_per_s", "seconds", "trained"}


@dataclass(frozen=True)
class Strike:
    """What ends a process: `how`, at the `nth` call (from 1) of `where`, as it begins or `after` it.

    "freeze" is SIGSTOP, which ends nothing by itself.
    """

    where: str
    nth: int
    how: str = "kill"
    after: bool = False


@dataclass(frozen=True)
class Wish:
    """A request that is made after the batch `place` = (epoch, batch), both from 1."""

    place: tuple[int, int]
    request: Request
    settings: dict[str, Any] = field(default_factory=dict)


class Processes:
    """Starts workers of runs."""

    def work(self, run: RunFolder, strike: Strike | None = None, wishes: Sequence[Wish] = ()) -> int:
        """Train a run until it ends or is struck; returns the exit status, negative for a signal."""
        process = CONTEXT.Process(target=_work, args=(run.path, strike, tuple(wishes)))
        process.start()
        process.join(120)
        assert process.exitcode is not None, "has not ended within two minutes"
        return process.exitcode

    def complete(self, run: RunFolder, strikes: Sequence[Strike] = (), wishes: Sequence[Wish] = ()) -> None:
        """Train a run to its end, interrupted by each strike in turn."""
        for strike in strikes:
            status = self.work(run, strike, wishes)
            assert status == ENDS[strike.how], f"{strike}: exit status {status}\n{said(run)}"
        status = self.work(run, None, wishes)
        assert status == 0, f"exit status {status}\n{said(run)}"


def said(run: RunFolder) -> str:
    """The last lines that the run's processes printed."""
    return (run.path / "printed.txt").read_text()[-3000:]


def _work(path: Path, strike: Strike | None, wishes: Sequence[Wish]) -> None:
    """The body of a process."""
    printed = os.open(path / "printed.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    from eqprop_core.worker.__main__ import main

    _make_steady()
    if strike is not None:
        _arm(path, strike)
    _make_wishes(path, wishes)  # at the same place, before a strike
    sys.exit(main([str(path)]))


def _make_steady() -> None:
    """Take the clock out of the work."""
    from eqprop_core import memory
    from eqprop_core.learning import trainer
    from eqprop_core.worker import requests, session

    torch.set_num_threads(1)
    clock = itertools.count()
    begin = trainer.Trainer.__init__
    trainer.Trainer.__init__ = lambda *a, **k: begin(
        *a, **{**k, "clock": lambda: SECONDS_A_LOOK * next(clock)}
    )  # type: ignore[method-assign]
    trainer.evaluation.__kwdefaults__["clock"] = lambda: SECONDS_A_LOOK * next(clock)
    memory.EVALUATION_VALUES = EVALUATION_VALUES
    due = itertools.count(1)
    session.Session.checkpoint_due = lambda self: next(due) % CHECKPOINT_EVERY == 0  # type: ignore[method-assign]
    session.Session._draw_all = lambda self, of: iter(())  # type: ignore[method-assign]  # pictures take most of the time
    session.Session._draw = lambda self, of: iter(())  # type: ignore[method-assign]
    requests.SECONDS_BETWEEN_LOOKS = 0.001


def _make_wishes(path: Path, wishes: Sequence[Wish]) -> None:
    """Make requests at their places, unless another process of this run has seen to it."""
    from eqprop_core.worker.requests import Requests

    serve = Requests.boundary
    left = [wish for wish in wishes if not (wish.request == "set" and wish.place in _amended(path))]

    def boundary(self: Requests) -> bool:
        here = (self._trainer.epoch + 1, self._trainer.batch)
        while left and left[0].place <= here:
            wish = left.pop(0)
            if wish.place == here:
                _ask(self, path, wish.request, wish.settings)
        return serve(self)

    Requests.boundary = boundary  # type: ignore[method-assign]


def _amended(path: Path) -> set[tuple[int | None, int | None]]:
    """Places of the changes that were made in flight."""
    events = (record.event for record in read_events(path / EVENTS))
    return {(event.epoch, event.batch) for event in events if isinstance(event, Amended)}


def _ask(requests: Any, path: Path, request: Request, settings: dict[str, Any] | None = None) -> None:
    """Ask, and wait until the thread that takes requests has taken it."""
    requests._arrived.clear()
    ask(path, request, settings)
    assert requests._arrived.wait(60)


def _arm(path: Path, strike: Strike) -> None:
    """Have this process end itself at a point."""
    from eqprop_core.learning import evaluation, trainer
    from eqprop_core.networks.network import Network
    from eqprop_core.worker.requests import Requests
    from eqprop_core.worker.session import Session

    count = itertools.count(1)
    serving: list[Requests] = []

    def hit() -> None:
        if threading.current_thread() is not threading.main_thread() or next(count) != strike.nth:
            return
        if strike.how == "stop":
            _ask(serving[0], path, "stop")
            return
        number = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}.get(strike.how, signal.SIGTERM)
        for _ in range(2 if strike.how == "term twice" else 1):
            os.kill(os.getpid(), number)

    def struck(owner: Any, name: str, when: Callable[[Any], bool] = lambda first: True) -> None:
        whole = getattr(owner, name)

        def call(*words: Any, **named: Any) -> Any:
            mine = when(words[0] if words else None)
            if mine and not strike.after:
                hit()
            value = whole(*words, **named)
            if mine and strike.after:
                hit()
            return value

        setattr(owner, name, call)

    def of_checkpoint(file: Path) -> bool:
        return CHECKPOINT.split(".")[0] in file.name

    enter = Requests.__enter__
    Requests.__enter__ = lambda self: (serving.append(self), enter(self))[1]  # type: ignore[method-assign,func-returns-value]
    match strike.where:
        case "boundary":
            struck(Requests, "boundary")
        case "batch":
            struck(trainer.Trainer, "_attempt")
        case "free phase":
            struck(Network, "settle")
        case "evaluation":
            struck(evaluation, "normalize")
        case "update":
            register_optimizer_step_post_hook(lambda *_: hit())
        case "event":
            struck(Session, "emit")
        case "best model":
            struck(checkpoint, "packed_model")
        case "end":
            struck(Session, "finish")
        case "final checkpoint":
            struck(checkpoint, "save", lambda file: file.name == FINAL_CHECKPOINT)
        case "link":
            struck(Path, "hardlink_to")
        case "rename":
            struck(Path, "replace", of_checkpoint)
        case "sync":
            struck(
                os, "fsync", lambda descriptor: of_checkpoint(Path(f"/proc/self/fd/{descriptor}").readlink())
            )
        case "half a file":
            checkpoint.replacing = _halving(hit)  # type: ignore[attr-defined]
        case "call of the end":
            _count_calls_of_the_end(struck)
        case _:
            raise ValueError(strike.where)


def _count_calls_of_the_end(struck: Callable[..., None]) -> None:
    """Strike at the calls to the operating system that write, from where all epochs are over."""
    from eqprop_core.worker.session import Session

    ending: list[bool] = []
    finish = Session.finish
    Session.finish = lambda *words: (ending.append(True), finish(*words))[1]  # type: ignore[method-assign,func-returns-value]
    for name in ("open", "write", "pwrite", "fsync", "link", "unlink", "rename", "replace", "close"):
        struck(os, name, lambda first: bool(ending))
    struck(io, "open", lambda first: bool(ending))


def _halving(hit: Callable[[], None]) -> Any:
    """`replacing`, with a strike when half of a checkpoint is written."""
    whole = checkpoint.replacing  # type: ignore[attr-defined]

    class Halves:
        def __init__(self, file: IO[bytes]) -> None:
            self.file = file

        def write(self, content: memoryview) -> None:
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            hit()
            self.file.write(content[len(content) // 2 :])

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    @contextmanager
    def replacing(path: Path) -> Iterator[Any]:
        with whole(path) as file:
            yield Halves(file) if path.name == CHECKPOINT else file

    return replacing


def same(a: Any, b: Any) -> bool:
    """Equal in every bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def end_of(run: RunFolder) -> dict[str, Any]:
    """What must be equal at the end: the whole training state, and the weights that are kept."""
    content = checkpoint.load(run.path / FINAL_CHECKPOINT)
    kept = ("model_state_dict", "optimizer_state_dict", "histories", "best_accuracy", "position")
    models = {
        name: checkpoint.load(run.path / name)["model_state_dict"] for name in (BEST_MODEL, FINAL_MODEL)
    }
    more = {"epochs": content["epochs"], "lr_factor": content["lr_factor"]}
    return {**{name: content[name] for name in kept}, **models, **more}


def values_of(run: RunFolder) -> list[dict[str, Any]]:
    """What a reader sees of a run: the values of its events without superseded ones, clocks and bookkeeping.

    A resumed run says again which epoch it is in; the first word counts.
    """
    records: list[Any] = []
    for record in read_events(run.path / EVENTS):
        if isinstance(record.event, RunResumed):
            records = [kept for kept in records if kept.seq <= record.event.from_seq]
        records.append(record)
    values: list[dict[str, Any]] = []
    epochs = set()
    for event in (record.event for record in records):
        if event.kind in BOOKKEEPING:
            continue
        if event.kind == "epoch_started":
            if event.epoch in epochs:
                continue
            epochs.add(event.epoch)
        values.append({"kind": event.kind, **event.model_dump(exclude=CLOCKS)})
    return values


def warnings_of(run: RunFolder) -> set[str]:
    """What the run warned of, whichever of its processes did."""
    return {r.event.message for r in read_events(run.path / EVENTS) if r.event.kind == "warning"}  # type: ignore[attr-defined]
