"""Starts the process that owns a run, in a session of its own, so that it outlives the terminal."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eqprop_core import catalogue
from eqprop_core.config import RunConfig
from eqprop_core.devices import occupants
from eqprop_core.files import open_to_append
from eqprop_core.locks import HeldError
from eqprop_core.reasons import reason
from eqprop_core.runs.control import take
from eqprop_core.runs.folder import DATA, RunError, RunFolder
from eqprop_core.runs.listing import AT_REST, summarize
from eqprop_core.runs.logout import outliving, user
from eqprop_core.runs.names import CONSOLE
from eqprop_core.runs.places import MOST_PROCESSES, Place, choose_places, environment_of, in_words
from eqprop_core.runs.processes import uninterrupted
from eqprop_core.runs.queue import Ticket, before_all, in_line, line_of, take_tickets

SECONDS_TO_GIVE_BACK = 5.0
_SPAWNING = threading.Lock()
STARTED_WITH = "started_with"  # in meta.json: the processes that were asked for
STARTING = ("starting", "queued")
# Of a run that goes on, until it says so itself.
SUMMARY = ("epoch", "best", "last", "best_val", "test_at_best", "seconds_an_epoch", "trained", "took")


@dataclass(frozen=True)
class Start:
    """How a run is to be started.

    `more_epochs` are added to those that a run has done; `changes` are settings that a resumed run goes on
    with. `now` does not wait for its device; `on_finish` is a shell command for when the run has ended.
    `nproc` and `devices` (`0,1`) are processes that train it together, on the CPU or on a GPU each: by
    default those of its last start, one for a new run. `apart` outlives the log-out.
    """

    more_epochs: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    now: bool = False
    on_finish: str | None = None
    nproc: int | None = None
    devices: str | None = None
    apart: bool = True


@dataclass(frozen=True)
class Launched:
    """What was started: the first of its devices, runs that come before, what to know, its process."""

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
    wanted = as_before(run, wanted)
    if place is None:
        places, warnings = find_places(config, wanted)
    else:
        places, warnings = (place,), _others_on(place)
    _wait_until_given_back(run)
    lock, pid = run.lock(), None
    tickets: list[Ticket] = []
    before = run.read_state()
    try:
        take(run.path)  # asked of a process that is gone; from here on, what is asked is asked of the new one
        run.identify()
        try:
            tickets = take_tickets([line_of(place.line) for place in places], run.path.resolve())
        except OSError as error:
            named = " and ".join(dict.fromkeys(place.key for place in places))
            if isinstance(error, HeldError) and not wanted.now:
                raise RunError(
                    f"cannot wait for {named}: its line is held by {error.holder}; "
                    f"--now starts without waiting"
                ) from None
            warnings.append(f"runs cannot wait for {named} here ({reason(error)}); this one starts at once")
        ahead = tuple(before_all(tickets))
        words, said = _words(run, places, wanted, lock.fileno(), tickets), list[str]()
        if wanted.apart:
            words, said = outliving(words)
        if wanted.nproc is not None or wanted.devices is not None:
            run.describe({STARTED_WITH: {"nproc": wanted.nproc, "devices": wanted.devices}})
        with uninterrupted():  # a state that says it starts, and a process that does
            run.write_state(
                {
                    **run.identity(),
                    **{name: before[name] for name in SUMMARY if name in before},
                    "before": before.get("before" if before.get("state") in STARTING else "state"),
                    "state": "starting",
                    "device": in_words(places),
                    "processes": len(places),
                    "heartbeat": time.time(),
                }
            )
            held = [ticket.descriptor for ticket in tickets]
            lock.sign(handed_over=True)
            pid = spawn(words, run.path / CONSOLE, environment_of(places), [lock.fileno(), *held])
    except OSError as error:
        for ticket in tickets:
            ticket.path.unlink(missing_ok=True)
        with suppress(OSError):
            run.write_state({**before, "state": before.get("state", "failed")})
        raise RunError(f"{run.path}: its process cannot be started: {reason(error)}") from None
    finally:  # the worker has its own copies
        if pid is None:
            lock.close()
        lock.leave()
        for ticket in tickets:
            os.close(ticket.descriptor)
    said += files_unlike(run, config)
    return Launched(places[0], () if wanted.now else ahead, (*warnings, *said), pid)


def files_unlike(run: RunFolder, config: RunConfig) -> list[str]:
    """What can be told before its process has read them of data that are not what a run was trained on."""
    recorded = run.meta().get(DATA)
    had = recorded.get("files") if isinstance(recorded, dict) else None
    if not isinstance(had, dict):
        return []
    data = catalogue.status(config.task, config.data_root)
    numbers = {"training": (had.get("train"), data.train_size), "test": (had.get("test"), data.test_size)}
    return [
        f"{config.data_root} has {now:,} {kind} images; there were {before:,} when it was last trained"
        for kind, (before, now) in numbers.items()
        if isinstance(before, int) and now is not None and before != now
    ]


def as_before(run: RunFolder, wanted: Start) -> Start:
    """The same with the processes that the run was started with last, unless others are wished for."""
    if wanted.nproc is not None or wanted.devices is not None:
        return wanted
    before = run.meta().get(STARTED_WITH)
    nproc, devices = (
        (before.get("nproc"), before.get("devices")) if isinstance(before, dict) else (None, None)
    )
    return replace(
        wanted,
        nproc=nproc if type(nproc) is int and 1 <= nproc <= MOST_PROCESSES else None,
        devices=devices if isinstance(devices, str) else None,
    )


def _wait_until_given_back(run: RunFolder) -> None:
    """Wait for a process that has said how the run ended, and is about to give back the run's lock."""
    deadline = time.monotonic() + SECONDS_TO_GIVE_BACK
    while summarize(run.path).state in AT_REST and run.is_owned() and time.monotonic() < deadline:
        time.sleep(0.05)


def find_places(config: RunConfig, wanted: Start) -> tuple[tuple[Place, ...], list[str]]:
    """The device of each process of a run, and what to know of them. Raises `ConfigError`."""
    places, warning = choose_places(config.device, wanted.nproc, wanted.devices, config.mbs, _runs_in_line)
    return places, [
        *([warning] if warning else []),
        *(said for place in dict.fromkeys(places) for said in _others_on(place)),
    ]


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


def _words(
    run: RunFolder, places: Sequence[Place], wanted: Start, lock: int, tickets: Sequence[Ticket]
) -> list[str]:
    """The command line of the worker."""
    words = [sys.executable, "-P", "-m", "eqprop_core.worker", str(run.path.resolve()), "--lock", str(lock)]
    if len(places) == 1:
        words += ["--device", places[0].key]
        if places[0].uuid:
            words += ["--uuid", places[0].uuid]
    else:
        names = "cpu" if places[0].key == "cpu" else ",".join(place.key for place in places)
        words += ["--nproc", str(len(places)), "--devices", names]
    for ticket in tickets:
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
    printed = open_to_append(console)
    try:
        with _inherited(kept):
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


@contextmanager
def _inherited(descriptors: Sequence[int]) -> Iterator[None]:
    """Let the one process that is started meanwhile inherit these, and none that another thread starts."""
    with _SPAWNING:
        try:
            for descriptor in descriptors:
                os.set_inheritable(descriptor, True)
            yield
        finally:
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
