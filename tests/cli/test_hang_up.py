"""A training outlives the terminal that it was started from, has any number of readers, and Ctrl-C asks."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import ALIVE, summarize
from eqprop_core.runs.log import follow_events, read_events

pytestmark = pytest.mark.usefixtures("hang_up_heard")

EQPROP = [sys.executable, "-m", "eqprop_tui.cli.main"]
PATIENCE = 120.0  # seconds, on a busy machine
CTRL_C = "\x03"


class Terminal:
    """A command in a pseudo-terminal of its own; `shown` is all that it has printed."""

    def __init__(self, *words: str, environment: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 200))
        self.process = subprocess.Popen(
            [*EQPROP, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = ""
        self.seen = 0

    def until(self, text: str) -> None:
        """Read until a text is shown that had not been waited for before; fails if the command ends before."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.shown.find(text, self.seen)) < 0:
            assert time.monotonic() < deadline, f"{text!r} is not shown:\n{self.shown[-2000:]}"
            assert self._read(), f"{text!r} is not shown before the end:\n{self.shown[-2000:]}"
        self.seen = found + len(text)

    def type(self, text: str) -> None:
        """Type on the terminal's keyboard."""
        os.write(self.master, text.encode())

    def asked(self) -> None:
        """Type Ctrl-C, and read until the question what is wished waits for its answer."""
        self.type(CTRL_C)
        self.until("d leave it running")
        self.until("> ")

    def exit_status(self) -> int:
        """Read to the end; the command's exit status."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def hang_up(self) -> int:
        """Close the terminal; the command's exit status."""
        os.close(self.master)
        self.master = -1
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        """Read a piece; False at the end."""
        ready, _, _ = select.select([self.master], [], [], PATIENCE)
        assert ready, f"nothing is shown any more:\n{self.shown[-2000:]}"
        with suppress(OSError):  # Linux has an error where others have an end
            if piece := os.read(self.master, 65536):
                self.shown += piece.decode(errors="replace")
                return True
        return False


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a person's shell has set: results and lines in temporary folders."""
    monkeypatch.delenv("EQPROP_FOREGROUND")
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TERM": "xterm",
        "EQPROP_RESULTS": str(tmp_path / "results"),
        "EQPROP_LINES": str(tmp_path / "lines"),
    }


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Terminals to be closed in the end, and the commands in them ended."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        if terminal.master >= 0:
            os.close(terminal.master)
        with suppress(ProcessLookupError):
            terminal.process.kill()
        terminal.process.wait()


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that end with the test."""
    begun: list[subprocess.Popen[str]] = []
    yield begun
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def run_of(tmp_path: Path) -> Iterator[list[RunFolder]]:
    """Runs whose processes are ended with the test."""
    runs: list[RunFolder] = []
    yield runs
    for run in runs:
        if summarize(run.path).state in ALIVE:
            with suppress(psutil.Error, KeyError):
                psutil.Process(run.read_state()["pid"]).kill()


def the_run(tmp_path: Path, runs: list[RunFolder]) -> RunFolder:
    """The only run that there is."""
    (config,) = tmp_path.glob("results/*/*/*/*/config.toml")
    runs.append(RunFolder(config.parent))
    return runs[-1]


def event_of(run: RunFolder, kind: str) -> Any:
    """The first event of a kind, once there is one; fails if the run ends before."""
    records = follow_events(run.path / "events.jsonl", ended=lambda: summarize(run.path).state not in ALIVE)
    found = next((record.event for record in records if record.event.kind == kind), None)
    assert found is not None, f"no {kind}; {run.read_state()}"
    return found


def reading(
    run: RunFolder, environment: dict[str, str], processes: list[subprocess.Popen[str]]
) -> subprocess.Popen[str]:
    """`eqprop runs attach` without a terminal: it prints a line for each event that has one."""
    reader = subprocess.Popen(
        [*EQPROP, "runs", "attach", str(run.path)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    processes.append(reader)
    return reader


def steer(environment: dict[str, str], *words: str) -> None:
    """`eqprop runs` from nowhere in particular."""
    done = subprocess.run(
        [*EQPROP, "runs", *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_run_outlives_its_terminal_and_is_read_and_steered_by_others(
    environment: dict[str, str],
    terminals: list[Terminal],
    processes: list[subprocess.Popen[str]],
    run_of: list[RunFolder],
    tmp_path: Path,
) -> None:
    words = ("--preset", "digits-mlp-ep", "--epochs", "4000")
    terminals.append(Terminal("train", *words, environment=environment))
    terminals[0].until("images/s")
    run = the_run(tmp_path, run_of)
    readers = [reading(run, environment, processes) for _ in range(2)]
    for reader in readers:  # both are there before anything is asked
        assert reader.stderr is not None
        assert reader.stderr.readline().startswith("train on cpu")

    assert terminals[0].hang_up() == 129
    assert summarize(run.path).state == "running"

    steer(environment, "pause", str(run.path))
    last = str(event_of(run, "control_applied").epoch + 2)
    steer(environment, "set", str(run.path), "--lr-factor", "0.5", "--epochs", last)
    steer(environment, "resume", str(run.path))
    said = [reader.stderr.read() for reader in readers if reader.stderr is not None]
    assert [reader.wait(PATIENCE) for reader in readers] == [0, 0], said
    assert said[0] == said[1]
    assert f"set lr_factor 0.5, epochs {last} at epoch" in said[0]
    assert said[0].count("  test ") == int(last)  # the line of every epoch, also of those before

    summary = summarize(run.path)
    assert (summary.state, summary.epoch, summary.epochs) == ("finished", int(last), int(last))
    seqs = [record.seq for record in read_events(run.path / "events.jsonl")]
    assert seqs == list(range(1, len(seqs) + 1))


def test_ctrl_c_asks_whether_to_leave_the_run_or_to_stop_it(
    environment: dict[str, str], terminals: list[Terminal], run_of: list[RunFolder], tmp_path: Path
) -> None:
    terminals.append(
        Terminal("train", "--preset", "digits-mlp-ep", "--epochs", "4000", environment=environment)
    )
    first = terminals[0]
    first.until("images/s")
    run = the_run(tmp_path, run_of)
    first.asked()
    first.type("\r")  # goes on watching
    first.until("images/s")
    first.asked()
    first.type("d\r")
    assert first.exit_status() == 130
    assert f"eqprop runs attach {summarize(run.path).id}" in first.shown
    assert summarize(run.path).state == "running"

    terminals.append(Terminal("runs", "attach", str(run.path), environment=environment))
    second = terminals[1]
    second.until("images/s")
    second.asked()
    second.type("x\r")
    second.until("x: is none of d, s, k and Enter")
    second.until("> ")
    second.type(CTRL_C)  # at the question: it goes on
    second.until("\r\nthe run goes on")
    assert second.exit_status() == 130
    assert summarize(run.path).state == "running"

    terminals.append(Terminal("runs", "attach", str(run.path), environment=environment))
    third = terminals[2]
    third.until("images/s")
    third.asked()
    third.type("s\r")
    assert third.exit_status() == 130
    assert "stopping after this batch" in third.shown
    assert f"eqprop runs resume {summarize(run.path).id}" in third.shown
    assert summarize(run.path).state == "stopped"
    assert (run.path / "checkpoint.tar").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_training_on_a_terminal_that_nobody_reads_goes_on_and_is_stopped_by_signals(
    number: signal.Signals,
    environment: dict[str, str],
    terminals: list[Terminal],
    run_of: list[RunFolder],
    tmp_path: Path,
) -> None:
    words = ("--preset", "digits-mlp-ep", "--epochs", "4000", "--foreground")
    terminals.append(Terminal("train", *words, environment=environment))
    process = terminals[0].process
    deadline = time.monotonic() + 2 * PATIENCE
    while not (begun := list(tmp_path.glob("results/*/*/*/*/config.toml"))):
        assert process.poll() is None and time.monotonic() < deadline
        os.sched_yield()
    run = the_run(tmp_path, run_of)
    records = follow_events(run.path / "events.jsonl", ended=lambda: process.poll() is not None)
    epochs = (record.event.epoch for record in records if record.event.kind == "epoch_finished")
    assert next((epoch for epoch in epochs if epoch == 20), None) == 20, begun  # more than a terminal holds
    process.send_signal(number)
    assert process.wait(PATIENCE) == 128 + number
    assert summarize(run.path).state == "stopped"
    assert (run.path / "checkpoint.tar").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
@pytest.mark.parametrize("words", [("runs", "attach"), ("--run",), ("runs", "tail", "--follow")])
def test_who_watches_on_a_terminal_that_nobody_reads_ends_by_a_signal_and_the_run_goes_on(
    words: tuple[str, ...],
    number: signal.Signals,
    environment: dict[str, str],
    terminals: list[Terminal],
    run_of: list[RunFolder],
    tmp_path: Path,
) -> None:
    begun = subprocess.run(
        [*EQPROP, "train", "--preset", "digits-mlp-ep", "--epochs", "40000", "--detach"],
        env=environment,
        capture_output=True,
        check=True,
    )
    assert begun.stdout
    run = the_run(tmp_path, run_of)
    event_of(run, "epoch_finished")
    terminals.append(Terminal(*words, str(run.path), environment=environment))
    terminals[0].until("\x1b[" if words == ("--run",) else "epoch")
    records = follow_events(run.path / "events.jsonl", ended=lambda: False)
    for count, _ in enumerate(record for record in records if record.event.kind == "epoch_finished"):
        if count == 60:
            break
    terminals[0].process.send_signal(number)
    assert terminals[0].process.wait(PATIENCE) == 128 + number
    assert summarize(run.path).state == "running"
