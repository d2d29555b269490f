"""What submitit starts for a run of a sweep: the run's ordinary worker, as a child of the scheduler's job.

The job only watches over it. When its time is nearly up, or it is to make room for another, submitit calls
`checkpoint` inside its handling of the scheduler's signal: the worker is asked to stop, saves and ends, and
the job that is queued again goes on from there, bit for bit. What a job is to do is among the words that it
is started with: submitit's pickles in the sweep's folder are not read.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from eqprop_core.problems import ConfigError, tell
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.launcher import Start, launch
from eqprop_core.runs.listing import is_run, summarize
from eqprop_core.runs.places import Place
from eqprop_core.sweeps.folder import Job, SweepFolder, sweep_of

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_OF_A_LEASE = 180.0  # that a server of files gives; twice the usual one
SECONDS_FOR_THE_END = 600.0  # between the scheduler's SIGTERM and what it announces
SCHEDULERS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)


class RunJob:
    """Trains the run at `path`, and makes its folder if need be; returns how the run stands in the end.

    `place` is its device where it has been chosen already; unless it is to begin `now`, the run waits for
    others on its device. `grace` is the number of seconds between the scheduler's signal and the end of the
    job: after half of them, the batch is dropped. `environment` has variables to put back (None: to remove)
    that submitit sets for its job.
    """

    def __init__(
        self,
        path: Path,
        *,
        place: Place | None = None,
        now: bool = True,
        grace: float = 90.0,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        self.path, self.place, self.now, self.grace = path, place, now, grace
        self.environment = dict(environment or {})
        self._worker: int | None = None  # number of the process, until it has been waited for
        self._told = False  # by SIGTERM, that the job is about to be ended

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_worker": None, "_told": False}

    def as_text(self) -> str:
        """The job as JSON, for `from_text`."""
        place = None if self.place is None else asdict(self.place)
        return json.dumps(
            {
                "path": str(self.path),
                "place": place,
                "now": self.now,
                "grace": self.grace,
                "environment": self.environment,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> RunJob:
        """The job that `as_text` was of."""
        told = json.loads(text)
        place = None if told["place"] is None else Place(**told["place"])
        return cls(Path(told.pop("path")), **{**told, "place": place})

    def __call__(self) -> str:
        """Train; raises `RunError` where the run has failed or its worker was killed."""
        for name, value in self.environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        try:
            run, config = begin(self.path)
            if summarize(run.path).state == "finished":
                return "finished"
            with self._hearing():
                in_slurm = "SLURM_JOB_ID" in os.environ  # whose limits hold, and which ends it
                _wait_for_another_host(run)
                with _undisturbed():
                    self._worker = launch(
                        run, config, Start(now=self.now, apart=not in_slurm), self.place
                    ).pid
                status = self._wait()
                if status in STOPPED and self._told:
                    self._wait_for_the_end()
        except (ConfigError, RunError) as error:
            tell(f"error: {error!s}")  # the last line of the job's log
            raise
        if status < 0:
            raise RunError(f"{self.path}: its process was ended by signal {-status}")
        if status not in (0, *STOPPED):
            message = run.read_state().get("message") or f"its process ended with exit status {status}"
            raise RunError(f"{self.path}: {message}")
        return summarize(run.path).state

    def checkpoint(self) -> DelayedSubmission | None:
        """Have the worker save and end; what to submit again, None where the run is complete."""
        from submitit.helpers import DelayedSubmission

        if self._worker is not None:
            with suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGTERM)
            if self._wait(self.grace / 2) is None and self._worker is not None:
                with suppress(ProcessLookupError):
                    os.kill(self._worker, signal.SIGTERM)  # the second one drops the batch
                self._wait()
        return None if summarize(self.path).state == "finished" else DelayedSubmission(self)

    def _wait(self, limit: float | None = None) -> Any:
        """The exit status of the worker, negative for a signal; None where it has not ended within `limit`.

        Without a limit, also while `checkpoint` is called, which then waits in place of this.
        """
        deadline = None if limit is None else time.monotonic() + limit
        while self._worker is not None:
            try:
                ended, status = os.waitpid(self._worker, 0 if deadline is None else os.WNOHANG)
            except ChildProcessError:  # waited for meanwhile
                break
            if ended:
                self._worker = None
                return os.waitstatus_to_exitcode(status)
            if deadline is not None and time.monotonic() > deadline:
                return None
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self._worker = None
        return 0

    @contextmanager
    def _hearing(self) -> Iterator[None]:
        """Note a SIGTERM, which the scheduler sends to all processes of a job that it is about to end."""
        before = signal.getsignal(signal.SIGTERM)

        def on_term(number: int, frame: FrameType | None) -> None:
            self._told = True
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGTERM, on_term)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _wait_for_the_end(self) -> None:
        """Be there when the scheduler ends the job: one that has ended by itself is not queued again."""
        deadline = time.monotonic() + SECONDS_FOR_THE_END
        while time.monotonic() < deadline:
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _wait_for_another_host(run: RunFolder) -> None:
    """A machine that died keeps its lock on a network file system for a while."""
    deadline = time.monotonic() + SECONDS_OF_A_LEASE
    while run.is_owned() and run.read_state().get("host") not in (None, socket.gethostname()):
        if time.monotonic() > deadline:
            return  # it is alive: what starts the run says so
        time.sleep(SECONDS_BETWEEN_LOOKS)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hear the scheduler's signals at the end of what is done here as a whole."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SCHEDULERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin(path: Path) -> tuple[RunFolder, Any]:
    """The run at a path inside a sweep, made if need be, and its configuration.

    Raises `RunError` or `ConfigError`.
    """
    home = sweep_of(path)
    if home is None:
        raise RunError(f"{path}: is in no sweep")
    sweep = SweepFolder.open(home)
    job = sweep.job_at(path)
    config = sweep.plan.config(job.cell, job.seed)
    if is_run(path):
        return RunFolder(path), config
    return RunFolder.create_at(path, config, command=sweep.command, labels=_labels(sweep, job)), config


def _labels(sweep: SweepFolder, job: Job) -> dict[str, Any]:
    """What `meta.json` says of a run in a sweep."""
    expected = None
    if job.cell.expected_error is not None:
        expected = {"test_error": job.cell.expected_error, "source": job.cell.source or ""}
    return {
        "name": f"{job.cell.name} seed={job.seed}".replace("/", "-").lstrip("-"),
        "tags": [sweep.name],
        "sweep": sweep.name,
        "cell": job.cell.name,
        "preset": job.cell.preset,
        "expected": expected,
    }
