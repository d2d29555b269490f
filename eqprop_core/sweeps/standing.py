"""How the runs of a sweep stand: read off their folders, as for any run, each time that it is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eqprop_core.runs.folder import RunFolder, text
from eqprop_core.runs.listing import ALIVE, RunSummary, is_run, summarize
from eqprop_core.sweeps.folder import Job, SweepFolder
from eqprop_core.sweeps.submitted import last_words

WAITING = "waiting"  # there is no run yet, or its process has not begun
PRUNED = "pruned"  # the tag, and here the state, of a run that a search has stopped as not worth going on
OVER = ("finished", PRUNED)
STATES = (WAITING, *ALIVE, "finished", PRUNED, "stopped", "failed", "lost", "unreachable")


@dataclass(frozen=True)
class Standing:
    """A run of a sweep: its state, its summary (None where it has not begun), and why it failed if it did."""

    job: Job
    state: str
    summary: RunSummary | None = None
    reason: str = ""

    @property
    def alive(self) -> bool:
        """Whether a process owns the run."""
        return self.state in ALIVE


def named(job: Job) -> str:
    """What a run of a sweep is called."""
    return f"{job.cell.name} seed={job.seed}"


def stands(sweep: SweepFolder, job: Job) -> Standing:
    """How a run stands."""
    summary = summarize(job.path) if is_run(job.path) else None
    if summary is None or summary.state == "unknown":
        reason = last_words(sweep, job)
        return Standing(job, "failed" if reason else WAITING, None, reason)
    pruned = summary.state == "stopped" and PRUNED in RunFolder(job.path).stored_tags()
    return Standing(job, PRUNED if pruned else summary.state, summary, _reason(job, summary))


def _reason(job: Job, summary: RunSummary) -> str:
    if summary.state == "failed":
        return text(RunFolder(job.path).read_state().get("message")) or ""
    return summary.reason or ""


def all_stand(sweep: SweepFolder, jobs: Iterable[Job] | None = None) -> list[Standing]:
    """How all runs of a sweep stand, in the order of its jobs."""
    return [stands(sweep, job) for job in (sweep.jobs() if jobs is None else jobs)]


def counted(standings: Sequence[Standing]) -> dict[str, int]:
    """How many runs stand how, in a fixed order of states, those that there are."""
    counts = Counter(standing.state for standing in standings)
    return {state: counts[state] for state in (*STATES, *sorted(set(counts) - set(STATES))) if counts[state]}


def to_do(standing: Standing, *, retry_failed: bool, has_no_job: bool = False) -> bool:
    """Whether a run is to be started by a launcher that begins or goes on.

    A run of another host that says nothing may go on unseen; where the scheduler `has_no_job` for it, it is
    over.
    """
    if standing.state == "failed":
        return retry_failed or standing.summary is None
    return standing.state in (WAITING, "stopped", "lost", *(["unreachable"] if has_no_job else []))
