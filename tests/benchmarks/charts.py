#!/usr/bin/env python3
"""Time of a redraw of a line chart: 3 series of 10,000 points at 100 × 30 cells, the median of 50.

    python tests/benchmarks/charts.py

One line a case: the series as they are; smoothed, with the raw lines behind; dashed on a logarithmic axis; with
the series made from lists anew each time, as a reader of events would; and the segments for a terminal besides.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from eqprop_tui.charts.data import Chart, Reference, Series
from eqprop_tui.charts.lines import draw
from eqprop_tui.charts.text import to_segments

POINTS, WIDTH, HEIGHT, REPEATS = 10_000, 100, 30, 50


def timed(work: Callable[[], object]) -> str:
    """The median, least and largest milliseconds of REPEATS calls after a first one."""
    work()
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - begun))
    return f"{statistics.median(taken):6.2f} ms   ({min(taken):.2f} to {max(taken):.2f})"


def main() -> None:
    """Print a table."""
    model = next((line for line in open("/proc/cpuinfo") if "model name" in line), ":").split(":")[1].strip()  # noqa: PTH123, SIM115
    print(f"{model or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f};", end=" ")
    print(f"Python {platform.python_version()}, numpy {np.__version__}")
    source = random.Random(0)
    x = list(range(POINTS))
    ys = [[2 ** (-place / 2000) * (start + source.gauss(0, 0.1)) for place in x] for start in (1, 2, 3)]

    def series(line: str = "solid") -> tuple[Series, ...]:
        return tuple(Series(f"run {n}", x, y, n, line=line) for n, y in enumerate(ys, 1))  # type: ignore[arg-type]

    references = (Reference("paper", 1.5),)
    plain = Chart("loss", series(), references)
    smooth = Chart("loss", series(), references, smoothing=0.9)
    dashed = Chart("loss", series("dashed"), references, log_y=True)
    cases: dict[str, Callable[[], object]] = {
        "plain": lambda: draw(plain, WIDTH, HEIGHT),
        "smoothed": lambda: draw(smooth, WIDTH, HEIGHT),
        "dashed, log": lambda: draw(dashed, WIDTH, HEIGHT),
        "from lists": lambda: draw(Chart("loss", series(), references), WIDTH, HEIGHT),
        "from lists, smoothed, segments": lambda: to_segments(
            draw(Chart("loss", series(), references, smoothing=0.9), WIDTH, HEIGHT)
        ),
    }
    for name, work in cases.items():
        print(f"{name:31} {timed(work)}")
    imports = (
        "import time; t = time.perf_counter(); import eqprop_tui.charts.lines; print(time.perf_counter() - t)"
    )
    seconds = subprocess.run(
        [sys.executable, "-c", imports], capture_output=True, text=True, check=True
    ).stdout
    print(f"{'first import, numpy included':31} {1000 * float(seconds):6.0f} ms")


if __name__ == "__main__":
    main()
