"""How the processes of one machine talk that train a run together: over sockets that only they have.

Whoever starts them makes a pair of Unix sockets between rank 0 and each other, which they inherit. None has a
name or an address, so that nobody else can connect, and nothing listens. What is said is numbers, bytes of
the run's state, and JSON; nothing that is received can run code. Sums are made by rank 0, in the order of
ranks, and are the same at all.

GPUs sum by NCCL, which meets through a file without a name that they inherit as well.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import psutil

from eqprop_core.problems import printable
from eqprop_core.runs.folder import RunError
from eqprop_core.worker.by_torch import Gpus, has_nccl, leave_torch
from eqprop_core.worker.patience import SECONDS_BETWEEN_LOOKS, Patience, ProcessLostError

if TYPE_CHECKING:
    from torch import Tensor

HEADER = struct.Struct("<cQ")  # what comes, and how many bytes of it
PID = struct.Struct("<Q")
NUMBERS, WORDS, BYTES = b"n", b"w", b"b"
LARGEST_WORDS = 4 * 2**20  # bytes of JSON of one process
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
ROOM_OF_NOTE = 2048  # bytes for why a process ended


@dataclass(frozen=True)
class Links:
    """What a process inherits: descriptors of its sockets, and of two files without a name.

    `sockets` are those to ranks 1, 2 … for rank 0, the one to rank 0 for the others. Into `notes` each writes
    why it ends, and who starts them which process each is; through `meeting` GPUs meet. It ends with the
    process `parent`, if that is not 0.
    """

    rank: int
    size: int
    sockets: tuple[int, ...]
    notes: int
    meeting: int
    parent: int = 0

    def document(self) -> str:
        """What a command line says of it."""
        return json.dumps(asdict(self))

    @classmethod
    def of_document(cls, said: str) -> Links:
        """What `document` said. Raises `ValueError`."""
        try:
            found = json.loads(said)
            links = cls(**{**found, "sockets": tuple(found["sockets"])})
            numbers = (links.rank, links.size, *links.sockets, links.notes, links.meeting, links.parent)
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError(str(error)) from None
        ends = links.size - 1 if links.rank == 0 else 1
        whole = all(type(number) is int and number >= 0 for number in numbers)
        if not whole or links.rank >= links.size or len(links.sockets) != ends:
            raise ValueError("are not the links of a process")
        return links

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        return (*self.sockets, self.notes, self.meeting)


def link(size: int, parent: int = 0) -> list[Links]:
    """Make what joins `size` processes, by rank; to be closed once they are started. Raises `OSError`."""
    ends: list[list[int]] = [[] for _ in range(size)]
    files: list[int] = []
    try:
        for rank in range(1, size):
            for at, end in zip((0, rank), socket.socketpair(), strict=True):
                ends[at].append(end.detach())
        for _ in range(2):
            with tempfile.TemporaryFile(prefix="eqprop-") as file:
                files.append(os.dup(file.fileno()))
    except OSError:
        for descriptor in (*chain(*ends), *files):
            os.close(descriptor)
        raise
    notes, meeting = files
    return [Links(rank, size, tuple(ends[rank]), notes, meeting, parent) for rank in range(size)]


def end_with(parent: int) -> None:
    """Have this process end when the one that started it does, even where it is stopped by then.

    Only Linux can do so; elsewhere it ends once it is to talk to another that has ended.
    """
    if parent and sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def introduce(links: Links, pid: int) -> None:
    """Write down which process was started with these links, for the others to look after it."""
    os.pwrite(links.notes, PID.pack(pid), links.size * ROOM_OF_NOTE + links.rank * PID.size)


def pid_of(links: Links, rank: int) -> int:
    """The process of a rank; 0 where it is not known yet."""
    with suppress(OSError, struct.error):
        found: tuple[int] = PID.unpack(
            os.pread(links.notes, PID.size, links.size * ROOM_OF_NOTE + rank * PID.size)
        )
        return found[0]
    return 0


def note(links: Links, words: str) -> None:
    """Write down why a process ends, for those that will miss it."""
    content = printable("; ".join(words.splitlines())).encode(errors="replace")[: ROOM_OF_NOTE - 1]
    with suppress(OSError):
        os.pwrite(links.notes, content.ljust(ROOM_OF_NOTE, b"\0"), links.rank * ROOM_OF_NOTE)


def noted(links: Links, rank: int) -> str:
    """Why a process has ended, by itself; empty where it has not said."""
    with suppress(OSError):
        content = os.pread(links.notes, ROOM_OF_NOTE, rank * ROOM_OF_NOTE)
        return printable(content.rstrip(b"\0").decode(errors="replace"))
    return ""


class Neighbours:
    """The other processes of the run, all on this machine."""

    def __init__(self, links: Links, leaving: Callable[[], bool]) -> None:
        self._links = links
        self._sockets: dict[int, socket.socket] = {}
        for descriptor in links.descriptors:
            os.set_inheritable(descriptor, False)
        for number, descriptor in enumerate(links.sockets):
            end = socket.socket(fileno=descriptor)
            end.setblocking(False)
            self._sockets[number + 1 if links.rank == 0 else 0] = end
        self._processes: dict[int, psutil.Process] = {}
        self._room: Tensor | None = None
        self.patience = Patience(self._stopped, leaving, of_all=links.rank == 0)
        self._gpus: Gpus | None = None
        self.gather(None)
        if has_nccl():
            self._gpus = Gpus(links.rank, links.size, links.meeting, self.check, self.patience)

    def add(self, values: Tensor) -> None:
        """Put the sum over all processes into `values`."""
        if values.device.type == "cpu":
            self._add(values)
        elif self._gpus is not None:
            self._gpus.add(values)
        else:
            there = values.cpu()
            self._add(there)
            values.copy_(there)
        self.patience.summed()

    def _add(self, values: Tensor) -> None:
        own = _bytes_of(values)
        if self._links.rank:
            self._send(0, NUMBERS, own)
            self._receive_into(0, own)
            return
        if self._room is None or self._room.shape != values.shape or self._room.dtype != values.dtype:
            self._room = values.clone()
        theirs = _bytes_of(self._room)
        for rank in self._sockets:
            self._receive_into(rank, theirs)
            values += self._room
        for rank in self._sockets:
            self._send(rank, NUMBERS, own)

    def gather(self, said: Any) -> list[Any]:
        """What each process says, by rank, as JSON has it."""
        own = json.dumps(said).encode()
        if len(own) > LARGEST_WORDS:
            raise RunError(f"process {self._links.rank} of the run has too much to say: {len(own):,} bytes")
        if self._links.rank:
            self._send(0, WORDS, own)
            return _read(self._receive(0, WORDS, (LARGEST_WORDS + 2) * self._links.size))
        found: list[bytes | memoryview] = [
            own,
            *(self._receive(rank, WORDS, LARGEST_WORDS) for rank in self._sockets),
        ]
        everything = b"[" + b",".join(found) + b"]"
        for rank in self._sockets:
            self._send(rank, WORDS, everything)
        return _read(everything)

    def hand_out(self, content: bytes | memoryview | None, most: int) -> bytes | memoryview:
        """The bytes that rank 0 has, at every rank; `most` of them."""
        if self._links.rank:
            return self._receive(0, BYTES, most)
        assert content is not None
        for rank in self._sockets:
            self._send(rank, BYTES, content)
        return content

    def report(self, error: BaseException) -> None:
        """Say why this process ends to those that will miss it."""
        note(self._links, str(error) or type(error).__name__)

    def leave(self) -> None:
        """Let the others know that this process is gone."""
        for end in self._sockets.values():
            end.close()
        if self._gpus is not None:
            leave_torch()

    def check(self) -> None:
        """Raise `ProcessLostError` where a process has ended."""
        poll = select.poll()
        for end in self._sockets.values():
            poll.register(end, 0)
        self._look_at(poll.poll(0))

    def _send(self, rank: int, kind: bytes, content: bytes | memoryview) -> None:
        rest = memoryview(HEADER.pack(kind, len(content)))
        for part in (rest, memoryview(content)):
            while len(part):
                try:
                    part = part[self._sockets[rank].send(part) :]
                except BlockingIOError:
                    self._wait(rank, select.POLLOUT)
                except OSError:  # of a broken pipe
                    raise self._lost(rank) from None

    def _receive(self, rank: int, kind: bytes, most: int) -> memoryview:
        content = memoryview(bytearray(self._expect(rank, kind, most)))
        self._fill(rank, content)
        return content

    def _receive_into(self, rank: int, room: memoryview) -> None:
        if self._expect(rank, NUMBERS, len(room)) != len(room):
            raise RunError(f"process {rank} of the run adds up something else")
        self._fill(rank, room)

    def _expect(self, rank: int, kind: bytes, most: int) -> int:
        """The number of bytes that come next."""
        header = memoryview(bytearray(HEADER.size))
        self._fill(rank, header)
        found, size = HEADER.unpack(header)
        if found != kind or size > most:
            raise RunError(f"process {rank} of the run says something else than was expected of it")
        return int(size)

    def _fill(self, rank: int, room: memoryview) -> None:
        while len(room):
            try:
                count = self._sockets[rank].recv_into(room)
            except BlockingIOError:
                self._wait(rank, select.POLLIN)
                continue
            except OSError:
                count = 0
            if not count:
                raise self._lost(rank)
            room = room[count:]

    def _wait(self, rank: int, event: int) -> None:
        """Wait until something can be read from a process, or sent to it; see that all are there."""
        poll = select.poll()
        for which, end in self._sockets.items():
            # While things are sent, those that have all they need for the last time may be gone already.
            if which == rank or event == select.POLLIN:
                poll.register(end, event if which == rank else 0)
        waiting = self.patience.wait()
        while not (found := poll.poll(1000 * SECONDS_BETWEEN_LOOKS)):
            waiting.look(rank)
        if not any(number == self._sockets[rank].fileno() for number, _ in found):
            self._look_at(found)

    def _look_at(self, found: list[tuple[int, int]]) -> None:
        """Raise `ProcessLostError` where an end of a socket says that there is no other any more."""
        gone = {number for number, what in found if what & (select.POLLHUP | select.POLLERR)}
        for rank, end in self._sockets.items():
            if end.fileno() in gone:
                raise self._lost(rank)

    def _lost(self, rank: int) -> ProcessLostError:
        name = f"process {rank} of {self._links.size} (from 0)"
        others = sorted(self._sockets, key=lambda which: which != rank)
        for which in others:  # one that says why it ended takes the others with it
            if said := noted(self._links, which):
                return ProcessLostError(f"process {which} of {self._links.size} (from 0) ended: {said}")
        return ProcessLostError(f"{name} is gone: killed; resuming goes on from the last checkpoint")

    def _stopped(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for rank in self._sockets:
            if rank not in self._processes and (pid := pid_of(self._links, rank)):
                with suppress(psutil.Error):
                    self._processes[rank] = psutil.Process(pid)
            if rank in self._processes and is_stopped(self._processes[rank]):
                found[rank] = process_in_words(rank, self._links.size, self._processes[rank].pid)
        return found


def _bytes_of(values: Tensor) -> memoryview:
    """The memory of a flat tensor on the CPU."""
    return values.numpy().data.cast("B")


def _read(content: bytes | memoryview) -> list[Any]:
    found = json.loads(bytes(content))
    assert isinstance(found, list)
    return found


def is_stopped(process: psutil.Process) -> bool:
    """Whether a process is stopped, by a signal or by a debugger."""
    with suppress(psutil.Error):
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False


def process_in_words(rank: int, size: int, pid: int) -> str:
    """What one of several processes is called, where that is of use to who wants to end it."""
    return f"process {rank} of {size} (from 0), pid {pid}"
