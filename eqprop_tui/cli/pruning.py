"""`eqprop runs prune`: what runs take on disk, and removing what is no longer needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from eqprop_core.files import expanded
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.runs.disk import KINDS, Found, Kind, files_of, idle_seconds, prunable, prune
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import RunSummary, list_runs, matching
from eqprop_tui.cli import report
from eqprop_tui.cli.listing import Results, refuse_absent
from eqprop_tui.cli.report import AsJson
from eqprop_tui.words import cut, disk_size

DAY = 86400.0


@dataclass(frozen=True)
class Use:
    """What a run has on disk, and what of it would go."""

    summary: RunSummary
    files: list[Found]
    to_go: list[Found]


def prune_runs(
    checkpoints: Annotated[
        bool,
        typer.Option("--checkpoints", help="remove those of finished runs, which then cannot be resumed"),
    ] = False,
    arrays: Annotated[bool, typer.Option("--arrays", help="remove arrays of GDU checks in gdu/")] = False,
    figures: Annotated[bool, typer.Option("--figures", help="remove pictures")] = False,
    checks: Annotated[
        bool, typer.Option("--checks", help="remove evaluations and checks in checks/")
    ] = False,
    models: Annotated[
        bool, typer.Option("--models", help="remove model.pt and final_model.pt, so the weights")
    ] = False,
    runs: Annotated[
        list[str] | None,
        typer.Option("--runs", metavar="WORDS", help="only runs that mention all words; may be repeated"),
    ] = None,
    older_than: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", help="only runs idle for so many days")
    ] = None,
    results: Results = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what runs take on disk; remove the kinds of files that are named, after asking.

    Configuration, events and state stay, and runs that some process may own are left alone.
    """
    if older_than is not None and not 0 <= older_than < 1e6:
        raise ConfigError([Problem("older_than", older_than, "must be a number of days, 0 or more")])
    wished = {
        "checkpoints": checkpoints,
        "models": models,
        "arrays": arrays,
        "figures": figures,
        "checks": checks,
    }
    kinds: list[Kind] = [kind for kind in KINDS if wished.get(kind)]
    words = " ".join(runs or []).split()
    refuse_absent(results)
    found = list_runs([expanded(results)] if results is not None else None)
    uses = [
        use
        for summary in matching(found, words)
        if (use := _use_of(summary, kinds, older_than)) is not None
    ]  # fmt: skip
    to_go = [use for use in uses if use.to_go]
    if not as_json:
        _print_use(uses, kinds)
        _print_what_goes(to_go, kinds)
    removed: dict[str, list[Found]] = {}
    if to_go and (yes or not as_json):
        if not yes:
            total = disk_size(_size(file for use in to_go for file in use.to_go))
            report.confirm(f"remove {total} for good?", abort=True)
        removed = _remove(to_go, kinds)
    if as_json:
        report.put_json([as_document(use, removed.get(str(use.summary.path))) for use in uses])
    elif removed:
        gone = [file for files in removed.values() for file in files]
        report.say(f"removed {len(gone)} files, {disk_size(_size(gone))}")
    if len(removed) < len(to_go) and (yes or not as_json):
        raise typer.Exit(1)


def _use_of(summary: RunSummary, kinds: list[Kind], older_than: float | None) -> Use | None:
    """What a run takes; None for one that is not old enough, or has gone."""
    try:
        if older_than is not None and idle_seconds(summary.path) < older_than * DAY:
            return None
        return Use(summary, files_of(summary.path), prunable(summary.path, kinds) if kinds else [])
    except OSError as error:
        report.say(f"warning: {summary.path}: cannot be looked at: {error.strerror or error}")
        return None


def _remove(uses: list[Use], kinds: list[Kind]) -> dict[str, list[Found]]:
    """Remove what goes of each run; says which could not be pruned and leaves those out."""
    removed: dict[str, list[Found]] = {}
    for use in uses:
        try:
            removed[str(use.summary.path)] = prune(RunFolder(use.summary.path), kinds)
        except RunError as error:
            report.say(f"warning: {error}")
    return removed


def _print_use(uses: list[Use], kinds: list[Kind]) -> None:
    """A line for each kind: how many files, how much, and what of it would go."""
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    going: Counter[str] = Counter()
    for use in uses:
        for file in use.files:
            sizes[file.kind] += file.size
            counts[file.kind] += 1
        for file in use.to_go:
            going[file.kind] += file.size
    rows = [[kind, f"{counts[kind]:,}", disk_size(sizes[kind]), disk_size(going[kind])] for kind in KINDS]
    everything = f"all, {len(uses)} run{'' if len(uses) == 1 else 's'}"
    rows.append([everything, f"{counts.total():,}", disk_size(sizes.total()), disk_size(going.total())])
    columns = 4 if kinds else 3
    headings = ("kind", "files", "size", "goes")[:columns]
    report.put(report.aligned(headings, [row[:columns] for row in rows], right=headings[1:]))


def _print_what_goes(uses: list[Use], kinds: list[Kind]) -> None:
    """A line for each run that something goes of."""
    if not kinds:
        return
    report.put()
    if not uses:
        report.put("nothing to remove")
        return
    rows = []
    for use in uses:
        counts = Counter(file.kind for file in use.to_go)
        what = ", ".join(f"{kind} {count}" for kind, count in counts.items())
        name = cut(use.summary.name, 24)
        rows.append((use.summary.id or use.summary.path.name, disk_size(_size(use.to_go)), what, name))
    report.put(report.aligned(("run", "goes", "files", "name"), rows, right=("goes",)))


def _size(files: Iterable[Found]) -> int:
    return sum(file.size for file in files)


def as_document(use: Use, removed: list[Found] | None) -> dict[str, Any]:
    """A run's use of the disk as plain values, in bytes; `removed` is None where nothing was removed."""
    sizes: Counter[str] = Counter()
    for file in use.files:
        sizes[file.kind] += file.size
    return {
        "path": str(use.summary.path),
        "id": use.summary.id,
        "name": use.summary.name,
        "state": use.summary.state,
        "bytes": {kind: sizes[kind] for kind in KINDS},
        "removable": [str(file.path) for file in use.to_go],
        "removed": None if removed is None else [str(file.path) for file in removed],
    }
