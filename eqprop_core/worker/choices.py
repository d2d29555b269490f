"""The numerical choices of a run, made at its start or taken from what it recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from eqprop_core.data.batches import normalize
from eqprop_core.events import Event, Warned
from eqprop_core.memory import training_memory
from eqprop_core.networks.numerics import Numerics, read_numerics
from eqprop_core.speed.accelerations import COSINE, TOLERANCES, choose_fast, worst_cosine
from eqprop_core.speed.choosing import choose_numerics
from eqprop_core.speed.compiling import compile_step
from eqprop_core.worker.out_of_memory import memory_there, size
from eqprop_core.worker.preparing import Prepared

IMAGES = 16  # to measure gradients on, for --fast
CHOICES = "choices"  # among the numerics of a checkpoint, and in meta.json


def choose(ready: Prepared, recorded: object = None) -> list[str]:
    """Make the network of `ready` compute as its configuration says and as was `recorded`; what to say of it.

    `recorded` are the numerics of a checkpoint that the run goes on from: choices of another start are kept,
    so that its last bits are, too.
    """
    net, config, device = ready.net, ready.config, ready.device
    kept = None
    if isinstance(recorded, Mapping):
        kept = read_numerics(recorded.get(CHOICES)) or Numerics()
        if {len(kept.layouts), len(kept.poolings)} - {0, len(net.synapses)}:
            kept = Numerics()
    chosen = choose_numerics(net, config, device, kept)
    said = list(chosen.warnings)
    net.use(chosen.numerics)
    if kept is None and config.alg == "BPTT" and config.todo == "train":
        said += _spare_memory(ready)
    batch = min(config.mbs, len(ready.dataset.train))
    choosing = config.fast and kept is None and config.todo == "train"
    if chosen.numerics.compiled or (choosing and device.type == "cuda"):
        seconds, error = compile_step(net, batch, device)
        if error is not None:
            net.use(replace(chosen.numerics, compiled=False))
            said.append(f"the time step could not be compiled and goes on as it is: {error}")
        else:
            said.append(f"compiling the time step took {seconds:.1f} s")
    if choosing:
        said.append(_use_fast(ready))
    return said


def _spare_memory(ready: Prepared) -> list[str]:
    """Let BPTT compute time steps twice where it could not remember what is in all of them; says so."""
    need, there = training_memory(ready.config).total, memory_there(ready.device)[0]
    if need <= there:
        return []
    ready.net.use(replace(ready.net.numerics, checkpointed=True))
    return [
        f"BPTT through {ready.config.T2} time steps needs about {size(need)} of memory and {size(there)} are "
        "there: each step is computed a second time on the way back, instead of being remembered"
    ]


def _use_fast(ready: Prepared) -> str:
    """Measure on the first training images which accelerations are fastest, and use them; says which."""
    x, y = _first_images(ready)
    fast = choose_fast(ready.net, ready.config, x, y)
    ready.net.use(fast.chosen.numerics)
    if fast.chosen is fast.tried[0]:
        return f"--fast: exact, since nothing is clearly faster, measured on {len(x)} images at the start"
    return (
        f"--fast: {fast.chosen.numerics.words()}, {fast.speedup:.1f} times as fast as exactly, gradient "
        f"cosine {fast.chosen.worst:.4f} or more, measured on {len(x)} images at the start"
    )


def _first_images(ready: Prepared) -> tuple[Tensor, Tensor]:
    first = ready.dataset.train
    x = normalize(first.images[:IMAGES], ready.dataset.info, next(ready.net.parameters()).dtype)
    return x, first.labels[:IMAGES]


def review(ready: Prepared) -> Iterator[Event]:
    """Measure anew, with the present weights, whether what --fast uses is still good; if not, be more exact.

    A function of the weights and of what is in use, so that a resumed run comes to the same.
    """
    net, x_y = ready.net, _first_images(ready)
    while not net.numerics.exact:
        worst, name = worst_cosine(net, ready.config, *x_y)
        if worst >= COSINE:
            return
        before = net.numerics
        net.use(more_exact(before))
        yield Warned(
            message=f"--fast: with {before.words()} the gradient of {name} now has a cosine of {worst:.4f} "
            f"with the exact one; going on with {net.numerics.words()}"
        )


def more_exact(numerics: Numerics) -> Numerics:
    """The next more exact way: without low precision, then all layers at once, then a smaller tolerance."""
    if numerics.precision != "fp32":
        return replace(numerics, precision="fp32")
    if numerics.updates != "sync":
        return replace(numerics, updates="sync")
    smaller = [tol for tol in TOLERANCES if numerics.tol is not None and tol < numerics.tol]
    return replace(numerics, tol=max(smaller)) if smaller else numerics.exactly()


def recorded_choices(ready: Prepared) -> dict[str, object]:
    """What is recorded of the choices, to go on with them."""
    return {CHOICES: ready.net.numerics.document()}
