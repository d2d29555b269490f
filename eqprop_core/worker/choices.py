"""The numerical choices of a run, made at its start or taken from what it recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from eqprop_core.data.batches import normalize, order
from eqprop_core.data.randomness import generator
from eqprop_core.events import Event, Warned
from eqprop_core.memory import evaluation_images, training_memory
from eqprop_core.networks.network import Network
from eqprop_core.networks.numerics import Numerics, read_numerics
from eqprop_core.speed.accelerations import TOLERANCES, choose_fast, judged
from eqprop_core.speed.choosing import choose_numerics
from eqprop_core.speed.compiling import CompiledStep, compile_step, parts
from eqprop_core.worker.out_of_memory import memory_there, size
from eqprop_core.worker.preparing import Prepared, first_epoch

JUDGED_IMAGES = 64  # that --fast judges gradients on
CHOICES = "choices"  # among the numerics of a checkpoint, and in meta.json


def choose(ready: Prepared, recorded: object = None, processes: int = 1) -> list[str]:
    """Make the network of `ready` compute as its configuration says and as was `recorded`; what to say of it.

    `recorded` are the numerics of a checkpoint that the run goes on from: choices of another start are kept,
    so that its last bits are, too. Where several `processes` train together, what suits the batch of one of
    them is chosen.
    """
    whole = ready
    ready = replace(ready, config=ready.config.changed(mbs=-(-ready.config.mbs // processes)))
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
    choosing = config.fast and kept is None and config.todo == "train"
    if chosen.numerics.compiled or (choosing and device.type == "cuda"):
        seconds, error = compile_for(whole, processes)
        if error is not None:
            net.use(replace(net.numerics, compiled=False))
            said.append(f"the time step could not be compiled and goes on as it is: {error}")
        elif seconds:
            said.append(f"compiling the time step took {seconds:.1f} s")
    if choosing:
        said.append(_use_fast(ready))
    return said


def compile_for(ready: Prepared, processes: int = 1) -> tuple[float, str | None]:
    """Compile the time step for all numbers of images that the run has at once; see `compile_step`."""
    net, config, data = ready.net, ready.config, ready.dataset
    if config.todo == "gducheck":  # exact
        return 0.0, None
    size = processes * evaluation_images(net.config.connections(), on_cpu=ready.device.type == "cpu")
    evaluated = [data.test, *([data.validation] if data.validation is not None else [])]
    if config.todo == "evaluate":
        evaluated.append(data.train)
    return compile_step(
        net,
        config,
        ready.device,
        trained=parts(len(data.train), config.mbs, processes) if config.todo == "train" else (),
        evaluated={count for images in evaluated for count in parts(len(images), size, processes)},
    )


def tell_of_compiler(net: Network, tell: Callable[[Event], object]) -> None:
    """Have it told where a compiler fails later on."""
    if isinstance(net.compiled_step, CompiledStep):
        net.compiled_step.tell = lambda why: tell(
            Warned(message=f"a time step could not be compiled, all go on as they are from here on: {why}")
        )


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
    """Measure which accelerations are fastest on the first batch, and use them; says which."""
    batch, others = next(first_epoch(ready, ready.config.mbs)), held_apart(ready)
    fast = choose_fast(ready.net, ready.config, (batch.x, batch.y), others)
    ready.net.use(fast.chosen.numerics)
    measured = f"measured on a batch of {len(batch.x)} images at the start"
    if fast.chosen is fast.tried[0]:
        return f"--fast: exact, since nothing is clearly faster with the same gradient, {measured}"
    return (
        f"--fast: {fast.chosen.numerics.words()}, {fast.chosen.speedup:.1f} times as fast as exactly, "
        f"{measured}; on {len(others[1])} others a gradient has, at worst, {fast.likeness.words()}"
    )


def held_apart(ready: Prepared, *place: int) -> tuple[Tensor, Tensor]:
    """Training images on which nothing was chosen, [images, ...] and [images]: a draw for this place.

    They are not of the first batch, unless that has all images.
    """
    config, train = ready.config, ready.dataset.train
    assert config.seed is not None
    places = order(len(train), config.seed, 0)
    rest = places[config.mbs :] if len(places) > config.mbs else places
    draw = torch.randperm(len(rest), generator=generator(config.seed, "fast", *place))[:JUDGED_IMAGES]
    drawn = rest[draw].to(train.labels.device)
    dtype = next(ready.net.parameters()).dtype
    return normalize(train.images[drawn], ready.dataset.info, dtype), train.labels[drawn]


def review(ready: Prepared, epoch: int, batch: int) -> Iterator[Event]:
    """Measure anew, with the present weights, whether what --fast uses is still good; if not, be more exact.

    That is judged on other images before every batch (from 0, of an epoch from 0). A function of the weights,
    of that place and of what is in use, so that a resumed run comes to the same.
    """
    net, images = ready.net, held_apart(ready, epoch, batch)
    while not net.numerics.exact:
        found, name = judged(net, ready.config, *images)
        if found.good:
            return
        before = net.numerics
        net.use(more_exact(before))
        yield Warned(
            message=f"--fast: with {before.words()} the gradient of {name} now has {found.words()}; going on "
            f"with {net.numerics.words()} from epoch {epoch + 1}, batch {batch + 1}"
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
