"""Whether the gradient that a training is about to take is the one that its settings mean.

On a few images, the gradient as the training computes it is held against the same estimator in float64 and
without accelerations; the nudged phase is looked at, too. What is found is put in words, with what to change.
The true gradient of the loss is not asked for: that EP's is another at a finite β, or before the network has
settled, is what the GDU check is for.

An acceleration may lead to another fixed point where a network has several, as those with max pooling do. So
it is judged where it lands: the exact dynamics go on from the free state that it reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqprop_core.config import Estimator, RunConfig
from eqprop_core.data.randomness import generator
from eqprop_core.learning.equilibrium import Gradients, Phases, WatchPhase, gradients_of, relax
from eqprop_core.networks.network import Masks, Network, State, Watch
from eqprop_core.networks.numerics import Numerics

PROBED_IMAGES = 8  # those of the largest loss, whose gradients are most of a batch's
CANDIDATES = 16  # images of a batch that they are chosen from
COSINE = 0.99  # at least, in every parameter
NORM = 0.1  # at most, that the norm is off by
NEGLIGIBLE = 1e-6  # of the weights: a gradient that changes nothing, of images that are learned
SWINGS = 0.9  # of a change, or more, comes back turned round in the next time step
MOST_PARAMETERS = 100_000_000  # a copy in float64 would take too much room


@dataclass(frozen=True)
class Agreement:
    """Of the parameter whose gradient agrees least with another: its name, the cosine, the ratio of norms."""

    name: str = ""
    cosine: float = 1.0
    ratio: float = 1.0

    @property
    def apart(self) -> float:
        """How far apart the two are: more than 1 where they cannot pass for the same."""
        return max((1 - self.cosine) / (1 - COSINE), abs(self.ratio - 1) / NORM)

    @property
    def good(self) -> bool:
        """Whether the two may pass for the same."""
        return self.apart <= 1

    def with_that(self, other: str) -> str:
        """The two figures in words; `other` says what the gradient is compared with."""
        return (
            f"the gradient of {self.name} has a cosine of {self.cosine:.2f} with that {other}, and "
            f"{self.ratio:.2g} times its norm"
        )


def agreement(net: Network, found: Gradients, exact: Gradients) -> Agreement:
    """The worst of all parameters but those whose exact gradient is negligible, or not finite."""
    worst = Agreement()
    for name, parameter in net.named_parameters():
        a, b = (gradients[name].detach().cpu().double().flatten() for gradients in (found, exact))
        size, norm = float(a.norm()), float(b.norm())
        if not (NEGLIGIBLE * float(parameter.detach().norm()) < norm < float("inf")):
            continue
        cosine = float(a @ b) / (size * norm) if size > 0 else 0.0
        worst = max(worst, Agreement(name, cosine, size / norm), key=lambda one: one.apart)
    return worst


class Probe:
    """A network and a few images of a batch, x [batch, ...] and y [batch], on which its gradient is judged.

    `watch` watches all time steps, and may end it by raising. Nothing of the network changes.
    """

    def __init__(
        self, net: Network, config: RunConfig, x: Tensor, y: Tensor, watch: WatchPhase | None = None
    ) -> None:
        assert config.seed is not None
        self.net = net
        self.config = config
        self.seed = config.seed
        self.watch = watch
        # Continual EP takes all its nudged steps exactly. Compiling for so few images would take long.
        numerics = net.numerics.exactly() if config.alg == "CEP" else net.numerics
        self.numerics = replace(numerics, compiled=False)
        # The sign that is drawn, and which of the two is nudged first, change nothing here.
        chosen = config.chosen_estimator
        self.symmetric = chosen == "symmetric"
        self.paired = chosen == "paired" or (self.numerics.tol is not None and not self.symmetric)
        with net.using(self.numerics):
            self.x, self.y = self._hardest(x[:CANDIDATES], y[:CANDIDATES])

    def troubles(self) -> Iterator[tuple[str, str]]:
        """Kind and sentence of each thing that is wrong."""
        if self.paired and self.config.chosen_estimator != "paired":
            yield "paired", self._about_pairing()
        if len(self.net.layer_shapes) > self.config.T2:
            yield "reach", self._about_reach()
        found = self._settled(self.net, self.numerics, paired=self.paired)
        lands_elsewhere = self.numerics.updates != "sync" or self.numerics.precision != "fp32"
        if lands_elsewhere and any(shape.pool == "m" for shape in self.net.config.connections()):
            yield "elsewhere", self._about_pooling()
        start = found.free if lands_elsewhere else None
        exactly = replace(self.numerics.exactly(), joined=False)
        exact = deepcopy(self.net).to("cpu" if self.x.device.type == "mps" else self.x.device).double()
        swings = Swings(exact, self.y.to(next(exact.parameters()).device), self.config.betas[1])
        reference = self._settled(exact, exactly, paired=True, start=start, also=swings)
        one_sided = not (self.paired or self.symmetric)
        wanted = self._gradients(exact, unpaired(reference) if one_sided else reference)
        agreed = agreement(self.net, self._gradients(self.net, found), wanted)
        if not agreed.good:
            plainly = self._settled(self.net, exactly, paired=self.paired, start=start)
            rounded = agreement(self.net, self._gradients(self.net, plainly), wanted)
            if rounded.good:
                yield "acceleration", self._about_acceleration(agreed)
            else:
                yield "rounding", self._about_rounding(rounded)
        if one_sided:
            unsettled = agreement(exact, wanted, self._gradients(exact, reference))
            if not unsettled.good:
                yield "unsettled", self._about_unsettled(unsettled)
                plainly = self._settled(self.net, exactly, paired=True)
                agreed = agreement(
                    self.net, self._gradients(self.net, plainly), self._gradients(exact, reference)
                )
                if not agreed.good:  # what is left unsettled has hidden it
                    yield "rounding", self._about_rounding(agreed)
        if swings.found:
            yield "swings", self._about_swings(swings.found)

    def _about_pairing(self) -> str:
        return (
            f"with {self.numerics.words()} one-sided estimates are taken against the free state run on "
            f"beside the nudged phase, so that what is left unsettled cancels (as by --estimator paired)"
        )

    def _about_reach(self) -> str:
        return (
            f"nudging moves one layer more in each time step: with T2 {self.config.T2} it does not reach the "
            f"first of {len(self.net.layer_shapes)} layers, which learns nothing; a longer phase (--T2) helps"
        )

    def _about_pooling(self) -> str:
        return (
            f"a network with max pooling has several fixed points: with {self.numerics.words()} images may "
            f"settle in others than they would exactly, and their gradients are those of where they settle"
        )

    def _about_acceleration(self, agreed: Agreement) -> str:
        return (
            f"{self.numerics.words()} makes another gradient than settling exactly: "
            f"{agreed.with_that('of the exact way')}; a smaller tolerance (--tol) helps, or leaving it out"
        )

    def _about_rounding(self, agreed: Agreement) -> str:
        return (
            f"β = {self.config.betas[1]:g} moves states by so little that float32 rounds it away: "
            f"{agreed.with_that('in float64')}; a larger β (--betas) helps"
        )

    def _about_unsettled(self, agreed: Agreement) -> str:
        return (
            f"the free phase has not settled after T1 {self.config.T1} time steps, and the one-sided "
            f"estimate divides what is left by β = {self.config.betas[1]:g}: "
            f"{agreed.with_that('of a settled one')}; --estimator paired, --thirdphase or a longer free "
            f"phase (--T1) helps"
        )

    def _about_swings(self, change: float) -> str:
        return (
            f"the nudged phase does not settle: the last layer still swings by {change:.2g} in its last time "
            f"step; β = {self.config.betas[1]:g} is too large, a smaller one (--betas) helps"
        )

    def _hardest(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the images with the largest loss, [images, ...] and [images]."""
        if len(x) <= PROBED_IMAGES:
            return x, y
        watch = self.watch("probe", self.config.T1) if self.watch is not None else None
        s = self.net.settle(x, self.net.initial_state(len(x)), steps=self.config.T1, watch=watch)
        losses = self.net.loss(s, y).detach().nan_to_num()
        hardest = losses.topk(PROBED_IMAGES).indices.sort().values
        return x[hardest], y[hardest]

    def _settled(
        self,
        net: Network,
        numerics: Numerics,
        *,
        paired: bool,
        start: State | None = None,
        also: Swings | None = None,
    ) -> Phases:
        weight = next(net.parameters())
        estimator: Estimator = "symmetric" if self.symmetric else "paired" if paired else "one-sided"

        def watch(phase: str, steps: int) -> Watch:
            outer = self.watch(phase, steps) if self.watch is not None else None

            def watched(step: int, before: State, after: State) -> None:
                if outer is not None:
                    outer(step, before, after)
                if also is not None and phase.startswith("nudged"):
                    also.see(step, steps, before, after)

            return watched

        with net.using(numerics):
            return relax(
                net,
                self.x.to(weight),
                self.y.to(weight.device),
                steps=(self.config.T1, self.config.T2),
                beta=self.config.betas[1],
                beta_free=self.config.betas[0],
                estimator=estimator,
                masks=self._masks(net),
                start=None if start is None else [layer.to(weight) for layer in start],
                watch=watch,
            )

    def _gradients(self, net: Network, phases: Phases) -> Gradients:
        weight = next(net.parameters())
        return gradients_of(
            net,
            self.x.to(weight),
            self.y.to(weight.device),
            phases,
            same_update=self.config.same_update,
            masks=self._masks(net),
        )

    def _masks(self, net: Network) -> Masks | None:
        return net.draw_masks(len(self.x), generator(self.seed, "dropout", 0, 0))


def unpaired(phases: Phases) -> Phases:
    """The one-sided estimate of a paired one: against the free state itself."""
    return replace(phases, first=phases.free, reference=phases.free)


class Swings:
    """Watches nudged phases: `found` is what the last layer changes in the last step, where β makes it swing.

    It does where the last change is as large as the one before, the other way round, and what nudging adds to
    the drive of the last layer turns a change round undiminished by itself.
    """

    def __init__(self, net: Network, y: Tensor, beta: float) -> None:
        self.found = 0.0
        self._net = net
        self._target = net.target(y)
        self._beta = abs(beta)
        self._begun = self._change = torch.tensor(0.0)

    def see(self, step: int, steps: int, before: State, after: State) -> None:
        """Look at a time step, of `steps`."""
        if step == 1:
            self._begun = before[-1]
        change = after[-1] - before[-1]
        if 2 < step == steps and float(change.norm()) > NORM * float((after[-1] - self._begun).norm()):
            back = -float((change * self._change).sum() / self._change.square().sum())
            if back > SWINGS and self._turned(before[-1], after[-1]) > SWINGS:
                self.found = max(self.found, float(change.abs().max()))
        self._change = change

    def _turned(self, before: Tensor, after: Tensor) -> float:
        """What share of a change of the last layer nudging gives back, through the steepest of σ."""
        change = after - before
        old, new = (self._net.readout.force(last, self._target) for last in (before, after))
        share = -self._beta * float(((new - old) * change).sum() / change.square().sum())
        values = torch.linspace(-4, 4, 1601, dtype=change.dtype, device=change.device)
        slopes = self._net.output_activation(values).diff() / values.diff()
        return share * float(slopes.max())
