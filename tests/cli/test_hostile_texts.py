"""No command lets a text of a file steer the terminal, or takes it for markup: every command, every text."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import typer
from hostile_texts import (
    HOSTILE,
    MARKUP,
    ORDINARY,
    events,
    harmless,
    hostile_presets,
    hostile_run,
    hostile_sweep,
)
from small_runs import make_run
from typer.testing import CliRunner

from eqprop_core.problems import printable
from eqprop_tui.cli import main, report
from eqprop_tui.cli.consoles import Screen
from eqprop_tui.cli.follow import Bars, progress_on
from eqprop_tui.cli.main import app

RUN, OTHER, SWEEP = "<run>", "<other>", "<sweep>"
TYPED = HOSTILE.replace("\ud800", "\udc9b").replace("\x00", "")  # as a system can pass it on
TINY = [
    "--task",
    "digits",
    "--archi",
    "64",
    "10",
    "--lrs",
    "0.1",
    "--train-samples",
    "20",
    "--test-samples",
    "10",
]
# The words that each command is tried with; a new command needs some.
TRIED: dict[str, list[list[str]]] = {
    "demo": [["--no-such-flag", TYPED]],
    "train": [["--from-run", RUN, "--dry-run"], ["--load-path", RUN, "--dry-run"], ["--like", RUN, "--dry-run"], [*TINY, "--epochs", "1", "--foreground", "--name", TYPED], ["--preset", TYPED], ["--task", TYPED], ["--preset", "markup", "--dry-run"], [TYPED]],
    "evaluate": [["--load-path", RUN], ["--load-path", TYPED]],
    "gducheck": [["--load-path", RUN]],
    "reference": [["--load-path", RUN, "--todo", "evaluate"], ["--act", TYPED]],
    "devices": [[], ["--json"]],
    "bench": [["--preset", TYPED], ["--load-path", RUN, "--quick"]],
    "presets list": [[], ["--json"], [TYPED]],
    "presets show": [["markup"], ["steers"], [TYPED], ["markup", "--json"]],
    "presets new": [[TYPED, "--from", "markup"], ["mine", "--title", TYPED, *TINY]],
    "presets copy": [["markup", TYPED], [TYPED, "new"]],
    "presets edit": [["steers"], [TYPED]],
    "presets delete": [[TYPED], ["markup"]],
    "presets path": [["markup"], [TYPED]],
    "presets check": [[], ["steers"], [TYPED]],
    "runs list": [[], ["--json"], [TYPED], ["--state", TYPED], ["--tag", TYPED], ["--results", TYPED]],
    "runs show": [[RUN], [RUN, "--json"], [OTHER], [TYPED]],
    "runs attach": [[RUN], [OTHER]],
    "runs tail": [[RUN], [OTHER]],
    "runs stop": [[RUN], [RUN, "--kill"], [OTHER, "--terminate"], [TYPED]],
    "runs pause": [[RUN], [TYPED]],
    "runs resume": [[RUN], [OTHER], [TYPED]],
    "runs checkpoint": [[RUN]],
    "runs check": [[RUN]],
    "runs set": [[RUN, "mmt=0.1"], [RUN, TYPED]],
    "runs note": [[RUN], [RUN, "--json"], [RUN, "--name", TYPED], [RUN, "--tag", TYPED], [RUN, "--untag", TYPED]],
    "runs compare": [[RUN, OTHER], [RUN, OTHER, "--json"], [RUN, OTHER, "--figure", "a.png"]],
    "runs export": [[RUN], [RUN, "--batches"], [RUN, "--to", "a\x1b.csv"]],
    "runs prune": [[], ["--json"], ["--checkpoints", "--yes"]],
    "runs folders": [[], ["--json"], ["--forget", TYPED]],
    "runs delete": [[RUN], [RUN, "--yes"], [OTHER, RUN]],
    "sweep start": [["markup", "--dry-run"], ["steers", "--dry-run"], ["markup", "--dry-run", "--json"], [TYPED], ["markup", "--name", TYPED, "--dry-run"]],
    "sweep status": [[SWEEP], [SWEEP, "--json"], [TYPED]],
    "sweep stop": [[SWEEP], [SWEEP, "--kill"]],
    "sweep resume": [[SWEEP, "--detach"], [SWEEP, "--detach", "--trust"]],
    "sweep table": [[SWEEP], [SWEEP, "--json"], [SWEEP, "--csv"], [SWEEP, "--latex"], [SWEEP, "--figure", "a.png"]],
    "sweep list": [[], ["--json"]],
    "data list": [["--data-dir", TYPED]],
    "data get": [[TYPED], ["digits", "--data-dir", TYPED]],
    "data check": [[TYPED], ["MNIST", "--data-dir", TYPED]],
}  # fmt: skip


def commands(command: Any, name: str = "") -> Iterator[str]:
    """The names of all commands there are."""
    while hasattr(command, "imported"):
        command = command.imported()
    if not hasattr(command, "commands"):
        yield name
        return
    for word, one in command.commands.items():
        yield from commands(one, f"{name} {word}".strip())


def test_every_command_is_tried() -> None:
    assert set(commands(typer.main.get_command(app))) == set(TRIED)


@pytest.mark.parametrize("command", TRIED)
def test_no_text_of_a_file_steers_the_terminal(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDITOR", "true")
    hostile_presets(platformdirs.user_config_path("eqprop") / "presets")
    run = hostile_run(tmp_path / "results", MARKUP)
    other = hostile_run(tmp_path / "results", number=1, state="failed", settings=True)
    hostile_run(tmp_path / "results", number=2, state=HOSTILE)
    sweep = hostile_sweep(tmp_path / "results")
    places = {RUN: str(run.path), OTHER: str(other.path), SWEEP: str(sweep.path)}
    for words in TRIED[command]:
        given = [places.get(word, word) for word in words]
        done = CliRunner().invoke(app, [*command.split(), *given], prog_name="eqprop")
        if done.exception is not None and not isinstance(done.exception, (SystemExit, OSError)):
            raise done.exception
        assert harmless(done.stdout.replace("\r\n", "\n")), (given, done.stdout)
        assert harmless(done.stderr), (given, done.stderr)
        if "--json" in given and done.exit_code == 0:
            json.loads(done.stdout)


def test_what_is_followed_on_a_terminal_does_not_steer_it() -> None:
    file = io.StringIO()
    screen = Screen(file=file, width=100, force_terminal=True, color_system="truecolor")
    with progress_on(screen, None) as progress:
        bars = Bars(progress, 3)
        for event in events():
            bars.show(event)
            progress.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue()).replace("\r", "")  # Rich's own
    assert harmless(shown) and printable(MARKUP.split("_")[0]) in shown


def test_ordinary_text_of_any_script_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "results", name=ORDINARY, state={"name": ORDINARY})
    run.relabel(note=ORDINARY, tags=[ORDINARY])
    for words in (["list"], ["show", ORDINARY], ["note", ORDINARY]):
        done = CliRunner().invoke(app, ["runs", *words], prog_name="eqprop")
        assert done.exit_code == 0 and ORDINARY in done.stdout, done.output


@pytest.mark.parametrize("markup", ["[/nope]", "[bold]x[/bold]", "[link=x]y[/link]", ":smile:"])
def test_words_are_no_markup(markup: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = report.plain_table()
    table.add_column(markup)
    table.add_row(markup)
    report.console().print(table)
    report.console().print(markup)
    report.say(markup)
    said = capsys.readouterr()
    assert said.out.split() == [*markup.split()] * 3 and said.err.strip() == markup


def test_a_fault_of_the_program_is_told_printable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(**_: Any) -> None:
        raise ValueError(HOSTILE)

    monkeypatch.setattr(main, "app", fails)
    with pytest.raises(SystemExit) as ended:
        main._run()
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "ValueError" in said and harmless(said)
