"""Locks: whoever may only read holds nothing, nobody waits for ever, and one process owns, with `flock` or without."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from eqprop_core import locks
from eqprop_core.locks import HeldError, changing, is_held, mark_of, received, take
from eqprop_core.marks import boot_id, own_mark

CONTEXT = multiprocessing.get_context("fork")
SOMEBODY = 65534  # a user who owns nothing
FLOCK = fcntl.flock


def _fails(number: int) -> Callable[[int, int], None]:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return flock


# What `flock` does on file systems with and without locks.
FLOCKS: dict[str, Callable[[int, int], None]] = {
    "works": FLOCK,
    "lets everybody through": lambda descriptor, operation: None,
    "ENOLCK": _fails(errno.ENOLCK),
    "ENOSYS": _fails(errno.ENOSYS),
    "EOPNOTSUPP": _fails(errno.EOPNOTSUPP),
}


@pytest.fixture(params=FLOCKS)
def flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(fcntl, "flock", FLOCKS[request.param])
    return str(request.param)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may look into."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:  # pytest's own are private
        Path(made).chmod(0o755)
        yield Path(made)


class Other:
    """A process that does something, says what came of it, and then waits, stopped if so wished."""

    def __init__(self, work: Callable[[], Any], *, user: int | None = None, stopped: bool = False) -> None:
        ours, theirs = CONTEXT.Pipe()

        def run() -> None:
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            try:
                kept = work()
            except OSError as error:
                kept = error.errno
            theirs.send(kept if isinstance(kept, (int, str)) else None)
            if stopped:
                os.kill(os.getpid(), signal.SIGSTOP)
            signal.pause()

        self.process = CONTEXT.Process(target=run, daemon=True)
        self.process.start()
        assert ours.poll(60)
        self.said = ours.recv()
        if stopped:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def end(self) -> None:
        self.process.kill()
        self.process.join()


@pytest.fixture
def other() -> Iterator[Callable[..., Other]]:
    made: list[Other] = []

    def make(work: Callable[[], Any], **how: Any) -> Other:
        made.append(Other(work, **how))
        return made[-1]

    yield make
    for one in made:
        one.end()


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user, too")
needs_proc = pytest.mark.skipif(not locks.LOCKS.exists(), reason="this system does not tell who holds a lock")


def flocked(path: Path, flags: int = os.O_RDONLY, how: int = fcntl.LOCK_EX) -> Callable[[], int]:
    def work() -> int:
        descriptor = os.open(path, flags)
        FLOCK(descriptor, how | fcntl.LOCK_NB)
        return 0

    return work


@needs_root
def test_who_may_only_read_can_hold_nothing(public: Path, other: Callable[..., Other]) -> None:
    take(public / "lock").close()
    assert other(flocked(public / "lock"), user=SOMEBODY).said == errno.EACCES
    assert other(flocked(public), user=SOMEBODY).said == 0  # the folder itself
    with take(public / "lock", seconds=0), changing(public / "facts.json", seconds=0):
        assert other(flocked(public / ".facts.json.lock"), user=SOMEBODY).said == errno.EACCES
    assert [path.name for path in public.iterdir()] == ["lock"]


@pytest.mark.parametrize(("folder", "mode"), [(0o755, 0o600), (0o775, 0o660), (0o700, 0o600)])
def test_those_can_open_a_lock_who_may_write_in_its_folder(folder: int, mode: int, tmp_path: Path) -> None:
    tmp_path.chmod(folder)
    (tmp_path / "lock").touch(0o644)  # as it was made before
    for name in ("lock", "anew"):
        take(tmp_path / name).close()
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


@needs_root
@needs_proc
@pytest.mark.parametrize("how", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_who_opened_a_lock_that_was_open_to_everybody_keeps_nobody_from_it(
    how: int, public: Path, other: Callable[..., Other]
) -> None:
    path = public / "lock"
    path.touch(0o644)
    assert other(flocked(path, how=how), user=SOMEBODY).said == 0
    assert not is_held(path)
    with take(path, seconds=0) as lock:
        assert lock.number == 1
        assert is_held(path)
        with pytest.raises(HeldError, match=f"process {os.getpid()} "):
            take(path, seconds=0)
        with pytest.raises(HeldError):  # also once the other one has gone
            other(lambda: None).end()
            take(path, seconds=0)
    assert not is_held(path)


@needs_root
@needs_proc
def test_one_who_may_write_there_and_holds_a_lock_is_named(public: Path, other: Callable[..., Other]) -> None:
    public.chmod(0o777)
    take(public / "lock").close()
    holder = other(flocked(public / "lock", os.O_RDWR), user=SOMEBODY)
    with pytest.raises(HeldError, match=rf"is in use by process {holder.pid} of \S+ \("):
        take(public / "lock", seconds=0)


@needs_root
@needs_proc
def test_an_owner_by_flock_is_not_passed_by_a_number(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with take(public / "lock"), monkeypatch.context() as patch:
        patch.setattr(locks, "_flocked", lambda path: None)  # as if readers alone had been seen
        with pytest.raises(HeldError):
            take(public / "lock", seconds=0)
    assert not is_held(public / "lock")


@needs_proc
def test_a_stopped_process_is_not_waited_for_for_ever(
    tmp_path: Path, other: Callable[..., Other], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SECONDS_TO_WAIT", 0.1)
    holder = other(lambda: take(tmp_path / ".facts.json.lock"), stopped=True)
    said = f"process {holder.pid} .*, which is stopped: kill -CONT {holder.pid} wakes it"
    with pytest.raises(HeldError, match=said), changing(tmp_path / "facts.json"):
        pass
    holder.end()
    with changing(tmp_path / "facts.json"):
        pass


def racing(folder: Path, rounds: int, barrier: Any, log: Any, name: int) -> None:
    """Be one of those who want the same lock, again and again; those who have it keep it to the round's end."""
    for number in range(rounds):
        barrier.wait()
        try:
            lock = take(folder / f"{number}", seconds=0)
        except HeldError:
            lock = None
        else:
            log.put((number, name))
        barrier.wait()
        if lock is not None:
            lock.close()


def test_of_processes_that_race_for_a_lock_one_has_it(flock: str, tmp_path: Path) -> None:
    rounds, racers = 15, 4
    barrier, log = CONTEXT.Barrier(racers), CONTEXT.Queue()
    processes = [
        CONTEXT.Process(target=racing, args=(tmp_path, rounds, barrier, log, name), daemon=True)
        for name in range(racers)
    ]
    for process in processes:
        process.start()
    owners = [log.get(timeout=60)[0] for _ in range(rounds)]
    for process in processes:
        process.join(60)
    assert sorted(owners) == list(range(rounds))
    assert log.empty()
    print(f"flock {flock}: {rounds} races of {racers}, each with one owner")


def test_a_lock_is_free_once_it_is_given_back_or_its_process_has_died(
    flock: str, tmp_path: Path, other: Callable[..., Other]
) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    with take(path):
        assert is_held(path)
        assert mark_of(path)["pid"] == os.getpid()
    assert not is_held(path)
    holder = other(lambda: take(path) and 0)
    assert is_held(path)
    with pytest.raises(HeldError, match=f"process {holder.pid} "):
        take(path, seconds=0)
    holder.end()
    take(path, seconds=0).close()


HERE = {"host": socket.gethostname(), "boot": boot_id(), "seen": locks._seen(), "pid": 2**30, "process_started": 5.0}  # fmt: skip
AWAY = {**HERE, "host": "elsewhere"}


@pytest.mark.parametrize(
    ("mark", "silent", "held"),
    [
        (HERE, 0, False),
        ({**HERE, "handed_over": True}, 0, True),
        ({**HERE, "handed_over": True}, 30, False),
        ({**HERE, "seen": "another container"}, 60, True),
        ({**HERE, "seen": "another container"}, 130, False),
        ({**HERE, "boot": "another machine of that name"}, 60, True),
        (AWAY, 60, True),
        (AWAY, 130, False),
        (AWAY, -1000, False),  # of a time to come
        ({**HERE, **own_mark()}, 0, False),  # a process that is there, and has nothing to do with it
        ({**AWAY, "given_back": True}, 0, False),
        (None, 0, True),  # just made
        (None, 130, False),
    ],
)
def test_without_locks_an_owner_is_gone_who_is_silent_or_dead(
    mark: dict[str, Any] | None, silent: float, held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", FLOCKS["ENOLCK"])
    path = tmp_path / "lock"
    file = tmp_path / "lock.7"
    file.write_text("" if mark is None else json.dumps(mark))
    os.utime(file, (0, file.stat().st_mtime - silent))
    assert is_held(path) == held
    if held:
        with pytest.raises(HeldError):
            take(path, seconds=0)
        monkeypatch.setattr(fcntl, "flock", FLOCK)  # nor where this machine has locks
        with pytest.raises(HeldError):
            take(path, seconds=0)
    else:
        with take(path, seconds=0) as lock:
            assert lock.number == 8
            assert not file.exists()


def test_who_looked_long_ago_cannot_own_again_what_others_have_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", FLOCKS["ENOLCK"])
    with take(tmp_path / "lock") as first:
        pass
    with take(tmp_path / "lock"), monkeypatch.context() as patch:
        patch.setattr(locks, "_last_owner", lambda path: (first.number, False))
        with pytest.raises(HeldError):
            take(tmp_path / "lock", seconds=0)
        patch.setattr(locks, "_last_owner", lambda path: (0, False))  # removed long since
        with pytest.raises(HeldError):
            take(tmp_path / "lock", seconds=0)


def test_an_owner_that_has_lost_its_lock_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", FLOCKS["ENOLCK"])
    monkeypatch.setattr(locks, "SECONDS_BETWEEN_BEATS", 0.01)
    holder = Other(lambda: take(tmp_path / "lock") and 0)
    (tmp_path / "lock.2").touch()
    holder.process.join(60)
    assert holder.process.exitcode == 1


@pytest.mark.parametrize("kind", ["works", "ENOLCK"])
def test_a_lock_is_handed_over_to_a_process_that_is_started(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", FLOCKS[kind])
    path = tmp_path / "lock"
    lock = take(path)
    lock.sign(handed_over=True)
    os.set_inheritable(lock.fileno(), True)
    ready, told = os.pipe()
    go, asked = os.pipe()
    for descriptor in (told, go):
        os.set_inheritable(descriptor, True)
    program = (
        "import os, sys, pathlib; from eqprop_core.locks import received\n"
        f"lock = received({lock.fileno()}, pathlib.Path(sys.argv[1])); assert lock is not None\n"
        f"os.write({told}, b'.'); os.read({go}, 1); lock.close()"
    )
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", program, str(path)], os.environ)
    lock.leave()
    assert is_held(path)  # also before it has said so
    os.close(told)
    assert os.read(ready, 1) == b"."
    assert mark_of(path)["pid"] == pid
    with pytest.raises(HeldError, match=f"process {pid} "):
        take(path, seconds=0)
    os.write(asked, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    take(path, seconds=0).close()
    for descriptor in (ready, go, asked):
        os.close(descriptor)


def test_without_locks_it_is_held_too_by_who_was_only_given_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Callable[..., Other]
) -> None:
    monkeypatch.setattr(fcntl, "flock", FLOCKS["ENOLCK"])
    path = tmp_path / "lock"

    def start_another() -> int:
        lock = take(path)
        child = os.fork()
        if child == 0:
            signal.pause()
        assert not lock.closed
        return child

    owner = other(start_another)
    owner.end()  # which leaves the one that it has started
    assert is_held(path)
    os.kill(owner.said, signal.SIGKILL)
    while psutil.pid_exists(owner.said) and psutil.Process(owner.said).status() != psutil.STATUS_ZOMBIE:
        os.sched_yield()
    assert not is_held(path)


def test_a_lock_that_another_has_taken_meanwhile_is_not_received(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", FLOCKS["ENOLCK"])
    lock = take(tmp_path / "lock")
    (tmp_path / "lock.2").touch()
    assert received(lock.fileno(), tmp_path / "lock") is None
    lock.close()


@pytest.mark.parametrize(
    ("kind", "options", "local"),
    [
        ("nfs4", "rw,vers=4.2,local_lock=none,addr=10.0.0.1", False),
        ("nfs", "rw,vers=3,nolock,local_lock=all", True),
        ("nfs", "rw,vers=3,local_lock=flock", True),
        ("lustre", "rw,flock", False),
        ("lustre", "rw,localflock", True),
        ("cifs", "rw,nobrl", True),
        ("fuse.sshfs", "rw,user_id=0", True),
        ("fuseblk", "rw", False),
        ("ext4", "rw", False),
    ],
)
def test_locks_that_other_machines_do_not_see_are_not_relied_on(
    kind: str, options: str, local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = (tmp_path).stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 999:1 / / rw - ext4 /dev/x rw\n"
        f"23 1 {os.major(device)}:{os.minor(device)} / /a rw,relatime shared:1 - {kind} server:/a {options}\n"
    )
    monkeypatch.setattr(locks, "MOUNTS", mounts)
    with take(tmp_path / "lock") as lock:
        assert (lock.number is not None) == local


def test_a_lock_that_cannot_be_opened_is_held_as_far_as_the_system_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: Path, **how: bool) -> int:
        raise PermissionError(errno.EACCES, "another user's", str(path))

    with take(tmp_path / "lock"), monkeypatch.context() as patch:
        patch.setattr(locks, "open_to_lock", refuses)
        assert is_held(tmp_path / "lock")
        assert is_held(tmp_path / "lock", untold=False) == locks.LOCKS.exists()
    monkeypatch.setattr(locks, "open_to_lock", refuses)
    assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock", untold=False)
