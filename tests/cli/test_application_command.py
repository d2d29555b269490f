"""What ends the application where something keeps it from ending, as a terminal that nobody reads."""

from __future__ import annotations

import signal
import threading

from eqprop_tui.ending import LastResort


def test_an_application_that_does_not_end_by_itself_is_ended() -> None:
    ended, statuses = threading.Event(), list[int]()
    last = LastResort(lambda status: (statuses.append(status), ended.set()), seconds=0.0)
    last.start()
    last.begin(128 + signal.SIGTERM)
    assert ended.wait(60)
    assert statuses == [143]


def test_one_that_has_ended_in_time_is_left_alone() -> None:
    statuses = list[int]()
    last = LastResort(statuses.append, seconds=0.0)
    before = set(threading.enumerate())
    last.start()
    (waiting,) = set(threading.enumerate()) - before
    last.give_up()
    last.begin(0)
    waiting.join(60)
    assert not waiting.is_alive() and statuses == []
