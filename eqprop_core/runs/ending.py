"""Ending the process of a run by a signal, where a request is not heard."""

from __future__ import annotations

import socket

import psutil

from eqprop_core.marks import named as in_words
from eqprop_core.problems import printable
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import ALIVE, summarize
from eqprop_core.runs.processes import process_of, process_to_signal

SECONDS_TO_END = 30.0  # after a signal


def end(run: RunFolder, *, kill: bool, named: str = "") -> str:
    """End the process of a run; returns how the run stands then. Waits until it has ended.

    Terminated, it stops after its batch with a checkpoint; killed, what came after the last one is lost.
    Raises `RunError`, beginning with what the run was `named`, where that cannot be done from here.
    """
    named = named or str(run.path)
    end_process(_process_to_end(run, named), kill=kill, named=named)
    return summarize(run.path).state


def _process_to_end(run: RunFolder, named: str) -> psutil.Process:
    state, standing = run.read_state(), summarize(run.path).state
    if standing in ALIVE and (process := process_to_signal(run.path, state)) is not None:
        return process
    if standing in ALIVE and (process := process_of(run.path, state)) is not None:
        raise RunError(
            f"{named}: is owned by {printable(in_words(process))}, which you have not started for it"
        )
    if standing in ALIVE and state.get("host") not in (None, socket.gethostname()):
        raise RunError(f"{named}: its process is on {state['host']}, and signals do not reach there")
    raise RunError(f"{named}: is {standing}; there is no process to end")


def end_process(process: psutil.Process, *, kill: bool, named: str) -> None:
    """End a process of a run that was `named` so, and wait for its end. Raises `RunError` where it cannot."""
    try:
        (process.kill if kill else process.terminate)()
        process.wait(SECONDS_TO_END)
    except psutil.TimeoutExpired:
        raise RunError(f"{named}: has not ended within {SECONDS_TO_END:.0f} s; try --kill") from None
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        raise RunError(f"{named}: process {process.pid} belongs to another user") from None
