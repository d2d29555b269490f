"""What is known of commands before they are imported, and what becomes of them then."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import Result

from eqprop_tui.cli.flags import ListCommand
from eqprop_tui.cli.late import LateCommand
from eqprop_tui.cli.main import Commands, app
from eqprop_tui.cli.runs import Runs

Run = Callable[..., Result]
COMMANDS = [
    (words, name) for words, group in (((), Commands), (("runs",), Runs)) for name in group.commands_later
]


def late(words: tuple[str, ...], name: str) -> LateCommand:
    group: Any = typer.main.get_command(app)
    for word in words:
        group = group.commands[word].imported()
    found = group.commands[name]
    assert isinstance(found, LateCommand)
    return found


@pytest.mark.parametrize(("words", "name"), COMMANDS)
def test_the_line_about_a_command_is_the_first_paragraph_of_its_help(
    words: tuple[str, ...], name: str
) -> None:
    known = late(words, name)
    command = known.imported()
    first = inspect.cleandoc(command.help).split("\n\n")[0]
    assert known.help == " ".join(first.split())
    assert command.hidden is command.deprecated is False
    if not hasattr(command, "commands"):
        assert command.name == name


@pytest.mark.parametrize(("words", "name"), COMMANDS)
def test_every_command_is_listed_and_has_a_help_of_its_own(
    words: tuple[str, ...], name: str, eqprop: Run
) -> None:
    listed = eqprop(*words, "--help").stdout
    assert f"│ {name} " in listed
    said = eqprop(*words, name, "--help").stdout
    assert " ".join(("Usage: eqprop", *words, name)) in said
    assert "--install-completion" not in said


def test_commands_with_flags_of_settings_take_lists_of_words() -> None:
    names = [name for name in Commands.commands_later if isinstance(late((), name).imported(), ListCommand)]
    assert names == ["train", "evaluate", "gducheck", "reference", "bench"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["runs", "lst"], "No such command 'lst'. Did you mean 'list', 'set'?"),
        (["nonsense"], "No such command 'nonsense'."),
        (["runs", "nonsense"], "No such command 'nonsense'."),
        (["runs", "list", "--nonsense"], "No such option: --nonsense"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_a_command_that_there_is_not_is_an_error(words: list[str], said: str, eqprop: Run) -> None:
    assert said in " ".join(eqprop(*words, code=2).stderr.replace("│", " ").split())


def test_names_of_commands_are_completed() -> None:
    group: Any = typer.main.get_command(app)
    context = group.make_context("eqprop", [], resilient_parsing=True)
    assert [item.value for item in group.shell_complete(context, "r")] == ["reference", "runs"]
