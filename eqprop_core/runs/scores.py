"""The accuracies that a training comes to, each by one name everywhere: listings, filters, tables, JSON.

Where images are held out for validation the best epoch is chosen by them (`best val`), and the test accuracy
of that epoch (`test at best`) was not chosen by the test images. Where none are, the best epoch is the best
on the test images (`best test`), which flatters. `test last` is of the last epoch, either way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqprop_core.files import read_text
from eqprop_core.runs.names import CONFIG

if TYPE_CHECKING:  # what a list of runs needs none of
    from eqprop_core.events import EpochFinished, RunFinished

# Keys of JSON and filters, and what is read of them.
NAMES = {
    "best_val": "best val",
    "best_test": "best test",
    "test_at_best": "test at best",
    "test_last": "test last",
}
LARGEST = 250_000  # bytes of a config.toml
_HELD_OUT = re.compile(r"^val_split\s*=\s*0*\.?0*[1-9]", re.MULTILINE)


@dataclass(frozen=True)
class Scores:
    """Accuracies in per cent; None for what there is not."""

    best_val: float | None = None
    best_test: float | None = None
    test_at_best: float | None = None
    test_last: float | None = None

    def named(self) -> dict[str, float]:
        """What there is, by its name; `test at best` only where it is not the best itself."""
        values = {name: getattr(self, key) for key, name in NAMES.items()}
        if self.best_test is not None:
            del values["test at best"]
        return {name: value for name, value in values.items() if value is not None}

    def in_words(self) -> str:
        """`best val 97.10 %, test at best 96.90 %, test last 96.50 %`; empty where there is nothing."""
        return ", ".join(f"{name} {value:.2f} %" for name, value in self.named().items())


def scores_of(held_out: bool, best: float | None, at_best: float | None, last: float | None) -> Scores:
    """Name the accuracy that the best epoch was chosen by, its test accuracy, and that of the last epoch."""
    if held_out:
        return Scores(best_val=best, test_at_best=at_best, test_last=last)
    return Scores(best_test=best, test_at_best=best, test_last=last)


def scores_of_epochs(epochs: Sequence[EpochFinished]) -> Scores:
    """Those of the finished epochs of a run, in order."""
    best = best_of(epochs)
    if best is None:
        return Scores(test_last=epochs[-1].test_accuracy if epochs else None)
    judged = best.validation_accuracy if best.validation_accuracy is not None else best.test_accuracy
    held_out = best.validation_accuracy is not None
    return scores_of(held_out, judged, best.test_accuracy, epochs[-1].test_accuracy)


def scores_of_histories(histories: Mapping[str, Sequence[float | None]]) -> Scores:
    """Those of a training, from its `validation` and `test` accuracies, one value an epoch."""
    validation, test = histories["validation"], histories["test"]
    held_out = any(value is not None for value in validation)
    judged = [-1.0 if value is None else value for value in (validation if held_out else test)]
    if not test or len(judged) != len(test):
        return Scores()
    at = judged.index(max(judged))  # the first: those later were not better
    return scores_of(held_out, judged[at], test[at], test[-1])


def scores_of_finished(event: RunFinished) -> Scores:
    """Those that a training ended with."""
    held_out = event.best_validation is not None
    return scores_of(held_out, event.best_accuracy, event.test_at_best, event.last_accuracy)


def scores_of_state(state: Mapping[str, Any], run: Path) -> Scores:
    """Those that `state.json` holds, of numbers; what one of before lacks is looked for in `config.toml`."""
    best, last = state.get("best"), state.get("last")
    if "best_val" in state:
        return scores_of(state["best_val"] is not None, best, state.get("test_at_best"), last)
    held_out = False
    if best is not None:
        with suppress(OSError, ValueError):
            held_out = _HELD_OUT.search(read_text(run / CONFIG, LARGEST)) is not None
    return scores_of(held_out, best, None, last)


def best_of(epochs: Sequence[EpochFinished]) -> EpochFinished | None:
    """The epoch whose weights are kept as the best: the last one that was better than all before."""
    return next((epoch for epoch in reversed(epochs) if epoch.best), None)
