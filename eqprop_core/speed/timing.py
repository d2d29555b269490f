"""Measuring how long something takes, on any device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from math import inf

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of repetitions: the median, the shortest and the longest."""

    median: float
    shortest: float
    longest: float


def timing_of(seconds: list[float]) -> Timing:
    """The summary of repetitions."""
    return Timing(statistics.median(seconds), min(seconds), max(seconds))


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that some work takes, until the device has done it."""
    synchronize(device)
    begun = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - begun


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def alternated(
    works: Mapping[str, Callable[[], object]],
    device: torch.device,
    repeat: int,
    *,
    warm: bool = True,
    at_least: float = 0.0,
    patience: float = inf,
) -> dict[str, list[float]]:
    """Seconds of each work, `repeat` times in turn, after each has been done once unless that was before.

    What is quick is repeated until it has taken `at_least` so many seconds; what has taken `patience` seconds
    is not done a third time.
    """
    if warm:
        for work in works.values():
            work()
    found: dict[str, list[float]] = {name: [] for name in works}
    begun = time.perf_counter()
    for done in count():
        spent = time.perf_counter() - begun
        if (done >= repeat and spent >= at_least) or (done >= 2 and spent > patience):
            break
        for name, work in works.items():
            found[name].append(seconds_of(work, device))
    return found
