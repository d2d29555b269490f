"""The numerical choices of a run: what is measured once at its start, recorded, and kept on resuming."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.networks.connections import Conv, Unpooling
from eqprop_core.networks.network import Network
from eqprop_core.networks.numerics import MEMORY_FORMATS, Layout, Numerics, Precision
from eqprop_core.networks.products import LowPrecision
from eqprop_core.speed.timing import alternated, seconds_of

PRODUCTS_WORTH_MEASURING = 2e7  # multiplications in a time step: less takes longer to measure than it saves
IMAGES = 64  # of a batch at most, to measure pieces of a time step on
REPETITIONS = 5
KEEPS_BUSY = {"cpu": PRODUCTS_WORTH_MEASURING, "cuda": 2e10}  # multiplications; that of a GPU is a guess
CLEARLY_FASTER = 0.9  # of the seconds of the plain way: noise shall not choose
UNPOOLINGS: tuple[Unpooling, ...] = ("gradient", "scatter")
Formats = tuple[Layout, Layout]  # of what a connection sees as maps, and in which it finds maxima
FORMATS: tuple[Formats, ...] = (
    ("contiguous", "contiguous"),
    ("contiguous", "channels-last"),
    ("channels-last", "channels-last"),
)


@dataclass(frozen=True)
class Chosen:
    """What was chosen, what there is to say about it, and the seconds that choosing took."""

    numerics: Numerics
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


def choose_numerics(
    net: Network, config: RunConfig, device: torch.device, recorded: Numerics | None = None
) -> Chosen:
    """How a run of `config` computes on a device where `net` is; what was `recorded` is kept.

    The accelerations are the configuration's; with --fast, which `accelerations.py` chooses, they are exact
    unless recorded.
    """
    begun = time.perf_counter()
    warnings: list[str] = []
    if recorded is not None:
        numerics = recorded
    else:
        formats = _formats(net, config, device)
        numerics = Numerics(
            layouts=tuple(layout for layout, _ in formats),
            poolings=tuple(pooling for _, pooling in formats),
            joined=config.chosen_estimator in ("symmetric", "paired")
            and joining_helps(net, config.mbs, device),
            masks="cpu" if device.type == "cpu" else "device",
        )
        numerics = replace(numerics, unpooling=_unpooling(net, numerics, config.mbs, device))
    if not config.fast:
        precision = config.precision
        if precision == "tf32" and device.type != "cuda":
            warnings.append("--precision tf32 needs an NVIDIA GPU: products are in fp32 here")
            precision = "fp32"
        elif precision == "auto":
            kept = recorded.precision if recorded is not None else None
            precision = kept or fastest_precision(net, config.mbs, device)
        numerics = replace(
            numerics, tol=config.tol, updates=config.updates, precision=precision, compiled=config.compile
        )
    return Chosen(numerics, tuple(warnings), time.perf_counter() - begun)


def multiplications(net: Network, batch: int) -> int:
    """Of a time step: one product forward and one backward in each connection but the first."""
    inner = net.config.connections()[1:]
    return sum(2 * batch * prod(shape.weight) * prod((shape.convolved or (1,))[1:]) for shape in inner)


def joining_helps(net: Network, batch: int, device: torch.device) -> bool:
    """Whether both nudged signs in one batch are faster: where a step is too small to keep a device busy."""
    return multiplications(net, batch) < KEEPS_BUSY.get(device.type, PRODUCTS_WORTH_MEASURING)


def _convolutions(net: Network) -> list[tuple[int, Conv]]:
    return [(n, c) for n, c in enumerate(net.connections) if isinstance(c, Conv)]


def _formats(net: Network, config: RunConfig, device: torch.device) -> list[Formats]:
    """The fastest memory formats of each convolution; a dense map follows the convolution below it."""
    chosen: list[Formats] = []
    allowed = [formats for formats in FORMATS if config.layout in ("auto", formats[0])]
    worthwhile = multiplications(net, config.mbs) >= PRODUCTS_WORTH_MEASURING
    for connection in net.connections:
        if not isinstance(connection, Conv):
            follows = chosen and isinstance(net.connections[len(chosen) - 1], Conv)
            chosen.append((chosen[-1][0] if follows else "contiguous", "contiguous"))
        elif worthwhile and len(allowed) > 1:
            chosen.append(_fastest_formats(connection, allowed, config.mbs, device))
        else:
            chosen.append(allowed[0])
    return chosen + [("contiguous", "contiguous")] * (len(net.synapses) - len(chosen))  # a softmax readout


def _fastest_formats(connection: Conv, allowed: list[Formats], batch: int, device: torch.device) -> Formats:
    works = {str(k): _drives(connection, formats, batch, device) for k, formats in enumerate(allowed)}
    seconds = [min(found) for found in alternated(works, device, REPETITIONS).values()]
    if device.type == "cpu":  # where what is between the convolutions is faster in channels-last, too
        seconds[-1] *= CLEARLY_FASTER
    return allowed[seconds.index(min(seconds))]


def _unpooling(net: Network, numerics: Numerics, batch: int, device: torch.device) -> Unpooling:
    """The faster way back to the places of maxima, over all convolutions."""
    pooled = [(n, c) for n, c in _convolutions(net) if c.shape.pool == "m" and n > 0]
    if not pooled or multiplications(net, batch) < PRODUCTS_WORTH_MEASURING:
        return "gradient"
    seconds = dict.fromkeys(UNPOOLINGS, 0.0)
    for (n, connection), way in product(pooled, UNPOOLINGS):
        work = _unpooled(connection, numerics.layouts[n], way, batch, device)
        seconds[way] += _quickest(work, device)
    return "scatter" if seconds["scatter"] < CLEARLY_FASTER * seconds["gradient"] else "gradient"


def _random(shape: tuple[int, ...], batch: int, like: Tensor) -> Tensor:
    return torch.rand(min(batch, IMAGES), *shape, device=like.device, dtype=like.dtype)


def _drives(
    connection: Conv, formats: tuple[Layout, Layout], batch: int, device: torch.device
) -> Callable[[], object]:
    """Both drives of a connection, of the kind that a time step takes."""
    layout, pooling = (MEMORY_FORMATS[name] for name in formats)
    pre = _random(connection.shape.pre, batch, connection.weight).contiguous(memory_format=layout)
    post = _random(connection.shape.post, batch, connection.weight)

    @torch.no_grad()
    def work() -> None:
        connection.layout, connection.pooling, connection.unpooling = layout, pooling, "gradient"
        connection.both_drives(pre, post, pre)

    return work


def _unpooled(
    connection: Conv, layout: Layout, unpooling: Unpooling, batch: int, device: torch.device
) -> Callable[[], object]:
    pre = _random(connection.shape.pre, batch, connection.weight)
    post = _random(connection.shape.post, batch, connection.weight)
    connection.layout = MEMORY_FORMATS[layout]
    with torch.no_grad():
        places = connection.places(pre)

    @torch.no_grad()
    def work() -> None:
        connection.layout, connection.unpooling = MEMORY_FORMATS[layout], unpooling
        connection.unpool(post, places)

    return work


def fastest_precision(net: Network, batch: int, device: torch.device) -> Precision:
    """A lower precision where the products of a time step are clearly faster in it here, else fp32."""
    if multiplications(net, batch) < PRODUCTS_WORTH_MEASURING:
        return "fp32"
    candidates: list[Precision] = ["bf16"]
    if device.type == "cuda":
        candidates.append("tf32")
    inner = net.connections[1:]
    values = [(_random(c.shape.pre, batch, c.weight), _random(c.shape.post, batch, c.weight)) for c in inner]

    @torch.no_grad()
    def work(connections: list[LowPrecision] | None) -> None:
        for n, (pre, post) in enumerate(values):
            (connections[n] if connections else inner[n]).both_drives(pre, post, pre)

    seconds: dict[Precision, float] = {"fp32": _quickest(lambda: work(None), device)}
    for precision in candidates:
        low = [LowPrecision(connection, precision) for connection in inner]
        try:
            work(low)  # the first products are those of the reference
            for connection in low:
                connection.renew = False
            seconds[precision] = _quickest(lambda low=low: work(low), device)  # type: ignore[misc]
        except RuntimeError:  # not every device has every type
            continue
    best = min(seconds, key=lambda name: seconds[name])
    return best if seconds[best] < CLEARLY_FASTER * seconds["fp32"] else "fp32"


def _quickest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that some work takes where nothing disturbs it."""
    work()
    return min(seconds_of(work, device) for _ in range(REPETITIONS))
