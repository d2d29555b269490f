"""How the rows of a sweep's table are written, by commands as on screens. Knows no terminal."""

from __future__ import annotations

from eqprop_core.sweeps.table import MISSING, Row, Table

MARK = "*"  # beside a mean over fewer seeds than are planned


def figure(value: float | None) -> str:
    """A figure in per cent with two decimals, – for none."""
    return "–" if value is None else f"{value:.2f}"


def mean(row: Row) -> str:
    """`1.55 ± 0.03`, with one seed without its spread, marked where seeds are missing; – where all are."""
    if row.mean is None:
        return "–"
    spread = f" ± {row.sd:.2f}" if row.sd is not None else ""
    return f"{row.mean:.2f}{spread}{'' if row.whole else MARK}"


def seeds(row: Row) -> str:
    """`3 of 3`, or with what is missing: `2 of 3, 1 failed`."""
    said = [f"{len(row.finished)} of {len(row.outcomes)}"]
    return ", ".join(said + [f"{count} {state}" for state, count in row.missing.items()])


def span(row: Row) -> str:
    """Smallest and largest figure; – for fewer than two seeds."""
    return f"{min(row.values):.2f}–{max(row.values):.2f}" if len(row.values) > 1 else "–"


def standing(table: Table) -> str:
    """How many runs of a sweep are finished, of how many, and how the others stand."""
    counts = table.counts
    rest = [f"{count} {state}" for state, count in counts.items() if state != "finished"]
    return ", ".join([f"{counts.get('finished', 0)} of {table.runs} runs finished", *rest])


def marked(table: Table) -> bool:
    """Whether a mean is marked as one over fewer seeds than are planned."""
    return any(row.mean is not None and not row.whole for row in table.rows)


def troubled(row: Row) -> bool:
    """Whether somebody has to look after a seed of this cell."""
    return any(state in MISSING[:4] for state in row.missing)
