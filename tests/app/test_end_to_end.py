"""The application as a person meets it: installed, in a terminal, with real runs and nothing replaced."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from app.terminal import PATIENCE, Terminal, installed
from eqprop_core.runs.listing import ALIVE, find_run, list_runs, summarize

ODD = b"\xff\xfe\x00\x80\x1b[97:65;2u\x1b[999999999999u\x1b[48;9999999;9999999;1;1t\x10\x1b[6~\x10\x1b[5~"
pytestmark = pytest.mark.usefixtures("hang_up_heard")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a person's shell has set: results and lines in temporary folders."""
    monkeypatch.delenv("EQPROP_FOREGROUND")
    for name in ("COLUMNS", "LINES"):  # of the terminal that the tests run in
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EQPROP_RESULTS", str(tmp_path / "results"))
    set_here = {"OMP_NUM_THREADS": "1", "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    return {**os.environ, **set_here, "EQPROP_LINES": str(tmp_path / "lines")}


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[list[Terminal]]:
    """Terminals that were opened; they and the processes of all runs are ended."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()
    for run in list_runs([tmp_path / "results"]):
        pid = json.loads((run.path / "state.json").read_text()).get("pid")
        if run.state in ALIVE and isinstance(pid, int):
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()


def best(screen: str) -> float:
    """The best accuracy that is on the screen, 0 where there is none."""
    found = re.search(r"best test (\d+\.\d+) %", screen)
    return float(found[1]) if found else 0.0


def test_from_the_library_to_a_stopped_run(
    environment: dict[str, str], terminals: list[Terminal], tmp_path: Path
) -> None:
    terminals.append(Terminal(installed(), environment=environment))
    first = terminals[0]
    first.until("digits-mlp-ep")
    first.press("/", *"digits-mlp-ep", "enter")
    first.until(lambda screen: "mnist-mlp-ep" not in screen)
    first.press("enter")
    first.until("configure   from digits-mlp-ep")
    for section in ("dynamics", "gradient", "optimizer"):
        first.press("f2")
        first.until(f"[{section}]")
    for field in ("lrs", "wds", "mmt", "lr-decay", "decay-epochs", "epochs"):
        first.press("down")
        first.until(lambda screen, field=field: f"\n {field}  " in screen)  # what it means, at the bottom
    first.press(*["\x7f"] * 6, *"4000")
    first.until("--epochs 4000")
    first.press("ctrl+r")
    first.until("● running")
    first.until(lambda screen: best(screen) > 60)
    before = best(first.screen)
    first.until(lambda screen: best(screen) > before)

    first.press("g")
    first.until("[3 gdu check]")
    first.until(lambda screen: "synapses.0.weight" in screen and re.search(r"0\.\d{4} +\d+\.\d %", screen))

    first.press("p")
    first.until("‖ paused")
    assert summarize(find_run("last").path).state == "paused"
    first.press("p")
    first.until("● running")

    first.press("d")  # detach: back to the library
    first.until("digits-mlp-ep")
    first.press("q")
    assert first.exit_status() == 0
    assert "goes on (running); come back: eqprop --run" in first.screen
    assert summarize(find_run("last").path).state == "running"

    terminals.append(Terminal(installed(), "--run", "last", environment=environment, size=(80, 24)))
    second = terminals[1]
    second.until(lambda screen: "● running" in screen and best(screen) > 80)
    second.press("s")
    second.until("s after its batch")
    second.press("enter")
    second.until("■ stopped")
    second.until("stopped, with a checkpoint")
    second.press("q")
    assert second.exit_status() == 0

    listed = subprocess.run(
        [installed(), "runs", "list", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    [run] = json.loads(listed.stdout)
    assert (run["state"], run["preset"], run["epochs"]) == ("stopped", "digits-mlp-ep", 4000)
    assert run["best"] > 80
    assert Path(run["path"]).is_relative_to(tmp_path)


def test_the_demo_opens_the_application_on_a_training_of_its_own(
    environment: dict[str, str], terminals: list[Terminal], tmp_path: Path
) -> None:
    terminals.append(Terminal(installed(), "demo", environment=environment))
    terminal = terminals[0]
    terminal.until("digits-mlp-ep")
    terminal.until("✓ finished")
    terminal.until(lambda screen: best(screen) > 90)
    terminal.until("EP follows BPTT in 4 of 4 parameters")
    terminal.press("q")
    assert terminal.exit_status() == 0
    [run] = list_runs([tmp_path / "results"])
    assert (run.preset, run.state) == ("digits-mlp-ep", "finished")


def test_a_terminal_may_be_too_small_and_is_put_right_at_the_end(
    environment: dict[str, str], terminals: list[Terminal]
) -> None:
    terminals.append(Terminal(installed(), environment=environment))
    terminal = terminals[0]
    terminal.until("ctrl+p palette")
    terminal.resize(50, 12)
    terminal.until("This terminal has 50 × 12 cells")
    terminal.resize(100, 30)
    terminal.until("ctrl+p palette")
    os.write(terminal.master, ODD)
    terminal.until("Search for commands")
    terminal.press("escape")
    terminal.until(lambda screen: "Search for commands" not in screen)
    assert "fault" not in terminal.screen
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.exit_status() == 143


@pytest.mark.parametrize(
    "signals", [2, pytest.param(1, marks=pytest.mark.slow)], ids=lambda count: f"{count} signals"
)
def test_it_ends_also_where_nobody_reads_the_terminal(
    signals: int, environment: dict[str, str], terminals: list[Terminal]
) -> None:
    terminals.append(Terminal(installed(), environment=environment))
    terminal = terminals[0]
    found = terminal.attributes
    terminal.until("ctrl+p palette")
    for width in range(100, 150):  # each draws a screen anew, and together they have no room
        termios.tcsetwinsize(terminal.master, (40, width))
        with suppress(subprocess.TimeoutExpired):
            terminal.process.wait(0.02)
    for _ in range(signals):
        terminal.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            terminal.process.wait(0.2)
    assert terminal.process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert terminal.attributes == found


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGHUP,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGQUIT, signal.SIGXCPU)),
    ],
    ids=lambda number: number.name,
)
def test_a_signal_leaves_the_terminal_as_it_was_found(
    number: signal.Signals, environment: dict[str, str], terminals: list[Terminal]
) -> None:
    terminals.append(Terminal(installed(), environment=environment))
    terminal = terminals[0]
    found = terminal.attributes
    terminal.until("ctrl+p palette")
    assert terminal.modes >= {"mouse", "alternate screen", "cursor hidden", "paste"}
    for wake_up in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):  # as schedulers send to every process
        terminal.process.send_signal(wake_up)
        terminal.clear()
        terminal.press("f5")
        terminal.until("ctrl+p palette")
    terminal.process.send_signal(number)
    assert terminal.exit_status() == 128 + number
    assert terminal.modes == set()
    assert terminal.attributes == found


@pytest.mark.parametrize(
    "number",
    [signal.SIGQUIT, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGHUP, signal.SIGTERM))],
    ids=lambda number: number.name,
)
def test_a_signal_to_a_live_list_shows_the_cursor_again(
    number: signal.Signals, environment: dict[str, str], terminals: list[Terminal]
) -> None:
    terminals.append(Terminal(installed(), "runs", "list", "--watch", environment=environment))
    terminal = terminals[0]
    terminal.until(lambda _: terminal.modes == {"cursor hidden"})
    terminal.process.send_signal(signal.SIGUSR1)
    terminal.process.send_signal(number)
    assert terminal.exit_status() == 128 + number
    assert terminal.modes == set()


def test_a_suspended_application_comes_back_as_it_was(
    environment: dict[str, str], terminals: list[Terminal]
) -> None:
    terminals.append(Terminal(installed(), environment=environment))
    terminal = terminals[0]
    terminal.until("ctrl+p palette")
    raw = terminal.attributes
    terminal.press("ctrl+z")
    terminal.until(lambda _: psutil.Process(terminal.process.pid).status() == psutil.STATUS_STOPPED)
    assert terminal.attributes != raw  # a shell would find its own terminal again
    terminal.clear()
    terminal.process.send_signal(signal.SIGCONT)
    terminal.until("ctrl+p palette")
    terminal.until("digits-mlp-ep")
    terminal.press("q")
    assert terminal.exit_status() == 0


def test_a_hang_up_ends_the_application_alone(
    environment: dict[str, str], terminals: list[Terminal], tmp_path: Path
) -> None:
    command = [installed(), "train", "--preset", "digits-mlp-ep", "--epochs", "4000", "--detach"]
    subprocess.run(command, env=environment, capture_output=True, check=True)
    terminals.append(Terminal(installed(), "--run", "last", environment=environment))
    terminal = terminals[0]
    terminal.until("images/s")
    os.close(terminal.master)
    terminal.master = -1
    assert terminal.process.wait(PATIENCE) != 0
    assert summarize(find_run("last").path).state == "running"
