"""Each acceleration's speed and its effect on the gradient, and the combination that --fast uses."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf

from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.data.randomness import generator
from eqprop_core.learning.bptt import bptt_phases
from eqprop_core.learning.equilibrium import Gradients, gradients_of, relax
from eqprop_core.networks.network import Masks, Network, State, Watch
from eqprop_core.networks.numerics import Numerics, Precision
from eqprop_core.speed.choosing import CLEARLY_FASTER, fastest_precision
from eqprop_core.speed.timing import Timing, alternated, seconds_of, timing_of

COSINE = 0.999  # of every parameter's gradient with the exact one, at least, with --fast
NORM = 0.03  # at most, that its norm is off by
TOLERANCES = (1e-5, 1e-4, 1e-3)
REPEAT = 5  # alternations, at least, to find out what is fast
AT_LEAST = 2.0  # seconds that they take
PATIENCE = 60.0  # seconds after which there are no more than two
MOST_RATIO = 1e6  # of a gradient to one that is zero


@dataclass(frozen=True)
class Likeness:
    """How close a gradient is to the exact one: their cosine, and how many times the norm it has."""

    cosine: float = 1.0
    ratio: float = 1.0

    @property
    def good(self) -> bool:
        """Whether it may take the exact one's place."""
        return self.cosine >= COSINE and abs(self.ratio - 1) <= NORM

    @property
    def apart(self) -> float:
        """How far apart the two are, 1 being the most that is good."""
        return max((1 - self.cosine) / (1 - COSINE), abs(self.ratio - 1) / NORM)

    def words(self) -> str:
        """Both figures."""
        return f"a cosine of {self.cosine:.4f} with the exact one, and {self.ratio:.3f} times its norm"


@dataclass(frozen=True)
class Acceleration:
    """What a way to settle does: seconds to settle and contrast a batch, and how close its gradient is.

    `speedup` is how many times as fast as the exact way it is, the median of the alternations; in three of
    four of them it was at least `surely`. `gradients`
    are likenesses to the exact gradient, by parameter; `steps` the mean time steps an image, by phase.
    """

    numerics: Numerics
    seconds: Timing
    speedup: float
    surely: float
    gradients: dict[str, Likeness]
    steps: dict[str, float]

    @property
    def good(self) -> bool:
        """Whether every parameter's gradient may take the exact one's place."""
        return all(likeness.good for likeness in self.gradients.values())

    @property
    def worst(self) -> float:
        """The smallest cosine."""
        return min((likeness.cosine for likeness in self.gradients.values()), default=1.0)

    @property
    def ratio(self) -> float:
        """Of the norms' ratios the one that is furthest from 1."""
        return max((each.ratio for each in self.gradients.values()), key=lambda r: abs(r - 1), default=1.0)


def candidates(numerics: Numerics, config: RunConfig, precision: Precision) -> Iterator[Numerics]:
    """Ways to settle that may be faster than exactly; `precision` is a lower one, where there is."""
    exact = numerics.exactly()
    ways = [exact] if config.alg == "CEP" else [exact, replace(exact, updates="async")]
    if precision != "fp32":
        ways += [replace(way, precision=precision) for way in ways]
        yield replace(exact, precision=precision)
    for way in ways:
        for tol in TOLERANCES:
            yield replace(way, tol=tol)


def measure(
    net: Network,
    config: RunConfig,
    x: Tensor,
    y: Tensor,
    ways: list[Numerics],
    *,
    repeat: int = 3,
    at_least: float = 0.0,
    patience: float = inf,
    only_good: bool = False,
) -> list[Acceleration]:
    """The exact way first, then each of these, on a batch x [batch, ...], y [batch]; alternating.

    What has a bad gradient is done once where `only_good` ones are to be timed.
    """
    every = [net.numerics.exactly(), *ways]
    found: dict[int, tuple[Gradients, dict[str, float]]] = {}

    def work(index: int, way: Numerics) -> Callable[[], None]:
        def run() -> None:
            with net.using(way):
                found[index] = settled_gradients(net, config, x, y)

        return run

    works = {str(i): work(i, way) for i, way in enumerate(every)}
    seconds = {name: [seconds_of(run, x.device)] for name, run in works.items()}
    likenesses = [
        {name: likeness(found[i][0][name], exact) for name, exact in found[0][0].items()}
        for i in range(len(every))
    ]
    good = {str(i) for i, each in enumerate(likenesses) if all(one.good for one in each.values())}
    again = {name: run for name, run in works.items() if name in good or not only_good}
    seconds |= alternated(again, x.device, repeat, warm=False, at_least=at_least, patience=patience)
    ratios = [
        [exact / mine for exact, mine in zip(seconds["0"], seconds[str(i)], strict=False)]
        for i in range(len(every))
    ]
    return [
        Acceleration(
            numerics=way,
            seconds=timing_of(seconds[str(i)]),
            speedup=statistics.median(ratios[i]),
            surely=sorted(ratios[i])[len(ratios[i]) // 4],
            gradients=likenesses[i],
            steps=found[i][1],
        )
        for i, way in enumerate(every)
    ]


def settled_gradients(
    net: Network, config: RunConfig, x: Tensor, y: Tensor
) -> tuple[Gradients, dict[str, float]]:
    """The gradient that a training takes on a batch, and the mean time steps an image of each phase."""
    assert config.seed is not None
    masks = net.draw_masks(len(x), generator(config.seed, "dropout", 0, 0))
    images: dict[str, list[int]] = {}

    def watch(phase: str, _: int) -> Watch:
        counts = images.setdefault(phase, [])

        def watched(step: int, before: State, after: State) -> None:
            counts.append(len(after[0]))

        return watched

    gradients = _gradients(net, config, x, y, masks, watch)
    return gradients, {phase: sum(counts) / counts[0] for phase, counts in images.items() if counts}


def _gradients(
    net: Network,
    config: RunConfig,
    x: Tensor,
    y: Tensor,
    masks: Masks | None,
    watch: Callable[[str, int], Watch],
) -> Gradients:
    assert config.seed is not None
    if config.alg == "BPTT":
        return bptt_phases(net, x, y, steps=(config.T1, config.T2), masks=masks, watch=watch)[1]
    phases = relax(
        net,
        x,
        y,
        steps=(config.T1, config.T2),
        beta=config.betas[1],
        beta_free=config.betas[0],
        estimator=config.chosen_estimator,
        masks=masks,
        generator=generator(config.seed, "sign", 0, 0),
        watch=watch,
    )
    return gradients_of(net, x, y, phases, same_update=config.same_update, masks=masks)


def likeness(found: Tensor, exact: Tensor) -> Likeness:
    """How close a gradient is to the exact one; where both are zero they are the same."""
    a, b = (value.detach().cpu().double().flatten() for value in (found, exact))
    sizes = float(a.norm()), float(b.norm())
    if 0 in sizes:
        return Likeness() if sizes[0] == sizes[1] else Likeness(0.0, MOST_RATIO if sizes[0] else 0.0)
    return Likeness(float(a @ b) / (sizes[0] * sizes[1]), min(sizes[0] / sizes[1], MOST_RATIO))


def judged(net: Network, config: RunConfig, x: Tensor, y: Tensor) -> tuple[Likeness, str]:
    """The worst likeness of the gradients of `net`, as it computes, to the exact ones, and whose it is."""
    gradients = settled_gradients(net, config, x, y)[0]
    with net.using(net.numerics.exactly()):
        exact = settled_gradients(net, config, x, y)[0]
    found = ((likeness(gradients[name], value), name) for name, value in exact.items())
    return max(found, key=lambda one: one[0].apart)


@dataclass(frozen=True)
class Fast:
    """What --fast uses, of what was measured: the exact way first among `tried`.

    `likeness` is the worst of a parameter's gradient on images that it was not chosen on.
    """

    chosen: Acceleration
    tried: list[Acceleration]
    likeness: Likeness


def choose_fast(
    net: Network, config: RunConfig, batch: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor]
) -> Fast:
    """The fastest way with good gradients: chosen on a `batch` as the training has it, judged on `others`.

    Both are images [n, ...] and classes [n]. A way whose gradients are not good on the others is left out.
    """
    x, y = batch
    precision = fastest_precision(net, len(x), x.device)
    ways = list(candidates(net.numerics, config, precision))
    if net.compiled_step is not None:
        ways.append(replace(net.numerics.exactly(), compiled=True))
        ways += [replace(ways[-1], tol=tol) for tol in TOLERANCES]
    tried = measure(
        net, config, x, y, ways, repeat=REPEAT, at_least=AT_LEAST, patience=PATIENCE, only_good=True
    )
    left = tried
    while (best := fastest(left)) is not tried[0]:
        with net.using(best.numerics):
            found = judged(net, config, *others)[0]
        if found.good:
            return Fast(best, tried, found)
        left = [way for way in left if way is not best]
    return Fast(best, tried, Likeness())


def fastest(tried: list[Acceleration]) -> Acceleration:
    """The fastest of those with good gradients, the exact way being the first.

    It is the exact way unless another one is clearly faster: what gains nothing shall cost nothing. Of those
    that are about as fast as the fastest it is the first, which is the most exact.
    """
    faster = [way for way in tried if way.good and way.surely * CLEARLY_FASTER > 1]
    most = max((way.surely for way in faster), default=0.0)
    return next((way for way in faster if way.surely >= CLEARLY_FASTER * most), tried[0])
