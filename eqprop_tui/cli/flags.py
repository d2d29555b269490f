"""Flags generated from `RunConfig`, and command lines whose lists are separated by spaces.

`--lrs 0.25 0.15`, `--betas 0.0 -0.5` and `--lrs=0.25 0.15` all mean a list; a later flag replaces an earlier
one. All values are handed on as they were typed: `RunConfig` alone says what is valid.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

from eqprop_core.config import RunConfig, facts
from eqprop_core.problems import flag
from eqprop_core.reference_line import spelled_out
from eqprop_tui.cli import report

PANELS = {
    "data": "Data",
    "network": "Network",
    "dynamics": "Dynamics",
    "gradient": "Gradient",
    "optimizer": "Optimizer",
    "run": "Run",
}
NUMBER = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$|^[-+]?(inf|nan)$", re.IGNORECASE)


def _plain(annotation: Any) -> Any:
    """The type behind Annotated and Optional."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _plain(next(item for item in get_args(annotation) if item is not type(None)))
    return annotation


def kind_of(name: str) -> Any:
    """`bool`, `int`, `float`, `str`, a `Literal` or a `tuple` type: what a setting holds."""
    return _plain(RunConfig.model_fields[name].annotation)


LIST_FLAGS = frozenset(flag(name) for name in RunConfig.model_fields if get_origin(kind_of(name)) is tuple)


def join_lists(arguments: Iterable[str]) -> list[str]:
    """Join the words after a list flag into one: ['--lrs', '1', '2'] -> ['--lrs=1 2'].

    A list ends at the next word that begins with '-' and is not a number.
    """
    words = list(arguments)
    joined: list[str] = []
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if word == "--":
            return [*joined, word, *words[place:]]
        name, equals, first = word.partition("=")
        if name not in LIST_FLAGS:
            joined.append(word)
            continue
        values = [first] if equals else []
        while place < len(words) and (not words[place].startswith("-") or NUMBER.match(words[place])):
            values.append(words[place])
            place += 1
        joined.append(f"{name}={' '.join(values)}" if values else name)
    return joined


class ListCommand(TyperCommand):
    """A command whose list flags take words separated by spaces."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join lists, then parse as usual."""
        return super().parse_args(ctx, join_lists(args))


class ReferenceCommand(ListCommand):
    """A command whose words are those of the reference, flags shortened as there; says what is left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write flags in full, then parse as usual."""
        own = {name for option in self.params for name in (*option.opts, *option.secondary_opts)}
        words, notes = spelled_out(args, own | {"--help"})
        for note in notes:
            report.say(note)
        return super().parse_args(ctx, words)


def _metavar(name: str) -> str:
    kind = kind_of(name)
    if get_origin(kind) is tuple:
        return "N …" if "int" in str(kind) else "X …"
    options = [str(item) for item in get_args(kind)]
    return "|".join(options) if options else {int: "N", float: "X"}.get(kind, "TEXT")


def _option(name: str) -> inspect.Parameter:
    """The typer parameter of a setting; None stands for a flag that was not typed."""
    field = RunConfig.model_fields[name]
    shown = field.description or ""
    if field.default is not None and field.default is not False:
        default = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        shown += f" [{default}]"
    shown = shown.replace("[", r"\[")
    panel = PANELS[facts(name)["section"]]
    annotation: Any
    if kind_of(name) is bool:
        names = f"{flag(name)}/--no-{name.replace('_', '-')}"
        annotation = Annotated[bool | None, typer.Option(names, help=shown, rich_help_panel=panel)]
    else:
        annotation = Annotated[
            str | None, typer.Option(flag(name), help=shown, rich_help_panel=panel, metavar=_metavar(name))
        ]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def with_flags(
    names: Iterable[str], *, command_class: type[ListCommand] = ListCommand
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each setting that is named; it becomes a `command_class`.

    It receives those that were typed as the dictionary `flags`.
    """
    names = tuple(names)

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter
            for parameter in inspect.signature(function, eval_str=True).parameters.values()
            if parameter.name != "flags"
        ]

        def command(**values: Any) -> None:
            flags = {name: values.pop(name) for name in names}
            function(**values, flags={name: value for name, value in flags.items() if value is not None})

        parameters = [*own, *(_option(name) for name in names)]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        command.__doc__ = function.__doc__
        command.__name__ = function.__name__
        command.command_class = command_class  # type: ignore[attr-defined]
        return command

    return decorate
