"""The title line of a chart: title left; right the curves with samples of their lines, and the unit of x."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from eqprop_tui.charts.canvas import Canvas, clean, shortened

GAP = 2
READABLE = 5  # cells of a name; the title is shortened, and then curves left out, before it has fewer
LEAST = 1 + GAP  # cells of an entry with its gap, whatever it says


@dataclass(frozen=True)
class Entry:
    """One curve in a legend: its name, a sample of its line and the style of that, a number never cut."""

    name: str
    sample: str
    style: str
    value: str = ""

    @property
    def rest(self) -> str:
        """What is never shortened, before the sample."""
        return f" {self.value} " if self.value else " "


def title_line(
    canvas: Canvas, title: str, entries: list[Entry], x_label: str, *, reading: bool = False
) -> None:
    """Write the first row; where it is narrow drop the unit, shorten names, then the title, drop entries.

    Where it is a `reading` of numbers, the title goes first and the unit, with its number, stays.
    """
    ascii = canvas.glyphs.ascii
    entries = entries[: canvas.width // LEAST + 1]  # of thousands, no more than could have room
    title, x_label = clean(title, ascii=ascii), clean(x_label, ascii=ascii)
    names = [clean(entry.name, ascii=ascii) for entry in entries]
    room = canvas.width - 2
    label = f"   {x_label}" if x_label else ""
    if reading:
        title = shortened(title, max(0, room - GAP - len(label) - _length(names, entries)))
        label = label[: canvas.width // 2]
    elif _length(names, entries) + len(title) + GAP + len(label) > room:
        label = ""
    if _length(names, entries) + len(title) + GAP + len(label) > room:
        names = _told_apart(names, entries)
        names = _fitting(names, entries, room - len(label) - (len(title) + GAP if title else 0), READABLE)
    if title and _length(names, entries) + len(title) + GAP + len(label) > room:
        names = [name.strip("…") if name.startswith("…") else name for name in names]
        title = shortened(title, max(room // 3, room - GAP - len(label) - _length(names, entries)))
        names = _fitting(names, entries, room - len(label) - len(title) - GAP, READABLE)
    left = 1 + (len(title) + GAP if title else 0)
    end = canvas.width - 1 - len(label)
    canvas.write(0, 1, title, "title")
    canvas.write(0, end, label, "dim")
    while entries and _length(names, entries) > end - left:
        names, entries = names[:-1], entries[:-1]
        end = canvas.width - 1 - GAP
        canvas.write(0, canvas.width - 2, "…", "dim")
    column = end - _length(names, entries)
    for name, entry in zip(names, entries, strict=True):
        canvas.write(0, column, name + entry.rest, "text")
        column += len(name + entry.rest)
        canvas.write(0, column, entry.sample, entry.style)
        column += len(entry.sample) + GAP


def _length(names: list[str], entries: list[Entry]) -> int:
    cells = sum(len(name + entry.rest + entry.sample) for name, entry in zip(names, entries, strict=True))
    return cells + GAP * max(0, len(names) - 1)


def _told_apart(names: list[str], entries: list[Entry]) -> list[str]:
    """Names of series without the words that all begin and end with, which tell nothing apart."""
    chosen = [place for place, entry in enumerate(entries) if entry.style.startswith("series")]
    before = _shared([names[place] for place in chosen])
    after = _shared([names[place][len(before) :][::-1] for place in chosen])
    told = list(names)
    for place in chosen:
        middle = names[place][len(before) : len(names[place]) - len(after)]
        told[place] = ("…" if before else "") + middle + ("…" if after else "")
    return told


def _shared(names: list[str]) -> str:
    """What all begin with, up to the end of a word; nothing where that is short or one name is all of it."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    shared = "".join(letters[0] for letters in alike) if len(names) > 1 else ""
    while shared and shared[-1].isalnum():
        shared = shared[:-1]
    return shared if len(shared) > 2 and all(len(name) > len(shared) for name in names) else ""


def _fitting(names: list[str], entries: list[Entry], room: int, least: int) -> list[str]:
    """Names shortened alike until all fit, or to `least` cells."""
    longest = min(max((len(name) for name in names), default=0), max(room, least))
    for most in range(longest, least, -1):
        shorter = [shortened(name, most) for name in names]
        if _length(shorter, entries) <= room:
            return shorter
    return [shortened(name, least) for name in names]
