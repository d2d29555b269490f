"""Of a run's events, those hold that no later resumption took back."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import batch, epoch, make_run

from eqprop_core.events import Amended, Event, Record, RunFailed, RunResumed, Warned, encode
from eqprop_core.runs import history
from eqprop_core.runs.history import current_amendments, current_events, failure, histories, last_words
from eqprop_core.runs.log import EventLog


def resumed(from_seq: int) -> RunResumed:
    return RunResumed(from_seq=from_seq, epoch=1, batch=0)


def write(path: Path, events: list[Event]) -> Path:
    lines = [encode(Record(seq, 0.0, event)) for seq, event in enumerate(events, start=1)]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def seqs(path: Path) -> list[int]:
    return [record.seq for record in current_events(path)]


def naive(resumptions: list[int | None]) -> list[int]:
    """What holds, by keeping for each event the whole history that it stands at the end of."""
    known: dict[int, list[int]] = {0: []}
    for seq, from_seq in enumerate(resumptions, start=1):
        before = seq - 1 if from_seq is None else min(from_seq, seq - 1)
        known[seq] = [*known[before], seq]
    return known[len(resumptions)]


@settings(
    max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(st.lists(st.one_of(st.none(), st.integers(0, 40)), max_size=40))
def test_what_holds_is_what_a_history_kept_for_each_event_says(
    tmp_path: Path, resumptions: list[int | None]
) -> None:
    events = [Warned(message="m") if from_seq is None else resumed(from_seq) for from_seq in resumptions]
    assert seqs(write(tmp_path / "events.jsonl", events)) == naive(resumptions)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([batch(1), batch(2)], [1, 2]),
        ([batch(1), batch(2), batch(3), resumed(1), batch(2)], [1, 4, 5]),
        ([batch(1), batch(2), resumed(1), batch(2), resumed(1), batch(2)], [1, 5, 6]),
        ([batch(1), batch(2), resumed(2), batch(3), batch(4), resumed(4), batch(4)], [1, 2, 3, 4, 6, 7]),
        # the second goes on from an older checkpoint than the first did
        ([batch(1), batch(2), batch(3), resumed(3), batch(4), resumed(1), batch(2)], [1, 6, 7]),
        ([batch(1), batch(2), resumed(0), batch(1)], [3, 4]),
        ([batch(1), resumed(99), batch(2)], [1, 2, 3]),
    ],
)
def test_a_resumption_takes_back_what_came_after_its_checkpoint(
    events: list[Event], expected: list[int], tmp_path: Path
) -> None:
    assert seqs(write(tmp_path / "events.jsonl", events)) == expected


def test_no_file_and_torn_or_foreign_lines_are_no_records(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert seqs(path) == []
    write(path, [batch(1), batch(2)])
    with path.open("ab") as file:
        file.write(b'{"run_resumed": 1}\n[[[[\n\xff\xfe run_resumed\n{"v":1,"seq":3,"t":0,"kind":"run_re')
    assert seqs(path) == [1, 2]


def test_what_is_appended_while_reading_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", [batch(1), batch(2), batch(3)])
    records = current_events(path)
    assert next(records).seq == 1
    log = EventLog(path)
    log.write(resumed(0))
    log.close()
    assert [record.seq for record in records] == [2, 3]
    assert seqs(path) == [4]


def test_kinds_choose_and_other_events_that_mention_them_do_not_count(tmp_path: Path) -> None:
    events = [epoch(1), Warned(message="epoch_finished run_resumed"), epoch(2)]
    path = write(tmp_path / "events.jsonl", events)
    assert [record.seq for record in current_events(path, ("epoch_finished",))] == [1, 3]


def test_memory_does_not_grow_with_the_number_of_events(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = encode(Record(1, 0.0, batch(1))) + "\n"

    def peak(count: int) -> int:
        path.write_text(line * count)
        tracemalloc.start()
        try:
            assert sum(1 for _ in current_events(path, ("warning",))) == 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # what is made once
    assert peak(20_000) < peak(200) + 200_000


def test_each_epoch_is_there_once_with_all_that_was_measured(tmp_path: Path) -> None:
    events = [
        epoch(1, 40.0),
        epoch(2, 45.0),
        batch(1, 3),
        resumed(1),
        epoch(2, 55.0, validation_accuracy=54.0),
    ]
    run = make_run(tmp_path, events=[*events, epoch(3, 60.0, loss=None)])
    found = histories(run)
    assert [(row.epoch, row.test_accuracy) for row in found] == [(1, 40.0), (2, 55.0), (3, 60.0)]
    assert (found[1].validation_accuracy, found[2].loss, found[0].rates) == (54.0, None, [0.1, 0.2])


def test_amendments_are_those_that_hold(tmp_path: Path) -> None:
    changes = [Amended(settings={"mmt": value}, epoch=1, batch=3) for value in (0.1, 0.2)]
    run = make_run(tmp_path, events=[batch(1), changes[0], batch(2), resumed(1), changes[1]])
    assert [record.event.model_dump()["settings"] for record in current_amendments(run)] == [{"mmt": 0.2}]


def test_the_last_words_are_found_at_the_end_of_a_long_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "TAIL", 600)
    run = make_run(tmp_path, events=[*(epoch(n) for n in range(1, 30)), Warned(message="end"), batch(1)])
    words = [text for _, text in last_words(run, 2)]
    assert words[0].startswith("epoch 29") and words[1] == "warning: end"
    assert last_words(make_run(tmp_path), 3) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda run: run.write_state({"message": "no such data"}), "no such data"),
        (lambda run: None, "out of memory"),
        (lambda run: (run.path / "events.jsonl").unlink(), None),
    ],
)
def test_a_failure_is_told_from_the_state_or_the_events(
    change: Callable[..., None], expected: str | None, tmp_path: Path
) -> None:
    run = make_run(tmp_path, events=[RunFailed(message="old"), RunFailed(message="out of memory")])
    change(run)
    assert failure(run) == expected
