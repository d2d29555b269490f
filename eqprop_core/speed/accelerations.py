"""Each acceleration's speed and its effect on the gradient, and the combination that --fast uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.data.randomness import generator
from eqprop_core.learning.bptt import bptt_phases
from eqprop_core.learning.equilibrium import Gradients, gradients_of, relax
from eqprop_core.networks.network import Masks, Network, State, Watch
from eqprop_core.networks.numerics import Numerics, Precision
from eqprop_core.speed.choosing import CLEARLY_FASTER, fastest_precision
from eqprop_core.speed.timing import Timing, alternated, timing_of

COSINE = 0.999  # that of every parameter's gradient with the exact one, at least, with --fast
TOLERANCES = (1e-5, 1e-4, 1e-3)


@dataclass(frozen=True)
class Acceleration:
    """What a way to settle does: seconds to settle and contrast a batch, and how close its gradient is.

    `cosines` are those with the exact gradient, by parameter; `steps` the mean time steps an image, by phase.
    """

    numerics: Numerics
    seconds: Timing
    cosines: dict[str, float]
    steps: dict[str, float]

    @property
    def worst(self) -> float:
        """The smallest cosine."""
        return min(self.cosines.values(), default=1.0)


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
) -> list[Acceleration]:
    """The exact way first, then each of these, on a batch x [batch, ...], y [batch]; alternating."""
    exact = net.numerics.exactly()
    found: dict[int, tuple[Gradients, dict[str, float]]] = {}

    def work(index: int, way: Numerics) -> Callable[[], None]:
        def run() -> None:
            with net.using(way):
                found[index] = settled_gradients(net, config, x, y)

        return run

    works = {str(i): work(i, way) for i, way in enumerate([exact, *ways])}
    seconds = alternated(works, x.device, repeat)
    reference = found[0][0]
    return [
        Acceleration(
            numerics=way,
            seconds=timing_of(seconds[str(i)]),
            cosines={name: cosine(found[i][0][name], exact) for name, exact in reference.items()},
            steps=found[i][1],
        )
        for i, way in enumerate([exact, *ways])
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


def cosine(a: Tensor, b: Tensor) -> float:
    """The cosine between two gradients; 1 where both are zero, 0 where one is."""
    a, b = a.detach().cpu().double().flatten(), b.detach().cpu().double().flatten()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 0 else float(not a.any() and not b.any())


@dataclass(frozen=True)
class Fast:
    """What --fast uses, of what was measured: the exact way first among `tried`."""

    chosen: Acceleration
    tried: list[Acceleration]

    @property
    def speedup(self) -> float:
        """How many times as fast as the exact way."""
        return self.tried[0].seconds.median / self.chosen.seconds.median


def worst_cosine(net: Network, config: RunConfig, x: Tensor, y: Tensor) -> tuple[float, str]:
    """The smallest cosine between the gradients of `net` as it computes and exactly, and whose it is."""
    gradients = settled_gradients(net, config, x, y)[0]
    with net.using(net.numerics.exactly()):
        exact = settled_gradients(net, config, x, y)[0]
    return min((cosine(gradients[name], value), name) for name, value in exact.items())


def choose_fast(
    net: Network, config: RunConfig, x: Tensor, y: Tensor, *, repeat: int = 1, cosine: float = COSINE
) -> Fast:
    """The fastest way whose gradient has at least this cosine with the exact one in every parameter."""
    precision = fastest_precision(net, len(x), x.device)
    ways = list(candidates(net.numerics, config, precision))
    if net.compiled_step is not None:
        ways.append(replace(net.numerics.exactly(), compiled=True))
        ways += [replace(ways[-1], tol=tol) for tol in TOLERANCES]
    tried = measure(net, config, x, y, ways, repeat=repeat)
    return Fast(fastest(tried, cosine), tried)


def fastest(tried: list[Acceleration], cosine: float = COSINE) -> Acceleration:
    """The fastest of those whose gradients have at least this cosine with those of the exact way, the first.

    It is the exact way unless another one is clearly faster: what gains nothing shall cost nothing.
    """
    exact = tried[0]
    good = [way for way in tried if way.worst >= cosine]
    best = min(good, key=lambda way: way.seconds.median)
    return best if best.seconds.median < CLEARLY_FASTER * exact.seconds.median else exact
