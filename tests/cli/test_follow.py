"""What is shown of a run while it is followed on a terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_runs import batch, epoch

from eqprop_core.events import Amended, EpochStarted
from eqprop_core.runs.listing import RunSummary
from eqprop_tui.cli.follow import Bars, progress_on


def summary(**changes: Any) -> RunSummary:
    values: dict[str, Any] = {
        "path": Path("/x"), "id": "1a2b3c4d", "name": "n", "state": "running", "preset": None, "model": None,
        "task": None, "alg": None, "loss": None, "epoch": 18, "epochs": 60, "best": None, "last": None,
        "device": None, "created": None, "seconds_an_epoch": 1.4, "ahead": None,
    }  # fmt: skip
    return RunSummary(**{**values, **changes})


class Shown:
    """Bars of a run of 60 epochs on a terminal of some width; `now` is how it stands."""

    def __init__(self, width: int) -> None:
        self.now = summary()
        self.screen = Console(file=io.StringIO(), force_terminal=True, width=width, legacy_windows=False)
        self.progress = progress_on(self.screen, lambda: self.now)
        self.bars = Bars(self.progress, 60, images=900)

    def drawn(self) -> str:
        with self.screen.capture() as captured:
            self.screen.print(self.progress.get_renderable())
        return captured.get()


@pytest.fixture(params=[80, 120])
def attached(request: pytest.FixtureRequest) -> Shown:
    """A run that has been followed from its beginning, all of it at once, to epoch 19."""
    shown = Shown(request.param)
    for number in range(1, 19):
        shown.bars.show(EpochStarted(epoch=number, batches=9, rates=[0.1]))
        shown.bars.show(batch(9, number))
        shown.bars.show(epoch(number))
    shown.bars.show(EpochStarted(epoch=19, batches=9, rates=[0.1]))
    shown.bars.show(batch(3, 19))
    return shown


def test_the_time_left_is_that_of_the_run_and_not_of_reading_it(attached: Shown) -> None:
    epochs, inner = attached.drawn().splitlines()[-2:]
    assert "18/60" in epochs and "59 s left" in epochs  # 42 epochs of 1.4 s, as `runs list` says
    assert "3/9" in inner and "1 min left" in inner  # 600 images at 8 a second
    assert "0:00:0" not in epochs + inner


def test_a_paused_run_is_shown_as_paused_with_how_to_go_on_and_no_clock(attached: Shown) -> None:
    attached.now = summary(state="paused")
    *_, epochs, inner, said = attached.drawn().splitlines()
    assert "paused; go on with: eqprop runs resume 1a2b3c4d" in said
    assert "left" not in epochs + inner
    attached.now = summary()
    assert "paused" not in attached.drawn()


def test_a_run_that_has_not_come_to_its_first_batch_is_starting() -> None:
    shown = Shown(100)
    shown.now = summary(state="starting")
    assert "starting …" in shown.drawn()


def test_a_run_that_is_watched_from_the_middle_of_an_epoch_shows_all_epochs() -> None:
    shown = Shown(100)
    shown.bars.show(batch(3, 19))
    assert "18/60" in shown.drawn()


def test_epochs_that_were_changed_on_the_way_are_those_of_the_bar() -> None:
    shown = Shown(100)
    shown.bars.show(Amended(settings={"epochs": 75}))
    shown.bars.show(batch(3, 19))
    assert "18/75" in shown.drawn()
