"""Starts the process that owns a run, in a session of its own, so that it outlives the terminal."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eqprop_core.config import RunConfig
from eqprop_core.devices import occupants
from eqprop_core.files import open_to_append
from eqprop_core.runs.control import take
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import AT_REST, summarize
from eqprop_core.runs.logout import outliving, user
from eqprop_core.runs.names import CONSOLE
from eqprop_core.runs.places import Place, choose_place
from eqprop_core.runs.processes import uninterrupted
from eqprop_core.runs.queue import Ticket, in_line, line_of, take_ticket

SECONDS_TO_GIVE_BACK = 5.0
STARTING = ("starting", "queued")
SUMMARY = ("epoch", "best", "last", "seconds_an_epoch")  # of a run that goes on, until it says so itself


@dataclass(frozen=True)
class Start:
    """How a run is to be started.

    `more_epochs` are added to those that a run has done; `changes` are settings that a resumed run goes on
    with. `now` does not wait for its device; `on_finish` is a shell command for when the run has ended.
    """

    more_epochs: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    now: bool = False
    on_finish: str | None = None


@dataclass(frozen=True)
class Launched:
    """A process that was started: its device, runs that come before it there, what to know, its number."""

    place: Place
    ahead: tuple[Path, ...]
    warnings: tuple[str, ...]
    pid: int | None = None


def launch(run: RunFolder, config: RunConfig, wanted: Start, place: Place | None = None) -> Launched:
    """Start the worker of a run, on the device `place` where it has been chosen already.

    Raises `RunError` if that cannot be done, `ConfigError` for its device.

    The worker is given the run's lock and a ticket for its device, so that whatever happens to this process,
    neither is anybody else's. What it prints goes to the run's `console.log`; hang-up and Ctrl-C of this
    terminal do not reach it.
    """
    place, warnings = find_place(config) if place is None else (place, _others_on(place))
    _wait_until_given_back(run)
    lock = run.lock()
    ticket: Ticket | None = None
    before = run.read_state()
    try:
        take(run.path)  # asked of a process that is gone; from here on, what is asked is asked of the new one
        run.identify()
        try:
            ticket = take_ticket(line_of(place.line), run.path.resolve())
        except OSError as error:
            warnings.append(f"runs cannot wait for {place.key} here ({error}); this one starts at once")
        ahead = tuple(ticket.ahead()) if ticket is not None else ()
        words, said = outliving(_words(run, place, wanted, lock.fileno(), ticket))
        with uninterrupted():  # a state that says it starts, and a process that does
            run.write_state(
                {
                    **run.identity(),
                    **{name: before[name] for name in SUMMARY if name in before},
                    "before": before.get("before" if before.get("state") in STARTING else "state"),
                    "state": "starting",
                    "device": place.key,
                    "heartbeat": time.time(),
                }
            )
            kept = [lock.fileno(), *_held(ticket)]
            pid = spawn(words, run.path / CONSOLE, place.environment, kept)
    except OSError as error:
        if ticket is not None:
            ticket.path.unlink(missing_ok=True)
        with suppress(OSError):
            run.write_state({**before, "state": before.get("state", "failed")})
        raise RunError(f"{run.path}: its process cannot be started: {error.strerror or error}") from None
    finally:  # the worker has its own copies
        lock.close()
        for descriptor in _held(ticket):
            os.close(descriptor)
    return Launched(place, () if wanted.now else ahead, (*warnings, *said), pid)


def _wait_until_given_back(run: RunFolder) -> None:
    """Wait for a process that has said how the run ended, and is about to give back the run's lock."""
    deadline = time.monotonic() + SECONDS_TO_GIVE_BACK
    while summarize(run.path).state in AT_REST and run.is_owned() and time.monotonic() < deadline:
        time.sleep(0.05)


def find_place(config: RunConfig) -> tuple[Place, list[str]]:
    """The device for a run, and what to know of it. Raises `ConfigError`."""
    place, warning = choose_place(config.device, _runs_in_line)
    return place, [*([warning] if warning else []), *_others_on(place)]


def _runs_in_line(place: Place) -> int:
    try:
        return len(in_line(line_of(place.line)))
    except OSError:
        return 0


def _others_on(place: Place) -> list[str]:
    """A warning for each process of another user that computes on a GPU."""
    if place.uuid is None:
        return []
    own = user()
    return [
        f"{place.key} is in use by process {other.pid} of {other.owner or 'an unknown user'}"
        + (f", {other.memory / 2**30:.1f} GiB" if other.memory is not None else "")
        for other in occupants(place.uuid)
        if other.owner != own
    ]


def _held(ticket: Ticket | None) -> list[int]:
    return [] if ticket is None else [ticket.descriptor]


def _words(run: RunFolder, place: Place, wanted: Start, lock: int, ticket: Ticket | None) -> list[str]:
    """The command line of the worker."""
    words = [sys.executable, "-P", "-m", "eqprop_core.worker", str(run.path.resolve())]
    words += ["--device", place.key, "--lock", str(lock)]
    if place.uuid:
        words += ["--uuid", place.uuid]
    if ticket is not None:
        words += ["--ticket", str(ticket.path), "--ticket-lock", str(ticket.descriptor)]
    if wanted.now:
        words.append("--now")
    if wanted.more_epochs is not None:
        words += ["--more-epochs", str(wanted.more_epochs)]
    if wanted.changes:
        words += ["--changes", json.dumps(dict(wanted.changes))]
    if wanted.on_finish:
        words += ["--on-finish", wanted.on_finish]
    return words


def spawn(words: list[str], console: Path, environment: Mapping[str, str], kept: Sequence[int] = ()) -> int:
    """Start a process with nothing of this terminal, and with these variables beside those of this process.

    It prints to `console` and keeps the descriptors `kept`; returns its number. Raises `OSError`.
    """
    for descriptor in kept:
        os.set_inheritable(descriptor, True)
    printed = open_to_append(console)
    try:
        return os.posix_spawn(
            words[0],
            words,
            {**os.environ, **environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, printed, 1),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=(),  # whatever this process does not want to hear just now
        )
    finally:
        os.close(printed)
