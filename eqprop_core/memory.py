"""How much memory a run takes, by arithmetic alone: what is alive at once where most is.

Counted are the tensors, in float32: parameters, gradients, what the optimizer keeps, the states of a batch
with what a time step makes on the way (before pooling, and the places that max pooling chose), with BPTT and
GDU checks the graph of T2 steps, the batches of an evaluation, and the data set, which is held on the device
in bytes. Not counted is what the libraries take for themselves: Python and torch, a CUDA context (some
hundred MB), workspaces of cuDNN, and what an allocator holds in reserve. A convolution is counted with a
second copy of what it reads and writes, as it has on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from eqprop_core import catalogue
from eqprop_core.config import RunConfig
from eqprop_core.devices import Device, device_among
from eqprop_core.geometry import ConnectionShape

FLOAT = 4  # bytes
INDEX = 8
EVALUATION_VALUES = 2**25  # values of the largest layer in one batch of an evaluation, about 128 MiB
EVALUATION_IMAGES = 1000
EVALUATION_IMAGES_ON_CPU = 200  # states that stay in its caches are settled a tenth faster
CHECKED_IMAGES = 5  # by a GDU check while training
GDU_IMAGES = 20  # by one from the command line, where --mbs does not say otherwise
CLAMPED = ("hard_sigmoid", "my_hard_sig", "ctrd_hard_sig")  # keep what they were given for the way back


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that are alive at once where most is; see the module for what is counted.

    `states` are those of the neurons of a batch, with all that a time step, a contrast or a graph makes of
    them; `checks` what GDU checks take, which keep T2 values for each parameter.
    """

    parameters: int
    gradients: int
    optimizer: int
    states: int
    checks: int
    data: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.gradients + self.optimizer + self.states + self.checks + self.data


@dataclass(frozen=True)
class Room:
    """Bytes that a run needs, and those that are free on the device where it would compute, if known."""

    need: int
    device: str | None
    free: int | None

    @property
    def fits(self) -> bool | None:
        """Whether there is enough; `None` where that is not known."""
        return None if self.free is None else self.need <= self.free


def room_for(config: RunConfig, devices: Sequence[Device]) -> Room:
    """What a run needs, and what is free on that of these devices where it would compute."""
    need = memory_need(config).total
    key = device_among(devices, config.device)
    chosen = next((device for device in devices if device.key == key), None)
    if chosen is None or chosen.memory_total is None or chosen.memory_used is None:
        return Room(need, key, None)
    return Room(need, key, chosen.memory_total - chosen.memory_used)


def memory_need(config: RunConfig) -> MemoryNeed:
    """What the run that `config.todo` says takes: a training, an evaluation or a GDU check."""
    if config.todo == "train":
        return training_memory(config)
    net = _Counts(config)
    if config.todo == "evaluate":
        return _need(net, states=net.evaluation(max(net.train_images, net.test_images)))
    return _need(net, states=net.contrast(config.mbs), checks=net.check(config.mbs))


def training_memory(config: RunConfig) -> MemoryNeed:
    """What a training takes in batches of `config.mbs`, evaluations and --check-thm included."""
    return _training(_Counts(config), config.mbs)


def fitting_mbs(config: RunConfig, free_bytes: int) -> int | None:
    """The largest --mbs with which a training fits into `free_bytes`, at most the number of training images.

    `None` if not even batches of one image fit.
    """
    net = _Counts(config)

    def fits(mbs: int) -> bool:
        return _training(net, mbs).total <= free_bytes

    if not fits(1):
        return None
    low, high = 1, max(1, min(1_000_000, net.train_images or 1_000_000))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def evaluation_images(shapes: Sequence[ConnectionShape], *, on_cpu: bool = False) -> int:
    """Images settled at once in an evaluation: as many as keep the largest layer within about 128 MiB."""
    largest = max(prod(shape.convolved or shape.post) for shape in shapes)
    most = EVALUATION_IMAGES_ON_CPU if on_cpu else EVALUATION_IMAGES
    return max(1, min(most, EVALUATION_VALUES // largest))


def _training(net: _Counts, mbs: int) -> MemoryNeed:
    mbs = min(mbs, net.train_images or mbs)
    config = net.config
    batch = net.graph(mbs) if config.alg == "BPTT" else max(net.settling(mbs), net.contrast(mbs))
    states = max(batch, net.evaluation(net.test_images))
    checks = 0
    if config.check_thm:
        states = max(states, net.contrast(CHECKED_IMAGES))
        # The last check is kept while the next one is made.
        checks = net.check(CHECKED_IMAGES) + net.kept_check(CHECKED_IMAGES)
    moments = 2 if config.optim == "adam" else 1 if config.mmt else 0
    # EP divides all gradients at once; until then the largest is made in two parts.
    gradients = net.parameters + max(net.parameters, 2 * net.largest)
    return _need(
        net,
        gradients=FLOAT * gradients,
        optimizer=FLOAT * moments * net.parameters,
        states=states,
        checks=checks,
    )


def _need(
    net: _Counts, *, states: int, gradients: int = 0, optimizer: int = 0, checks: int = 0
) -> MemoryNeed:
    return MemoryNeed(FLOAT * net.parameters, gradients, optimizer, states, checks, net.data)


class _Counts:
    """Numbers of values in a network, for one image, and the bytes that work on a batch of them needs."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        shapes = config.connections()
        self.shapes = shapes
        # States that an estimator settles after the free one.
        self.sides = 2 if config.chosen_estimator in ("symmetric", "paired") else 1
        self.inner = [shape for shape in shapes if shape.kind != "readout"]
        self.parameters = sum(shape.parameters + shape.backward_parameters for shape in shapes)
        self.largest = max(shape.parameters for shape in shapes)
        self.input = prod(shapes[0].pre)
        self.posts = [prod(shape.post) for shape in self.inner]
        self.state = sum(self.posts)
        self.train_images, self.test_images = _images(config)
        self.data = (self.input + INDEX) * (self.train_images + self.test_images) + INDEX * self.train_images

    def settling(self, batch: int) -> int:
        """The last phase: free and nudged state, the state before a step, and what the step makes."""
        kept = 1 + self.sides
        if self.config.tol is not None or self.config.fast:  # both sides of a contrast in one batch
            batch, kept = 2 * batch, 2
        values = 3 * self.input + kept * self.state + self._step() + self._references()
        return self._bytes(batch, values) + self._scaled_weights()

    def _scaled_weights(self) -> int:
        """Bytes of the weights that time steps are taken with, scaled for either direction."""
        return 2 * FLOAT * sum(shape.parameters + shape.backward_parameters for shape in self.inner[1:])

    def _references(self) -> int:
        """What products in low precision are taken relative to: what went in and came out, both ways."""
        if self.config.precision == "fp32" and not self.config.fast:
            return 0
        return sum(2 * prod(shape.pre) + 2 * prod(shape.convolved or shape.post) for shape in self.inner[1:])

    def contrast(self, batch: int) -> int:
        """Two states spread to the places from which pooling took them, and their difference."""
        kept = 1 + self.sides

        def spread(shape: ConnectionShape) -> int:
            difference = 2 * _convolved(shape) or prod(shape.post)
            return 2 * _unpooled(shape) + difference + 2 * prod(shape.pre)

        return self._bytes(batch, 3 * self.input + kept * self.state + max(map(spread, self.inner)))

    def evaluation(self, images: int) -> int:
        """A free phase of the batches of an evaluation."""
        batch = min(evaluation_images(self.shapes), images or EVALUATION_IMAGES)
        first = 2 * _convolved(self.inner[0]) + self.posts[0] + self.input
        work = max(self._step(masked=False), first)
        values = 2 * self.input + self.state + work + self._references()
        return FLOAT * batch * values + self._scaled_weights()

    def graph(self, batch: int) -> int:
        """The states of T2 steps with what the way back needs of each, and one step back."""
        first = _unpooled(self.inner[0]) + 2 * self.posts[0]
        return self._bytes(
            batch, 3 * self.input + first + self.config.T2 * self._remembered() + self.state + self._step()
        )

    def check(self, batch: int) -> int:
        """Where a GDU check takes most: its graph beside what is found, EP's updates, or their distances.

        Each is T2 values a parameter and neuron; the steps of the graph each drive the first layer anew.
        """
        steps = FLOAT * self.config.T2
        rows = steps * (self.parameters + batch * self.state)
        first = _unpooled(self.inner[0]) + 3 * self.posts[0]
        unrolled = self.graph(batch) + steps * batch * first + 2 * rows
        distances = 6 * FLOAT * max(self.largest, batch * max(self.posts))  # of one row: sums over its steps
        return max(unrolled, 3 * rows, self.kept_check(batch) + distances)

    def kept_check(self, batch: int) -> int:
        """What the result of a GDU check holds."""
        copies = 4 if self.config.chosen_estimator == "symmetric" else 2
        return FLOAT * self.config.T2 * copies * (self.parameters + batch * self.state)

    def _step(self, *, masked: bool = True) -> int:
        """One time step: input drive, drives of all layers, and a connection at work or the new state."""
        extra = 1 if self.config.is_vector_field else 0
        connection = max(
            (
                2 * _convolved(shape) + (3 + extra) * prod(shape.post) + 2 * prod(shape.pre)
                for shape in self.inner[1:]
            ),
            default=0,
        )
        new_state = self.state + 2 * max(self.posts)
        seen = self.state if masked and self.config.dropouts else 0
        return self.posts[0] + self.state + seen + max(connection, new_state)

    def _remembered(self) -> int:
        """Values that the way back needs of one time step."""
        indices = 4 if self.config.is_vector_field else 2
        pooled = sum(
            2 * _unpooled(shape) + (indices * prod(shape.post) if shape.pool == "m" else 0)
            for shape in self.inner[1:]
            if _unpooled(shape)
        )
        each = 1 + (self.config.act in CLAMPED) + (2 if self.config.dropouts else 0)
        return pooled + each * self.state

    def _bytes(self, batch: int, values: int) -> int:
        """Bytes of so many values an image, with the dropout masks of the batch and the input seen."""
        drawn = 2 * (self.input + self.state) if self.config.dropouts else 0
        return FLOAT * batch * (values + drawn)


def _convolved(shape: ConnectionShape) -> int:
    """Values that a convolution makes; none where there is none."""
    return prod(shape.convolved) if shape.convolved else 0


def _unpooled(shape: ConnectionShape) -> int:
    """Values between a convolution and its pooling; none where nothing is pooled."""
    return 0 if shape.pool == "i" else _convolved(shape)


def _images(config: RunConfig) -> tuple[int, int]:
    """Training and test images that are held in memory; 0 where an image folder is missing."""
    try:
        info = catalogue.describe(config.task, config.data_root, config.image_size)
    except catalogue.DataError:
        return config.train_samples or 0, config.test_samples or 0
    return config.train_samples or info.train_size or 0, config.test_samples or info.test_size or 0
