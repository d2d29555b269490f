"""One run, live: where it is, its curves, one pane of several, and the keys that steer it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from textwrap import wrap

from rich.text import Text
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import ContentSwitcher

from eqprop_core.devices import Device, list_devices
from eqprop_core.problems import printable
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import ALIVE, RunSummary, summarize
from eqprop_core.runs.reference import is_reference
from eqprop_core.shell import command
from eqprop_tui.keys import bindings
from eqprop_tui.looks import Looks
from eqprop_tui.panes import curves
from eqprop_tui.panes.base import Pane
from eqprop_tui.panes.chart import ActivityPane, ChartPane
from eqprop_tui.panes.gdu import GduPane
from eqprop_tui.panes.text import DevicePane, EventsPane, LinesPane
from eqprop_tui.screens.steering import Steering
from eqprop_tui.watching.view import RunView
from eqprop_tui.watching.watcher import News, Watcher
from eqprop_tui.widgets.chart import ChartKeys, ChartView
from eqprop_tui.widgets.progress import batch_line, epoch_line, said_line, waiting_line
from eqprop_tui.widgets.text_lines import TextLines
from eqprop_tui.words import duration, memory_size, times

PANES = ("activity", "settling", "gdu", "angles", "rates", "device", "events", "log")
PANE_NAMES = {"gdu": "gdu check"}
SECONDS_BETWEEN_DEVICES = 2.0
MOST_WAITING = 50  # messages that the terminal keeps from being worked off, until no more is read
COMMON = 80  # columns; where there are fewer, what can be seen elsewhere is left out
WAITS = ", received, waits for the end of the batch"
TAKES_EFFECT = ("control_applied", "amended", "warning")  # a warning: what was asked cannot be had
SHAPES = ("both", "chart", "pane")  # what `enlarge` goes through


class Fresh(Message):
    """Something new of the run."""

    def __init__(self, news: News) -> None:
        super().__init__()
        self.news = news


class DeviceSeen(Message):
    """How the run's device is now; None where it is not one of this computer."""

    def __init__(self, device: Device | None) -> None:
        super().__init__()
        self.device = device


class MonitorScreen(ChartKeys, Steering):
    """Watches the run at `path`."""

    PLACE = "monitor"
    BINDINGS = [*bindings("monitor"), *bindings("chart")]  # noqa: RUF012  as Textual declares it
    AUTO_FOCUS = "#curves"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.view = RunView()
        self.summary: RunSummary = summarize(path)
        self.expected = RunFolder(path).expected_accuracy()
        self.there = True
        self.asked: str | None = None
        self.pending: str | None = None
        self.killed = False
        self.pane = "activity"
        self.shape = SHAPES[0]
        self.curve = "accuracy"
        self.device: Device | None = None
        self.watcher = Watcher(path, lambda news: self.post_message(Fresh(news)))
        self.watcher.waits = lambda: self.message_queue_size > MOST_WAITING
        self._counted = False  # whether a count of seconds was shown a moment ago
        self._opened = time.time()
        self._drawn = 0.0  # when, by a clock that never goes back

    def body(self) -> ComposeResult:
        """Progress, chart, the names of the panes, the pane."""
        yield TextLines(id="watched")
        yield TextLines(id="progress")
        yield ChartView(id="curves")
        yield TextLines(id="panes")
        with ContentSwitcher(initial=f"pane-{self.pane}", id="pane"):
            yield ActivityPane(id="pane-activity")
            yield ChartPane(curves.settling_chart, "no batch has been sampled yet", id="pane-settling")
            yield GduPane(id="pane-gdu")
            yield ChartPane(
                curves.angles_chart,
                "angles are measured after each epoch of a vector field: a network with backward weights",
                id="pane-angles",
            )
            yield ChartPane(curves.rates_chart, "no epoch has begun yet", id="pane-rates")
            yield DevicePane(id="pane-device")
            yield EventsPane(id="pane-events")
            yield LinesPane(id="pane-log")

    def on_mount(self) -> None:
        """Begin to read."""
        self.watcher.pause = self.eqprop.frame
        self.watcher.start()
        self.set_interval(SECONDS_BETWEEN_DEVICES, self._look_at_device)
        self.set_interval(max(1.0, self.eqprop.frame), self._tick)
        self._look_at_device()
        self._draw()

    def on_unmount(self) -> None:
        """Nobody reads on."""
        self.watcher.stop()

    def on_screen_resume(self) -> None:
        """Another run may have been opened or closed meanwhile."""
        self._draw()

    # --- what is new ----------------------------------------------------------------------------------

    def on_fresh(self, fresh: Fresh) -> None:
        """Take in what is new, and draw what it changes."""
        news, before = fresh.news, self.summary.state
        for record in news.checks:
            self.view.add_check(record)
        for record in news.records:
            self.view.add(record)
            if self.asked is not None and record.event.kind == "control_received":
                self.asked = self.asked.removesuffix(WAITS) + WAITS
            if record.event.kind in TAKES_EFFECT and self.asked is not None:
                self.asked = self.pending = None
                self.show_keys()
        keys_before = (self.summary.state, self.there)
        self.summary, self.there = news.summary, news.there
        self.query_one("#pane-log", LinesPane).append(list(news.printed))
        if self.summary.state != before:
            self.killed = self.pending == "kill"
            self.asked = self.pending = None
            self._has_changed(before)
        if (self.summary.state, self.there) != keys_before:
            self.show_keys()
        now = time.monotonic()
        if self.summary.state == "finished" and self.path == self.eqprop.options.run:
            self._check_at_end()
        if not news.more or now - self._drawn >= self.eqprop.frame:
            self._drawn = now  # of a long history the beginning at once, then as often as any other picture
            self._draw()

    def _check_at_end(self) -> None:
        """Make the check that the application was opened for, once."""
        flags, self.eqprop.check_at_end = self.eqprop.check_at_end, None
        if flags is not None:
            self.eqprop.check_weights(self.path, flags)
            self.action_pane("gdu")

    def _has_changed(self, before: str) -> None:
        """The run stands otherwise than before."""
        if before in ALIVE and self.summary.state not in ALIVE and self.eqprop.preferences.bell:
            self.app.bell()

    def _look_at_device(self) -> None:
        if self.summary.state in ALIVE and self.summary.state != "unreachable":
            key = self.summary.device
            self.run_worker(lambda: self._seek_device(key), thread=True, group="device", exclusive=True)

    def _seek_device(self, key: str | None) -> None:
        found = next((device for device in list_devices() if device.key == key), None)
        self.post_message(DeviceSeen(found))

    def on_device_seen(self, seen: DeviceSeen) -> None:
        """Note how the device is."""
        self.device = seen.device
        pane = self.query_one(DevicePane)
        pane.sample(time.time() - self._opened, seen.device)
        self._say_head()
        if self.pane == "device":
            pane.take(self.view)

    # --- drawing --------------------------------------------------------------------------------------

    def _draw(self) -> None:
        if not self.is_made or self.app.screen is not self:
            return
        self._say_head()
        self._say_progress()
        self._say_panes()
        if self.shape != "pane":
            chart = (
                curves.accuracy_chart(self.view, self.expected)
                if self.curve == "accuracy"
                else curves.loss_chart(self.view)
            )
            chart = replace(chart, steady=self.summary.state in ALIVE)
            self.query_one("#curves", ChartView).show(chart)
        if self.shape != "chart":
            pane = self.query_one(GduPane)
            pane.can_check = self.check_action("check", ()) is True
            pane.going_on = self._check_in_words()
            self._pane().take(self.view)

    def _check_in_words(self) -> str:
        since, come = self.eqprop.checking.get(self.path), self.view.saved_check.time
        if since is None or (come is not None and come > since):
            return ""
        return f"EP is held against BPTT on the saved weights, {duration(max(0, time.time() - since))} …"

    def _tick(self) -> None:
        """What counts seconds goes on between two events."""
        counts = self.summary.state in ALIVE or self.path in self.eqprop.checking
        if counts or self._counted:
            self._draw()
        self._counted = counts

    def on_resize(self) -> None:
        """Another width has room for other words."""
        super().on_resize()
        self.call_after_refresh(self._draw)

    def theme_changed(self) -> None:
        """Draw everything again."""
        self._draw()

    def _pane(self) -> Pane:
        found = self.query_one(f"#pane-{self.pane}")
        assert isinstance(found, Pane)
        return found

    def _say_head(self) -> None:
        looks, run = Looks.of(self.app), self.summary
        sign, colour = looks.sign(run.state)
        left = Text.assemble((f"{sign} {run.state}", colour), "   ", (run.name, "bold"))
        if self.app.size.width >= COMMON:
            left.append(f"   {run.id}")
        if not self.there:
            left = Text(f"the folder is gone: {self.path}", looks.colour("bad"))
        right = run.device or ""
        device = self.device
        if run.state in ALIVE and device is not None and device.key == run.device:
            facts = [device.key if device.key == "cpu" else f"{device.key} {device.name}"]
            facts.append("n/a" if device.load is None else f"{100 * device.load:.0f} %")
            if device.memory_total is not None and device.memory_used is not None:
                facts.append(f"{memory_size(device.memory_used)} of {memory_size(device.memory_total)}")
            right = "   ".join(facts)
        self.head.say(left, right)

    def _say_progress(self) -> None:
        looks, run, width = Looks.of(self.app), self.summary, self.app.size.width
        lines = [epoch_line(self.view, run, self.expected, width, looks)]
        waiting = waiting_line(run, looks, self._opened if run.state == "starting" else None)
        if run.state in ALIVE:
            lines.append(waiting or batch_line(self.view, run, width, looks))
            lines.append(said_line(self.view, self.asked, looks))
        else:
            lines += self._ending(looks)
        lines = [piece for line in lines for piece in line.split("\n", allow_blank=True)]
        progress = self.query_one("#progress", TextLines)
        progress.styles.height = max(3, len(lines))
        progress.show(*lines)
        several = len(self.eqprop.watched) > 1
        watched = self.query_one("#watched", TextLines)
        watched.display = several
        if several:
            names = Text(" ")
            for place, path in enumerate(self.eqprop.watched):
                if path.is_dir():
                    style = f"bold {looks.colour('selected')}" if path == self.path else looks.colour("dim")
                    name = Text(summarize(path).name, style)
                    name.apply_meta({"@click": f"screen.watched_run({place})"})
                    names.append_text(name).append("   ")
            names.append("[ ] other run", looks.colour("dim"))
            watched.show(names)

    def _ending(self, looks: Looks) -> list[Text]:
        """How a run ended, and what can be done next."""
        run = self.summary
        if not self.there:
            said = Text(f" deleted or moved away: {self.path}", looks.colour("bad"))
            return [
                said,
                Text(" a process that still trains ends by itself after a minute", looks.colour("dim")),
            ]
        if is_reference(self.path):
            said = Text(f" left by the reference: {run.scores.in_words()}")
            going_on = (
                f"n new with its settings · {command('train', '--load-path', self.path)} "
                "goes on from its weights"
            )
            return [said, Text(f" next: {going_on}", looks.colour("dim"))]
        begun = RunFolder(self.path).has_checkpoint()
        goes_on = "R go on from its last checkpoint" if begun else "R begin again"
        if run.state == "finished":
            took = f", {times(run)}" if run.took is not None else ""
            said = Text(f" finished{took}: {run.scores.in_words()}")
            following = "g GDU check · R more epochs · n new from this · y copies its path"
        elif run.state == "failed":
            message = RunFolder(self.path).read_state().get("message") or self.view.failed or "failed"
            lines = self._wrapped(f"failed: {message}")
            said = Text("\n".join(lines), looks.colour("bad"))
            following = f"8 its output · {goes_on} · n new from this"
        elif run.state == "stopped":
            said = Text(" stopped, with a checkpoint" if begun else " stopped before its first checkpoint")
            following = f"R {'go on from there, bit for bit' if begun else 'begin'} · n new from this"
        else:
            reason = f", {run.reason}" if run.reason else ""
            how = "killed" if self.killed else f"{run.state}{reason}: its process is gone or silent"
            said = Text(f" {how}", looks.colour("bad"))
            following = f"{goes_on} · 8 what it printed"
        return [said, Text(f" next: {following}", looks.colour("dim"))]

    def _wrapped(self, text: str) -> list[str]:
        """Lines of a message as wide as the screen, as many as leave room for the rest."""
        width, most = max(1, self.app.size.width - 2), max(3, self.app.size.height // 3)
        lines = [f" {piece}" for line in text.splitlines() for piece in wrap(printable(line), width) or [""]]
        return lines if len(lines) <= most else [*lines[: most - 1], " … 8 shows all of it"]

    def _say_panes(self) -> None:
        looks, width = Looks.of(self.app), self.app.size.width
        names = Text(" ")
        for place, pane in enumerate(PANES, 1):
            word = PANE_NAMES.get(pane, pane) if width >= 96 else pane
            if pane == self.pane:
                name = Text(f"[{place} {word}]", f"bold {looks.colour('selected')}")
            else:
                name = Text(f" {place} {word} " if width >= COMMON else f" {place} ", looks.colour("dim"))
            name.apply_meta({"@click": f"screen.pane('{pane}')"})
            names.append_text(name)
        self.query_one("#panes", TextLines).show(names)

    # --- keys -----------------------------------------------------------------------------------------

    @property
    def key_labels(self) -> dict[str, str]:
        """Words that depend on how the run stands."""
        held = self.summary.state == "paused" or self.pending == "pause"
        return {
            "pause": "go on" if held else "pause",
            "curve": "loss" if self.curve == "accuracy" else "accuracy",
        }

    def pointed_chart(self) -> ChartView | None:
        """The chart that has the keys, or the upper one, or, where that is hidden, the one of the pane."""
        if isinstance(self.focused, ChartView) and self.focused.size:
            return self.focused
        if self.shape != "pane":
            return self.query_one("#curves", ChartView)
        pane = self.query_one(f"#pane-{self.pane}")
        shown = [pane, *pane.query(ChartView)]
        return next((chart for chart in shown if isinstance(chart, ChartView) and chart.display), None)

    def action_curve(self) -> None:
        """Accuracy or loss."""
        self.curve = "loss" if self.curve == "accuracy" else "accuracy"
        self.query_one("#curves", ChartView).action_whole()
        self._draw()
        self.show_keys()

    def action_pane(self, pane: str) -> None:
        """Another pane."""
        self.pane = pane
        self.query_one("#pane", ContentSwitcher).current = f"pane-{pane}"
        if self.shape == "chart":
            self._reshape("both")
        self.call_after_refresh(self._pane_chosen)

    def _pane_chosen(self) -> None:
        self._draw()
        if self.is_current:  # and was not left meanwhile
            self._pane().focus_target().focus()

    def action_enlarge(self) -> None:
        """Both, the chart alone, the pane alone."""
        self._reshape(SHAPES[(SHAPES.index(self.shape) + 1) % len(SHAPES)])

    def _reshape(self, shape: str) -> None:
        self.shape = shape
        self.query_one("#curves").display = shape != "pane"
        for name in ("#panes", "#pane"):
            self.query_one(name).display = shape != "chart"
        target = self._pane().focus_target() if shape == "pane" else self.query_one("#curves")
        self.set_focus(target)  # keys are not meant for what is hidden
        self.call_after_refresh(self._draw)

    def action_previous_run(self) -> None:
        """The watched run before this one."""
        self._other(-1)

    def action_next_run(self) -> None:
        """The next one of the watched runs."""
        self._other(1)

    def _other(self, by: int) -> None:
        self.action_watched_run(self.eqprop.watched.index(self.path) + by)

    def action_watched_run(self, place: int) -> None:
        """The watched run at this place; after the last one comes the first."""
        path = self.eqprop.watched[place % len(self.eqprop.watched)]
        if path != self.path:
            self.eqprop.open_run(path)

    def action_detach(self) -> None:
        """To the screen before; the run goes on."""
        self.app.pop_screen()
