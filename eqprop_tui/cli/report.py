"""What commands print: tables to standard output, progress and diagnostics to standard error."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len

from eqprop_core.problems import flag, printable, printable_lines, shown
from eqprop_tui.words import NEURONS, gdu_cells, gdu_grade

if TYPE_CHECKING:  # what a list of runs needs none of
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from eqprop_core.config import RunConfig
    from eqprop_core.events import GduRow
    from eqprop_core.geometry import ConnectionShape

AsJson = Annotated[bool, typer.Option("--json", help="print as JSON")]

GRADES = {"good": "green", "waiting": "yellow", "bad": "red"}
COMMAND = re.compile(
    r"eqprop (?=(?:runs|sweep|train|evaluate|gducheck|presets|data|--run) )"
    r"""(?:'[^']*'|"[^"]*"|[^'"`;,\n])+"""
)
NO_BREAK = "\xa0"  # which no printable text has
PLAIN_WIDTH = 120  # columns where the output is not a terminal


def console(*, stderr: bool = False, plain_width: int = PLAIN_WIDTH) -> Console:
    """A console for standard output or error, `plain_width` columns wide where that is no terminal."""
    from eqprop_tui.cli.consoles import Screen

    stream = sys.stderr if stderr else sys.stdout
    return Screen(
        file=stream,
        width=None if stream.isatty() else plain_width,
        soft_wrap=not stream.isatty(),
    )


def put(text: str = "", *, end: str = "\n", err: bool = False, flush: bool = False) -> None:
    """Text on standard output or error, printable."""
    print(printable_lines(text), end=end, flush=flush, file=sys.stderr if err else sys.stdout)


def confirm(question: str, *, default: bool = False, abort: bool = False) -> bool:
    """Whether the answer to a question is yes; with `abort`, any other ends the command."""
    return typer.confirm(printable(question), default=default, abort=abort, err=True)  # noqa: TID251


def put_path(path: Path) -> None:
    """A path on standard output, for another program as it is; a terminal is shown it printable."""
    print(printable(str(path)) if sys.stdout.isatty() else path)  # noqa: T201


def say(text: str) -> None:
    """A diagnostic line, or several, as `put_words` prints them."""
    put_words(console(stderr=True), printable_lines(text))


def put_words(out: Console, text: str) -> None:
    """Print lines, broken between words where that is a terminal.

    Long words, such as paths, stay whole, and so do commands: half of one would be pasted.
    """
    if out.file.isatty():
        whole = COMMAND.sub(lambda found: found[0].replace(" ", NO_BREAK), printable_lines(text))
        text = "\n".join(
            textwrap.fill(
                line, out.width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
            )
            for line in whole.split("\n")
        ).replace(NO_BREAK, " ")
    out.print(text, markup=False, soft_wrap=True)


def put_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, allow_nan=False))  # noqa: T201  escaped


def plain_table() -> Table:
    """A table without frames, as all of them are."""
    from rich.table import Table

    return Table(box=None, pad_edge=False, header_style="bold")


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """Rows in columns, those headed by a word of `right` flush right.

    For lists of a thousand rows, for which a `Table` takes most of a second.
    """
    lines = [list(headings), *(list(map(printable, row)) for row in rows)]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(headings))]

    def padded(text: str, column: int) -> str:
        space = " " * (widths[column] - cell_len(text))
        return space + text if headings[column] in right else text + space

    return "\n".join(
        "  ".join(padded(text, column) for column, text in enumerate(line)).rstrip() for line in lines
    )


def layer_cells(config: RunConfig) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the layer table, the input first and the sum of the parameters last."""
    shapes = config.connections()
    backward = ["backward"] if config.is_vector_field else []
    headings = ["layer", "shape", "parameters", *backward, "lr", "wd"]
    rows = [["input", "×".join(map(str, shapes[0].pre))]]
    for index, shape in enumerate(shapes):
        cells = [shape.title, "×".join(map(str, shape.post)), f"{shape.parameters:,}"]
        if backward:
            cells.append(f"{shape.backward_parameters:,}" if shape.has_backward else "–")
        rows.append([*cells, _of(config.lrs, index), _of(config.wds, index)])
    rows.append(["total", "", f"{total_parameters(shapes):,}"])
    return headings, [[*row, *[""] * (len(headings) - len(row))] for row in rows]


def layer_table(config: RunConfig) -> Table:
    """Connections with the shape of their upper layer, parameters, learning rate, weight decay."""
    headings, rows = layer_cells(config)
    table = plain_table()
    for name in headings:
        table.add_column(name, justify="left" if name == "layer" else "right")
    for row in rows:
        table.add_row(*row, style="bold" if row is rows[-1] else None)
    return table


def total_parameters(shapes: Sequence[ConnectionShape]) -> int:
    """Forward and backward parameters of all connections."""
    return sum(shape.parameters + shape.backward_parameters for shape in shapes)


def _of(values: Sequence[float] | None, index: int) -> str:
    return "–" if values is None else f"{values[index]:g}"


def dry_run(
    config: RunConfig,
    *,
    more_epochs: int | None = None,
    last: int | None = None,
    out: Console | None = None,
) -> None:
    """Print layer table, plan and resolved configuration, to standard output where nothing else is given.

    `more_epochs` are added to a run, up to the epoch `last`.
    """
    out = out or console()
    out.print(layer_table(config))
    out.print()
    out.print(plan_in_words(config, more_epochs), markup=False)
    for said in cautions_of(config, last):
        out.print(f"warning: {said}", markup=False)
    out.print()
    table = plain_table()
    table.add_column("setting")
    table.add_column("value")
    for name, value in config.stored().items():
        table.add_row(flag(name), shown(value))
    out.print(table)


def dry_run_document(
    config: RunConfig, *, more_epochs: int | None = None, last: int | None = None
) -> dict[str, Any]:
    """What `dry_run` prints, as plain values; lists of numbers where the table has words."""
    shapes = config.connections()
    layers = [
        {
            "layer": shape.title,
            "shape": list(shape.post),
            "parameters": shape.parameters,
            "backward": shape.backward_parameters,
            "lr": None if config.lrs is None else config.lrs[index],
            "wd": None if config.wds is None else config.wds[index],
        }
        for index, shape in enumerate(shapes)
    ]
    return {
        "todo": config.todo,
        "dry_run": True,
        "plan": plan_in_words(config, more_epochs),
        "more_epochs": more_epochs,
        "warnings": cautions_of(config, last),
        "input": list(shapes[0].pre),
        "layers": layers,
        "parameters": total_parameters(shapes),
        "settings": config.stored(),
    }


def cautions_of(config: RunConfig, last: int | None = None) -> list[str]:
    """What to know of a training before it begins; `last` is its last epoch, where it goes on with a run."""
    from eqprop_core.rules import cautions

    return cautions(config, last) if config.todo == "train" else []


def plan_in_words(config: RunConfig, more_epochs: int | None = None) -> str:
    """What the run would do, in a sentence or two."""
    gradient = {
        "EP": f"EP, {config.chosen_estimator} estimator, betas {shown(config.betas)}",
        "CEP": f"continual EP, {config.chosen_estimator} estimator, betas {shown(config.betas)}",
        "BPTT": f"BPTT through the last {config.T2} of {config.T1} time steps",
    }[config.alg]
    phases = "" if config.alg == "BPTT" else f"; T1 {config.T1} free and T2 {config.T2} nudged time steps"
    if config.todo == "evaluate":
        return f"evaluate on {config.task}: T1 {config.T1} time steps"
    if config.todo == "gducheck":
        sides = "+β and −β" if config.chosen_estimator == "symmetric" else "β"
        return (
            f"gducheck on {config.task}: EP at {sides} = {config.betas[1]:g} against BPTT, "
            f"T1 {config.T1}, T2 {config.T2}"
        )
    epochs = f"{more_epochs} more epochs" if more_epochs else f"{config.epochs} epochs"
    return (
        f"train on {config.task}: {gradient}{phases}; {epochs} in batches of {config.mbs} with {config.optim}"
    )


def gdu_table(rows: Sequence[GduRow]) -> Table:
    """Distances of EP from BPTT by parameter; the rows of neurons and of a readout stand apart."""
    table = plain_table()
    table.add_column("parameter")
    for name in ("RMSE", "sign error", "cosine", "|EP|/|BPTT|", "|BPTT|"):
        table.add_column(name, justify="right")
    parts: list[list[GduRow]] = [[], [], []]
    for row in rows:
        parts[1 if row.readout else 2 if row.name.startswith(NEURONS) else 0].append(row)
    for style, part in zip(("", "dim", "dim"), parts, strict=True):
        for row in part:
            table.add_row(*_gdu_cells(row), style=style)
        table.add_section()
    return table


def _gdu_cells(row: GduRow) -> list[str | Text]:
    from rich.text import Text

    name, rmse, *rest = gdu_cells(row)
    colour = GRADES.get(gdu_grade(row))
    return [name, Text(rmse, colour or ""), *rest]
