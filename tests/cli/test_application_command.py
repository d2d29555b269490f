"""The application as a command: it ends by a signal, whatever its terminal does."""

from __future__ import annotations

import signal
import threading

import pytest

from eqprop_tui.cli import application


def test_an_application_that_cannot_draw_any_more_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left, asked = threading.Event(), []
    statuses: list[int] = []
    monkeypatch.setattr(application, "SECONDS_TO_END", 0.0)
    monkeypatch.setattr(application.os, "_exit", lambda status: (statuses.append(status), left.set()))
    application._Ending(asked.append).end(signal.SIGTERM)
    assert left.wait(60)
    assert (asked, statuses) == ([signal.SIGTERM], [143])


def test_one_that_has_ended_in_time_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application.os, "_exit", lambda status: pytest.fail("ended twice"))
    ending = application._Ending(lambda _: None)
    ending.end(signal.SIGTERM)
    ending.cancel()
    assert ending._timer is not None
    ending._timer.join(60)
    assert not ending._timer.is_alive()
