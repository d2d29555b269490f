"""Commands that are imported once they are asked for, so that `--help` and a short command answer at once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from eqprop_tui.start import leaving_at_once

Later = Mapping[str, tuple[str, str]]  # homes and lines of commands, by name


class LateCommand(TyperCommand):
    """The place of a command, or of a group of them, that is not imported yet.

    `home` is where its function or its `typer.Typer` is, as `module:name`; `line` is the first paragraph of
    its help, which is all that a list of commands shows.
    """

    def __init__(self, name: str, home: str, line: str) -> None:
        super().__init__(name, help=line)
        self.home = home

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself, which is imported for it."""
        with leaving_at_once():
            return self.imported().make_context(info_name, args, parent, **extra)

    def imported(self) -> Any:
        """The command itself. Its function may say by `command_class` what kind of command it makes."""
        module, _, name = self.home.partition(":")
        found = getattr(import_module(f"eqprop_tui.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False)
            found.command(self.name, cls=getattr(function, "command_class", None))(function)
        return typer.main.get_command(found)


class LateGroup(TyperGroup):
    """A group that knows of its commands where they are and what a list of them shows."""

    commands_later: ClassVar[Later] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (home, line) in self.commands_later.items():
            self.add_command(LateCommand(name, home, line))

    def make_context(self, *words: Any, **extra: Any) -> Any:
        """Read its own options, for which typer loads much when it comes to their values."""
        with leaving_at_once():
            return super().make_context(*words, **extra)
