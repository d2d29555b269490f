"""The epoch loop: trains a network as a `RunConfig` says, and yields events.

Knows nothing of folders, processes or terminals. Order, augmentation, dropout masks and random signs are
functions of (seed, epoch, batch), so that a trainer restored from `state()` goes on exactly as if it had not
been stopped. What is sampled by the batch (activity, settling, GDU checks) is sampled at fixed batches;
only progress events depend on the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.data.batches import batches, normalize
from eqprop_core.data.datasets import Dataset, Images
from eqprop_core.data.randomness import generator
from eqprop_core.events import BatchFinished, EpochFinished, EpochStarted, Event, PhaseProgress, Settling
from eqprop_core.learning import observations
from eqprop_core.learning.algorithms import ALGORITHMS, Algorithm, TrainingBatch
from eqprop_core.learning.evaluation import evaluation
from eqprop_core.learning.gdu import GduResult, gdu_check
from eqprop_core.learning.optimizer import build_optimizer, decayed, rates_of, set_rates
from eqprop_core.learning.running import Running
from eqprop_core.networks.network import Masks, Network, State, Watch

__all__ = ["Running", "Trainer", "TrainingError", "evaluation", "spaced"]

OBSERVED_BATCHES = 4  # of each epoch: activity and settling
CHECKED_BATCHES = 10  # of each epoch, with --check-thm
CHECKED_IMAGES = 5
EVENTS_PER_SECOND = 10.0
SECONDS_OF_FREQUENT_EVENTS = 600.0  # then BATCH_EVENTS_AN_EPOCH at most, so that long runs stay readable
BATCH_EVENTS_AN_EPOCH = 300


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


class Trainer:
    """Trains `net` on `dataset`; both are on one device already.

    `epoch` and `batch` are the position, both from 0: what comes next. `histories` holds one value an epoch
    for `train`, `validation`, `test` (accuracies in per cent) and `loss`. `algorithm` is the one that the
    configuration names unless given. `boundary` is called after each batch, when `state()` may be saved;
    training ends there, `stopped`, if it returns True. `epochs`, `lr_factor` and `events_per_second` may be
    changed there; `apply_rates` makes a new factor hold.
    """

    def __init__(
        self,
        config: RunConfig,
        net: Network,
        dataset: Dataset,
        *,
        algorithm: Algorithm | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert config.lrs is not None and config.seed is not None
        self.config = config
        self.net = net
        self.dataset = dataset
        self.boundary: Callable[[], bool] = lambda: False
        self.stopped = False
        self.algorithm = algorithm or ALGORITHMS[config.alg]
        self.clock = clock
        self.begun = clock()
        self.seed = config.seed
        self.rates = config.lrs
        self.optimizer = build_optimizer(
            net, optim=config.optim, lrs=config.lrs, wds=config.wds, mmt=config.mmt
        )
        self.epochs = config.epochs
        self.epoch = 0
        self.batch = 0
        self.running = Running(self.device)
        self.histories: dict[str, list[float | None]] = {
            "train": [],
            "validation": [],
            "test": [],
            "loss": [],
        }
        self.best_accuracy: float | None = None
        self.lr_factor = 1.0
        self.events_per_second = EVENTS_PER_SECOND
        self.evaluated: dict[str, tuple[float, float]] = {}
        self.last_gdu: GduResult | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.net.parameters()).device

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in an epoch, a smaller last one included."""
        return -(-len(self.dataset.train) // self.config.mbs)

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to go on exactly from here; tensors, numbers, lists and text only.

        May be taken after any event. The tensors are those in use: save or clone them before going on.
        """
        return {
            "model_state_dict": self.net.state_dict(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "position": {"epoch": self.epoch, "batch": self.batch},
            "running": self.running.state(),
            "histories": {name: list(values) for name, values in self.histories.items()},
            "best_accuracy": self.best_accuracy,
            "epochs": self.epochs,
            "lr_factor": self.lr_factor,
        }

    def restore(self, state: dict[str, Any], *, with_optimizer: bool = True) -> None:
        """Go on from what `state` returned; without its optimizer's moments where that was another one."""
        self.net.load_state_dict(state["model_state_dict"])
        if with_optimizer:
            self.optimizer.load_state_dict(state["optimizer_state_dict"])
        self.epoch = state["position"]["epoch"]
        self.batch = state["position"]["batch"]
        self.running = Running(self.device, **state["running"])
        self.histories = {name: list(state["histories"][name]) for name in self.histories}
        self.best_accuracy = state["best_accuracy"]
        self.epochs = int(state["epochs"])
        self.lr_factor = float(state.get("lr_factor", 1.0))
        # What the configuration says now wins over what the optimizer had when it was saved.
        decays = self.config.wds or [0.0] * len(self.rates)
        for group, decay in zip(self.optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay
            if "momentum" in group:
                group["momentum"] = self.config.mmt

    def apply_rates(self) -> None:
        """Give the optimizer the learning rates of the present epoch: decay and factor."""
        rates = self.rates
        if self.config.lr_decay:
            rates = tuple(decayed(rate, self.epoch, self.config.decay_epochs) for rate in rates)
        set_rates(self.optimizer, [rate * self.lr_factor for rate in rates])

    def run(self) -> Iterator[Event]:
        """Train from the present position to the last epoch. Raises `TrainingError`.

        After `EpochFinished` the position is that of the next epoch, and `state()` may be saved.
        """
        self.stopped = False
        while self.epoch < self.epochs and not self.stopped:
            yield from self._epoch()

    def _epoch(self) -> Iterator[Event]:
        started = self.clock()
        if self.batch == 0:
            self.running = Running(self.device)
        self.apply_rates()
        count = self.batches_per_epoch
        yield EpochStarted(epoch=self.epoch + 1, batches=count, rates=list(rates_of(self.optimizer)))
        yield from self._train(count)
        if not self.stopped:
            yield from self._finish_epoch(started)

    def _finish_epoch(self, started: float) -> Iterator[Event]:
        """Evaluate, and go on to the next epoch."""
        loss = self._finite_loss()
        yield from self._evaluate("validation")
        yield from self._evaluate("test")
        if self.stopped:
            return  # this epoch's evaluation is repeated when the run is resumed
        validation, test = self.evaluated.get("validation"), self.evaluated["test"]
        judged = (validation or test)[0]
        best = self.best_accuracy is None or judged > self.best_accuracy
        if best:
            self.best_accuracy = judged
        for name, value in (
            ("train", self.running.accuracy()),
            ("validation", validation[0] if validation else None),
            ("test", test[0]),
            ("loss", loss),
        ):
            self.histories[name].append(value)
        finished = EpochFinished(
            epoch=self.epoch + 1,
            train_accuracy=self.running.accuracy(),
            validation_accuracy=validation[0] if validation else None,
            test_accuracy=test[0],
            loss=loss,
            test_loss=observations.finite(test[1]),
            rates=list(rates_of(self.optimizer)),
            seconds=self.clock() - started,
            best=best,
        )
        self.epoch, self.batch = self.epoch + 1, 0
        if self.net.vector_field:
            yield observations.angles(self.net, epoch=self.epoch)
        yield finished

    def _train(self, count: int) -> Iterator[Event]:
        """The batches of an epoch that are left."""
        observed = spaced(count, OBSERVED_BATCHES)
        checked = spaced(count, CHECKED_BATCHES) if self.config.check_thm else set()
        sparse = spaced(count, BATCH_EVENTS_AN_EPOCH)
        said, images_said = self.clock(), self.running.images
        for item in batches(
            self.dataset.train,
            self.dataset.info,
            batch_size=self.config.mbs,
            seed=self.seed,
            epoch=self.epoch,
            shuffle=True,
            augment=self.config.data_aug,
            dtype=next(self.net.parameters()).dtype,
            start=self.batch,
        ):
            if item.index in checked:
                yield self._check(item.x[:CHECKED_IMAGES], item.y[:CHECKED_IMAGES], item.index)
            seen = self._train_batch(item.index, item.x, item.y, item.index in observed)
            self.batch = item.index + 1
            yield from seen
            now = self.clock()
            late = now - self.begun > SECONDS_OF_FREQUENT_EVENTS and item.index not in sparse
            if (now - said >= 1 / self.events_per_second and not late) or self.batch == count:
                speed = (self.running.images - images_said) / max(now - said, 1e-9)
                said, images_said = now, self.running.images
                yield BatchFinished(
                    epoch=self.epoch + 1,
                    batch=self.batch,
                    batches=count,
                    accuracy=self.running.accuracy(),
                    loss=self._finite_loss(),
                    samples_per_s=speed,
                )
            if self.boundary():
                self.stopped = True
                return

    def _train_batch(self, index: int, x: Tensor, y: Tensor, observed: bool) -> list[Event]:
        """Train on one batch; returns what was seen where it is observed."""
        masks = self.net.draw_masks(len(x), generator(self.seed, "dropout", self.epoch, index))
        changes: dict[str, list[Tensor]] = {}
        free: list[State] = []

        def on_free(s: State) -> None:
            self.running.add(self.net.logits(s, masks), self.net.loss(s, y, masks), y)
            if observed:  # dropped neurons are not part of the picture
                free.append(s if masks is None else kept(s, masks))

        def watch(phase: str) -> Watch:
            found = changes.setdefault(phase, [])
            return lambda _, before, after: found.append(observations.largest_change(before, after).detach())

        self.algorithm(
            TrainingBatch(
                net=self.net,
                optimizer=self.optimizer,
                x=x,
                y=y,
                config=self.config,
                masks=masks,
                generator=generator(self.seed, "sign", self.epoch, index),
                on_free=torch.no_grad()(on_free),
                watch=watch if observed else None,
            )
        )
        if not observed:
            return []
        phases = {
            name: [observations.finite(value) for value in torch.stack(values).tolist()]
            for name, values in changes.items()
            if values
        }
        return [
            observations.activity(self.net, free[0], epoch=self.epoch + 1, batch=index + 1),
            Settling(epoch=self.epoch + 1, batch=index + 1, phases=phases),
        ]

    def check_now(self) -> Event:
        """The GDU check of the present weights, on the first training images."""
        dtype = next(self.net.parameters()).dtype
        first = self.dataset.train
        x = normalize(first.images[:CHECKED_IMAGES], self.dataset.info, dtype)
        return self._check(x, first.labels[:CHECKED_IMAGES], self.batch - 1)

    def _check(self, x: Tensor, y: Tensor, index: int) -> Event:
        config = self.config
        self.last_gdu = gdu_check(
            self.net,
            x,
            y,
            steps=(config.T1, config.T2),
            beta=config.betas[1],
            beta_free=config.betas[0],
            symmetric=config.thirdphase,
            same_update=config.same_update,
            masks=self.net.draw_masks(len(x), generator(self.seed, "dropout", self.epoch, index)),
        )
        return observations.gdu_event(self.last_gdu, epoch=self.epoch + 1, batch=index + 1, images=len(x))

    def _finite_loss(self) -> float:
        loss = self.running.loss()
        if loss != loss or loss in (float("inf"), float("-inf")):
            wrong = [name for name, p in self.net.named_parameters() if not bool(torch.isfinite(p).all())]
            where = f"no longer finite: {', '.join(wrong)}" if wrong else "the weights are still finite"
            raise TrainingError(
                f"the loss is {loss} in epoch {self.epoch + 1}, batch {self.batch}; {where}. "
                f"Smaller learning rates (--lrs) or a bounded activation (--act) usually help"
            )
        return loss

    def _evaluate(self, part: str) -> Iterator[PhaseProgress]:
        """Accuracy in per cent and loss of a part of the data, into `evaluated` if there is such a part."""
        images: Images | None = getattr(self.dataset, part)
        self.evaluated.pop(part, None)
        if images is None:
            return
        result = Running(self.device)
        for progress in evaluation(
            self.net,
            images,
            self.dataset,
            part=part,
            steps=self.config.T1,
            into=result,
            epoch=self.epoch + 1,
            clock=self.clock,
        ):
            yield progress
            if self.boundary():
                self.stopped = True
                return
        self.evaluated[part] = (result.accuracy(), result.loss())


def kept(s: State, masks: Masks) -> State:
    """The neurons that dropout left, layer by layer, flattened."""
    return [layer[mask != 0] for layer, mask in zip(s, masks[1:], strict=True)]


def spaced(count: int, wanted: int) -> set[int]:
    """Up to `wanted` batch numbers from 0, evenly spaced over `count`, the first among them."""
    return {count * k // wanted for k in range(wanted)} if count else set()
