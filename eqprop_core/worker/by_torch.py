"""What torch.distributed does for processes that train together: sums by NCCL, and waits that look up.

Nothing here sends an object: torch would pickle it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from eqprop_core.problems import printable
from eqprop_core.runs.folder import RunError
from eqprop_core.worker.patience import SECONDS_BETWEEN_LOOKS, Patience, ProcessLostError

if TYPE_CHECKING:
    from torch import Tensor

TO_ANSWER = timedelta(days=1)  # torch does not know what the others do; `patience` does, and waits less
SECONDS_TO_LEAVE = 5.0  # for a GPU's library to let go, or for one that waits for a process that is stopped


class Gpus:
    """Sums of the GPUs of one machine, by NCCL, between processes that are joined otherwise as well.

    They meet in a file that all of them have as the descriptor `meeting`, and listen on the loopback alone.
    `check` raises where another has ended.
    """

    def __init__(
        self, rank: int, size: int, meeting: int, check: Callable[[], None], patience: Patience
    ) -> None:
        from torch import distributed

        os.environ["NCCL_SOCKET_IFNAME"] = "lo"
        os.environ["NCCL_RAS_ENABLE"] = "0"  # which listens for those who want to look on
        store: Any = distributed.FileStore(f"/proc/self/fd/{meeting}", size)  # type: ignore[attr-defined]
        join_by_torch(store, rank, size, "nccl")
        self._check = check
        self._patience = patience

    def add(self, values: Tensor) -> None:
        """Put the sum over all processes into `values`."""
        from torch import distributed

        waiting = self._patience.wait()

        def look() -> None:
            self._check()
            waiting.look()

        try:
            done(distributed.all_reduce(values, async_op=True), look, by_nccl=True)
        except RuntimeError as error:
            if isinstance(error, RunError):
                raise
            self._check()
            raise ProcessLostError(
                f"the GPUs of the run have lost each other ({first_line(error)})"
            ) from None


def has_nccl() -> bool:
    """Whether this process sees GPUs that can add up by NCCL."""
    import torch
    from torch import distributed

    return bool(torch.cuda.device_count() and distributed.is_available() and distributed.is_nccl_available())


def join_by_torch(store: Any, rank: int, size: int, backend: str) -> None:
    """Meet the others in a store. Raises `RuntimeError` or `ValueError`."""
    from torch import distributed

    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TO_ANSWER)


def done(work: Any, look: Callable[[], None], *, by_nccl: bool = False) -> None:
    """Wait for what all do together; `look` about once a second. Raises `RuntimeError` where it failed."""
    looked = time.monotonic()
    while by_nccl and not work.is_completed():  # to wait for it only puts it before what the GPU does next
        time.sleep(1e-4)
        if time.monotonic() - looked >= SECONDS_BETWEEN_LOOKS:
            looked = time.monotonic()
            look()
    while True:
        try:
            work.wait(timedelta(seconds=SECONDS_BETWEEN_LOOKS))
            return
        except RuntimeError:
            if work.is_completed():  # it has failed, or has come to its end just now
                work.wait()
                return
        look()


def leave_torch() -> None:
    """Close what torch.distributed joins this process by; what waits for another ends with this process."""
    from torch import distributed

    def close() -> None:
        with suppress(Exception):
            distributed.destroy_process_group()

    closing = threading.Thread(target=close, name="leaves the others", daemon=True)
    closing.start()
    closing.join(SECONDS_TO_LEAVE)


def first_line(error: BaseException) -> str:
    """An error of torch's, in short."""
    return printable(str(error).strip().split("\n")[0][:200])
