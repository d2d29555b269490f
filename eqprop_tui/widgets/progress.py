"""The lines under the head of the monitor: where the run is, how well it does, what happened last."""

from __future__ import annotations

import time
from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from eqprop_core.runs.listing import ALIVE, RunSummary
from eqprop_tui.looks import Looks
from eqprop_tui.watching.view import RunView
from eqprop_tui.words import accuracy, duration, number_of, speed

BAR = ("━", "╸", "─")
LEAST_BAR = 8


def epoch_line(view: RunView, run: RunSummary, expected: float | None, width: int, looks: Looks) -> Text:
    """Epochs done, accuracies by their names, the published one, time left."""
    last = view.epochs.last
    done = max(run.epoch, last.epoch if last is not None else 0)
    facts = [f"{name} {accuracy(value)} %" for name, value in run.scores.named().items()]
    if expected is not None:
        facts.append(f"paper {accuracy(expected)} %")
    if run.seconds_left is not None:
        facts.append(f"{duration(run.seconds_left)} left")
    return _line("epoch", done, run.epochs, facts, width, looks, run.state in ALIVE)


def batch_line(view: RunView, run: RunSummary, width: int, looks: Looks) -> Text:
    """The batch of the epoch, where a long batch is, speed and loss."""
    batch, phase = view.batch.last, view.phase
    facts = []
    if phase is not None:
        facts.append(f"{phase.phase} {phase.step:,}/{phase.steps:,}")
    if batch is not None:
        facts.append(f"{speed(batch.samples_per_s)} images/s")
        if batch.loss is not None:
            facts.append(f"loss {batch.loss:.3g}")
        ended = view.epochs.last is not None and view.epochs.last.epoch == batch.epoch
        return _line("batch", batch.batches if ended else batch.batch, batch.batches, facts, width, looks)
    started = view.started
    return _line("batch", 0, started.batches if started is not None else None, facts, width, looks)


def _line(
    name: str, done: int, of: int | None, facts: list[str], width: int, looks: Looks, live: bool = True
) -> Text:
    """`name 3/10 ━━━╸──── fact   fact`; facts give way from the last one on where there is no room."""
    head = f" {name} {done:>{len(number_of(of))}}/{number_of(of)} "
    shown: list[str] = []
    for fact in facts:
        if cell_len(head) + LEAST_BAR + 3 + cell_len("   ".join([*shown, fact])) < width:
            shown.append(fact)
    tail = "   ".join(shown)
    line = Text(head, no_wrap=True)
    room = max(0, width - cell_len(head) - cell_len(tail) - (3 if tail else 1) - 1)
    share = done / of if of else 0.0
    line.append_text(bar(share, min(room, 60), looks, live=live))
    line.append(" " * max(1, width - line.cell_len - cell_len(tail) - 1))
    line.append(tail)
    return line


def bar(share: float, width: int, looks: Looks, *, live: bool = True) -> Text:
    """A bar of `width` cells, filled by a share from 0 to 1, to half a cell; loud where it is live."""
    full, half, empty = BAR
    halves = round(min(max(share, 0.0), 1.0) * width * 2)
    text = Text()
    text.append(full * (halves // 2) + half * (halves % 2), looks.colour("waiting" if live else "dim"))
    text.append(empty * (width - halves // 2 - halves % 2), looks.colour("dim"))
    return text


def said_line(view: RunView, asked: str | None, looks: Looks) -> Text:
    """What was asked and not answered yet, or what happened last."""
    if asked is not None:
        return Text(f" asked: {asked} …", looks.colour("selected"))
    if not view.lines:
        return Text("")
    _, at, text = view.lines[-1]
    style = looks.colour("bad") if text.startswith(("warning", "failed")) else looks.colour("dim")
    return Text(f" {datetime.fromtimestamp(at):%H:%M:%S} {text}", style)


def waiting_line(run: RunSummary, looks: Looks, since: float | None) -> Text | None:
    """A sentence for a run that has not begun yet, or cannot write what it came to; None for others."""
    if run.waits:
        said = f" finished, and waits to write {run.waits}; stopping it gives that up"
        return Text(said, looks.colour("bad"))
    if run.state == "queued":
        ahead = run.ahead or 0
        runs = "1 run" if ahead == 1 else f"{ahead} runs"
        return Text(f" waits for {run.device or 'its device'}: {runs} before it", looks.colour("waiting"))
    if run.state == "starting":
        passed = "" if since is None else f", {duration(max(0.0, time.time() - since))}"
        doing = f"fetches {run.fetching}" if run.fetching else "its process loads torch and the data"
        return Text(f" starting: {doing}{passed}", looks.colour("waiting"))
    return None
