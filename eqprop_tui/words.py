"""How numbers and runs are written, in tables of commands as on screens."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from eqprop_core.events import Gdu, GduRow
    from eqprop_core.runs.listing import RunSummary


def cut(text: str, width: int) -> str:
    """The text, with … at its end if it takes more than `width` cells (1 or more)."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def cut_inside(text: str, width: int) -> str:
    """The text, with … before its last word if it takes more than `width` cells: what ends in a number."""
    last = text[text.rfind(" ") + 1 :]
    if cell_len(text) <= width or cell_len(last) + 4 > width:
        return cut(text, width)
    return cut(text, width - cell_len(last)) + last


def memory(used: int | None, total: int | None) -> str:
    """`2.1 / 80.0 GB`, with n/a for what is not known."""
    shown = ["n/a" if value is None else f"{value / 2**30:.1f}" for value in (used, total)]
    return "n/a" if used is None and total is None else f"{shown[0]} / {shown[1]} GB"


def share(value: float | None) -> str:
    """A share of 1 as per cent; n/a where it is not known."""
    return "n/a" if value is None else f"{100 * value:.0f} %"


def stands(run: RunSummary) -> str:
    """A run's state, with its place in line where it is queued, and with what may have ended a lost one."""
    if run.state == "queued" and run.ahead is not None:
        return f"queued {run.ahead + 1}"
    reason = "waits to save" if run.waits else run.reason
    return f"{run.state}, {reason}" if reason else run.state


def epochs(run: RunSummary) -> str:
    """Finished epochs of those that are planned."""
    return f"{run.epoch}/{run.epochs if run.epochs is not None else '–'}"


def accuracy(value: float | None) -> str:
    """Per cent with two decimals."""
    return "–" if value is None else f"{value:.2f}"


def speed(value: float | None) -> str:
    """Images a second, with three digits at least."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


LONGEST = 1e11  # seconds, three thousand years


def duration(seconds: float | None) -> str:
    """A length of time in the unit that fits: 41 s, 12 min, 3 h 05, 2 d 4 h; – where it is none."""
    if seconds is None or not abs(seconds) < LONGEST:
        return "–"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 1:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{minutes:.0f} min"
    if days < 1:
        return f"{int(hours)} h {int(minutes % 60):02d}"
    return f"{int(days)} d {int(hours % 24)} h"


def pace(seconds: float) -> str:
    """Time that an epoch takes, to a tenth of a second where it is short."""
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def times(run: RunSummary) -> str:
    """How long a run trained and took, each as `RunSummary` defines it; empty where that was not kept."""
    facts = [("trained", run.trained), ("took", run.took)]
    return ", ".join(f"{name} {pace(seconds)}" for name, seconds in facts if seconds is not None)


def in_unit(seconds: float) -> str:
    """A short time in the unit that fits: `41.0 µs`, `3.20 ms`, `1.25 s`."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def age(created: str | None) -> str:
    """Time since a run was made, in one unit: 41 s, 12 min, 3 h, 2 d."""
    try:
        since = time.time() - datetime.fromisoformat(created or "").timestamp()
    except (ValueError, OverflowError, OSError):
        return "–"
    text = duration(max(0.0, since))
    return " ".join(text.split()[:2])


def started(created: str | None) -> str:
    """When a run was started, as a person writes it."""
    try:
        return datetime.fromisoformat(created or "").strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return "–"


def number_of(value: int | None) -> str:
    """A count with its thousands set apart, – where it is not known."""
    return "–" if value is None else f"{value:,}"


GOOD_RMSE, FAIR_RMSE = 0.1, 0.5
NEURONS = "neurons_"  # how the rows begin that are no parameters
OF_NEURONS = f"{NEURONS}* contain the slope of σ; not a claim of the theorem"


def gdu_cells(row: GduRow) -> list[str]:
    """A row of a GDU check: name, RMSE, sign error, cosine, |EP|/|BPTT|, |BPTT|; n/a for what is not known.

    Of a gradient that is zero, neither is there anything to be off from.
    """
    zero = row.size == 0
    return [
        row.name + (" (readout)" if row.readout else ""),
        "n/a" if row.rmse is None or zero else f"{row.rmse:.4f}",
        "n/a" if row.sign_error is None or zero else f"{100 * row.sign_error:.1f} %",
        "n/a" if row.cosine is None else f"{row.cosine:.4f}",
        "n/a" if row.norm_ratio is None else f"{row.norm_ratio:.3f}",
        "n/a" if row.size is None else f"{row.size:.2g}",
    ]


def gdu_settings(gdu: Gdu) -> str:
    """What a GDU check was made with: images, β, and T1 and T2 where they are known."""
    steps = "" if gdu.steps is None else f", T1 {gdu.steps[0]}, T2 {gdu.steps[1]}"
    images = "1 image" if gdu.images == 1 else f"{gdu.images} images"
    return f"{images}, β {'±' if gdu.symmetric else ''}{gdu.beta:g}{steps}"


def gdu_grade(row: GduRow) -> str:
    """How near EP is to BPTT: `good`, `waiting` (fair), `bad`; `dim` where nothing is claimed."""
    if row.rmse is None or row.readout or row.too_small or row.name.startswith(NEURONS):
        return "dim"
    return "good" if row.rmse < GOOD_RMSE else "waiting" if row.rmse < FAIR_RMSE else "bad"


def memory_size(count: int) -> str:
    """Bytes of memory in words: `640 kB`, `31 MB`, `1.2 GB`, by powers of 1024."""
    if count < 2**20:
        return f"{count / 2**10:.0f} kB"
    return f"{count / 2**20:.0f} MB" if count < 1000 * 2**20 else f"{count / 2**30:.1f} GB"


def disk_size(count: int) -> str:
    """Bytes on disk in words: `812 B`, `4.1 kB`, `12.6 MB`, `3.2 GB`, by powers of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def when(created: str | None, now: datetime | None = None) -> str:
    """When a run was started, short: the day of the week within six days, the date within a year."""
    try:
        moment = datetime.fromisoformat(created or "")
        since = (now or datetime.now().astimezone()) - moment.astimezone()
    except (ValueError, OverflowError, OSError):
        return "–"
    if abs(since.days) < 6:
        return moment.strftime("%a %H:%M")
    return moment.strftime("%d %b %H:%M" if abs(since.days) < 330 else "%d %b %Y")
