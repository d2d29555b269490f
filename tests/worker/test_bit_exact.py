"""A run that is interrupted anywhere and resumed ends as one that was left alone, in every bit.

Compared are the weights, the best weights, the optimizer's state, the histories, the best accuracy, the plan,
and the values of all events but clocks, speeds and what is said of checkpoints and requests. The trainer reads
a clock that is the same for all, so that every batch has its event and all batch events are compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interruptions import Processes, Strike, Wish, end_of, said, same, values_of, warnings_of

from eqprop_core.config import RunConfig
from eqprop_core.runs.folder import RunFolder

DIGITS: dict[str, Any] = {
    "task": "digits", "archi": [64, 10, 10], "lrs": [0.05, 0.05], "T1": 6, "T2": 3, "betas": [0.0, 0.3],
    "mbs": 8, "epochs": 3, "seed": 5, "train_samples": 60, "test_samples": 120,
}  # fmt: skip
CIFAR10: dict[str, Any] = {
    **DIGITS, "task": "CIFAR10", "archi": None, "channels": [3, 4], "kernels": [3, 3], "strides": [2, 2],
    "paddings": [1, 1], "lrs": [0.05] * 3, "act": "my_hard_sig", "mbs": 3, "train_samples": 17,
    "test_samples": 4, "data_aug": True,
}  # fmt: skip
TABLE: dict[str, dict[str, Any]] = {
    "one-sided, momentum, GDU checks": {**DIGITS, "mmt": 0.9, "check_thm": True},
    "random sign, adam": {**DIGITS, "random_sign": True, "optim": "adam", "lrs": [1e-3, 1e-3]},
    "symmetric, dropout, decay": {
        **DIGITS, "thirdphase": True, "dropouts": [0.9, 0.7, 1.0], "lr_decay": True, "decay_epochs": 4,
    },
    "bptt, validation, momentum": {**DIGITS, "alg": "BPTT", "val_split": 0.2, "mmt": 0.9},
    "continual, weight decay": {**DIGITS, "alg": "CEP", "thirdphase": True, "wds": [1e-3, 1e-3]},
    "augmented, adam, dropout": {
        **CIFAR10, "model": "CNN", "optim": "adam", "lrs": [1e-3] * 3, "random_sign": True, "dropouts": [0.8] * 4,
    },
    "augmented vector field, softmax, momentum": {
        **CIFAR10, "model": "VFCNN", "thirdphase": True, "same_update": True, "loss": "cel", "softmax": True,
        "mmt": 0.9,
    },
}  # fmt: skip
SLOWER = Wish((2, 3), "set", {"lr_factor": 0.5})
LONGER = Wish((2, 5), "set", {"epochs": 4})
SHORTER = Wish((1, 2), "set", {"epochs": 2, "lr_factor": 2.0})
PAUSE = [Wish((1, 2), "pause"), Wish((1, 2), "resume")]

Interrupted = Callable[..., None]


@pytest.fixture(scope="module")
def processes() -> Processes:
    return Processes()


@pytest.fixture(scope="module")
def left_alone() -> dict[tuple[str, str], RunFolder]:
    """Runs that nothing happened to, by configuration and wishes."""
    return {}


@pytest.fixture
def ends_as_if_left_alone(
    processes: Processes,
    left_alone: dict[tuple[str, str], RunFolder],
    data_root: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Interrupted:
    """Interrupt a run of a configuration by strikes, and hold its end against that of one without any."""

    def check(name: str, *strikes: Strike, wishes: tuple[Wish, ...] = ()) -> None:
        config = RunConfig(**TABLE[name], data_dir=str(data_root))
        changes = tuple(wish for wish in wishes if wish.request == "set")
        key = (name, str(changes))
        if key not in left_alone:
            whole = RunFolder.create(tmp_path_factory.mktemp("whole"), config, command=[name])
            processes.complete(whole, wishes=changes)
            left_alone[key] = whole
        run = RunFolder.create(tmp_path, config, command=[name])
        processes.complete(run, strikes, wishes)
        compare(run, left_alone[key])

    return check


def compare(run: RunFolder, whole: RunFolder) -> None:
    """Fail, naming what differs."""
    ends = end_of(run), end_of(whole)
    differing = [name for name in ends[1] if not same(ends[0][name], ends[1][name])]
    assert not differing, f"{differing}\n{said(run)}"
    seen, expected = values_of(run), values_of(whole)
    for mine, other in zip(seen, expected, strict=False):
        assert mine == other
    assert len(seen) == len(expected), (seen[len(expected) :], expected[len(seen) :])
    assert warnings_of(run) == warnings_of(whole)


POINTS: dict[str, tuple[Strike, ...]] = {
    "in the middle of a batch": (Strike("free phase", 6),),
    "between weights that are new and a batch that is over": (Strike("update", 7),),
    "before the first checkpoint": (Strike("batch", 3), Strike("update", 2), Strike("boundary", 1)),
    "as the first event is written": (Strike("event", 1), Strike("event", 1, after=True)),
    "right after a resume": (Strike("boundary", 6), Strike("event", 1, after=True), Strike("batch", 1)),
    "when half a checkpoint is written": (Strike("half a file", 1), Strike("half a file", 2)),
    "when a checkpoint is synced": (Strike("sync", 2), Strike("sync", 3, after=True)),
    "before the checkpoint before has its name": (Strike("link", 1), Strike("link", 2, after=True)),
    "around renames": (*(Strike("rename", n, after=True) for n in (1, 2, 3, 4)), Strike("rename", 3)),
    "in the evaluation": (Strike("evaluation", 2), Strike("evaluation", 1, after=True)),
    "between the best model and its checkpoint": (Strike("best model", 1), Strike("best model", 1, after=True)),
    "after the last epoch": (Strike("end", 1), Strike("final checkpoint", 1), Strike("final checkpoint", 1, after=True)),
    "by requests to stop": tuple(Strike("boundary", n, "stop") for n in (1, 5, 7)),
    "by requests to stop in the evaluation": (Strike("boundary", 9, "stop"), Strike("boundary", 2, "stop")),
    "by TERM": tuple(Strike(where, 4, "term") for where in ("free phase", "update", "batch", "evaluation")),
    "by TERM twice": (Strike("update", 6, "term twice"), Strike("sync", 1, "term twice")),
}  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_a_run_ends_the_same_wherever_it_was_interrupted(
    point: str, ends_as_if_left_alone: Interrupted
) -> None:
    ends_as_if_left_alone("one-sided, momentum, GDU checks", *POINTS[point])


def drawn(name: str, count: int, *, seed: int = 0) -> tuple[Strike, ...]:
    """Strikes at random, the same for the same seed; early enough that a resumed run reaches them."""
    chance = random.Random(f"{name} {seed}")
    strikes = []
    for _ in range(count):
        where = chance.choice(
            ("free phase", "update", "boundary", "batch", "event", "half a file", "sync", "rename", "link")
        )
        last = 2 if where in ("half a file", "sync", "rename", "link") else 6
        how = "kill" if where in ("sync", "rename", "link") else chance.choice(("kill", "kill", "term"))
        strikes.append(Strike(where, chance.randint(1, last), how, chance.random() < 0.5))
    return tuple(strikes)


@pytest.mark.parametrize("name", TABLE)
def test_every_way_of_training_can_be_interrupted_at_random(
    name: str, ends_as_if_left_alone: Interrupted
) -> None:
    ends_as_if_left_alone(name, *drawn(name, 3))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("name", TABLE)
def test_every_way_of_training_can_be_interrupted_at_many_points(
    name: str, seed: int, ends_as_if_left_alone: Interrupted
) -> None:
    wishes = [(), (SLOWER,), (SLOWER, LONGER), (*PAUSE, SHORTER)][seed % 4]
    ends_as_if_left_alone(name, *drawn(name, 4, seed=seed), wishes=wishes)


# An epoch has 8 batches and 3 steps of evaluation; checkpoints are at (1, 4), (1, 8), (2, 0), (2, 1), (2, 5).
CHANGED: dict[str, tuple[tuple[Wish, ...], tuple[Strike, ...]]] = {
    "and was saved": ((SLOWER,), (Strike("boundary", 18),)),
    "and was not saved": ((SLOWER,), (Strike("boundary", 15),)),
    "two of them, one saved": ((SLOWER, LONGER), (Strike("boundary", 17),)),
    "and was lost twice": ((SLOWER,), (Strike("boundary", 15), Strike("free phase", 1), Strike("boundary", 3))),
    "and a later checkpoint does not have it": (
        (SLOWER,),
        (Strike("boundary", 15), Strike("boundary", 1, "stop"), Strike("free phase", 1)),
    ),
    "before the first checkpoint": ((SHORTER,), (Strike("batch", 4), Strike("batch", 2), Strike("batch", 4))),
    "where it was stopped": ((SLOWER, LONGER), (Strike("boundary", 14, "stop"), Strike("boundary", 2, "stop"))),
    "in a run that was paused": ((*PAUSE, SLOWER), (Strike("boundary", 14, "term", after=True),)),
}  # fmt: skip


@pytest.mark.parametrize("when", CHANGED)
def test_a_change_in_flight_holds_from_its_place_on(when: str, ends_as_if_left_alone: Interrupted) -> None:
    wishes, strikes = CHANGED[when]
    ends_as_if_left_alone("random sign, adam", *strikes, wishes=wishes)
