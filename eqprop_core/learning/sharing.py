"""One training on several processes: each settles its rows of every batch, and their gradients become one.

EP's gradients come from settled states, not from a backward pass through a module that could be hooked into.
So nothing is said inside a phase; then one sum over all processes has the flattened gradients of every
parameter, what was counted, and whether a process could not do its rows. Each then takes the same optimizer
step. The rows are those of the batch that a single process would have had, in its order, so that the result
is the same but for the order of sums.

Knows nothing of how processes talk to each other: `worker.ranks` hands that in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    `add` puts the sum over all processes into a tensor of each; `gather` returns what each said, by rank.
    Both wait for all and raise what ends the training where one of them is gone. `wish` is asked in each sum
    whether this process has something to say between two batches; `attention` is then whether any has.
    """

    rank: int
    size: int
    add: Callable[[Tensor], None]
    gather: Callable[[Any], list[Any]]
    wish: Callable[[], bool] = lambda: False
    attention: bool = False

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
        self._own = own
        self._whole = whole
        self._counted = False

    def __call__(self, compute: Compute) -> Gradients:
        """Mean gradients over the whole batch, from what computes those over this process's rows.

        A parameter has one where any process has. Raises `BatchDropped` or `TrainingError` at all processes
        where it was raised at one, and whatever else `compute` raised; weights are as they were.
        """
        found: Gradients = {}
        problem: Exception | None = None
        try:
            if self._own:
                found = compute()
        except Exception as error:  # the others wait for this process
            problem, found = error, {}
        buffer = self._flattened(found)
        if self.counts is not None and not self._counted:
            buffer[-5], buffer[-4] = self.counts.correct, self.counts.loss
        buffer[-3] = isinstance(problem, BatchDropped)
        buffer[-2] = problem is not None and not isinstance(problem, BatchDropped)
        buffer[-1] = self._group.wish()
        self._group.add(buffer)
        numbers = buffer[-FLAGS - len(self._parameters) :].tolist()  # waits for the device, once
        _, _, dropped, failed, attention = numbers[-FLAGS:]
        self._group.attention = attention > 0
        if failed:
            self._fail(problem)
        if dropped:
            raise BatchDropped
        if not self._counted:
            self._counted = True
            self.counts = Counts(self._whole, buffer[-5].round().long(), buffer[-4])
        return self._unflattened(buffer, numbers[:-FLAGS])

    def _flattened(self, gradients: Gradients) -> Tensor:
        """Sums over this process's rows, which parameters have one, and room for the flags: one tensor."""
        parts = [
            (
                gradients[name].reshape(-1)
                if name in gradients
                else parameter.new_zeros(1).expand(parameter.numel())
            )
            for name, parameter in self._parameters.items()
        ]
        there = [float(name in gradients) for name in self._parameters]
        like = next(iter(self._parameters.values()))
        buffer = torch.cat([*parts, like.new_zeros(len(there) + FLAGS)])
        size = len(buffer) - len(there) - FLAGS
        if self._own:
            buffer[:size].mul_(self._own)
            buffer[size : size + len(there)] = torch.tensor(there, dtype=like.dtype, device=like.device)
        return buffer

    def _unflattened(self, buffer: Tensor, there: Sequence[float]) -> Gradients:
        sizes = [parameter.numel() for parameter in self._parameters.values()]
        buffer[: sum(sizes)].div_(self._whole)
        parts = torch.split(buffer[: sum(sizes)], sizes)
        return {
            name: part.view(parameter.shape)
            for (name, parameter), part, is_there in zip(self._parameters.items(), parts, there, strict=True)
            if is_there
        }

    def _fail(self, problem: Exception | None) -> None:
        """Raise what ended this process's computation, or else what ended that of the first other."""
        said = self._group.gather(
            None if problem is None else (isinstance(problem, TrainingError), describe(problem))
        )
        if problem is not None and not isinstance(problem, BatchDropped):
            raise problem
        for rank, words in enumerate(said):
            if words is not None:
                about_network, message = words
                raise TrainingError(message if about_network else f"process {rank} of the run: {message}")


def describe(problem: BaseException) -> str:
    """An error in words."""
    return str(problem) or type(problem).__name__
