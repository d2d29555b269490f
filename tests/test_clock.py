"""A clock that is wrong by decades: runs are begun, written down and shown all the same."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from eqprop_core.config import RunConfig
from eqprop_core.events import Record, Warned, decode, encode
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.log import EventLog, read_events
from eqprop_core.runs.names import EVENTS
from eqprop_core.runs.settings import Plan
from eqprop_core.worker import process
from eqprop_tui.panes.text import _clock
from eqprop_tui.words import age

CONFIG = {"task": "digits", "archi": [64, 4, 10], "lrs": [0.1, 0.1], "T1": 3, "T2": 2, "betas": [0.0, 0.5], "train_samples": 20, "test_samples": 10, "seed": 1}  # fmt: skip
YEARS = [1902, 1960, 1972, 2039, 2120, 9000]


def of_year(year: int) -> float:
    return (year - 1970) * 365.2425 * 86400 + 7 * 86400


@pytest.mark.parametrize("year", [2, *YEARS])
def test_events_of_any_time_are_read_and_shown(year: int, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(3, of_year(year), Warned(message="x"))
    assert decode(encode(record)) == record
    for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert _clock(record.time)
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("year", [1960, 1972, 2120])
def test_a_run_under_a_wrong_clock_is_whole(
    year: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = of_year(year) - time.time()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    monkeypatch.setitem(EventLog.__init__.__kwdefaults__, "clock", time.time)
    work = process.begin(Plan(RunConfig(**CONFIG)), root=tmp_path)
    records = list(work.records)
    assert work.path is not None
    written = list(read_events(work.path / EVENTS))
    assert [record.seq for record in written] == [record.seq for record in records]
    assert datetime.fromtimestamp(written[-1].time).year == year
    assert summarize(work.path).state == "finished"
    assert age(summarize(work.path).created)
