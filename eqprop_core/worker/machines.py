"""How the processes of several machines talk that train a run together: by torch.distributed.

Whoever reaches the network between the machines can speak as one of them: see `docs/data-parallel.md`.
What is said is numbers, bytes of the run's state, and JSON; nothing of it that is received can run code.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psutil

from eqprop_core.problems import printable
from eqprop_core.runs.folder import RunError
from eqprop_core.worker.by_torch import done, first_line, has_nccl, join_by_torch, leave_torch
from eqprop_core.worker.neighbours import LARGEST_WORDS, ROOM_OF_NOTE
from eqprop_core.worker.patience import Patience, ProcessLostError

if TYPE_CHECKING:
    from torch import Tensor

    from eqprop_core.worker.ranks import Rank

TO_MEET = timedelta(minutes=5)
SECONDS_TO_REPORT = 3.0  # in which those that are left say that they are
SECONDS_BETWEEN_BEATS = 2.0
LATE = 30.0  # seconds without a beat after which a process is held to be stopped


class Machines:
    """The other processes of the run, wherever they are; met by what torchrun tells."""

    def __init__(self, here: Rank, leaving: Callable[[], bool]) -> None:
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        bind_to_the_way_to_rank_0()
        found, _, _ = next(rendezvous("env://", timeout=TO_MEET))
        store = PrefixStore("eqprop", found)
        join_by_torch(store, here.rank, here.size, "cpu:gloo,cuda:nccl" if has_nccl() else "gloo")
        self._here = here
        self._store = store
        self._open = True
        self._beats = _Beats(here, PrefixStore("eqprop", found.clone()))
        self.patience = Patience(self._beats.late, leaving, of_all=here.rank == 0)

    def add(self, values: Tensor) -> None:
        """Put the sum over all processes into `values`."""
        from torch import distributed

        self._together(
            lambda: distributed.all_reduce(values, async_op=True), by_nccl=values.is_cuda and has_nccl()
        )
        self.patience.summed()

    def gather(self, said: Any) -> list[Any]:
        """What each process says, by rank, as JSON has it."""
        import torch
        from torch import distributed

        own = json.dumps(said).encode()
        if len(own) > LARGEST_WORDS:
            raise RunError(f"process {self._here.rank} of the run has too much to say: {len(own):,} bytes")
        sizes = torch.zeros(self._here.size, dtype=torch.int64)
        sizes[self._here.rank] = len(own)
        self._together(lambda: distributed.all_reduce(sizes, async_op=True))
        counts = sizes.tolist()
        if not all(0 < count <= LARGEST_WORDS for count in counts):
            raise RunError("a process of the run says something else than was expected of it")
        room = torch.zeros(max(counts), dtype=torch.uint8)
        room[: len(own)] = torch.frombuffer(bytearray(own), dtype=torch.uint8)
        found = [torch.empty_like(room) for _ in counts]
        self._together(lambda: distributed.all_gather(found, room, async_op=True))
        return [json.loads(bytes(part[:count].numpy())) for part, count in zip(found, counts, strict=True)]

    def hand_out(self, content: bytes | memoryview | None, most: int) -> bytes | memoryview:
        """The bytes that rank 0 has, at every rank; `most` of them."""
        import torch
        from torch import distributed

        size = torch.tensor([0 if content is None else len(content)])
        self._together(lambda: distributed.broadcast(size, 0, async_op=True))
        if not 0 < int(size) <= max(most, 0 if content is None else len(content)):
            raise RunError("process 0 of the run says something else than was expected of it")
        room = bytearray(int(size)) if content is None else bytearray(content)
        values = torch.frombuffer(room, dtype=torch.uint8)
        self._together(lambda: distributed.broadcast(values, 0, async_op=True))
        return memoryview(room)

    def _together(self, begin: Callable[[], Any], *, by_nccl: bool = False) -> None:
        try:
            done(begin(), self.patience.wait().look, by_nccl=by_nccl)
        except ProcessLostError:
            self.leave()
            raise
        except RuntimeError as error:  # torch's errors of connections
            raise self._lost(error) from None

    def _lost(self, error: RuntimeError) -> ProcessLostError:
        """Name the processes that are gone: those that do not say that they are left."""
        self.leave()  # who waits for this process hears of it now
        with suppress(Exception):
            self._store.set(f"left/{self._here.rank}", "")
        lost = f"the {self._here.size} processes of the run have lost each other ({first_line(error)})"
        others = [rank for rank in range(self._here.size) if rank != self._here.rank]
        # Rank 0 says it all; the others end at once, so that those who wait for them hear of it.
        deadline = time.monotonic() + (0.0 if self._here.rank else SECONDS_TO_REPORT)
        try:
            while True:
                if failed := [rank for rank in others if self._store.check([f"failed/{rank}"])]:
                    why = _in_words(self._store.get(f"failed/{failed[0]}"))
                    return ProcessLostError(f"process {failed[0]} of {self._here.size} (from 0) ended: {why}")
                silent = [rank for rank in others if not self._store.check([f"left/{rank}"])]
                if not silent or time.monotonic() >= deadline:
                    break
                time.sleep(0.05)
        except Exception:  # the store is gone, too
            return ProcessLostError(lost)
        if not silent or self._here.rank:
            return ProcessLostError(lost)
        which = f"process {silent[0]}" if len(silent) == 1 else f"processes {' and '.join(map(str, silent))}"
        verb = "is" if len(silent) == 1 else "are"
        return ProcessLostError(
            f"{which} of {self._here.size} (from 0) {verb} gone: killed, or without a connection; "
            "resuming goes on from the last checkpoint"
        )

    def report(self, error: BaseException) -> None:
        """Say why this process ends to those that will miss it."""
        with suppress(Exception):
            words = printable(str(error) or type(error).__name__)
            self._store.set(f"failed/{self._here.rank}", words[:ROOM_OF_NOTE])

    def leave(self) -> None:
        """Let the others know that this process is gone."""
        if self._open:
            self._open = False
            self._beats.end()
            leave_torch()


class _Beats:
    """A number of each process that grows while it is not stopped, in the store where all of them meet."""

    def __init__(self, here: Rank, store: Any) -> None:
        self._here = here
        self._store = store
        self._seen: dict[int, tuple[bytes, float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="beats", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        number = 0
        with suppress(Exception):  # the store is gone: what waits hears of it
            while True:
                number += 1
                self._store.set(
                    f"beat/{self._here.rank}", f"{number} {os.getpid()} {socket.gethostname()}"[:200]
                )
                if self._ended.wait(SECONDS_BETWEEN_BEATS):
                    return

    def end(self) -> None:
        """Beat no more."""
        self._ended.set()

    def late(self) -> dict[int, str]:
        """Those that have not beaten for a while: rank 0 looks at all, the others at rank 0."""
        found: dict[int, str] = {}
        with suppress(Exception):
            for rank in range(1, self._here.size) if self._here.rank == 0 else [0]:
                beat = b""
                if self._store.check([f"beat/{rank}"]):
                    beat = self._store.get(f"beat/{rank}")
                before, since = self._seen.get(rank, (None, 0.0))
                now = time.monotonic()
                if beat != before:
                    self._seen[rank] = (beat, now)
                elif now - since >= LATE:
                    _, _, where = _in_words(beat).partition(" ")
                    pid, _, host = where.partition(" ")
                    found[rank] = f"process {rank} of {self._here.size} (from 0), pid {pid} of {host}"
        return found


def bind_to_the_way_to_rank_0() -> None:
    """Let gloo and NCCL listen on the network alone on which MASTER_ADDR is, unless told otherwise."""
    named = os.environ["MASTER_ADDR"]
    own = _address_towards(named)
    loopback = own is None or ipaddress.ip_address(own.partition("%")[0]).is_loopback
    if own is None or (loopback and not _is_loopback_by_name(named)):
        return  # a host that calls itself 127.0.1.1 is called otherwise by the others
    for name, addresses in psutil.net_if_addrs().items():
        if any(own == address.address for address in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={name}")
            return


def _address_towards(host: str) -> str | None:
    """The address of this machine on the way to another, or to itself by that name."""
    with suppress(OSError, UnicodeError):
        for family, kind, _, _, there in socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind) as way:  # nothing is sent
                way.connect(there)
                return str(way.getsockname()[0])
    return None


def _is_loopback_by_name(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _in_words(content: bytes) -> str:
    """What another process has said of itself, cut and made fit to be shown."""
    return printable(content[:ROOM_OF_NOTE].decode(errors="replace"))
