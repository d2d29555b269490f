"""The numerical choices of a run, made at its start or taken from what it recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from eqprop_core.data.batches import normalize
from eqprop_core.networks.numerics import Numerics, read_numerics
from eqprop_core.speed.accelerations import choose_fast
from eqprop_core.speed.choosing import IMAGES, choose_numerics
from eqprop_core.speed.compiling import compile_step
from eqprop_core.worker.preparing import Prepared

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
        if len(kept.layouts) not in (0, len(net.synapses)):
            kept = Numerics()
    chosen = choose_numerics(net, config, device, kept)
    said = list(chosen.warnings)
    net.use(chosen.numerics)
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


def _use_fast(ready: Prepared) -> str:
    """Measure on the first training images which accelerations are fastest, and use them; says which."""
    first = ready.dataset.train
    x = normalize(first.images[:IMAGES], ready.dataset.info, next(ready.net.parameters()).dtype)
    fast = choose_fast(ready.net, ready.config, x, first.labels[:IMAGES])
    ready.net.use(fast.chosen.numerics)
    return (
        f"--fast: {fast.chosen.numerics.words()}, {fast.speedup:.1f} times as fast as exactly, gradient "
        f"cosine {fast.chosen.worst:.4f} or more, measured on {len(x)} images at the start"
    )


def recorded_choices(ready: Prepared) -> dict[str, object]:
    """What is recorded of the choices, to go on with them."""
    return {CHOICES: ready.net.numerics.document()}
