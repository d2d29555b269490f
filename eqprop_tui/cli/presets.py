"""`eqprop presets`: the library of named configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from eqprop_core.catalogue import status
from eqprop_core.command_line import command_line
from eqprop_core.devices import Device, list_devices
from eqprop_core.estimate import measured_as, recall
from eqprop_core.memory import Room, room_for
from eqprop_core.presets import (
    Preset,
    PresetError,
    all_presets,
    hidden_by,
    load_preset,
    shipped_folder,
    user_folders,
)
from eqprop_core.problems import ConfigError
from eqprop_tui.cli import own_presets, report
from eqprop_tui.cli.flags import ListCommand
from eqprop_tui.cli.report import AsJson
from eqprop_tui.library import data_state, grouped, memory_in_words, mentions, time_in_words
from eqprop_tui.words import cut, memory_size

UNLIMITED = 1000  # columns: nothing is cut where a program reads
LEAST_TITLE = 36  # columns of a title beside the rest

app = typer.Typer(help="List, show and make presets.", no_args_is_help=True, add_completion=False)
app.command(cls=ListCommand)(own_presets.new)
app.command()(own_presets.copy)
app.command()(own_presets.edit)
app.command()(own_presets.delete)


@app.command("list")
def list_presets(
    words: Annotated[
        list[str] | None, typer.Argument(help="only presets that mention all of these words")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List presets by group, and what can run here; your own are marked with a star."""
    library = all_presets()
    for problem in library.problems:
        warn(problem)
    chosen = [preset for preset in library.presets.values() if mentions(preset, words or [])]
    devices = list_devices()
    if as_json:
        report.put_json([as_document(preset, devices) for preset in chosen])
        return
    if not chosen:
        report.say("no preset mentions all of these words; `eqprop presets list` shows all")
        return
    _print_list(
        report.console(plain_width=UNLIMITED),
        chosen,
        [room_for(preset.run_config(), devices) for preset in chosen],
    )


@app.command("show")
def show_preset(
    name: Annotated[str, typer.Argument(help="name of a preset, or a .toml file")],
    as_json: AsJson = False,
    command: Annotated[
        bool, typer.Option("--command", help="print only the equivalent command line")
    ] = False,
) -> None:
    """Show what a preset does: layers, plan, settings, expected result, command line."""
    preset = pick_preset(name)
    config = preset.run_config()
    line = f"eqprop {config.todo} {command_line(config)}"
    if command:
        report.put(line)
        return
    if as_json:
        report.put_json({**as_document(preset, list_devices()), "command": line})
        return
    out = report.console()
    out.print(preset.title, style="bold")
    out.print(preset.description)
    out.print()
    if preset.expected is not None:
        out.print(f"expected  {preset.expected.test_error:g} % test error, {preset.expected.source}")
    out.print(f"needs     {config.task} ({data_state(config)})")
    devices = list_devices()
    out.print(f"memory    {memory_in_words(config, room_for(config, devices))}")
    if takes := time_in_words(config, recall(measured_as(config, devices))):
        out.print(f"time      {takes}")
    if not preset.shipped:
        out.print(f"file      {preset.path}", soft_wrap=True)
    out.print()
    report.dry_run(config)
    out.print()
    out.print(f"$ {line}", soft_wrap=True)


@app.command()
def path(
    name: Annotated[str | None, typer.Argument(help="name of a preset [the folders]")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the file of a preset, or the folders of presets, the one where new ones go last."""
    if name is not None:
        found = pick_preset(name).path
        report.put_json({"path": str(found.absolute())}) if as_json else report.put_path(found)
        return
    shipped, own = shipped_folder(), user_folders()
    if as_json:
        report.put_json({"shipped": str(shipped), "own": [str(folder.absolute()) for folder in own]})
        return
    for folder in (shipped, *own):
        report.put_path(folder)


@app.command()
def check(
    wanted: Annotated[
        list[str] | None, typer.Argument(metavar="NAME|FILE", help="names or .toml files [all presets]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Validate presets; exit status 2 and a line for each error if any is wrong."""
    right, errors = _judged(wanted) if wanted else _judged_all()
    if as_json:
        report.put_json({"right": [preset.name for preset in right], "errors": _error_documents(errors)})
    for error in errors:
        for line in str(error).splitlines():
            report.say(f"error: {line}")
    if errors:
        raise typer.Exit(2)
    if not as_json:
        report.put(f"{right[0].name} is valid" if len(right) == 1 else f"{len(right)} presets are valid")


def pick_preset(name: str) -> Preset:
    """The preset of this name or file; a warning for each file of one's own that its name keeps from use."""
    preset = load_preset(name)
    if not name.endswith(".toml"):
        for problem in hidden_by(preset):
            warn(problem)
    return preset


def warn(problem: PresetError) -> None:
    """Say what is wrong with a preset file that is not needed now."""
    for line in str(problem).splitlines():
        report.say(f"warning: {line}")


def as_document(preset: Preset, devices: Sequence[Device]) -> dict[str, Any]:
    """A preset as plain values; memory in bytes."""
    expected = preset.expected
    config = preset.run_config()
    place = room_for(config, devices)
    return {
        "name": preset.name,
        "title": preset.title,
        "description": preset.description,
        "tags": list(preset.tags),
        "expected": None
        if expected is None
        else {"test_error": expected.test_error, "source": expected.source},
        "config": preset.config,
        "shipped": preset.shipped,
        "path": str(preset.path.absolute()),
        "data": status(config.task, config.data_root).state,
        "memory": place.need,
        "device": place.device,
        "fits": place.fits,
    }


# --- list -----------------------------------------------------------------------------------------------


def _print_list(out: Console, presets: Sequence[Preset], rooms: Sequence[Room]) -> None:
    """Presets by group. Names are never cut; where there is no room for titles, they have a line each."""
    headings = ("  name", "data", "memory", "expected")
    padding = "  " if any(place.fits is False for place in rooms) else ""
    rows = [
        (
            ("  " if preset.shipped else "* ") + preset.name,
            data_state(preset.run_config()),
            memory_size(place.need) + (" !" if place.fits is False else padding),
            _expected(preset),
        )
        for preset, place in zip(presets, rooms, strict=True)
    ]
    right = ("memory", "expected")
    table = report.aligned(headings, rows, right=right).splitlines()
    left = out.width - max(map(cell_len, table)) - 2
    beside = left >= LEAST_TITLE
    if beside:
        titles = [cut(title, left) for title in ("title", *(preset.title for preset in presets))]
        cells = [(row[0], title, *row[1:]) for row, title in zip((headings, *rows), titles, strict=True)]
        table = report.aligned(cells[0], cells[1:], right=right).splitlines()
    out.print(Text(table[0], "bold"), soft_wrap=True)
    lines = dict(zip((preset.name for preset in presets), table[1:], strict=True))
    for group, members in grouped(presets).items():
        out.print(Text(group, "bold"), soft_wrap=True)
        for preset in members:
            out.print(Text(lines[preset.name]), soft_wrap=True)
            if not beside:
                title = cut(preset.title, max(1, out.width - 4))
                out.print(Text(f"    {title}", "dim"), soft_wrap=True)
    if not all(preset.shipped for preset in presets):
        out.print(Text("* your own", "dim"))
    if full := next((place for place in rooms if place.fits is False), None):
        assert full.free is not None
        free = f"the {memory_size(full.free)} that are free on {full.device}"
        out.print(Text(f"! more than {free}; `eqprop presets show` says what would fit", "dim"))


def _expected(preset: Preset) -> str:
    return "" if preset.expected is None else f"{preset.expected.test_error:g} % error"


# --- check ----------------------------------------------------------------------------------------------


def _judged_all() -> tuple[list[Preset], list[ConfigError]]:
    presets, problems = all_presets()
    return list(presets.values()), list(problems)


def _judged(wanted: Sequence[str]) -> tuple[list[Preset], list[ConfigError]]:
    """The valid ones of some names and files, and what is wrong with the others."""
    right: list[Preset] = []
    errors: list[ConfigError] = []
    for word in wanted:
        try:
            preset = load_preset(word)
        except ConfigError as error:
            errors.append(error)
            continue
        right.append(preset)
        errors += [] if word.endswith(".toml") else hidden_by(preset)
    return right, errors


def _error_documents(errors: Sequence[ConfigError]) -> list[dict[str, Any]]:
    """Each thing that is wrong as plain values; `file` and `line` where they are known."""
    return [
        {
            "file": str(error.path) if isinstance(error, PresetError) else None,
            "line": error.lines.get(problem.setting) if isinstance(error, PresetError) else None,
            "key": problem.setting or None,
            "message": problem.message,
        }
        for error in errors
        for problem in error.problems
    ]
