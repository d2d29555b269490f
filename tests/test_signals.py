"""Signals to a front end: what ends it puts away what is open, and wake-up calls do not end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from rich.live import Live

from eqprop_tui import signals
from eqprop_tui.cli import report

pytestmark = pytest.mark.usefixtures("hang_up_heard")


@pytest.mark.parametrize("number", [n for n in signals.ENDING if n != signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_that_ends_unwinds_what_is_open(number: signal.Signals) -> None:
    put_away = []
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended, signals.heard():
        try:
            signal.raise_signal(number)
        finally:
            put_away.append(number)
    assert ended.value.code == 128 + number and number.name in str(ended.value)
    assert put_away and signal.getsignal(number) is before


@pytest.mark.parametrize("number", signals.UNHEARD, ids=lambda n: n.name)
def test_a_wake_up_call_ends_nothing_here_and_is_as_ever_to_a_child(number: signal.Signals) -> None:
    with signals.heard():
        signal.raise_signal(number)
        child = [sys.executable, "-c", f"import signal; print(signal.getsignal({int(number)}))"]
        said = subprocess.run(child, capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(signal.SIG_DFL)


def test_what_was_to_be_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; the fixture puts it back
    with signals.heard():
        signal.raise_signal(signal.SIGHUP)


def test_a_live_picture_that_is_put_aside_shows_the_cursor_and_hides_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master, slave = os.openpty()
    stopped = []

    def shown(ending: bytes) -> None:
        """Read until this was written last; waits for it without end."""
        read = b""
        while not read.endswith(ending):
            read += os.read(master, 65536)

    def stop(pid: int, number: int) -> None:
        shown(signals.SHOW_CURSOR)
        stopped.append(number)

    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(os, "kill", stop)
        with signals.heard(), Live("picture", console=report.console(stderr=True), auto_refresh=False):
            signal.raise_signal(signal.SIGTSTP)
            shown(signals.HIDE_CURSOR)
        assert stopped == [signal.SIGSTOP]
        assert signals.cursor_hidden_on is None
    os.close(master)
