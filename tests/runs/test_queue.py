"""The line in front of a device: order, death, and races, with real processes."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from small_runs import TINY

from eqprop_core import locks
from eqprop_core.config import RunConfig
from eqprop_core.locks import HeldError, inherited, take
from eqprop_core.runs import launcher, queue
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.settings import Plan
from eqprop_core.runs.starting import start_new

CONTEXT = multiprocessing.get_context("fork")


@pytest.fixture
def line() -> Path:
    return queue.line_of("GPU-0123/odd name")


def test_who_came_first_is_first(line: Path) -> None:
    tickets = [queue.take_ticket(line, Path(f"run{n}")) for n in range(3)]
    assert [len(ticket.ahead()) for ticket in tickets] == [0, 1, 2]
    assert tickets[2].ahead() == [Path("run0"), Path("run1")]
    tickets[0].give_back()
    assert [len(ticket.ahead()) for ticket in tickets[1:]] == [0, 1]
    tickets[1].give_back()
    last = queue.take_ticket(line, Path("run3"))
    assert last.ahead() == [Path("run2")]
    assert queue.in_line(line) == [Path("run2"), Path("run3")]


def at_the_door(line: Path, pipe: Any) -> None:
    """Stop, as by SIGSTOP, while nobody else can draw a number."""
    with queue._door(line):
        pipe.send(".")
        os.kill(os.getpid(), signal.SIGSTOP)


def test_a_process_that_is_stopped_at_the_door_is_named_and_nobody_else_waits_for_it(
    line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (queue.take_ticket(line, Path(name)) for name in ("first", "second"))
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=at_the_door, args=(line, theirs), daemon=True)
    process.start()
    assert ours.poll(30)
    assert process.pid is not None
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    monkeypatch.setattr(locks, "SECONDS_TO_WAIT", 0.1)
    assert second.ahead() == [Path("first")]  # those in line go on
    first.give_back()
    assert second.ahead() == []
    with pytest.raises(HeldError, match=f"process {process.pid} .*, which is stopped"):
        queue.take_ticket(line, Path("late"))

    monkeypatch.setattr(launcher, "line_of", lambda _: line)
    config = RunConfig(**{**TINY, "device": "cpu", "results": str(tmp_path)})
    with pytest.raises(RunError, match=rf"cannot wait for cpu: .* {process.pid} .*--now starts without"):
        start_new(Plan(config))
    assert list(tmp_path.glob("*/*/*/*")) == []  # nothing has begun
    monkeypatch.setattr(launcher, "spawn", lambda *_: 1)
    _, launched = start_new(Plan(config), launcher.Start(now=True))
    assert "this one starts at once" in " ".join(launched.warnings)

    process.kill()
    process.join()
    queue.take_ticket(line, Path("late"))


def test_a_line_whose_folder_has_no_locks_is_none(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, operation: None)
    with pytest.raises(OSError, match="no locks that exclude"):
        queue.take_ticket(line, Path("run"))


def test_a_ticket_that_was_never_finished_is_cleared_away(line: Path) -> None:
    (line / f"{1:020d}{queue.UNFINISHED}").touch()
    ticket = queue.take_ticket(line, Path("a"))
    assert sorted(path.name for path in line.iterdir()) == sorted(["door", ticket.path.name])


def test_a_number_is_never_given_twice_even_when_all_have_left(line: Path) -> None:
    first = queue.take_ticket(line, Path("a"))
    first.give_back()
    assert queue.take_ticket(line, Path("b")).path != first.path


def test_lines_of_different_devices_do_not_wait_for_each_other(line: Path) -> None:
    queue.take_ticket(line, Path("a"))
    assert queue.take_ticket(queue.line_of("cpu"), Path("b")).ahead() == []


def hold(line: Path, pipe: Any, name: str) -> None:
    """Take a ticket, say so, and hold it until killed."""
    queue.take_ticket(line, Path(name))
    pipe.send(name)
    signal.pause()


def holder(line: Path, name: str) -> Any:
    """A process that holds a ticket."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=hold, args=(line, theirs, name), daemon=True)
    process.start()
    assert ours.poll(30)
    assert ours.recv() == name
    return process


def test_the_place_of_a_process_that_dies_is_free(line: Path) -> None:
    processes = [holder(line, f"run{n}") for n in range(3)]
    own = queue.take_ticket(line, Path("own"))
    assert own.ahead() == [Path("run0"), Path("run1"), Path("run2")]
    for process, left in ((processes[1], ["run0", "run2"]), (processes[0], ["run2"]), (processes[2], [])):
        process.kill()
        process.join()
        assert own.ahead() == [Path(name) for name in left]
    assert sorted(path.name for path in line.iterdir()) == sorted(["door", own.path.name])


def race(line: Path, start: Any, log: Path, name: str, dies: bool) -> None:
    """Take a ticket, wait for the turn, note that it was ours; or die while waiting."""
    start.wait()
    ticket = queue.take_ticket(line, Path(name))
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    pause = threading.Event()
    while ticket.ahead():
        pause.wait(0.01)  # those who look again at once would keep the cores to themselves
    with log.open("a") as file:
        file.write(f"{ticket.path.name} begins\n")
    for _ in range(200):
        os.sched_yield()
    with log.open("a") as file:
        file.write(f"{ticket.path.name} ends\n")
    ticket.give_back()


def test_racing_launchers_compute_one_at_a_time_in_order_and_none_is_lost(line: Path, tmp_path: Path) -> None:
    chance = random.Random(3)
    start, log = CONTEXT.Event(), tmp_path / "log"
    dying = {n for n in range(24) if chance.random() < 0.3}
    processes = [
        CONTEXT.Process(target=race, args=(line, start, log, f"run{n}", n in dying), daemon=True)
        for n in range(24)
    ]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    lines = [entry.split() for entry in log.read_text().splitlines()]
    begun = [ticket for ticket, what in lines if what == "begins"]
    assert len(begun) == len(set(begun)) == 24 - len(dying)
    assert begun == sorted(begun)
    assert [what for _, what in lines] == ["begins", "ends"] * len(begun)
    assert queue.in_line(line) == []


def test_a_lock_that_was_handed_over_is_taken_for_the_same_file_only(tmp_path: Path) -> None:
    lock = take(tmp_path / "lock")
    descriptor = lock.fileno()
    with pytest.raises(HeldError, match=f"is in use by process {os.getpid()}"):
        take(tmp_path / "lock", seconds=0)
    (tmp_path / "other").touch()
    assert inherited(descriptor, tmp_path / "lock") == descriptor
    for number, path in ((descriptor, "other"), (descriptor, "absent"), (9999, "lock"), (None, "lock")):
        assert inherited(number, tmp_path / path) is None
    lock.close()
    take(tmp_path / "lock").close()


def test_a_folder_that_is_somebody_elses_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EQPROP_LINES")
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    local = Path(f"/var/tmp/eqprop-{987654}")
    try:
        with pytest.raises(PermissionError, match="another user"):
            queue.lines_folder()  # made by us, who are not user 987654
    finally:
        local.rmdir()
