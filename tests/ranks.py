"""Real processes that train together, without the one that starts them: forked, each with what joins it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from typing import Any

from forked import CONTEXT

from eqprop_core.worker.neighbours import Links, introduce, link
from eqprop_core.worker.signals import Wishes

SECONDS = 120.0  # after which processes that have not ended are held to hang

LINKS: list[Links] = []  # of this process, where it was started with some


class Given:
    """The links of a process, on their way to it."""

    def __init__(self, links: Links) -> None:
        self.links = links

    def __reduce__(self) -> Any:
        links = self.links
        sockets = [DupFd(number) for number in links.sockets]
        return _taken, (links.rank, links.size, sockets, DupFd(links.notes), DupFd(links.meeting))


def _taken(rank: int, size: int, sockets: Any, notes: Any, meeting: Any) -> Links:
    return Links(rank, size, tuple(one.detach() for one in sockets), notes.detach(), meeting.detach())


def start(size: int, work: Callable[..., Any], *words: Any, by_torch: bool = False) -> list[BaseProcess]:
    """Start `size` processes that call `work(*words)` each, rank 0 first, with one thread.

    They are joined as `--nproc` does it, or else `by_torch`, as torchrun does it for several machines.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    links = [] if by_torch else link(size)
    found = []
    for rank in range(size):
        environment = {"EQPROP_TEST_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        if by_torch:
            environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
            environment |= {
                "LOCAL_WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
        given = Given(links[rank]) if links else None
        process = CONTEXT.Process(target=_ranked, args=(environment, given, work, words), daemon=True)
        process.start()
        found.append(process)
        if links:
            introduce(links[rank], process.pid or 0)
    for descriptor in {number for one in links for number in one.descriptors}:
        os.close(descriptor)
    return found


def _ranked(
    environment: dict[str, str], links: Links | None, work: Callable[..., Any], words: tuple[Any, ...]
) -> None:
    os.environ |= environment
    LINKS[:] = [] if links is None else [links]
    import torch

    torch.set_num_threads(1)
    status = work(*words) or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def rank() -> int:
    """Which process this is."""
    return int(os.environ["EQPROP_TEST_RANK"])


def told() -> list[str]:
    """What its command line says of what joins this process."""
    return ["--together", LINKS[0].document()] if LINKS else []


def statuses(processes: list[BaseProcess]) -> list[int | None]:
    """Exit statuses once all have ended; negative for a signal."""
    for process in processes:
        process.join(SECONDS)
    ended = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert None not in ended, f"have not ended within {SECONDS:.0f} s: {ended}"
    return ended


@contextmanager
def joined() -> Iterator[Any]:
    """The group of this process."""
    from eqprop_core.worker import ranks
    from eqprop_core.worker.__main__ import parser, rank_of

    words = parser().parse_args(["run", *told()])
    here = rank_of(words)
    assert here is not None
    with ranks.joined(here, Wishes(), words.together) as group:
        yield group
