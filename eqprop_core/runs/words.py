"""Events in words: the lines of `console.log` and of a command that has no terminal to draw on."""

from __future__ import annotations

from eqprop_core.events import (
    KINDS,
    Activity,
    Amended,
    Angles,
    BatchFinished,
    ControlApplied,
    EpochFinished,
    Evaluated,
    Event,
    Gdu,
    PhaseProgress,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
    Settling,
    Warned,
)
from eqprop_core.problems import printable

# Events that are too frequent for a line each; of all that is old, only the others are worth decoding.
FREQUENT = (BatchFinished.kind, PhaseProgress.kind, Activity.kind, Settling.kind)
SPOKEN = tuple(kind for kind in KINDS if kind not in FREQUENT)
MOST_ANGLES = 50  # in a line
LONGEST = 10_000  # characters of a line
NOT_SAVED = "not everything was saved: "  # how the warning begins that makes a command fail


def in_words(event: Event) -> str:
    """A printable line for an event; empty for those that are too frequent or too long for one."""
    said = _in_words(event)
    return printable(said if len(said) <= LONGEST else said[: LONGEST - 1] + "…")


def _in_words(event: Event) -> str:
    match event:
        case RunStarted():
            return (
                f"{event.todo} on {event.device}: {event.parameters:,} parameters, "
                f"{event.train_images:,} training and {event.test_images:,} test images"
            )
        case RunResumed():
            return f"resumed at epoch {event.epoch}"
        case EpochFinished():
            held_out = (
                f"  validation {event.validation_accuracy:.2f} %"
                if event.validation_accuracy is not None
                else ""
            )
            loss = "n/a" if event.loss is None else f"{event.loss:.4f}"
            took = "told later, from the checkpoint" if event.written_later else f"{event.seconds:.1f} s"
            return (
                f"epoch {event.epoch}  train {event.train_accuracy:.2f} %{held_out}  "
                f"test {event.test_accuracy:.2f} %  loss {loss}  {took}"
            )
        case Evaluated():
            loss = "n/a" if event.loss is None else f"{event.loss:.4f}"
            return f"{event.part:<10} {event.accuracy:6.2f} %  loss {loss}  {event.images:,} images"
        case Gdu() if event.epoch:
            worst = max(
                (
                    row.rmse
                    for row in event.rows
                    if row.rmse and "." in row.name and not (row.readout or row.too_small)
                ),
                default=0,
            )
            # What to change is said where a check was asked for: a preset that learns well is not wrong.
            said = "; ".join(filter(None, (event.verdict.partition(": ")[0], event.chosen)))
            where = f"epoch {event.epoch}, batch {event.batch}"
            found = f"RMSE of parameters up to {worst:.3f}" + (f"; {said}" if said else "")
            return f"GDU check at {where}: {found if worst or not said else said}"
        case Angles():
            angles = [f"{name} {angle:.1f}°" for name, angle in event.angles.items() if angle is not None]
            more = f" and {len(angles) - MOST_ANGLES:,} more" if len(angles) > MOST_ANGLES else ""
            return f"angles between forward and backward weights: {', '.join(angles[:MOST_ANGLES])}{more}"
        case Amended() if event.epoch is not None:
            changes = ", ".join(f"{name} {value}" for name, value in event.settings.items())
            return f"set {changes} at epoch {event.epoch}, batch {event.batch}"
        case ControlApplied(request="set"):
            return ""  # what was set is told by its own event
        case ControlApplied():
            return f"{event.request} at epoch {event.epoch}, batch {event.batch}"
        case Warned():
            return f"warning: {event.message}"
        case RunFailed():
            return f"failed: {event.message}"
        case RunFinished():
            trained = "" if event.trained is None else f"trained {event.trained:.1f} s, "
            return f"finished: {trained}took {event.seconds:.1f} s"
    return ""


def data_in_words(recorded: object) -> str:
    """What a run was trained on, of `data` in its `meta.json`; empty where nothing is recorded.

    Where it lay is left out, so that the words are the same for the same data elsewhere.
    """
    if not isinstance(recorded, dict):
        return ""
    images, classes, digest = (recorded.get(name) for name in ("images", "classes", "digest"))
    if not isinstance(images, dict) or not isinstance(classes, list) or not isinstance(digest, str):
        return ""
    counts = [f"{count:,} {part}" for part, count in images.items() if isinstance(count, int)]
    return printable(f"{', '.join(counts)} images of {len(classes)} classes, digest {digest}"[:200])
