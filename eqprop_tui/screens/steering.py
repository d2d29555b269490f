"""What the monitor asks of a run: requests as files, signals, and the dialogs before them."""

from __future__ import annotations

from pathlib import Path

from eqprop_core.names import wrong_with
from eqprop_core.problems import ConfigError
from eqprop_core.runs.control import CHANGEABLE, Request, ask
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.labels import check_name
from eqprop_core.runs.listing import ALIVE, RunSummary
from eqprop_core.shell import quoted
from eqprop_tui.screens import run_actions
from eqprop_tui.screens.base import BaseScreen
from eqprop_tui.screens.dialogs import Answer, Ask, Choose
from eqprop_tui.screens.run_actions import WAYS_TO_LEAVE_THE_LINE, WAYS_TO_STOP

CHANGES = {  # the key that chooses it, its name, what is accepted
    "lr_factor": ("r", "learning-rate factor", "a factor on all learning rates, above 0; 1 is none"),
    "epochs": ("e", "last epoch", "the number of the last epoch, a whole number"),
    "checkpoint_every": ("c", "minutes between checkpoints", "minutes, above 0; every epoch saves one too"),
    "event_rate": ("b", "batch events a second", "above 0, at most 10"),
}
Changes = dict[str, int | float]
STRONGER = {"stop": 1, "now": 2, "terminate": 3}  # the way to stop that comes after one that was asked


class Steering(BaseScreen):
    """A screen on one run, with the actions that ask something of it."""

    path: Path
    summary: RunSummary
    there: bool
    asked: str | None  # in words, until it has taken effect
    pending: str | None  # the request behind it

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what makes sense for a run as it stands."""
        alive = self.summary.state in ALIVE
        trains = alive and self.summary.state not in ("starting", "queued")
        if action in ("pause", "checkpoint", "set"):
            return trains
        if action == "check":
            return trains or (not alive and self.there)
        if action == "stop":
            return alive
        if action == "resume":
            return not alive and self.there
        if action in ("previous_run", "next_run"):
            return len(self.eqprop.watched) > 1
        return True

    def _ask(
        self, request: Request, settings: dict[str, int | float] | None = None, *, said: str = ""
    ) -> None:
        try:
            ask(self.path, request, settings)
        except OSError as error:
            self.eqprop.tell(f"{self.path}: cannot be asked: {error.strerror or error}")
            return
        self.asked, self.pending = said or request, request
        self._draw()
        self.show_keys()

    def _draw(self) -> None:
        raise NotImplementedError

    def action_pause(self) -> None:
        """Hold the run after its batch, or let it go on; a pause that has not come yet is taken back."""
        held = self.summary.state == "paused" or self.pending == "pause"
        self._ask("resume" if held else "pause")

    def action_checkpoint(self) -> None:
        """Save a checkpoint after the batch."""
        self._ask("checkpoint")

    def action_check(self) -> None:
        """GDU check of the present weights, by the run or, where that has ended, beside it."""
        if self.summary.state in ALIVE:
            self._ask("check", said="GDU check")
        elif not RunFolder(self.path).has_weights():
            self.eqprop.tell(f"{self.summary.name} has no weights yet that could be checked; R begins it")
            return
        else:
            self.eqprop.check_weights(self.path)
        self.action_pane("gdu")

    def action_pane(self, pane: str) -> None:
        """Show a pane."""
        raise NotImplementedError

    def action_stop(self) -> None:
        """Ask how to stop."""
        stronger = STRONGER.get(self.pending or "", 0)  # the next way is the default of the next time
        ways = [*WAYS_TO_STOP[stronger:], *WAYS_TO_STOP[:stronger]]
        if self.summary.state == "queued":
            ways = list(WAYS_TO_LEAVE_THE_LINE)
        self.app.push_screen(Choose(f"stop {self.summary.name}?", ways), self._stop)

    def _stop(self, how: str | None) -> None:
        if how == "stop":
            self._ask("stop")
        elif how == "now":
            self._ask("stop")
            self._ask("stop", said="stop at once")
            self.pending = how
        elif how is not None:
            self.asked = self.pending = how
            self._draw()
            self.eqprop.do(lambda: run_actions.stop([self.path], how))

    def action_resume(self) -> None:
        """Go on with a run that has ended."""
        self.eqprop.resume(self.path)

    def action_new(self) -> None:
        """Configure a new run with these settings."""
        self.eqprop.open_configure_like(self.summary)

    def action_set(self) -> None:
        """Choose what to change in flight, and type its value."""
        answers = [Answer(key, name, f"{title}: {said}") for name, (key, title, said) in CHANGES.items()]
        self.app.push_screen(Choose("change in flight", answers), self._set)

    def _set(self, name: str | None) -> None:
        if name is None:
            return
        _, title, accepted = CHANGES[name]
        bounds = CHANGEABLE[name]

        def number(text: str) -> int | float | None:
            try:
                return int(text) if bounds.whole else float(text)
            except ValueError:
                return None

        def judge(text: str) -> str | None:
            value = number(text)
            if not bounds.accept(value):
                return f"accepted: {accepted}"
            if name == "epochs" and value is not None and value <= self.summary.epoch:
                return f"epoch {value} is over already; {self.summary.epoch + 1} or more, or stop the run"
            return None

        def changed(text: str | None) -> None:
            value = None if text is None else number(text)
            if value is not None:
                self._ask("set", {name: value}, said=f"{title} {value:g}")

        self.app.push_screen(Ask(title, hint=accepted, judge=judge), changed)

    def action_name(self) -> None:
        """Change the run's name or its note."""
        answers = [Answer("n", "name", "its name"), Answer("t", "note", "a note")]
        self.app.push_screen(Choose("name or note", answers), self._label)

    def _label(self, which: str | None) -> None:
        if which is None:
            return
        before = RunFolder(self.path).meta().get(which)

        def judge(text: str) -> str | None:
            try:
                if which == "name":
                    check_name(text)
            except ConfigError as error:
                return error.problems[0].message
            return wrong_with(text, 1000) if text else None

        def named(text: str | None) -> None:
            if text is None:
                return
            try:
                RunFolder(self.path).relabel(**{which: text})
            except RunError as error:
                self.eqprop.tell(error)
            else:
                self.eqprop.tell(f"{which}: {text}", severity="information")

        self.app.push_screen(Ask(which, str(before or ""), judge=judge), named)

    def action_bell(self) -> None:
        """Ring when this run ends, or not."""
        self.eqprop.remember(bell=not self.eqprop.preferences.bell)
        said = "rings" if self.eqprop.preferences.bell else "is silent"
        self.eqprop.tell(f"the terminal {said} when a watched run ends", severity="information")

    def action_copy_path(self) -> None:
        """Copy the folder."""
        self.eqprop.copy(quoted(str(self.path)))

    def action_quit_run(self) -> None:
        """Quit; a run that goes on is asked about."""
        if self.summary.state not in ALIVE:
            self.app.exit()
            return
        queued = self.summary.state == "queued"
        answers = [
            Answer("l", "leave", f"leave it {'in line' if queued else 'running'}, and quit"),
            Answer("s", "stop", f"stop it{'' if queued else ' after this batch'}, and quit"),
            Answer("c", "cancel", "stay"),
        ]

        def answered(answer: str | None) -> None:
            if answer == "stop":
                self._ask("stop")
                self.eqprop.stopping.add(self.path)
            if answer in ("leave", "stop"):
                self.app.exit()

        self.app.push_screen(Choose(f"{self.summary.name} is {self.summary.state}", answers), answered)
