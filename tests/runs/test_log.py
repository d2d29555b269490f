"""The events of a run that has trained for days: what is asked of it takes no longer than of a new one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import batch, epoch, make_run
from typer.testing import Result

from eqprop_core.events import ControlReceived, Record, Warned, encode
from eqprop_core.marks import own_mark
from eqprop_core.runs import log
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.log import EventLog, follow_events, last_seq, size_of_events
from eqprop_tui.cli import steer

Run = Callable[..., Result]
MANY = 20_000


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines that are decoded, which is what takes time."""
    lines: list[bytes] = []
    decode = log.decode

    def counted(line: bytes) -> Record | None:
        lines.append(line)
        return decode(line)

    monkeypatch.setattr(log, "decode", counted)
    return lines


@pytest.fixture
def long(tmp_path: Path) -> RunFolder:
    """A run with many events of batches, and an epoch now and then."""
    run = make_run(tmp_path)
    records = [
        Record(n, 0.0, epoch(n // 5000) if n % 5000 == 0 else batch(n % 9 + 1)) for n in range(1, MANY + 1)
    ]
    (run.path / "events.jsonl").write_text("".join(encode(record) + "\n" for record in records))
    return run


@pytest.mark.parametrize(
    "end",
    [b"", b'{"v": 1, "seq": 9', b"\n\n", b'{"v":1,"seq":20001,"t":0,"kind":"of tomorrow"}\n', b"x" * 200_000],
)
def test_the_last_number_is_read_off_the_end(end: bytes, long: RunFolder, decoded: list[bytes]) -> None:
    with (long.path / "events.jsonl").open("ab") as file:
        file.write(end)
    assert last_seq(long.path / "events.jsonl") == MANY
    if len(end) < 1000:
        assert len(decoded) < 1000


def test_the_last_number_of_a_file_without_events_is_none(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert last_seq(path) == 0
    path.write_bytes(b"nothing of ours\n" * 10)
    assert last_seq(path) == 0


def test_what_is_old_is_followed_by_kinds_and_what_is_new_whole(
    long: RunFolder, decoded: list[bytes]
) -> None:
    path = long.path / "events.jsonl"
    begin = size_of_events(path)
    new = EventLog(path)
    for event in (batch(1), Warned(message="w")):
        new.write(event)
    new.close()
    decoded.clear()
    followed = list(follow_events(path, begin=begin, before=("epoch_finished",), ended=lambda: True))
    assert [record.seq for record in followed] == [5000, 10_000, 15_000, 20_000, MANY + 1, MANY + 2]
    assert len(decoded) < 10
    inside = begin - 10  # of a line, which belongs to what is old
    assert [record.seq for record in follow_events(path, begin=inside, ended=lambda: True)] == [
        MANY + 1,
        MANY + 2,
    ]
    after = follow_events(path, after=15_000, begin=inside, before=("epoch_finished",), ended=lambda: True)
    assert [record.seq for record in after] == [20_000, MANY + 1, MANY + 2]


def test_a_long_run_is_asked_without_decoding_what_it_has_told(
    long: RunFolder, decoded: list[bytes], eqprop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = steer.ask

    def answered(run: Path, *words: object) -> None:
        ask(run, *words)  # type: ignore[arg-type]
        told = EventLog(run / "events.jsonl")
        told.write(ControlReceived(request="stop"))
        told.close()

    monkeypatch.setattr(steer, "ask", answered)
    long.write_state({**long.read_state(), **own_mark(), "state": "running", "heartbeat": time.time()})
    assert "received, takes effect after the batch" in eqprop("runs", "stop", long.path).stderr
    assert len(decoded) < 1000


def test_a_run_that_loads_is_asked_all_the_same(
    tmp_path: Path, eqprop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steer, "SECONDS_FOR_AN_ANSWER", 0.0)
    run = make_run(tmp_path)
    (run.path / "events.jsonl").unlink()
    with run.lock():
        run.write_state({**run.identity(), **own_mark(), "state": "starting", "heartbeat": time.time()})
        assert summarize(run.path).state == "starting"
        for request in ("stop", "pause", "checkpoint"):
            said = eqprop("runs", request, run.path).stderr
            assert f"{request}: asked, takes effect as soon as the run has loaded" in said
        assert len(list((run.path / "control").iterdir())) == 3
        run.write_state({**run.read_state(), "state": "running"})
        said = " ".join(eqprop("runs", "stop", run.path, code=1).stderr.split())
        assert f"did not answer within 0 s (process {own_mark()['pid']} " in said
