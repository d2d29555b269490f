"""`eqprop sweep table`: what the cells of a sweep came to, mean and spread over their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from eqprop_core.problems import ConfigError, Problem, shown
from eqprop_core.runs.folder import RunError
from eqprop_core.sweeps.curves import Curves, clearest, curves_of
from eqprop_core.sweeps.folder import SweepFolder, find_sweep
from eqprop_core.sweeps.table import OF, Measure, Row, Table, measure_of, table_of
from eqprop_core.sweeps.writing import as_csv, as_document, as_latex
from eqprop_tui import sweep_words
from eqprop_tui.cli import report
from eqprop_tui.cli.report import AsJson
from eqprop_tui.output import beside, drawn, is_standard, picture_file
from eqprop_tui.words import cut, pace

LEAST_NAME = 16  # columns that the names of cells keep, however narrow the terminal is


def table(
    sweep: Annotated[
        str, typer.Argument(metavar="SWEEP", help="a folder, a name, or last \\[last]", show_default=False)
    ] = "last",
    of: Annotated[
        str | None,
        typer.Option(
            "--of",
            metavar="|".join(OF),
            help="test figure after the last epoch or of the best one; training or validation figure after "
            "the last \\[last; of a search, what it chooses by]",
        ),
    ] = None,
    error: Annotated[
        bool,
        typer.Option(
            "--error/--accuracy", help="error or accuracy, in per cent \\[error]", show_default=False
        ),
    ] = True,
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure",
            metavar="FILE.png",
            help="draw means by epoch, in bands of a standard deviation; - is standard output",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite the file of --figure")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="print as CSV, a line a cell")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="print as a LaTeX tabular with booktabs")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a sweep came to: mean and standard deviation over seeds, and what is missing.

    The trials of a search come best first.
    """
    _refuse_contradictions(of, {"--json": as_json, "--csv": csv, "--latex": latex})
    printed = as_json or csv or latex
    target = picture_file(figure, force=force, printed=printed) if figure is not None else None
    folder = find_sweep(sweep)
    measure = measure_of(folder, next((known for known in OF if known == of), None), error=error)
    found = read_table(folder, measure)
    if folder.search is not None:
        found = replace(found, rows=tuple(found.best_first()))
    if target is not None:
        with drawn(target) as file:
            draw(file, found)
    if as_json:
        report.put_json(as_document(found))
    elif csv:
        report.put(as_csv(found), end="")
    elif latex:
        report.put(as_latex(found), end="")
    else:
        with beside(target):
            show(found, folder.path)
    if target is not None and not is_standard(target):
        report.say(f"figure in {target}")


def _refuse_contradictions(of: str | None, forms: dict[str, bool]) -> None:
    if of is not None and of not in OF:
        raise ConfigError([Problem("of", of, f"is not one of {', '.join(OF)}")])
    wanted = [name for name, chosen in forms.items() if chosen]
    if len(wanted) > 1:
        raise ConfigError([Problem("config", "sweep table", f"{' and '.join(wanted)} cannot go together")])


def read_table(folder: SweepFolder, measure: Measure) -> Table:
    """The table of a sweep. Raises `RunError` for files that cannot be read."""
    try:
        return table_of(folder, measure)
    except OSError as error:
        raise RunError(
            f"{error.filename or folder.path}: cannot be read: {error.strerror or error}"
        ) from None


# --- on a terminal ----------------------------------------------------------------------------------------


def show(table: Table, path: Path) -> None:
    """Print the table for a person, with what it shows above it and what is missing below."""
    from rich.markup import escape
    from rich.text import Text

    out = report.console()
    out.print(Text(table.title or table.name, "bold"))
    several = any(len(row.outcomes) > 1 for row in table.rows)
    out.print(Text(table.said + ("; mean ± standard deviation over seeds (n − 1)" if several else "")))
    out.print()
    cells = columns(table, out.width)
    drawn = report.plain_table()
    for heading in cells:
        first = heading == "cell"
        drawn.add_column(
            escape(heading), justify="left" if first or heading == "seeds" else "right", no_wrap=True
        )
    for place, row in enumerate(table.rows):
        style = "red" if sweep_words.troubled(row) else None if row.finished else "dim"
        drawn.add_row(*(Text(texts[place]) for texts in cells.values()), style=style)
    out.print(drawn)
    for line in notes(table):
        out.print(Text(line, "dim"))
    out.print()
    out.print(Text(f"{sweep_words.standing(table)}   {path}"), soft_wrap=True)


def columns(table: Table, width: int) -> dict[str, list[str]]:
    """Cells by heading, those for which `width` columns have room; names are cut to what is left."""
    rows = table.rows
    sources = table.sources
    found: dict[str, list[str]] = {
        "cell": [row.cell.name for row in rows],
        table.measure.heading: [sweep_words.mean(row) for row in rows],
        "seeds": [sweep_words.seeds(row) for row in rows],
        "min–max": [sweep_words.span(row) for row in rows],
        "published": [_published(row, sources) for row in rows],
        "time a run": ["–" if row.seconds is None else pace(row.seconds) for row in rows],
    }
    if not sources:
        del found["published"]
    gap = 2

    def taken() -> int:
        return sum(_width(name, texts) + gap for name, texts in found.items() if name != "cell")

    longest = _width("cell", found["cell"])
    for dispensable in ("min–max", "time a run"):
        if taken() + min(longest, 2 * LEAST_NAME) > width:
            found.pop(dispensable)
    room = max(LEAST_NAME, width - taken())
    found["cell"] = [cut(name, room) for name in found["cell"]]
    return found


def _width(heading: str, texts: Sequence[str]) -> int:
    return max(map(len, [heading, *texts]))


def _published(row: Row, sources: Sequence[str]) -> str:
    if row.published is None:
        return "–"
    return f"{row.published:g} [{sources.index(row.cell.source or 'source not given') + 1}]"


def notes(table: Table) -> list[str]:
    """What the signs in the table mean, and what runs that failed said."""
    lines = []
    if sweep_words.marked(table):
        lines.append(f"{sweep_words.MARK} of the finished seeds only")
    lines += [f"[{place}] {source}" for place, source in enumerate(table.sources, 1)]
    failed = [(row, run) for row in table.rows for run in row.outcomes if run.message]
    lines += [f"{row.cell.name}, seed {run.seed}: {shown(run.message)}" for row, run in failed[:5]]
    if len(failed) > 5:
        lines.append(f"… and {len(failed) - 5} more that failed; --json has all")
    for row in table.rows:
        if data := [f"{words} (seed {shown(seeds)})" for words, seeds in row.unlike_data.items()]:
            lines.append(f"{row.cell.name}: not all seeds were trained on the same data: {'; '.join(data)}")
    return lines


# --- the figure -------------------------------------------------------------------------------------------


def draw(path: Path, table: Table) -> None:
    """Draw the curves of a sweep. Raises `RunError` where the file cannot be written."""
    from eqprop_core.worker.bands import Band, draw_bands  # matplotlib: only to draw
    from eqprop_core.worker.comparison import MOST_CURVES

    try:
        curves = curves_of(table)
        shown = clearest(curves, MOST_CURVES)
        bands = [
            Band(one.row.cell.name, one.seeds, legend_of(one), one.row.published, one.row.number - 1)
            for one in shown
        ]
        published = "; published figures dotted" if table.sources else ""
        draw_bands(
            path,
            bands,
            title=table.title or table.name,
            y=table.measure.heading.replace(" %", " (%)"),
            remark=f"mean ± sd over seeds{published}",
        )
    except OSError as error:
        raise RunError(f"--figure {path}: cannot be written: {error.strerror or error}") from None
    if len(shown) < len(curves):
        report.say(
            f"the figure shows the best {len(shown)} of {len(curves)} cells: no more can be told apart"
        )


def legend_of(curves: Curves) -> str:
    """What the legend says of a cell besides its name: its figure, and the seeds that are missing."""
    row = curves.row
    if row.mean is None:
        return sweep_words.seeds(row)
    count = len(row.outcomes)
    of = f"{count} seed{'s' if count != 1 else ''}" if row.whole else sweep_words.seeds(row)
    return f"{sweep_words.mean(row).rstrip(sweep_words.MARK)} %, {of}"
