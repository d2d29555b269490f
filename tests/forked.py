"""Processes that are forked from one that has imported torch and done nothing else.

There is one such process for all tests, which imports what it is told to before it is first used: so all say
the same.
"""

from __future__ import annotations

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *(f"eqprop_core.worker.{name}" for name in ("__main__", "owner", "process", "figures")),
        *("torch._dynamo", "torch.distributed.rendezvous"),
    ]
)
