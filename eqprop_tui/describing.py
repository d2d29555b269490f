"""What is said of a preset and of a configuration, as text: for panes and dialogs of the application."""

from __future__ import annotations

import io
from collections.abc import Sequence
from textwrap import wrap

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from eqprop_core.command_line import command_words
from eqprop_core.config import RunConfig
from eqprop_core.devices import Device
from eqprop_core.estimate import measured_as, recall
from eqprop_core.memory import room_for
from eqprop_core.presets import Preset
from eqprop_core.problems import printable, shown
from eqprop_core.shell import joined
from eqprop_tui.cli import report
from eqprop_tui.library import USABLE, data_in_words, data_state, memory_in_words, time_in_words
from eqprop_tui.looks import Looks

NAMES = 10  # columns of the names of facts
RIGHT = ("shape", "parameters", "backward", "lr", "wd")
TOLD = ("model", "loss", "alg", "T1", "T2", "betas", "optim", "mbs", "epochs")  # always among the settings
IN_THE_TABLE = ("archi", "channels", "kernels", "strides", "paddings", "pools", "fc", "lrs", "wds")
UNTOLD = ("todo", "task", "load_path", *IN_THE_TABLE)


def words_of(config: RunConfig) -> list[str]:
    """The words of the command line that means this configuration."""
    return ["eqprop", config.todo, *command_words(config)]


def layer_lines(config: RunConfig, width: int) -> list[Text]:
    """The layer table in lines of at most `width` cells; shorter where that is little."""
    if config.load_path:
        return [Text.assemble(("layer", "bold"), f"  as in {printable(config.load_path)}")]
    headings, rows = report.layer_cells(config)
    if all(not row[-1] or row[-1] == "–" for row in rows):
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    lines = report.aligned(headings, rows, right=RIGHT).splitlines()
    if max(map(cell_len, lines)) > width and headings[-1] == "wd":
        headings, rows = headings[:-1], [row[:-1] for row in rows]
        lines = report.aligned(headings, rows, right=RIGHT).splitlines()
    if max(map(cell_len, lines)) > width:  # what pooling and padding are is in the settings
        rows = [[" ".join(row[0].split()[:2]), *row[1:]] for row in rows]
        lines = report.aligned(headings, rows, right=RIGHT).splitlines()
    if max(map(cell_len, lines)) > width and "backward" in headings:
        at = headings.index("backward")
        headings, rows = [*headings[:at], *headings[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]
        lines = report.aligned(headings, rows, right=RIGHT).splitlines()
    return [Text(line, "bold" if place == 0 else "") for place, line in enumerate(lines)]


def dry_run_text(config: RunConfig, width: int) -> str:
    """What `eqprop train --dry-run` prints, in lines of at most `width` cells."""
    out = Console(file=io.StringIO(), width=width, highlight=False, emoji=False, force_terminal=False)
    report.dry_run(config, out=out)
    assert isinstance(out.file, io.StringIO)
    return "\n".join(line.rstrip() for line in out.file.getvalue().splitlines())


def telling_settings(config: RunConfig) -> str:
    """The settings that say what a run does: the usual ones, and whatever is not at its default."""
    words = []
    for name, field in RunConfig.model_fields.items():
        value = getattr(config, name)
        if name in UNTOLD or value is None or (name not in TOLD and value == field.default):
            continue
        words.append(name.replace("_", "-") if value is True else f"{name.replace('_', '-')} {shown(value)}")
    return " · ".join(words)


def preset_text(preset: Preset, width: int, looks: Looks, devices: Sequence[Device] | None) -> Text:
    """All that the library says of a preset, in lines of `width` cells; `devices` are `None` until known."""
    config = preset.run_config()
    dim, bad = looks.colour("dim"), looks.colour("bad")
    text = Text()
    text.append(f"{printable(preset.title)}\n", "bold")
    text.append(f"\n{printable(preset.description)}\n" if preset.description else "")
    text.append("\n")
    state = data_state(config)
    place = room_for(config, devices or ())
    facts = [
        ("data", data_in_words(config, state), "" if state in USABLE else bad),
        ("memory", memory_in_words(config, place), bad if place.fits is False else ""),
    ]
    if takes := time_in_words(config, recall(measured_as(config, devices or ()))):
        facts.append(("time", takes, ""))
    if preset.expected is not None:
        source = f"{preset.expected.test_error:g} % test error ({printable(preset.expected.source)})"
        facts.insert(0, ("expected", source, ""))
    if config.load_path:
        facts.append(("run", printable(config.load_path), ""))
    if not preset.shipped:
        facts.append(("file", printable(str(preset.path)), ""))
    add_facts(text, facts, width, dim)
    text.append("\n")
    for row in layer_lines(config, width):
        text.append_text(row).append("\n")
    text.append("\n")
    add_facts(text, [("settings", telling_settings(config), "")], width, dim)
    text.append(f"\n$ eqprop {config.todo} --preset {preset.name}\n\n")
    text.append(f"$ {joined(words_of(config))}\n", dim)
    return text


def add_facts(
    text: Text, facts: Sequence[tuple[str, str, str]], width: int, dim: str, names: int = NAMES
) -> None:
    """Names, in `names` cells, with what is known, further lines under the first."""
    for name, value, style in facts:
        for line in wrap(value, max(20, width - names), break_on_hyphens=False):
            text.append(f"{name:<{names}}", dim)
            text.append(f"{line}\n", style)
            name = ""
