"""Ending the process of a run by a signal, where a request is not heard."""

from __future__ import annotations

import psutil

from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import ALIVE, summarize
from eqprop_core.runs.processes import marked

SECONDS_TO_END = 30.0  # after a signal


def end(run: RunFolder, *, kill: bool, named: str = "") -> str:
    """End the process of a run; returns how the run stands then. Waits until it has ended.

    Terminated, it stops after its batch with a checkpoint; killed, what came after the last one is lost.
    Raises `RunError`, beginning with what the run was `named`, where that cannot be done from here.
    """
    named = named or str(run.path)
    state = run.read_state()
    standing = summarize(run.path).state
    if standing not in ALIVE or standing == "starting":
        raise RunError(f"{named}: is {standing}; there is no process to end")
    process = marked(state)
    if process is None:
        raise RunError(f"{named}: its process is on {state.get('host')}, and signals do not reach there")
    try:
        (process.kill if kill else process.terminate)()
        process.wait(SECONDS_TO_END)
    except psutil.TimeoutExpired:
        raise RunError(f"{named}: has not ended within {SECONDS_TO_END:.0f} s; try --kill") from None
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        raise RunError(f"{named}: process {process.pid} belongs to another user") from None
    return summarize(run.path).state
