"""What goes wrong while a network trains, in words: each kind once a run, and training goes on.

Functions of what was trained alone, never of the clock: a run that is resumed says the same at the same
places. The thresholds lie well away from what networks do that train well, those with hard activations and
with max pooling, whose states never quite come to rest, among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from eqprop_core.config import RunConfig
from eqprop_core.events import Warned
from eqprop_core.learning.finite import smaller_rates
from eqprop_core.learning.observations import Observed
from eqprop_core.learning.probe import Probe

STEPS_TO_JUDGE = 4  # times (layers + 2): by a quarter of the phase, the input has reached every layer
SHRINKS = 0.9  # of the change in the second quarter of the phase, or less, is left in the last quarter
NOTICEABLE = 0.01  # of a layer's range: root mean square change a time step, for half of the images
AT_REST = 0.7  # of the neurons of a layer at one bound whatever the image
EPOCHS_TO_LEARN = 5


class Troubles:
    """Keeps what is needed to tell; `state` is numbers and text, `restore` goes on from it.

    `chance` is the training accuracy in per cent of always answering the largest class.
    """

    def __init__(self, config: RunConfig, chance: float) -> None:
        self.config = config
        self.chance = chance
        self._told: list[str] = []
        self._untold: list[str] = []
        self._first: dict[str, Any] = {}  # what the first observation of the run showed

    def untold(self) -> Iterator[Warned]:
        """What has not been said yet, once."""
        while self._untold:
            yield Warned(message=self._untold.pop(0))

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {"told": list(self._told), "untold": list(self._untold), "first": dict(self._first)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; from nothing where a checkpoint is older than this.

        Raises `ValueError` for what `state` cannot have returned.
        """
        told, untold, first = state.get("told", []), state.get("untold", []), state.get("first", {})
        resting = first.get("resting") if first else []
        if not (
            isinstance(resting, list)
            and all(isinstance(value, float | None) for value in resting)
            and all(isinstance(text, str) for texts in (told, untold) for text in texts)
        ):
            raise ValueError("troubles must be text and numbers")
        self._told, self._untold, self._first = list(told), list(untold), dict(first)

    def observe(self, seen: Observed, *, epoch: int, batch: int) -> None:
        """Judge a batch: whether the free phase settles, and whether neurons still answer to the images."""
        where = f"epoch {epoch}, batch {batch}"
        restless = _restless(seen)
        resting = seen.resting()
        if not self._first:
            self._first = {"restless": bool(restless), "resting": resting}
        if restless:
            self._say("settling", self._about_settling(restless, where))
        hidden = len(resting) - (0 if seen.net.config.softmax else 1)
        for n, (now, then) in enumerate(zip(resting[:hidden], self._first["resting"], strict=False)):
            if now is not None and now >= AT_REST and not (then is not None and then >= AT_REST):
                self._say("resting", self._about_resting(n, now, then, where))
                break

    def judge_gradient(self, probe: Probe) -> None:
        """Judge the gradient that the next batches are trained by. Raises what the probe's watch raises."""
        for kind, message in probe.troubles():
            self._say(kind, message)

    def judge_epochs(self, accuracies: Sequence[float | None]) -> None:
        """Judge the running accuracies of all epochs so far, in per cent: whether the network learns."""
        known = [value for value in accuracies if value is not None]
        chance = self.chance
        low = min(1.3 * chance, chance + 10, chance + 0.3 * (100 - chance))
        high = min(2.5 * chance, (100 + chance) / 2)
        if not known or known[-1] > low or chance == 100:  # of one class every answer is right
            return
        now = f"the training accuracy is {known[-1]:.1f} % in epoch {len(known)}, about chance level"
        share = f"the largest class has {chance:.1f} % of the images"
        if max(known) >= high:
            self._say(
                "fallen",
                f"{now} ({share}); it has been {max(known):.1f} %. Smaller learning rates from before "
                f"the fall on (--lrs, --lr-decay) usually keep it; with EP, longer free phases (--T1) may "
                f"help too",
            )
        elif len(known) >= EPOCHS_TO_LEARN and max(known) <= low:
            hint = "Other learning rates (--lrs) or start weights (--scale) may help"
            if self.config.alg != "BPTT":
                hint += "; a GDU check tells how far the updates are from BPTT's gradients"
                if self.config.chosen_estimator != "symmetric":
                    hint += ", and --thirdphase makes them agree better"
            self._say("chance", f"{now} since the start ({share}). {hint}")

    def _about_settling(self, restless: dict[int, tuple[float, float]], where: str) -> str:
        found = ", ".join(
            f"layer {n + 1} ({early:.2g} a time step, then {late:.2g})"
            for n, (early, late) in restless.items()
        )
        cause = f"the weights have become too large: {smaller_rates(list(restless), self.config)}"
        if self._first["restless"]:
            cause = "it has not from the start: smaller start weights (--scale) usually help"
        return (
            f"the free phase does not settle ({where}): the states of half of the images change at its "
            f"end as much as before, in {found}; {cause}"
        )

    def _about_resting(self, n: int, now: float, then: float | None, where: str) -> str:
        before = f", {100 * then:.0f} % at the start" if then is not None else ""
        return (
            f"{100 * now:.0f} % of the neurons of layer {n + 1} stay at one bound whatever the image "
            f"({where}{before}) and learn next to nothing there: {smaller_rates([n], self.config)}"
        )

    def _say(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.append(kind)
            self._untold.append(message)


def _restless(seen: Observed) -> dict[int, tuple[float, float]]:
    """Layers (from 0) that do not settle: mean change a step in the phase's second and last quarter."""
    found = {}
    layers = seen.free_changes()
    for n, (changes, bounds) in enumerate(zip(layers, seen.net.bounds, strict=False)):
        if len(changes) < STEPS_TO_JUDGE * (len(layers) + 2):
            continue
        quarter = len(changes) // 4
        early = sum(changes[quarter : 2 * quarter]) / quarter
        late = sum(changes[-quarter:]) / quarter
        size = bounds[1] - bounds[0] if bounds else 1.0
        if late > NOTICEABLE * size and late > SHRINKS * early:
            found[n] = (early, late)
    return found
