"""The epoch loop: trains a network as a `RunConfig` says, and yields events.

Knows nothing of folders, processes or terminals. Order, augmentation, dropout masks and random signs are
functions of (seed, epoch, batch), so that a trainer restored from `state()` goes on exactly as if it had not
been stopped. What is sampled by the batch (activity, settling, GDU checks) is sampled at fixed batches;
only progress events depend on the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.data.batches import Batch, batches, normalize
from eqprop_core.data.classes import largest_share
from eqprop_core.data.datasets import Dataset, Images
from eqprop_core.events import BatchFinished, EpochFinished, EpochStarted, Event, PhaseProgress
from eqprop_core.learning import observations
from eqprop_core.learning.algorithms import ALGORITHMS, Algorithm
from eqprop_core.learning.batch import Looks, check_batch, looks, spaced, train_batch
from eqprop_core.learning.checked import SEARCHED_AT_ONCE, images_to_check
from eqprop_core.learning.evaluation import evaluation, shared_evaluation
from eqprop_core.learning.finite import check_training
from eqprop_core.learning.gdu import GduResult
from eqprop_core.learning.observations import Observed
from eqprop_core.learning.optimizer import build_optimizer, decayed, rates_of, set_rates
from eqprop_core.learning.probe import MOST_PARAMETERS, Probe
from eqprop_core.learning.running import Running
from eqprop_core.learning.sharing import Group
from eqprop_core.learning.steps import BatchDropped, Drop, Progress, Steps
from eqprop_core.learning.troubles import Troubles
from eqprop_core.memory import CHECKED_IMAGES
from eqprop_core.networks.network import Network, Watch

EVENTS_PER_SECOND = 10.0
SECONDS_OF_FREQUENT_EVENTS = 600.0  # then BATCH_EVENTS_AN_EPOCH at most, so that long runs stay readable
BATCH_EVENTS_AN_EPOCH = 300


class Trainer:
    """Trains `net` on `dataset`; both are on one device already.

    `epoch` and `batch` are the position, both from 0: what comes next. `histories` holds one value an epoch
    for `train`, `validation`, `test` (accuracies in per cent) and `loss`. `algorithm` is the one that the
    configuration names unless given. `boundary` is called after each batch, when `state()` may be saved;
    training ends there, `stopped`, if it returns True. `epochs`, `lr_factor` and `events_per_second` may be
    changed there; `apply_rates` makes a new factor hold, and `idle` counts seconds that were spent waiting
    there.

    `drop` is asked between time steps: if it says True, all is as before the batch, `boundary` is called at
    once, and unless training ends there the batch begins again. `progress` is told where a batch is that
    takes longer than a second. An evaluation's batches are dropped and told in the same way. `review` is
    called before the batches that `Looks` says; its events are among the training's.

    In a `group` this process has its rows of every batch and of every evaluation, `mbs` being the whole
    batch; all processes of the group have the same position, histories and events but those of `progress` and
    of what is observed, which are rank 0's.
    """

    def __init__(
        self,
        config: RunConfig,
        net: Network,
        dataset: Dataset,
        *,
        algorithm: Algorithm | None = None,
        group: Group | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert config.lrs is not None and config.seed is not None
        self.config = config
        self.net = net
        self.dataset = dataset
        self.boundary: Callable[[], bool] = lambda: False
        self.drop: Drop = lambda: False
        self.progress: Progress = lambda _: None
        self.review: Callable[[], Iterable[Event]] = lambda: ()
        self.stopped = False
        self.algorithm = algorithm or ALGORITHMS[config.alg]
        self.group = group
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
        parts = ("train", "validation", "test", "loss")
        self.histories: dict[str, list[float | None]] = {name: [] for name in parts}
        self.best_accuracy: float | None = None
        self.lr_factor = 1.0
        self.idle = 0.0
        self._spent = 0.0  # seconds of the present epoch in the processes before
        self._started: float | None = None  # when the epoch would have begun without a break
        self.events_per_second = EVENTS_PER_SECOND
        self.last_gdu: GduResult | None = None
        self.troubles = Troubles(config, 100 * largest_share(dataset.train))

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
            "events_per_second": self.events_per_second,
            "troubles": self.troubles.state(),
            "seconds": self._spent if self._started is None else self.clock() - self.idle - self._started,
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
        self.events_per_second = float(state.get("events_per_second", EVENTS_PER_SECOND)) or EVENTS_PER_SECOND
        self.troubles.restore(state.get("troubles", {}))
        self._spent, self._started = float(state.get("seconds", 0.0)), None
        # What the configuration says now wins over what the optimizer had when it was saved.
        decays = self.config.wds or [0.0] * len(self.rates)
        for group, decay in zip(self.optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay
            if "momentum" in group:
                group["momentum"] = self.config.mmt
        self.apply_rates()

    def apply_rates(self) -> None:
        """Give the optimizer the learning rates of the present epoch or of the last: decay and factor."""
        rates = self.rates
        if self.config.lr_decay:
            epoch = min(self.epoch, max(0, self.epochs - 1))
            rates = tuple(decayed(rate, epoch, self.config.decay_epochs) for rate in rates)
        set_rates(self.optimizer, [rate * self.lr_factor for rate in rates])

    def run(self) -> Iterator[Event]:
        """Train from the present position to the last epoch. Raises `TrainingError`.

        After `EpochFinished` the position is that of the next epoch, and `state()` may be saved.
        """
        self.stopped = False
        yield from self.troubles.untold()
        while self.epoch < self.epochs and not self.stopped:
            yield from self._epoch()

    def _epoch(self) -> Iterator[Event]:
        if self._started is None:
            self._started = self.clock() - self.idle - self._spent
        if self.batch == 0:
            self.running = Running(self.device)
        self.apply_rates()
        count = self.batches_per_epoch
        yield EpochStarted(epoch=self.epoch + 1, batches=count, rates=list(rates_of(self.optimizer)))
        if self.batch == 0 and self.epoch & (self.epoch - 1) == 0:  # epochs 0, 1, 2, 4, 8 …
            while not self._probe():
                if self._ended():
                    return
            yield from self.troubles.untold()
        yield from self._train(count)
        if not self.stopped:
            yield from self._finish_epoch(self._started)

    def _finish_epoch(self, started: float) -> Iterator[Event]:
        """Evaluate, and go on to the next epoch."""
        self.check_finite()
        found: dict[str, tuple[float, float]] = {}
        for part in ("validation", "test"):
            images: Images | None = getattr(self.dataset, part)
            if images is not None:
                found[part] = yield from self._evaluate(part, images)
            if self.stopped:
                return  # this epoch's evaluation is repeated when the run is resumed
        if self.net.vector_field:
            yield observations.angles(self.net, epoch=self.epoch + 1)
        validation, test = found.get("validation"), found["test"]
        judged = (validation or test)[0]
        best = self.best_accuracy is None or judged > self.best_accuracy
        if best:
            self.best_accuracy = judged
        for name, value in (
            ("train", self.running.accuracy()),
            ("validation", validation[0] if validation else None),
            ("test", test[0]),
            ("loss", self.running.loss()),
        ):
            self.histories[name].append(value)
        finished = EpochFinished(
            epoch=self.epoch + 1,
            train_accuracy=self.running.accuracy(),
            validation_accuracy=validation[0] if validation else None,
            test_accuracy=test[0],
            loss=self.running.loss(),
            test_loss=observations.finite(test[1]),
            rates=list(rates_of(self.optimizer)),
            seconds=self.clock() - self.idle - started,
            best=best,
        )
        self.epoch, self.batch = self.epoch + 1, 0
        self._spent, self._started = 0.0, None
        self.troubles.judge_epochs(self.histories["train"])
        yield finished
        yield from self.troubles.untold()

    def _train(self, count: int) -> Iterator[Event]:
        """The batches of an epoch that are left."""
        at = looks(count, self.config, self.device)
        sparse = spaced(count, BATCH_EVENTS_AN_EPOCH)
        said, images_said = self.clock(), self.running.images
        for item in self._batches(self.batch, self.group.rows if self.group is not None else None):
            if item.index in (at.observed if self.epoch else at.at_first):
                yield from self.review()
            while (seen := self._attempt(item, at)) is None:
                if self._ended():
                    return
            self.batch = item.index + 1
            yield from seen
            yield from self.troubles.untold()
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
                    loss=observations.finite(self.running.loss()),
                    samples_per_s=speed,
                )
            if self._ended():
                return

    def _probe(self) -> bool:
        """Have the gradient judged before an epoch's first batch; False where that was dropped.

        That is done in epochs that lie further and further apart, since weights change fastest at first.
        """
        looks_here = self.group is None or self.group.rank == 0
        size = sum(parameter.numel() for parameter in self.net.parameters())
        if self.config.alg == "BPTT" or not looks_here or size > MOST_PARAMETERS:
            return True
        steps = Steps(self.clock, self.progress, self.drop)

        def watch(phase: str, count: int) -> Watch:
            def place(step: int) -> PhaseProgress:
                return PhaseProgress(epoch=self.epoch + 1, batch=1, phase="probe", step=step, steps=count)

            return steps.watch(place)

        first = next(self._batches(0))
        try:
            self.troubles.judge_gradient(Probe(self.net, self.config, first.x, first.y, watch))
        except BatchDropped:
            return False
        return True

    def _batches(self, start: int, part: Callable[[int], slice] | None = None) -> Iterator[Batch]:
        """The batches of the present epoch from index `start` on, or the part of each that is asked for."""
        return batches(
            self.dataset.train,
            self.dataset.info,
            batch_size=self.config.mbs,
            seed=self.seed,
            epoch=self.epoch,
            shuffle=True,
            augment=self.config.data_aug,
            dtype=next(self.net.parameters()).dtype,
            start=start,
            part=part,
        )

    def _ended(self) -> bool:
        """Let others act between two batches; whether training ends here."""
        self.stopped = self.boundary()
        return self.stopped

    def _attempt(self, item: Batch, at: Looks) -> list[Event] | None:
        """Train on a batch; returns what was seen of the network, None where the batch was dropped."""
        place = {"epoch": self.epoch + 1, "batch": item.index + 1}
        seen: list[Event] = []
        looks_here = self.group is None or self.group.rank == 0
        if item.index in at.checked and looks_here:
            whole = item if self.group is None else next(self._batches(item.index))
            seen.append(self._check(iter([(whole.x, whole.y)]), item.index))
        picture = Observed(self.net) if item.index in at.observed and looks_here else None
        try:
            counts = train_batch(
                self.algorithm,
                self.net,
                self.optimizer,
                self.config,
                item,
                epoch=self.epoch,
                steps=Steps(self.clock, self.progress, self.drop),
                picture=picture,
                judged=item.index in at.judged,
                group=self.group,
            )
        except BatchDropped:
            return None
        self.running.take(counts)
        if picture is None:
            return seen
        self.troubles.observe(picture, **place)
        return [*seen, picture.activity(**place), picture.settling(**place)]

    def check_finite(self) -> None:
        """Raise `TrainingError` if a weight, a moment of the optimizer or the running loss is not finite.

        To be called before anything is saved that a training is to go on from. Waits for the device.
        """
        where = f"epoch {self.epoch + 1}, batch {self.batch}"
        check_training(self.net, self.optimizer, self.config, loss=self.running.loss(), where=where)

    def check_now(self) -> Event:
        """The GDU check of the present weights, on the first training images that it can be made on."""
        dtype, train = next(self.net.parameters()).dtype, self.dataset.train
        parts = (
            (normalize(train.images[start:end], self.dataset.info, dtype), train.labels[start:end])
            for start, end in pairwise((*range(0, len(train), SEARCHED_AT_ONCE), len(train)))
        )
        return self._check(parts, self.batch - 1)

    def _check(self, candidates: Iterator[tuple[Tensor, Tensor]], index: int) -> Event:
        x, y, chosen = images_to_check(self.net, self.config, candidates, CHECKED_IMAGES)
        self.last_gdu = check_batch(self.net, self.config, x, y, epoch=self.epoch, index=index)
        place = {"epoch": self.epoch + 1, "batch": index + 1}
        return observations.gdu_event(
            self.last_gdu, self.net, self.config, **place, images=len(x), chosen=chosen
        )

    def _evaluate(self, part: str, images: Images) -> Generator[PhaseProgress, None, tuple[float, float]]:
        """Accuracy in per cent and loss of a part of the data, of what was seen where it was `stopped`."""
        result = Running(self.device)
        evaluate = evaluation if self.group is None else partial(shared_evaluation, self.group)
        yield from evaluate(
            self.net,
            images,
            self.dataset,
            part=part,
            steps=self.config.T1,
            into=result,
            epoch=self.epoch + 1,
            clock=self.clock,
            progress=self.progress,
            drop=self.drop,
            ended=self._ended,
        )
        return result.accuracy(), result.loss()
