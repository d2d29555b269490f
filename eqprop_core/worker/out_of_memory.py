"""What to say when memory is not enough: how much there was, what is needed, what would fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch

from eqprop_core.devices import memory_here
from eqprop_core.memory import fitting_mbs, memory_need
from eqprop_core.runs.folder import RunError
from eqprop_core.worker.preparing import Prepared

T = TypeVar("T")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch raised this because memory could not be had, on whatever device."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in said for words in ("can't allocate memory", "not enough memory", "out of memory")
    )


def memory_told(ready: Prepared, work: Iterator[T]) -> Iterator[T]:
    """The same work; memory that is not enough is a `RunError` in words."""
    try:
        yield from work
    except RuntimeError as error:
        if isinstance(error, RunError) or not is_out_of_memory(error):
            raise
        raise RunError(out_of_memory(ready)) from None


def out_of_memory(ready: Prepared) -> str:
    """A message for the person whose training did not fit."""
    config = ready.config
    free, total = memory_there(ready.device)
    need = memory_need(config).total
    fits = fitting_mbs(config, free)
    hint = f"--mbs {fits} would fit" if fits else "no --mbs would fit"
    if fits and fits >= config.mbs:
        hint = f"other processes may have held it; or try a smaller --mbs than {config.mbs}"
    return (
        f"out of memory on {ready.label}: {size(free)} of {size(total)} were there for this run, "
        f"--mbs {config.mbs} needs about {size(need)}; {hint}"
    )


def memory_there(device: torch.device) -> tuple[int, int]:
    """Bytes that this process may use on a device, with those that it uses, and those that the device has."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_allocated(device), total  # what this run holds is its own
    return memory_here()


def size(count: int) -> str:
    """Bytes in a unit that fits."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
