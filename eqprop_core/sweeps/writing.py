"""The table of a sweep for other programs: plain values, CSV, a LaTeX tabular, and a file of each."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from eqprop_core.files import write_text
from eqprop_core.problems import printable
from eqprop_core.sweeps.table import MISSING, Row, Table

CSV_STATES = tuple(state for state in MISSING if state != "without a figure")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "×": r"$\times$",
    "β": r"$\beta$",
    "…": r"\dots{}",
}


FORMS = (".csv", ".tex", ".json")


def save_table(path: Path, table: Table) -> None:
    """Write a table into a file, in the form that its name ends in (one of `FORMS`). Raises `OSError`."""
    if path.suffix == ".csv":
        write_text(path, as_csv(table))
    elif path.suffix == ".tex":
        write_text(path, as_latex(table))
    else:
        write_text(path, json.dumps(as_document(table), indent=2, allow_nan=False) + "\n")


def as_document(table: Table) -> dict[str, Any]:
    """The table as plain values for JSON."""
    return {
        "sweep": table.name,
        "title": table.title,
        "measure": table.measure.heading,
        "of": table.measure.of,
        "said": table.said,
        "runs": table.runs,
        "states": table.counts,
        "cells": [_row_document(row) for row in table.rows],
    }


def _row_document(row: Row) -> dict[str, Any]:
    return {
        "name": row.cell.name,
        "preset": row.cell.preset,
        "settings": dict(row.cell.settings),
        "mean": row.mean,
        "sd": row.sd,
        "min": min(row.values, default=None),
        "max": max(row.values, default=None),
        "finished": len(row.finished),
        "planned": len(row.outcomes),
        "missing": row.missing,
        "seconds": row.seconds,
        "published": row.published,
        "source": row.cell.source if row.published is not None else None,
        "seeds": [
            {
                "seed": run.seed,
                "state": run.state,
                "value": None if accuracy is None else row.measure.value(accuracy),
                "accuracies": dict(run.scores),
                "seconds": run.seconds,
                "path": str(run.path),
                "message": run.message,
            }
            for run in row.outcomes
            for accuracy in [run.scores.get(row.measure.of)]
        ],
    }


def as_csv(table: Table) -> str:
    """A line a cell: mean, spread, how many seeds stand in which state, and each seed's own figure."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    seeds = list(dict.fromkeys(run.seed for row in table.rows for run in row.outcomes))
    headings = ["cell", "preset", "measure", "mean", "sd", "min", "max", "planned", "finished"]
    headings += [state.replace(" ", "_") for state in CSV_STATES] + [
        "other",
        "seconds",
        "published",
        "source",
    ]
    writer.writerow([*headings, *(f"seed_{seed}" for seed in seeds)])
    for row in table.rows:
        missing, of = row.missing, row.measure.of
        accuracies = {run.seed: run.scores.get(of) for run in row.outcomes}
        found = {seed: row.measure.value(value) for seed, value in accuracies.items() if value is not None}
        writer.writerow(
            [
                row.cell.name,
                row.cell.preset,
                row.measure.heading,
                row.mean,
                row.sd,
                min(row.values, default=None),
                max(row.values, default=None),
                len(row.outcomes),
                len(row.finished),
                *(missing.get(state, 0) for state in CSV_STATES),
                sum(count for state, count in missing.items() if state not in CSV_STATES),
                row.seconds,
                row.published,
                row.cell.source if row.published is not None else None,
                *(found.get(seed) for seed in seeds),
            ]
        )
    return file.getvalue()


def as_latex(table: Table) -> str:
    """A `tabular` with the rules of booktabs; comments above it say what it shows."""
    published = any(row.published is not None for row in table.rows)
    lines = [
        "% needs \\usepackage{booktabs}",
        f"% {_comment(table.name)}: {_comment(table.said)}; mean and sample standard deviation over seeds",
    ]
    sources = table.sources
    lines += [f"% [{place}] {_comment(source)}" for place, source in enumerate(sources, 1)]
    lines += [
        rf"\begin{{tabular}}{{lrr{'r' if published else ''}}}",
        r"\toprule",
        " & ".join(
            ["", escaped(table.measure.heading), "seeds", *(["published"] if published else [])]
        ).lstrip()
        + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        cells = [escaped(row.cell.name), _mean(row), _seeds(row)]
        if published:
            cells.append("" if row.published is None else f"{row.published:.2f} {_cited(row, sources)}")
        lines.append(" & ".join(cells).rstrip() + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cited(row: Row, sources: list[str]) -> str:
    return f"[{sources.index(row.cell.source or 'source not given') + 1}]"


def _mean(row: Row) -> str:
    """In math mode; marked where seeds are missing."""
    if row.mean is None:
        return "--"
    spread = rf" \pm {row.sd:.2f}" if row.sd is not None else ""
    return f"${row.mean:.2f}{spread}{'' if row.whole else '^{*}'}$"


def _seeds(row: Row) -> str:
    said = [f"{len(row.finished)} of {len(row.outcomes)}"]
    return escaped(", ".join(said + [f"{count} {state}" for state, count in row.missing.items()]))


def escaped(text: str) -> str:
    """Text as LaTeX shows it, every character that means something to it escaped."""
    return "".join(_LATEX.get(character, character) for character in printable(text))


def _comment(text: str) -> str:
    """Text on one line, as a comment may hold it."""
    return " ".join(printable(text).split())
