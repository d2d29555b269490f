"""A run whose processes train it together: one of them owns it, all stop, fail and go on together.

Real worker processes, joined as `--nproc` joins them, or as torchrun does. Runs are compared as in
`test_bit_exact`: with as many processes they end in the same bits wherever they were interrupted, with another
number but for the order of sums.
"""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import interruptions
import psutil
import pytest
import ranks
import torch
from interruptions import Strike, Wish, end_of, said, same, values_of
from waiting import give_way

from eqprop_core.config import RunConfig
from eqprop_core.events import ControlApplied, Gdu, RunFailed, RunResumed, Warned
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.history import failure
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.log import read_events

DIGITS: dict[str, Any] = {
    "task": "digits", "archi": [64, 10, 10], "lrs": [0.05, 0.05], "T1": 6, "T2": 3, "betas": [0.0, 0.3],
    "mbs": 8, "epochs": 2, "seed": 5, "train_samples": 60, "test_samples": 120, "mmt": 0.9,
}  # fmt: skip
SECONDS_TO_END = 100.0  # on a machine with much else to do; for processes that have lost one: they know at once, and rank 0 asks who is left


def work(path: Path, strike: Strike | None, at: int, wishes: tuple[Wish, ...]) -> int:
    """What each process does; that of rank `at` is struck."""
    printed = os.open(path / "printed.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    from eqprop_core.worker.__main__ import main

    interruptions._make_steady()
    rank = ranks.rank()
    if strike is not None and rank == at:
        interruptions._arm(path, strike)
    if rank == 0:
        interruptions._make_wishes(path, wishes)
    return main([str(path), *ranks.told()])


def begin(
    run: RunFolder,
    size: int,
    strike: Strike | None = None,
    at: int = 0,
    wishes: tuple[Wish, ...] = (),
    **named: bool,
) -> list[BaseProcess]:
    return ranks.start(size, work, run.path, strike, at, wishes, **named)


def train(run: RunFolder, size: int, *words: Any, ends: list[int] | None = None, **named: bool) -> None:
    """Train a run by so many processes until they end, as they are expected to."""
    found = ranks.statuses(begin(run, size, *words, **named))
    assert found == (ends or [0] * size), said(run)


def new(tmp_path: Path, **settings: Any) -> RunFolder:
    return RunFolder.create(tmp_path, RunConfig(**{**DIGITS, **settings}), command=["eqprop"])


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, RunFolder]:
    """The run as 1, 2 and 3 processes train it, by their number."""
    folder = tmp_path_factory.mktemp("left-alone")
    runs = {size: new(folder) for size in (1, 2, 3)}
    for size, run in runs.items():
        train(run, size)
    return runs


def close(a: Any, b: Any) -> bool:
    """Equal but for the order of sums."""
    if isinstance(a, torch.Tensor):
        return torch.allclose(a, b, rtol=1e-4, atol=1e-6)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(close, a, b))
    return bool(a == pytest.approx(b, rel=1e-5) if isinstance(a, float) else a == b)


@pytest.mark.parametrize("size", [2, 3])
def test_a_run_comes_to_what_one_process_comes_to(size: int, left_alone: dict[int, RunFolder]) -> None:
    assert close(end_of(left_alone[size]), end_of(left_alone[1]))
    kinds = [[event["kind"] for event in values_of(left_alone[count])] for count in (size, 1)]
    assert kinds[0] == kinds[1]
    records = list(read_events(left_alone[size].path / "events.jsonl"))
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    summary, meta = summarize(left_alone[size].path), left_alone[size].meta()
    assert (summary.state, summary.processes, summary.device) == ("finished", size, f"{size} × cpu")
    assert (meta["processes"], meta["device"], meta["threads"]) == (size, f"{size} × cpu", 1)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("where", [pytest.param("free phase", marks=pytest.mark.slow), "update"])
def test_where_one_is_killed_the_others_end_and_the_run_goes_on_exactly(
    where: str, at: int, left_alone: dict[int, RunFolder], tmp_path: Path
) -> None:
    run = new(tmp_path)
    started = begin(run, 3, Strike(where, 13), at)
    started[at].join(60)
    killed = time.monotonic()
    assert started[at].exitcode == -9, said(run)
    assert ranks.statuses(started) == [-9 if rank == at else 1 for rank in range(3)]
    assert time.monotonic() - killed < SECONDS_TO_END
    if at == 0:  # nobody is left who could write how it ended
        assert summarize(run.path).state == "lost"
    else:
        assert summarize(run.path).state == "failed"
        assert "process 1 of 3 (from 0) is gone" in str(failure(run))
    train(run, 3)
    assert same(end_of(run), end_of(left_alone[3]))
    assert values_of(run) == values_of(left_alone[3])


def test_on_several_machines_it_comes_to_the_same(left_alone: dict[int, RunFolder], tmp_path: Path) -> None:
    run = new(tmp_path)
    train(run, 2, Strike("update", 11), 1, ends=[1, -9], by_torch=True)
    assert "process 1 of 2 (from 0) is gone" in str(failure(run))
    train(run, 2, by_torch=True)
    assert same(end_of(run), end_of(left_alone[2]))
    assert values_of(run) == values_of(left_alone[2])


def watched(path: Path) -> int:
    """What each process does: train where nothing can be unpickled; what it listens at is written down."""
    import pickle

    from torch import distributed

    from eqprop_core.learning.sharing import SharedBatch

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("objects are sent between processes")

    for module, names in (
        (pickle, ("load", "loads", "dump", "dumps", "Unpickler")),
        (distributed, [name for name in dir(distributed) if "object" in name]),
    ):
        for name in names:
            setattr(module, name, refused)
    add = SharedBatch.__call__

    def look(self: SharedBatch, compute: Any) -> Any:
        own = psutil.Process()
        listens = [str(one.laddr) for one in own.net_connections("all") if one.laddr]
        named = [file.path for file in own.open_files() if Path(file.path).parent == Path(gettempdir())]
        (path / f"listens-{ranks.rank()}").write_text("\n".join(listens + named))
        return add(self, compute)

    SharedBatch.__call__ = look  # type: ignore[method-assign]
    return work(path, None, 0, ())


@pytest.mark.parametrize("by_torch", [False, True])
def test_nothing_that_is_said_can_run_code_and_on_one_machine_nobody_else_can_say_it(
    by_torch: bool, tmp_path: Path
) -> None:
    run = new(tmp_path, epochs=1)
    assert ranks.statuses(ranks.start(2, watched, run.path, by_torch=by_torch)) == [0, 0], said(run)
    found = [(run.path / f"listens-{rank}").read_text() for rank in range(2)]
    if by_torch:
        assert all("127.0.0.1" in listens for listens in found)
    else:
        assert found == ["", ""]


def hasty(path: Path, strike: Strike | None, at: int, wishes: tuple[Wish, ...]) -> int:
    """What each process does that waits for the others for a moment only."""
    from eqprop_core.worker import by_torch, machines, neighbours, patience

    patience.STOPPED = patience.STOPPED_AT_THE_END = 0.3
    machines.LATE, machines.SECONDS_BETWEEN_BEATS, by_torch.SECONDS_TO_LEAVE = 1.5, 0.05, 0.05
    patience.SECONDS_BETWEEN_LOOKS = neighbours.SECONDS_BETWEEN_LOOKS = 0.05
    return work(path, strike, at, wishes)


@pytest.mark.parametrize("by_torch", [False, True])
def test_one_that_is_stopped_is_named_and_the_others_end(by_torch: bool, tmp_path: Path) -> None:
    run = new(tmp_path)
    started = ranks.start(2, hasty, run.path, Strike("update", 5, "freeze"), 1, (), by_torch=by_torch)
    started[0].join(60)
    assert started[0].exitcode == 1, said(run)
    assert summarize(run.path).state == "failed"
    assert str(failure(run)).startswith(f"process 1 of 2 (from 0), pid {started[1].pid}")
    assert "is stopped (by SIGSTOP, or a debugger)" in str(failure(run))
    assert ranks.statuses([started[0]]) == [1]
    started[1].kill()


def stopped_at_once(path: Path) -> int:
    """What each process does where rank 1 is stopped before it has met the others."""
    if ranks.rank() == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return hasty(path, None, 0, ())


def test_one_that_is_stopped_before_it_has_come_is_named(tmp_path: Path) -> None:
    run = new(tmp_path)
    started = ranks.start(2, stopped_at_once, run.path)
    started[0].join(60)
    started[1].kill()
    assert started[0].exitcode == 1, said(run)
    assert str(failure(run)).startswith(f"process 1 of 2 (from 0), pid {started[1].pid}, is stopped")


def test_where_one_is_stopped_a_stop_ends_the_run_without_it_and_loses_nothing(
    left_alone: dict[int, RunFolder], tmp_path: Path
) -> None:
    run = new(tmp_path)
    wishes = (Wish((1, 5), "stop"),)
    started = ranks.start(2, hasty, run.path, Strike("update", 5, "freeze"), 1, wishes)
    started[0].join(60)
    started[1].kill()
    assert started[0].exitcode == 0, said(run)
    assert summarize(run.path).state == "stopped"
    warned = [r.event.message for r in read_events(run.path / "events.jsonl") if isinstance(r.event, Warned)]
    assert any("process 1 of 2 (from 0), pid" in message for message in warned)
    train(run, 2)
    assert same(end_of(run), end_of(left_alone[2]))


@pytest.mark.parametrize("size", [1, 2])
def test_another_number_of_processes_goes_on_with_a_run(
    size: int, left_alone: dict[int, RunFolder], tmp_path: Path
) -> None:
    run = new(tmp_path)
    train(run, 3, Strike("update", 9), 1, ends=[1, -9, 1])
    train(run, size)
    assert close(end_of(run), end_of(left_alone[1]))
    said = [r.event.message for r in read_events(run.path / "events.jsonl") if isinstance(r.event, Warned)]
    assert f"the run had processes 3, here it is {size}: last bits may differ" in said
    assert summarize(run.path).processes == size


@pytest.mark.parametrize("at", [0, 1])
def test_a_signal_to_any_of_them_stops_all_after_the_batch(
    at: int, left_alone: dict[int, RunFolder], tmp_path: Path
) -> None:
    run = new(tmp_path)
    train(run, 2, Strike("update", 5, "term"), at)
    assert summarize(run.path).state == "stopped"
    (where,) = (
        r.event for r in read_events(run.path / "events.jsonl") if isinstance(r.event, ControlApplied)
    )
    assert (where.epoch, where.batch) in [(1, 5), (1, 6)]  # the signal came before or after their last sum
    train(run, 2)
    assert same(end_of(run), end_of(left_alone[2]))
    (resumed,) = (r.event for r in read_events(run.path / "events.jsonl") if isinstance(r.event, RunResumed))
    assert (resumed.epoch, resumed.batch) == (where.epoch, where.batch)


def test_changes_pauses_and_checks_are_for_all_of_them(tmp_path: Path) -> None:
    wishes = (
        Wish((1, 1), "pause"), Wish((1, 1), "resume"), Wish((1, 2), "set", {"lr_factor": 0.5}),
        Wish((1, 4), "set", {"epochs": 3}), Wish((2, 1), "check"), Wish((2, 2), "checkpoint"),
    )  # fmt: skip
    runs = [new(tmp_path), new(tmp_path)]
    train(runs[0], 2, None, 0, wishes)
    train(runs[1], 3, Strike("update", 20), 2, wishes, ends=[1, 1, -9])
    train(runs[1], 3, None, 0, wishes)
    assert close(end_of(runs[0]), end_of(runs[1]))
    for run in runs:
        assert end_of(run)["epochs"] == 3
        assert end_of(run)["lr_factor"] == 0.5
        assert sum(isinstance(r.event, Gdu) for r in read_events(run.path / "events.jsonl")) >= 1


def test_a_paused_run_waits_and_hears(tmp_path: Path) -> None:
    run = new(tmp_path, epochs=50000)
    started = begin(run, 2)
    wait_for(run, "running")
    ask(run.path, "pause")
    wait_for(run, "paused")
    ask(run.path, "set", {"epochs": 40000})
    ask(run.path, "stop")
    assert ranks.statuses(started) == [0, 0], said(run)
    assert summarize(run.path).state == "stopped"
    assert summarize(run.path).epochs == 40000


def wait_for(run: RunFolder, state: str) -> None:
    deadline = time.monotonic() + 60
    while summarize(run.path).state != state:
        assert time.monotonic() < deadline, said(run)
        give_way()


def test_weights_that_are_not_finite_end_all_with_one_message(tmp_path: Path) -> None:
    settings = {"loss": "cel", "lrs": [1e6, 1e6], "wds": [1e6, 1e6], "epochs": 9}
    said = []
    for size in (1, 3):
        run = new(tmp_path, **settings)
        train(run, size, ends=[1] * size)
        said += [
            r.event.message for r in read_events(run.path / "events.jsonl") if isinstance(r.event, RunFailed)
        ]
        assert summarize(run.path).state == "failed"
    assert len(said) == 2
    assert said[0].split(":")[0] == said[1].split(":")[0]  # the place


def without_data(path: Path) -> int:
    """What each process does where rank 1 does not have the data set."""
    from eqprop_core.catalogue import DataError
    from eqprop_core.worker import following

    def prepare(*_: Any, **__: Any) -> Any:
        raise DataError("MNIST is not on this machine")

    following.prepare = prepare  # type: ignore[assignment]
    return work(path, None, 0, ())


def test_what_one_of_them_cannot_do_ends_all_with_its_reason(tmp_path: Path) -> None:
    run = new(tmp_path)
    assert ranks.statuses(ranks.start(2, without_data, run.path)) == [1, 1]
    assert summarize(run.path).state == "failed"
    assert failure(run) == "process 1 of 2 (from 0) ended: MNIST is not on this machine"


def test_more_processes_than_images_of_a_batch_are_refused(tmp_path: Path) -> None:
    run = new(tmp_path, mbs=2)
    started = begin(run, 3)
    started[0].join(60)
    assert started[0].exitcode == 2
    for process in started:
        process.kill()
    assert "--mbs 2: is less than an image for each of 3 processes" in said(run)


@pytest.mark.slow
def test_fast_and_gdu_checks_are_chosen_and_made_by_one(tmp_path: Path) -> None:
    runs = [new(tmp_path, fast=True, check_thm=True, thirdphase=True) for _ in range(2)]
    train(runs[0], 2)
    train(runs[1], 2, Strike("update", 6), 0, ends=[-9, 1])
    train(runs[1], 2)
    assert same(end_of(runs[0])["position"], end_of(runs[1])["position"])
    for run in runs:
        assert any(isinstance(r.event, Gdu) for r in read_events(run.path / "events.jsonl"))
