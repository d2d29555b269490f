"""Real processes that train together, without a launcher: forked, each with the environment of its rank."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from forked import CONTEXT

SECONDS = 120.0  # after which processes that have not ended are held to hang


def start(size: int, work: Callable[..., Any], *words: Any) -> list[BaseProcess]:
    """Start `size` processes that call `work(*words)` each, rank 0 first; torchrun's environment is theirs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = [
        CONTEXT.Process(target=_ranked, args=(rank, size, port, work, words), daemon=True)
        for rank in range(size)
    ]
    for process in found:
        process.start()
    return found


def _ranked(rank: int, size: int, port: int, work: Callable[..., Any], words: tuple[Any, ...]) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    import torch

    torch.set_num_threads(1)
    status = work(*words) or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


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

    here = ranks.rank_here()
    assert here is not None
    with ranks.joined(here) as group:
        yield group
