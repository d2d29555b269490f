"""`eqprop presets`: the library of named configurations."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eqprop_core import catalogue
from eqprop_core.command_line import command_line
from eqprop_core.presets import Preset, all_presets, load_preset
from eqprop_tui.cli import report

GROUPS = ("start here", "MNIST", "CIFAR-10", "CIFAR-10 vector field", "GDU check")  # first, in this order

app = typer.Typer(help="List and show presets.", no_args_is_help=True)


@app.command("list")
def list_presets(
    words: Annotated[
        list[str] | None, typer.Argument(help="only presets that mention all of these words")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print as JSON")] = False,
) -> None:
    """List presets by group, and whether their data is here."""
    library = all_presets()
    for problem in library.problems:
        report.say(f"warning: {problem}")
    wanted = [word.lower() for word in words or []]
    chosen = [preset for preset in library.presets.values() if all(word in _text(preset) for word in wanted)]
    if as_json:
        report.put_json([as_document(preset) for preset in chosen])
        return
    if not chosen:
        report.say("no preset mentions all of these words; `eqprop presets list` shows all")
        raise typer.Exit(1)
    table = report.plain_table()
    table.add_column("name", no_wrap=True)  # to be copied whole
    for name in ("title", "data"):
        table.add_column(name)
    table.add_column("expected", justify="right")
    present = {_group(preset) for preset in chosen}
    for group in [*(group for group in GROUPS if group in present), *sorted(present - set(GROUPS))]:
        table.add_row(f"[bold]{group}[/]")
        for preset in (preset for preset in chosen if _group(preset) == group):
            table.add_row("  " + preset.name, preset.title, data_state(preset), _expected(preset))
    report.console().print(table)


@app.command("show")
def show_preset(
    name: Annotated[str, typer.Argument(help="name of a preset, or a .toml file")],
    as_json: Annotated[bool, typer.Option("--json", help="print as JSON")] = False,
    command: Annotated[
        bool, typer.Option("--command", help="print only the equivalent command line")
    ] = False,
) -> None:
    """Show what a preset does: layers, plan, settings, expected result, command line."""
    preset = load_preset(name)
    config = preset.run_config()
    line = f"eqprop {config.todo} {command_line(config)}"
    if command:
        print(line)
        return
    if as_json:
        report.put_json({**as_document(preset), "command": line})
        return
    out = report.console()
    out.print(f"[bold]{preset.title}[/]")
    out.print(preset.description.strip(), markup=False)
    out.print()
    if preset.expected is not None:
        out.print(
            f"expected  {preset.expected.test_error:g} % test error, {preset.expected.source}", markup=False
        )
    out.print(f"needs     {config.task} ({data_state(preset)})", markup=False)
    out.print()
    report.dry_run(config)
    out.print()
    out.print(f"$ {line}", markup=False, soft_wrap=True)


def as_document(preset: Preset) -> dict[str, Any]:
    """A preset as plain values."""
    expected = preset.expected
    return {
        "name": preset.name,
        "title": preset.title,
        "description": preset.description.strip(),
        "tags": list(preset.tags),
        "expected": None
        if expected is None
        else {"test_error": expected.test_error, "source": expected.source},
        "config": preset.config,
        "shipped": preset.shipped,
        "data": data_state(preset),
    }


def data_state(preset: Preset) -> str:
    """Whether the files of the preset's data set are here: present, subset, absent, damaged."""
    return catalogue.status(preset.run_config().task, catalogue.data_root()).state


def _group(preset: Preset) -> str:
    return preset.tags[0] if preset.tags else "mine"


def _expected(preset: Preset) -> str:
    return "" if preset.expected is None else f"{preset.expected.test_error:g} % error"


def _text(preset: Preset) -> str:
    return " ".join((preset.name, preset.title, preset.description, *preset.tags)).lower()
