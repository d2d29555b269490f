"""`eqprop runs show`: all about one run, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Console

from eqprop_core.events import Amended, Record
from eqprop_core.problems import ConfigError, flag, printable, shown
from eqprop_core.runs.comparing import unlike_defaults
from eqprop_core.runs.disk import Found, files_of
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.history import current_amendments, failure, histories, last_words
from eqprop_core.runs.listing import ALIVE, RunSummary, called, find_run, summarize
from eqprop_core.runs.names import BEST_MODEL, CHECKPOINT, CHECKPOINT_BEFORE
from eqprop_core.runs.scores import scores_of_epochs
from eqprop_core.runs.words import data_in_words
from eqprop_core.shell import command
from eqprop_tui.cli import report
from eqprop_tui.cli.listing import Wanted, as_document
from eqprop_tui.cli.report import AsJson
from eqprop_tui.words import age, disk_size, duration, pace, speed, stands, started, times

EVENTS_SHOWN = 5


def show(run: Wanted, as_json: AsJson = False) -> None:
    """Show all about a run: how it stands, its settings, its files, what can be done with it."""
    folder = find_run(run)
    document = about(folder)
    if as_json:
        report.put_json(document)
        return
    summary = summarize(folder.path)
    out = report.console()
    _head(out, summary, document)
    _settings(out, document)
    _section(out, "last events", [f"{_clock(at)} {text}" for at, text in last_words(folder, EVENTS_SHOWN)])
    _section(out, "files", _file_lines(files_of(folder.path)))
    _section(out, "next", document["next"])


def about(folder: RunFolder) -> dict[str, Any]:
    """All about a run as plain values. What cannot be read of its settings is told, not fatal."""
    summary, meta = summarize(folder.path), folder.meta()
    try:
        settings, complaint = folder.settings_now() or {}, None
    except ConfigError as error:
        settings, complaint = {}, str(error)
    # Of a run of before `state.json` has not all of them; its events have.
    scores = scores_of_epochs(histories(folder)) if summary.test_at_best is None else summary.scores
    return {
        **as_document(summary),
        **asdict(scores),
        "accuracies": scores.in_words() or None,
        "path": str(folder.path.resolve()),
        "note": meta.get("note") or None,
        "data": meta.get("data"),
        "host": meta.get("host"),
        "message": failure(folder) if summary.state == "failed" else None,
        "settings": unlike_defaults(settings),
        "settings_problem": complaint,
        "amendments": [_amendment(record) for record in current_amendments(folder)],
        "files": [
            {"path": str(file.path), "kind": file.kind, "size": file.size} for file in files_of(folder.path)
        ],
        "events": [{"t": at, "text": text} for at, text in last_words(folder, EVENTS_SHOWN)],
        "next": next_steps(folder, summary),
    }


def next_steps(folder: RunFolder, summary: RunSummary) -> list[str]:
    """Commands that make sense for a run as it stands."""
    name = called(folder)
    there = {file.path.name for file in files_of(folder.path) if len(file.path.parts) == 1}
    steps: list[str] = []
    if summary.state == "paused":
        steps.append(command("runs", "resume", name))
    if summary.state in ALIVE:
        steps += [command("runs", "attach", name), command("runs", "stop", name)]
    elif not folder.is_ours:
        steps.append(command("train", "--load-path", name, "--epochs", 10))
    elif summary.state == "finished" and {CHECKPOINT, CHECKPOINT_BEFORE} & there:
        steps.append(command("runs", "resume", name, "--epochs", 10))
    elif summary.state in ("stopped", "failed", "lost"):
        steps.append(command("runs", "resume", name))
    if {BEST_MODEL, CHECKPOINT} & there:
        steps += [command(word, "--load-path", name) for word in ("evaluate", "gducheck")]
    return steps


def _head(out: Console, summary: RunSummary, document: dict[str, Any]) -> None:
    label = f"{summary.name}  {summary.id}".rstrip()
    out.print(f"{_plain(label)}  {stands(summary)}", style="bold")
    device = f"{summary.device or '–'} of {document['host'] or '–'}"
    planned = "–" if summary.epochs is None else summary.epochs
    each = f", {pace(summary.seconds_an_epoch)} each" if summary.seconds_an_epoch is not None else ""
    left = f", {duration(summary.seconds_left)} left" if summary.seconds_left is not None else ""
    rate = f", {speed(summary.samples_per_s)} images/s" if summary.samples_per_s is not None else ""
    facts = {
        "folder": document["path"],
        "preset": summary.preset,
        "created": f"{started(summary.created)}, {age(summary.created)} ago, {device}",
        "processes": f"{summary.processes} train it together" if summary.processes > 1 else None,
        "epochs": f"{summary.epoch} of {planned}{each}{left}{rate}",
        "time": None if summary.took is None else times(summary),
        "accuracy": document["accuracies"],
        "data": data_in_words(document["data"]) or None,
        "tags": ", ".join(summary.tags) or None,
        "note": document["note"],
        "waits": None if summary.waits is None else f"to write {summary.waits}",
        "failed": document["message"],
    }
    for name, value in facts.items():
        if value is not None:
            report.put_words(out, f"{name:<9} {_plain(str(value))}")


def _settings(out: Console, document: dict[str, Any]) -> None:
    lines = [f"{flag(name):<18} {_plain(shown(value))}" for name, value in document["settings"].items()]
    if document["settings_problem"]:
        _section(out, "settings that cannot be read", document["settings_problem"].splitlines())
    _section(out, "settings that are not the defaults", lines)
    changed = []
    for change in document["amendments"]:
        where = f"in epoch {change['epoch']}, batch {change['batch']}" if change["epoch"] else "on resuming"
        values = ", ".join(f"{flag(name)} {shown(value)}" for name, value in change["settings"].items())
        changed.append(f"{_clock(change['t'])} {where}: {_plain(values)}")
    _section(out, "changed on the way", changed)


def _section(out: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        out.print()
        out.print(title, style="bold")
        for line in lines:
            report.put_words(out, f"  {_plain(line)}")


def _file_lines(files: Sequence[Found]) -> list[str]:
    """Files in the folder itself with their sizes, and a line for each folder inside."""
    sizes: dict[str, int] = {}
    for file in files:
        inside = file.path.parts[0] + "/" if len(file.path.parts) > 1 else file.path.name
        sizes[inside] = sizes.get(inside, 0) + file.size
    return [f"{name:<22} {disk_size(size):>9}" for name, size in sizes.items()]


def _amendment(record: Record) -> dict[str, Any]:
    assert isinstance(record.event, Amended)
    return {"t": record.time, **record.event.model_dump()}


def _clock(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds).strftime("%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "–"


def _plain(text: str) -> str:
    """The text on one line, without characters that would steer the terminal."""
    return printable(" ".join(text.splitlines()))
