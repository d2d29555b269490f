"""Reading a run as it goes on: torn lines, resumptions, vanished folders, long histories."""

from __future__ import annotations

import threading
from pathlib import Path

from app.made import GDU, batch, epoch
from eqprop_core.events import Event, Record, RunFinished, RunResumed, Warned, encode
from eqprop_tui.watching.console import Console
from eqprop_tui.watching.feed import MUCH, Feed
from eqprop_tui.watching.view import MOST_LINES, MOST_POINTS, Points, RunView
from eqprop_tui.watching.watcher import News, Watcher


def lines(*events: Event, first: int = 1) -> str:
    return "".join(encode(Record(seq, float(seq), event)) + "\n" for seq, event in enumerate(events, first))


def seqs(feed: Feed) -> list[int]:
    return [record.seq for record in feed.read()[0]]


def test_a_feed_gives_each_record_once_and_waits_for_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    feed = Feed(path)
    assert feed.read() == ([], False)
    text = lines(batch(1), batch(2), epoch(1, 50.0))
    path.write_text(text[:-20])
    assert seqs(feed) == [1, 2]
    assert seqs(feed) == []
    path.write_text(text)
    assert seqs(feed) == [3]


def test_unknown_kinds_and_torn_lines_in_the_middle_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(
        lines(batch(1)) + '{"v": 1, "seq": 2, "t": 0, "ki\n{"kind": "of tomorrow", "seq": 3, "t": 0}\n\n'
    )
    with path.open("a") as file:
        file.write(lines(batch(2), first=4))
    assert seqs(Feed(path)) == [1, 4]


def test_a_file_that_was_replaced_or_cut_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    feed = Feed(path)
    path.write_text(lines(batch(1), batch(2)))
    assert seqs(feed) == [1, 2]
    path.write_text(lines(batch(1)))
    assert seqs(feed) == [1]
    path.unlink()
    assert seqs(feed) == []


def test_of_much_that_lies_behind_frequent_kinds_are_thinned_and_others_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events: list[Event] = []
    for number in range(1, 201):
        events += [batch(1 + count % 10, epoch=number) for count in range(100)]
        events.append(epoch(number, 50.0))
    path.write_text(lines(*events))
    assert path.stat().st_size > MUCH
    feed, found, more = Feed(path), [], True
    while more:
        records, more = feed.read()
        found += records
    kinds = [record.event.kind for record in found]
    assert kinds.count("epoch_finished") == 200
    assert 500 < kinds.count("batch") < 10_000
    with path.open("a") as file:
        file.write(lines(batch(1), batch(2), first=len(events) + 1))
    assert seqs(feed) == [len(events) + 1, len(events) + 2]


def test_a_line_that_is_too_long_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(lines(epoch(1, 5.0)) + "x" * 6_000_000 + "\n" + lines(epoch(2, 6.0), first=2))
    feed, found, more = Feed(path), [], True
    while more:
        records, more = feed.read()
        found += [record.seq for record in records]
    assert found == [1, 2]


def test_what_a_resumption_does_again_is_taken_back() -> None:
    view = RunView()
    for seq, event in enumerate((batch(5), epoch(1, 60.0), batch(5, epoch=2), GDU, epoch(2, 99.0)), 1):
        view.add(Record(seq, 0.0, event))
    view.add(Record(6, 0.0, RunFinished(best_accuracy=99.0, last_accuracy=99.0, seconds=1.0)))
    assert view.finished is not None
    view.add(Record(7, 0.0, RunResumed(from_seq=3, epoch=2, batch=5)))
    assert [event.test_accuracy for event in view.epochs.all] == [60.0]
    assert view.accuracy.x == [0.5, 1.5]
    assert view.gdus.last is None
    assert view.finished is None
    view.add(Record(8, 0.0, epoch(2, 70.0)))
    assert [event.test_accuracy for event in view.epochs.all] == [60.0, 70.0]


def test_memory_is_bounded_and_a_thinned_curve_keeps_its_ends() -> None:
    points = Points(most=100)
    for seq in range(1, 10_001):
        points.add(seq, float(seq), 1.0)
    assert 25 <= len(points.x) < 100
    assert points.x == sorted(points.x)
    assert points.x[-1] > 9_800
    points.drop_after(5_000)
    assert points.x[-1] <= 5_000
    view = RunView()
    for seq in range(1, 3 * MOST_POINTS):
        view.add(Record(seq, 0.0, batch(1 + seq % 10, epoch=seq // 10 + 1)))
        view.add(Record(seq, 0.0, Warned(message="once more")))
    assert len(view.accuracy.x) < MOST_POINTS
    assert len(view.lines) == MOST_LINES


def test_the_console_is_read_from_near_its_end_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    console = Console(path)
    assert console.read() == []
    path.write_text("".join(f"line {number}\n" for number in range(20_000)) + "half")
    first = console.read()
    assert first[-1] == "line 19999"
    assert 1_000 < len(first) < 20_000
    assert all(line.startswith("line ") for line in first)
    with path.open("a") as file:
        file.write(" a line\r 50 %\r100 %\n")
    assert console.read() == ["100 %"]


def test_a_watcher_tells_of_a_folder_that_vanishes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "events.jsonl").write_text(lines(batch(1)))
    told: list[News] = []
    come = threading.Condition()

    def hand_on(news: News) -> None:
        with come:
            told.append(news)
            come.notify()

    watcher = Watcher(run, hand_on, 0.01)
    watcher.start()
    with come:
        assert come.wait_for(lambda: told and told[0].there and [r.seq for r in told[0].records] == [1], 20)
    (run / "events.jsonl").unlink()
    run.rmdir()
    with come:
        assert come.wait_for(lambda: not told[-1].there, 20)
    watcher.stop()
