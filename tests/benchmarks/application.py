"""How fast the application is: first screen, opening long runs, charts that go on, idling, and what a run loses.

    python tests/benchmarks/application.py [--only NAME] [--repeat 5] [--json]

Each figure is measured on a pseudo-terminal with the installed program, `--repeat` times; the median is
printed with the smallest and the largest. docs/application-speed.md has the figures of one machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import pty
import re
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from eqprop_core.config import RunConfig
from eqprop_core.events import BatchFinished, EpochFinished, EpochStarted, Event, Record, encode
from eqprop_core.runs.folder import EVENTS, RunFolder
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.plan import Cell, SweepPlan

EQPROP = [sys.executable, "-m", "eqprop_tui.cli.main"]
ESCAPE = re.compile(rb"\x1b\[[0-9;?<>=]*[a-zA-Z]|\x1b[()][AB0]")


class Terminal:
    """The application on a pseudo-terminal; counts what it sends."""

    def __init__(
        self,
        *words: str,
        home: Path,
        size: tuple[int, int] = (160, 48),
        command: list[str] = EQPROP,
    ) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (size[1], size[0]))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment |= {"EQPROP_RESULTS": str(home / "results"), "EQPROP_LINES": str(home / "lines")}
        environment |= {name: str(home) for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")}
        environment.pop("EQPROP_FOREGROUND", None)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program is compiled once
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.bytes = 0
        self.text = b""

    def until(self, text: str, seconds: float = 60.0) -> float:
        """Seconds since the start at which a text is on the screen."""
        deadline = time.perf_counter() + seconds
        while text.encode() not in self.text:
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{text!r} was not shown: {self.text[-500:]!r}")
            self.read(0.02)
        return time.perf_counter() - self.began

    def read(self, seconds: float) -> int:
        """Take what is sent within some seconds; its bytes."""
        before, end = self.bytes, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            ready, _, _ = select.select([self.master], [], [], left)
            if ready:
                piece = os.read(self.master, 65536)
                self.bytes += len(piece)
                self.text += ESCAPE.sub(b"", piece)
                self.text = self.text[-200_000:]
        return self.bytes - before

    def type(self, text: str) -> None:
        """Press keys; what was shown before does not count for `until` any more."""
        self.text = b""
        os.write(self.master, text.encode())

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def first_screen(home: Path) -> float:
    """Seconds to the first screen."""
    terminal = Terminal(home=home)
    took = terminal.until("digits")
    terminal.end()
    return took


def made_run(home: Path, events: list[Event], name: str) -> RunFolder:
    """A finished run of these events."""
    config = RunConfig(task="digits", archi=[64, 16, 10], lrs=[0.1, 0.05], seed=1, epochs=500, name=name)
    run = RunFolder.create(home / "results", config, command=["eqprop", "train"])
    with (run.path / EVENTS).open("w") as file:
        for seq, event in enumerate(events, 1):
            file.write(encode(Record(seq, 1.7e9 + seq, event)) + "\n")
    facts = {"state": "finished", "epoch": 500, "epochs": 500, "best": 99.0, "last": 99.0, "device": "cpu"}
    run.write_state({**run.identity(), **facts})
    return run


def long_events(count: int) -> list[Event]:
    """So many events of 500 epochs."""
    batches = count // 500 - 2
    events: list[Event] = []
    for epoch in range(1, 501):
        events.append(EpochStarted(epoch=epoch, batches=batches, rates=[0.1, 0.05]))
        for batch in range(1, batches + 1):
            accuracy = 90 + 5 * epoch / 500
            events.append(
                BatchFinished(
                    epoch=epoch, batch=batch, batches=batches, accuracy=accuracy, loss=0.1, samples_per_s=1e3
                )
            )
        events.append(
            EpochFinished(
                epoch=epoch,
                train_accuracy=95.0,
                validation_accuracy=None,
                test_accuracy=90 + 9 * epoch / 500,
                loss=0.1,
                test_loss=0.2,
                rates=[0.1, 0.05],
                seconds=1.0,
                best=True,
            )
        )
    return events


def long_run(home: Path) -> tuple[float, float, float]:
    """Seconds from start to the first and to the full picture of 200,000 events, and to a key's answer then."""
    if not list((home / "results").glob("*/*/*/*")):
        made_run(home, long_events(200_000), "long")
    terminal = Terminal("--run", "last", home=home)
    first = terminal.until("90 ┤")  # on the y axis, once there are data
    full = terminal.until("450")  # on the x axis, once the epochs are there
    pressed = time.perf_counter()
    terminal.type("?")
    terminal.until("keys: monitor")
    answered = time.perf_counter() - pressed
    terminal.end()
    return first, full, answered


def idle(home: Path) -> tuple[float, float, float]:
    """Per cent of a core, bytes a second and MB resident, with a finished run of 200,000 events on the screen."""
    terminal = Terminal("--run", "last", home=home)
    terminal.until("accuracy %")
    terminal.read(3)
    before = terminal.cpu()
    sent = terminal.read(5)
    used = (terminal.cpu() - before) / 5 * 100
    resident = psutil.Process(terminal.process.pid).memory_info().rss / 2**20
    terminal.end()
    return used, sent / 5, resident


def live(home: Path) -> tuple[float, float]:
    """Bytes a second and per cent of a core, with four charts of a run that trains."""
    results = home / "live"
    environment = {**os.environ, "EQPROP_RESULTS": str(results), "EQPROP_LINES": str(home / "lines")}
    environment.pop("EQPROP_FOREGROUND", None)
    command = ["train", "--preset", "digits-mlp-ep", "--epochs", "100000", "--detach"]
    made = subprocess.run([*EQPROP, *command], env=environment, capture_output=True, text=True, check=True)
    folder = made.stdout.strip()
    terminal = Terminal("--run", folder, home=home)
    try:
        terminal.until("images/s")
        terminal.read(5)
        before = terminal.cpu()
        sent = terminal.read(10)
        used = (terminal.cpu() - before) / 10 * 100
    finally:
        terminal.end()
        subprocess.run([*EQPROP, "runs", "stop", folder, "--kill"], env=environment, capture_output=True)
        shutil.rmtree(results, ignore_errors=True)
    return sent / 10, used


def four_charts(home: Path) -> tuple[float, float]:
    """Bytes a second and per cent of a core, with four charts of 3 × 10,000 growing points, drawn at each frame."""
    terminal = Terminal(home=home, command=[sys.executable, __file__, "--draw-four-charts"])
    terminal.until("chart 4")
    terminal.read(3)
    before = terminal.cpu()
    sent = terminal.read(10)
    used = (terminal.cpu() - before) / 10 * 100
    terminal.end()
    return sent / 10, used


def draw_four_charts() -> None:
    """An application of four charts, two by two; a batch comes ten times a second."""
    import numpy as np
    from textual.app import App, ComposeResult
    from textual.containers import Grid

    from eqprop_tui.app import FRAME
    from eqprop_tui.charts.data import Chart, Series
    from eqprop_tui.widgets.chart import ChartView

    generator = np.random.default_rng(0)
    noise = generator.normal(size=(4, 3, 20_000)).cumsum(axis=2)

    class Four(App[None]):
        CSS = "Grid { grid-size: 2 2; } ChartView { height: 100%; }"

        def compose(self) -> ComposeResult:
            with Grid():
                for _ in range(4):
                    yield ChartView()

        def on_mount(self) -> None:
            self.shown = 10_000
            self.set_interval(FRAME, self.draw)

        def draw(self) -> None:
            self.shown += max(1, round(10 * FRAME))
            x = np.arange(self.shown)
            for place, view in enumerate(self.query(ChartView)):
                series = tuple(Series(f"run {k}", x, noise[place, k, : self.shown], k + 1) for k in range(3))
                view.show(Chart(f"chart {place + 1}", series, x_label="batches", steady=True))

    Four().run()


def slowed(home: Path) -> tuple[float, float]:
    """Images a second of a training that nobody watches, and of the same one with an application attached.

    They alternate within one run, ten times ten seconds each.
    """
    results = home / "slowed"
    environment = {**os.environ, "EQPROP_RESULTS": str(results), "EQPROP_LINES": str(home / "lines")}
    environment |= {"OMP_NUM_THREADS": "1"}
    environment.pop("EQPROP_FOREGROUND", None)
    command = ["train", "--preset", "digits-cnn-ep", "--epochs", "100000", "--detach"]
    made = subprocess.run([*EQPROP, *command], env=environment, capture_output=True, text=True, check=True)
    run = RunFolder(Path(made.stdout.strip()))
    while run.read_state().get("state") != "running":
        time.sleep(0.1)

    def rate(seconds: float) -> float:
        """Images a second of the batch events of the last seconds, by their own clocks."""
        since, seen = time.time() - seconds, []
        with (run.path / EVENTS).open("rb") as file:
            for line in file:
                if b'"kind": "batch"' in line:
                    event = json.loads(line)
                    if event["t"] > since:
                        done = (event["epoch"] - 1) * event["batches"] + event["batch"]
                        seen.append((event["t"], done * 20))
        (began, first), (ended, last) = seen[0], seen[-1]
        return (last - first) / (ended - began)

    rates: dict[bool, list[float]] = {False: [], True: []}
    terminal = None
    try:
        time.sleep(5)
        for turn in range(20):
            watched = turn % 2 == 1
            if watched:
                terminal = Terminal("--run", str(run.path), home=home)
                terminal.until("images/s")
                terminal.read(2)
            if terminal is not None:
                terminal.read(10)
            else:
                time.sleep(10)
            rates[watched].append(rate(10))
            if terminal is not None:
                terminal.end()
                terminal = None
    finally:
        if terminal is not None:
            terminal.end()
        subprocess.run(
            [*EQPROP, "runs", "stop", str(run.path), "--kill"], env=environment, capture_output=True
        )
        shutil.rmtree(results, ignore_errors=True)
    return statistics.median(rates[False]), statistics.median(rates[True])


def thousand(home: Path) -> float:
    """Seconds from start to a table of 1,000 runs."""
    if not list((home / "results").glob("*/*/*/*")):
        for number in range(1000):
            made_run(home, [], f"run-{number}")
    terminal = Terminal(home=home)
    terminal.until("digits")
    pressed = time.perf_counter()
    terminal.type("\t")
    terminal.until("of 1,000")
    took = time.perf_counter() - pressed
    terminal.end()
    return took


def thousand_of_a_sweep(home: Path) -> tuple[float, float, float]:
    """Seconds to the list of runs with 1,000 runs of a sweep, to all of them below it, and to its table."""
    if not list((home / "results").glob("sweeps/*/runs/*/*")):
        made_sweep(home)
    terminal = Terminal(home=home)
    terminal.until("digits")
    taken = []
    for key, text in (("\t", "1000/1000 done"), ("\x1b[C", "rate 199"), ("t", "1000 of 1000 runs finished")):
        pressed = time.perf_counter()
        terminal.type(key)
        terminal.until(text)
        taken.append(time.perf_counter() - pressed)
    terminal.end()
    first, unfolded, table = taken
    return first, unfolded, table


def made_sweep(home: Path) -> None:
    """A sweep of 200 cells and five seeds, all finished after ten epochs."""
    settings = {"task": "digits", "archi": [64, 16, 10], "lrs": [0.1, 0.05], "epochs": 10}
    cells = [Cell(name=f"rate {number}", settings=settings) for number in range(200)]
    plan = SweepPlan(name="big", cells=tuple(cells), seeds=tuple(range(5)))
    sweep = SweepFolder.create(home / "results", plan)
    events = [event for event in long_events(2000) if not isinstance(event, BatchFinished)][:20]
    for job in sweep.jobs():
        config = plan.config(job.cell, job.seed)
        name = f"{job.cell.name} seed={job.seed}"
        run = RunFolder.create_at(job.path, config, command=["eqprop"], labels={"name": name})
        with (run.path / EVENTS).open("w") as file:
            for seq, event in enumerate(events, 1):
                file.write(encode(Record(seq, 1.7e9 + seq, event)) + "\n")
        facts = {"state": "finished", "epoch": 10, "epochs": 10, "best": 90.0, "last": 90.0, "device": "cpu"}
        run.write_state({**run.identity(), **facts})


MEASURES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "first-screen": (first_screen, ("s to the first screen",)),
    "long-run": (
        long_run,
        (
            "s to the first picture of 200,000 events",
            "s to the full one",
            "s to the answer of a key then",
        ),
    ),
    "idle": (idle, ("% of a core when nothing changes", "bytes/s", "MB resident")),
    "live": (live, ("bytes/s with a run that trains", "% of a core")),
    "four-charts": (four_charts, ("bytes/s with four charts", "% of a core with them")),
    "slowed": (slowed, ("images/s of a training, not watched", "images/s of a training, watched")),
    "thousand": (thousand, ("s to a table of 1,000 runs",)),
    "thousand-of-a-sweep": (
        thousand_of_a_sweep,
        (
            "s to a table of 1,000 runs of a sweep",
            "s to all of them below it",
            "s to the means of its 200 cells",
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=MEASURES, action="append")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--draw-four-charts", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.draw_four_charts:
        draw_four_charts()
        return
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", file=sys.stderr
    )
    found: dict[str, list[float]] = {}
    for name, (measure, words) in MEASURES.items():
        if given.only and name not in given.only:
            continue
        with tempfile.TemporaryDirectory(prefix="eqprop-bench-") as folder:
            home = Path(folder)
            if name == "idle":
                made_run(home, long_events(200_000), "long")
            for _ in range(1 if name == "slowed" else given.repeat):
                values = measure(home)
                for word, value in zip(
                    words, values if isinstance(values, tuple) else (values,), strict=True
                ):
                    found.setdefault(word, []).append(float(value))
        for word in words:
            values = found[word]
            print(
                f"{statistics.median(values):10.4g}  ({min(values):.4g} to {max(values):.4g})  {word}",
                file=sys.stderr,
            )
    if given.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
