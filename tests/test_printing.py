"""Printing never holds up or ends the work that prints, whoever reads it or does not."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eqprop_core import printing
from eqprop_core.printing import MOST_WAITING, Unhindered, unhindered


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: what reads, and what writes."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def test_what_is_printed_is_written_once_it_has_been_printed(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        stream = unhindered(file.fileno())
        for number in range(20):
            print("line", number, "é", file=stream)
            assert (tmp_path / "log").read_text().endswith(f"line {number} é\n")
        stream.close()


def test_a_reader_that_stands_still_holds_up_nobody_and_later_reads_it_in_order(
    pipe: tuple[int, int],
) -> None:
    stream = Unhindered(pipe[1])
    lines = [f"{number:063}\n".encode() for number in range(MOST_WAITING // 64 + 4000)]
    for line in lines:  # more than the pipe and the memory hold
        assert stream.write(line) == 64
    assert not stream.end(0)
    kept = (MOST_WAITING // 64 - 1) * 64
    read = b""
    while len(read) < kept:
        read += os.read(pipe[0], 65536)
    assert read[:kept] == b"".join(lines)[:kept]  # behind that some may have been dropped
    assert stream.end(60)
    stream.write(b"after\n")
    assert stream.end(60)
    stream.close()


def test_a_reader_that_has_gone_is_no_error(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    stream = unhindered(pipe[1])
    for _ in range(3):
        print("to nobody", file=stream)
    stream.close()


def test_what_a_full_disk_has_no_room_for_is_written_once_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = os.write, [3]

    def write(descriptor: int, content: bytes) -> int:
        fits = content[: room[0]]
        if not fits:
            raise OSError(errno.ENOSPC, "full")
        room[0] -= len(fits)
        return real(descriptor, fits)

    monkeypatch.setattr(printing.os, "write", write)
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    stream = unhindered(descriptor, closefd=True)
    print("first", file=stream)
    print("second", file=stream)
    assert path.read_text() == "fir"
    room[0] = 1000
    print("third", file=stream)
    stream.close()
    assert path.read_text() == "first\nsecond\nthird\n"


def test_the_descriptor_is_closed_behind_what_was_left_to_be_written(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing, "SECONDS_TO_WRITE", 0.01)
    stream = Unhindered(pipe[1], closefd=True)
    stream.write(bytes(200_000))
    monkeypatch.setattr(Unhindered.end, "__defaults__", (0.01,))
    stream.close()
    read = 0
    while piece := os.read(pipe[0], 65536):  # to the end, which is there once the descriptor is closed
        read += len(piece)
    assert read == 200_000


CLOSED = [c for count in (1, 2, 3) for c in itertools.combinations((0, 1, 2), count)]
OPENS = """
import os, sys
for descriptor in {closed}:
    os.close(descriptor)
for name in {names}:
    setattr(sys, name, None)  # as Python has it where it finds them closed
from eqprop_core.printing import open_standard_streams, print_unhindered
open_standard_streams()
print_unhindered("stdout", "stderr")
assert os.open({path!r}, os.O_RDWR | os.O_CREAT) > 2
print("out")
print("error", file=sys.stderr)
assert sys.stdin.read() == ""
sys.exit(3)
"""


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_standard_streams_are_no_room_for_other_files(closed: tuple[int, ...], tmp_path: Path) -> None:
    names = [("stdin", "stdout", "stderr")[number] for number in closed]
    program = OPENS.format(closed=closed, names=names, path=str(tmp_path / "lock"))
    done = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 3, done.stderr
    assert (tmp_path / "lock").read_bytes() == b""
    assert (done.stdout, done.stderr) == (
        b"" if 1 in closed else b"out\n",
        b"" if 2 in closed else b"error\n",
    )


def test_where_no_thread_can_be_started_it_is_written_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with (tmp_path / "log").open("wb") as file:
        stream = unhindered(file.fileno())
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            print("first", file=stream)
        print("second", file=stream)
        stream.close()
    assert (tmp_path / "log").read_text() == "first\nsecond\n"
