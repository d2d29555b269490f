"""Numbers, lists and texts without bounds: what is read from files is bounded, or left out in words."""

from __future__ import annotations

import asyncio
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from app import made
from app.world import World
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from eqprop_core.config import RunConfig, read_toml
from eqprop_core.events import (
    KINDS,
    LARGEST_SEQ,
    MOST_BINS,
    MOST_CONNECTIONS,
    Amended,
    Angles,
    BatchFinished,
    EpochStarted,
    Event,
    Record,
    RunFinished,
    RunResumed,
    RunStarted,
    Warned,
    decode,
    encode,
    instead_of,
)
from eqprop_core.files import bounded_json, read_json, write_text
from eqprop_core.presets import PresetError, parse_preset
from eqprop_core.problems import ConfigError
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.log import EventLog, follow_events, last_seq
from eqprop_core.runs.names import EVENTS
from eqprop_core.runs.words import in_words
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_tui.charts import legend
from eqprop_tui.charts.canvas import Canvas
from eqprop_tui.charts.glyphs import BRAILLE
from eqprop_tui.charts.histogram import Histogram, draw_histograms
from eqprop_tui.charts.lines import draw
from eqprop_tui.cli.follow import Bars, progress_on
from eqprop_tui.panes import curves
from eqprop_tui.watching import view as views
from eqprop_tui.watching.feed import Feed
from eqprop_tui.watching.view import RunView
from eqprop_tui.words import duration

HUGE = int("9" * 400)


def line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"v": 1, "seq": 7, "t": 1.8e9, "kind": kind, **fields}).encode()


BATCH = {"epoch": 1, "batch": 3, "batches": 10, "accuracy": 50.0, "loss": 0.5, "samples_per_s": 100.0}
LAYER = {"name": "layer 1", "edges": [0.0, 1.0], "counts": [5]}
# As they were: each of these ended a command, or stopped a pane for minutes.
OUT_OF_BOUNDS: dict[str, bytes] = {
    "400 digits": line("batch", **{**BATCH, "epoch": HUGE}),
    "400 digits of a float": line("batch", **{**BATCH, "accuracy": HUGE}),
    "5,000 digits": line("batch", **BATCH).replace(b"50.0", b"9" * 5000),
    "no batches": line("batch", **{**BATCH, "batches": 0}),
    "a negative batch": line("batch", **{**BATCH, "batch": -1}),
    "half a batch": line("batch", **{**BATCH, "batch": 0.5}),
    "1e999": line("batch", **BATCH).replace(b"50.0", b"1e999"),
    "NaN": line("batch", **{**BATCH, "accuracy": float("nan")}),
    "Infinity": line("batch", **{**BATCH, "samples_per_s": float("inf")}),
    "5,000 angles": line("angles", epoch=1, angles={f"{n}": 45.0 for n in range(5000)}),
    "a million bins": line("activity", epoch=1, batch=1, layers=[{**LAYER, "counts": [0] * 1_000_000}]),
    "10,000 edges": line("activity", epoch=1, batch=1, layers=[{**LAYER, "edges": [0] * 10_000}]),
    "2,001 layers": line("activity", epoch=1, batch=1, layers=[LAYER] * 2001),
    "5,000 rates": line("epoch_started", epoch=1, batches=1, rates=[0.1] * 5000),
    "1,000 phases": line("settling", epoch=1, batch=1, phases={f"{n}": [1.0] for n in range(1000)}),
    "1,000 changes": line("amended", settings={f"{n}": 1 for n in range(1000)}),
    "a resumption from afar": line("run_resumed", from_seq=2**60, epoch=1, batch=1),
}


def fed(path: Path) -> list[Record]:
    """All records that the application is given of a file."""
    feed, found, more = Feed(path), list[Record](), True
    while more:
        new, more = feed.read()
        found += new
    return found


@pytest.mark.parametrize("what", OUT_OF_BOUNDS)
def test_an_event_out_of_bounds_is_left_out_and_said_to_be(what: str, tmp_path: Path) -> None:
    hostile = OUT_OF_BOUNDS[what]
    assert decode(hostile) is None
    path = tmp_path / EVENTS
    good = encode(Record(8, 1.8e9, made.epoch(1, 50.0))).encode()
    again = [hostile] * (len(hostile) < 10**6)  # others like it
    path.write_bytes(b"\n".join([hostile, *again, good, *again]) + b"\n")
    for records in (list(follow_events(path, ended=lambda: True)), fed(path)):
        told = [record.event.message for record in records if isinstance(record.event, Warned)]
        assert len(told) == 1 and "left out" in told[0]
        assert records[-1].event == made.epoch(1, 50.0)
    assert last_seq(path) == 8


def test_what_is_no_event_of_ours_is_left_out_without_a_word() -> None:
    for other in (b"", b"{", b"null", b"[1]", line("of_later"), b"\xff", b"[" * 5000, line("batch")[:-1]):
        assert decode(other) is None and instead_of(other) is None


def test_texts_of_events_are_cut_and_nothing_that_a_run_writes_is_refused() -> None:
    names = {"x" * 5000: 45.0}
    assert [len(name) for name in Angles(epoch=1, angles=names).angles] == [200]
    assert len(in_words(Warned(message="x" * 10**6))) <= 10_000 + len("warning: ")
    assert len(in_words(Amended(settings={"name": "x" * 10**6}, epoch=1, batch=1))) <= 10_000
    written = [
        EpochStarted(epoch=1, batches=1, rates=[0.1] * MOST_CONNECTIONS),
        Angles(epoch=1, angles={f"{n}": 1.0 for n in range(MOST_CONNECTIONS)}),
        BatchFinished(
            epoch=1, batch=1, batches=1, accuracy=float("nan"), loss=None, samples_per_s=float("inf")
        ),
    ]
    for event in written:
        assert encode(Record(1, 0.0, event))
    assert MOST_BINS >= 40


def test_a_number_of_an_event_that_leaves_no_room_for_others_is_not_counted_on(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    lines = [encode(Record(seq, 0.0, Warned(message="x"))) for seq in (3, LARGEST_SEQ)]
    path.write_text("\n".join(lines) + "\n")
    log = EventLog(path)
    assert log.write(Warned(message="y")).seq == 4
    log.close()


# --- whatever an event holds, it can be shown --------------------------------------------------------------

SHOWN: dict[str, Event] = {
    event.kind: event
    for event in (
        *(made.batch(3), made.epoch(1, 50.0), made.GDU, made.STARTED, made.SETTLING, made.ACTIVITY),
        Angles(epoch=1, angles={"a": 12.0, "b": None}),
        RunStarted(
            todo="train", epochs=3, batches=4, train_images=9, test_images=9, parameters=9, device="cpu"
        ),
        RunFinished(best_accuracy=1.0, last_accuracy=2.0, seconds=3.0),
        RunResumed(from_seq=1, epoch=1, batch=1),
        Amended(settings={"epochs": 4}, epoch=1, batch=1),
    )
}
NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**53, 2**53 + 1, 2**63, HUGE, True, None]) | st.sampled_from(
    [0.5, -0.0, 5e-324, 1e-300, 1e15, 1e300, -1e308, float("inf"), float("nan")]
)
ANYTHING = NUMBERS | st.text(max_size=3) | st.lists(NUMBERS, max_size=3) | st.dictionaries(st.text(max_size=2), NUMBERS, max_size=2)  # fmt: skip


@st.composite
def odd_lines(draw: st.DrawFn) -> bytes:
    """An event of some kind with other values in one to three places, however deep."""
    fields = json.loads(encode(Record(5, 1.8e9, SHOWN[draw(st.sampled_from(sorted(SHOWN)))])))
    for _ in range(draw(st.integers(1, 3))):
        here: Any = fields
        while True:
            key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
            if isinstance(here[key], (dict, list)) and here[key] and draw(st.booleans()):
                here = here[key]
                continue
            here[key] = draw(ANYTHING)
            break
    return json.dumps(fields).encode()


@settings(max_examples=100, deadline=None)
@given(odd_lines())
def test_whatever_is_read_of_an_event_can_be_shown(content: bytes) -> None:
    record = decode(content) or instead_of(content)
    if record is None:
        return
    assert len(in_words(record.event)) <= 11_000
    shown = RunView()
    shown.add(Record(1, 0.0, made.batch(1)))
    shown.add(record)
    for chart in (curves.accuracy_chart(shown, None), curves.loss_chart(shown), curves.settling_chart(shown), curves.angles_chart(shown), curves.rates_chart(shown)):  # fmt: skip
        draw(chart, 60, 12)
    for curve in shown.gdus.last.curves if shown.gdus.last else ():
        draw(curves.gdu_chart(curve), 60, 12)
    layers = shown.activity.last.layers if shown.activity.last else []
    histograms = [Histogram(one.name, one.counts, one.edges[0], one.edges[-1], one.at_low, one.at_high) for one in layers if one.edges]  # fmt: skip
    draw_histograms(histograms, 60, 12)
    bars = Bars(progress_on(Console(quiet=True), None), 3, images=900)
    bars.show(record.event)


def test_times_that_are_none_are_not_written_out() -> None:
    assert [duration(seconds) for seconds in (1e300, float("inf"), float("nan"), -1e300)] == ["–"] * 4
    assert duration(1e9) == "11574 d 1 h"


# --- what is drawn and kept is bounded, too ---------------------------------------------------------------


def test_thousands_of_curves_are_not_all_drawn() -> None:
    shown = RunView()
    names = {f"synapses.{n}": 45.0 for n in range(MOST_CONNECTIONS)}
    shown.add(Record(1, 0.0, Angles(epoch=1, angles=names)))
    shown.add(Record(2, 0.0, EpochStarted(epoch=1, batches=1, rates=[0.1] * MOST_CONNECTIONS)))
    for chart in (curves.angles_chart(shown), curves.rates_chart(shown)):
        assert len(chart.series) == curves.MOST_CURVES
        assert chart.title.startswith(f"{curves.MOST_CURVES} of {MOST_CONNECTIONS:,}: ")


def test_a_legend_looks_at_no_more_entries_than_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[str] = []
    clean = legend.clean
    monkeypatch.setattr(legend, "clean", lambda text, **how: cleaned.append(text) or clean(text, **how))
    entries = [legend.Entry(f"curve {n}", "──", "series-1") for n in range(5000)]
    legend.title_line(Canvas(80, 10, BRAILLE), "title", entries, "epochs")
    assert len(cleaned) < 100


def test_large_events_are_kept_in_smaller_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MOST_VALUES", 100)
    shown = RunView()
    for seq in range(1, 51):
        shown.add(Record(seq, 0.0, Angles(epoch=seq, angles={f"{n}": 1.0 for n in range(10)})))
    assert [event.epoch for event in shown.angles.all] == list(range(41, 51))
    shown.add(Record(51, 0.0, Angles(epoch=51, angles={f"{n}": 1.0 for n in range(1000)})))
    assert [event.epoch for event in shown.angles.all] == [51]


# --- other files -------------------------------------------------------------------------------------------


def test_numbers_of_a_file_that_nothing_can_reckon_with_are_none(tmp_path: Path) -> None:
    odd = f"[9, 1.5, {'9' * 400}, -{'9' * 5000}, 1e999, -1e999, NaN, Infinity, -Infinity]"
    assert bounded_json(odd) == [9, 1.5, *[None] * 7]
    assert bounded_json(str(2**63 - 1)) == 2**63 - 1
    path = tmp_path / "state.json"
    path.write_text("[" * 100_000)
    assert read_json(path) == {}
    path.write_text(f'{{"a": {"9" * 400}}}')
    assert read_json(path) == {"a": None}


@pytest.mark.parametrize("odd", [HUGE, -1, 101, True, "5", None, [5], 1e308])
def test_a_run_with_any_published_figure_is_shown(tmp_path: Path, odd: object) -> None:
    run = RunFolder.create(tmp_path, RunConfig(task="digits", lrs=[0.1, 0.1], archi=[64, 4, 10]), command=[])
    run.describe({"expected": {"test_error": odd}, "processes": odd, "started_with": {"nproc": odd}})
    write_text(run.path / "state.json", json.dumps({**run.identity(), "state": "finished", "epoch": odd, "best": odd, "heartbeat": odd, "took": odd, "epochs": odd}))  # fmt: skip
    figure = run.expected_accuracy()
    assert figure is None or 0 <= figure <= 100
    found = summarize(run.path)
    assert abs(found.epoch) < 1e15 and duration(found.took)


def test_a_preset_of_thousands_of_unknown_keys_is_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    loads = tomllib.loads
    monkeypatch.setattr(tomllib, "loads", lambda text: parsed.append(len(text)) or loads(text))
    text = "[config]\nlrs = [0.1, 0.1]\n" + "".join(f"k{n} = 1\n" for n in range(20_000))
    with pytest.raises(PresetError, match=r"line 3: config\.k0: is not a setting") as caught:
        parse_preset(text, Path("many.toml"))
    assert len(parsed) == 1
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = " + "9" * 5000, "a number in it has too many digits"),
        ("lrs = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a" + ".a" * 5000 + " = 1", "a key has more than 50 parts"),
    ],
)
def test_a_configuration_without_bounds_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_toml(tmp_path / "config.toml")
    with pytest.raises(PresetError, match=said):
        parse_preset(text, Path("odd.toml"))


def test_of_thousands_of_problems_the_first_are_told() -> None:
    with pytest.raises(ConfigError, match=r"… and 19,950 more") as caught:
        RunConfig(**{f"k{n}": 1 for n in range(20_000)})
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize("odd", [{"seeds": [HUGE]}, {"seeds": list(range(2000))}, {"seeds": [-1]}, {"cells": [{"name": "a"}] * 20_000}])  # fmt: skip
def test_a_sweep_without_bounds_is_refused_in_words(tmp_path: Path, odd: dict[str, Any]) -> None:
    plan = {"name": "s", "cells": [{"name": "a"}], "seeds": [0], **odd}
    (tmp_path / "sweep.json").write_text(json.dumps({"plan": plan}))
    with pytest.raises(RunError, match="is not the plan of a sweep"):
        SweepFolder.open(tmp_path)


def test_a_run_of_hostile_events_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)

    async def script() -> None:
        run = world.run(made.STARTED, made.ACTIVITY, made.GDU, made.epoch(1, 50.0))
        with (run.path / EVENTS).open("ab") as file:
            file.write(b"\n".join(OUT_OF_BOUNDS.values()) + b"\n" + b"x" * 6_000_000 + b"\n")
            names = {f"synapses.{n}": 45.0 for n in range(MOST_CONNECTIONS)}
            file.write(line("angles", seq=50, epoch=1, angles=names) + b"\n")
        async with world.open(run):
            for pane in "12345687":
                await world.press(pane)
            await world.sees("it is left out, and so are others like it")
            await world.press("4")
            await world.sees(f"{curves.MOST_CURVES} of 2,000: ang")

    asyncio.run(script())


def test_every_kind_that_is_drawn_is_tried() -> None:
    assert (
        {"batch", "epoch_finished", "gdu", "activity", "settling", "angles"} <= SHOWN.keys() <= KINDS.keys()
    )
