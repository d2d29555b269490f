"""One training on several processes: each settles its rows of every batch, and their gradients become one.

EP's gradients come from settled states, not from a backward pass through a module that could be hooked into.
So nothing is said inside a phase; then one sum over all processes has the flattened gradients of every
parameter, what was counted, and whether a process could not do its rows. Each then takes the same optimizer
step. The rows are those of the batch that a single process would have had, in its order, so that the result
is the same but for the order of sums.

Knows nothing of how processes talk to each other: `worker.ranks` hands that in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eqprop_core.learning.equilibrium import Gradients
from eqprop_core.learning.finite import TrainingError
from eqprop_core.learning.running import Counts
from eqprop_core.learning.steps import BatchDropped

Compute = Callable[[], Gradients]
Share = Callable[[Compute], Gradients]  # from what computes a process's gradients to those of the batch

FLAGS = 5  # at the end of a sum: correct predictions, loss, dropped, failed, attention


def alone(compute: Compute) -> Gradients:
    """The gradients of a process that has the whole batch."""
    return compute()


@dataclass
class Group:
    """The processes that train together: this one is `rank`, from 0, of `size`.

    `add` puts the sum over all processes into a tensor of each; `gather` returns what each said, by rank, as
    JSON has it; `hand_out` returns bytes that rank 0 has, at most so many, at every rank. All wait for all,
    and raise what ends the training where one of them is gone. `wish` is asked in each sum whether this
    process has something to say between two batches; `attention` is then whether any has. `leaving` is asked
    in waits whether the run is to end; `parted` is set where this process ends without the others.
    """

    rank: int
    size: int
    add: Callable[[Tensor], None]
    gather: Callable[[Any], list[Any]]
    hand_out: Callable[[bytes | memoryview | None, int], bytes | memoryview]
    wish: Callable[[], bool] = lambda: False
    leaving: Callable[[], bool] = lambda: False
    attention: bool = False
    parted: bool = False
    _room: Tensor | None = None

    def room(self, like: Tensor, size: int) -> Tensor:
        """A flat tensor to sum in, the same one again and again."""
        if self._room is None or self._room.shape != (size,) or self._room.dtype != like.dtype:
            self._room = like.new_empty(size)
        return self._room

    def rows(self, count: int) -> slice:
        """This process's part of `count` rows: contiguous, the first ranks having one more; may be empty."""
        each, more = divmod(count, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def tell(self, what: Any) -> Any:
        """What rank 0 says here, at every rank."""
        return self.gather(what if self.rank == 0 else None)[0]

    def batch(self, net: nn.Module, own: int, whole: int) -> SharedBatch:
        """What shares a batch of `whole` images, `own` of which are this process's."""
        return SharedBatch(self, net, own, whole)

    def total(self, counts: Counts | None, whole: int, like: Tensor) -> Counts | None:
        """Counts of all processes together, of `whole` images; None where one of them has None."""
        buffer = torch.zeros(FLAGS, dtype=torch.float64, device=like.device)
        if counts is not None:
            buffer[0], buffer[1] = counts.correct, counts.loss
        buffer[2] = counts is None
        buffer[4] = self.wish()
        self.add(buffer)
        _, _, dropped, _, attention = buffer.tolist()
        self.attention = attention > 0
        return None if dropped else Counts(whole, buffer[0].round().long(), buffer[1])


class SharedBatch:
    """Makes the gradients of one batch out of those of each process's rows; called once for every update.

    `counts` are to be set while the first gradients are computed, to what was counted on this process's rows;
    after that they are those of the whole batch.
    """

    def __init__(self, group: Group, net: nn.Module, own: int, whole: int) -> None:
        self.counts: Counts | None = None
        self._group = group
        self._parameters = dict(net.named_parameters())
        self._like = next(iter(self._parameters.values()))
        self._sizes = [parameter.numel() for parameter in self._parameters.values()]
        self._size = sum(self._sizes)
        self._own = own
        self._whole = whole
        self._counted = False

    def __call__(self, compute: Compute) -> Gradients:
        """Mean gradients over the whole batch, from what computes those over this process's rows.

        They hold until the next are asked for; a parameter has one where any process has. Raises
        `BatchDropped` or `TrainingError` at all processes where it was raised at one, and whatever else
        `compute` raised; weights are as they were.
        """
        found: Gradients = {}
        problem: Exception | None = None
        try:
            if self._own:
                found = compute()
        except Exception as error:  # the others wait for this process
            problem, found = error, {}
        buffer = self._group.room(self._like, self._size + len(self._parameters) + FLAGS)
        flags = [float(name in found) for name in self._parameters] + [0.0] * FLAGS
        flags[-3] = float(isinstance(problem, BatchDropped))
        flags[-2] = float(problem is not None and not isinstance(problem, BatchDropped))
        flags[-1] = float(self._group.wish())
        buffer[self._size :] = torch.tensor(flags, dtype=buffer.dtype)
        if self.counts is not None and not self._counted:
            buffer[-5], buffer[-4] = self.counts.correct, self.counts.loss
        parts = dict(zip(self._parameters, buffer[: self._size].split(self._sizes), strict=True))  # type: ignore[no-untyped-call]
        for name, part in parts.items():
            if name in found:  # a mean over these rows, as its part of the sum over all
                torch.mul(found[name].reshape(-1), self._own / self._whole, out=part)
            else:
                part.zero_()
        self._group.add(buffer)
        *there, _, _, dropped, failed, attention = buffer[self._size :].tolist()  # waits for the device, once
        self._group.attention = attention > 0
        if failed:
            self._fail(problem)
        if dropped:
            raise BatchDropped
        if not self._counted:
            self._counted = True
            self.counts = Counts(self._whole, buffer[-5].round().long(), buffer[-4].clone())
        return {
            name: parts[name].view(parameter.shape)
            for (name, parameter), is_there in zip(self._parameters.items(), there, strict=True)
            if is_there
        }

    def _fail(self, problem: Exception | None) -> None:
        """Raise what ended this process's computation, or else what ended that of the first other."""
        if isinstance(problem, BatchDropped):
            problem = None
        words = None if problem is None else (isinstance(problem, TrainingError), describe(problem))
        said = self._group.gather(words)
        if problem is not None:
            raise problem
        for rank, told in enumerate(said):
            if told is not None:
                about_network, message = told
                raise TrainingError(message if about_network else f"process {rank} of the run: {message}")


def describe(problem: BaseException) -> str:
    """An error in words."""
    return str(problem) or type(problem).__name__
