"""Several processes that share every batch train as one does: gradients, steps, statistics, evaluations.

The processes are real and talk through gloo; a group of two and one of three are started once, and do all
cases. Batches divide by the number of processes or not, and the last one leaves processes without an image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from small_trainers import CNN, SMALL, SOFTMAX, dataset
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from eqprop_core import RunConfig, build_network
from eqprop_core.data.randomness import generator
from eqprop_core.events import Event
from eqprop_core.learning.trainer import Trainer

MLP: dict[str, Any] = {**SMALL, "epochs": 1, "betas": [0.0, 0.5], "test_samples": 13}
CONV: dict[str, Any] = {**CNN, "epochs": 1, "betas": [0.0, 0.5], "test_samples": 13}
VF: dict[str, Any] = {**CONV, "model": "VFCNN", "thirdphase": True}
AUGMENTED: dict[str, Any] = {
    **CONV, "task": "CIFAR10", "channels": [3, 4], "strides": [2, 2], "data_aug": True, "train_samples": None,
    "test_samples": None,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "one-sided": MLP,
    "one-sided, adam": {**MLP, "optim": "adam", "lrs": [1e-3, 1e-3]},
    "one-sided, momentum": {**MLP, "mmt": 0.9},
    "random sign": {**MLP, "random_sign": True},
    "symmetric, weight decay": {**MLP, "thirdphase": True, "wds": [1e-3, 1e-3]},
    "bptt": {**MLP, "alg": "BPTT"},
    "continual": {**MLP, "alg": "CEP", "lrs": [0.02, 0.02]},
    "continual symmetric, weight decay": {
        **MLP, "alg": "CEP", "thirdphase": True, "lrs": [0.02, 0.02], "wds": [1e-3, 1e-3],
    },
    "continual, softmax": {**CONV, **SOFTMAX, "alg": "CEP", "lrs": [0.02] * 3},
    "dropout": {**MLP, "thirdphase": True, "dropouts": [0.9, 0.7, 1.0]},
    "cnn, softmax": {**CONV, **SOFTMAX, "thirdphase": True},
    "cnn, softmax, bptt": {**CONV, **SOFTMAX, "alg": "BPTT"},
    "vector field, different updates": VF,
    "vector field, same update": {**VF, **SOFTMAX, "same_update": True},
    "augmented": {**AUGMENTED, "thirdphase": True},
    "validation": {**MLP, "val_split": 0.3},
}  # fmt: skip
SIZES = {  # of a batch, and of all images: four batches, the last of them smaller
    "divides": (6, 19),
    "does not divide": (5, 17),
}
DTYPES = (torch.float32, torch.float64)
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}  # of values, and of weights relative to their norm
# Relative to the largest gradient of the parameter. Gradients are differences of states over β, so that the states'
# last bits weigh alike in all of them, however small a gradient is: until the nudge has reached a layer, continual EP's
# updates of it are of that size. There one process alone, in float32, is off by 5 % from float64.
OF_GRADIENTS = {torch.float32: 1e-4, torch.float64: 1e-12}


def trained(name: str, size: str, dtype: torch.dtype, data: Path, group: Any = None) -> dict[str, Any]:
    """Four optimizer steps: their gradients, the weights after them, the histories and the last events."""
    mbs, images = SIZES[size]
    settings = {**CASES[name], "mbs": mbs, "data_dir": str(data)}
    if settings["train_samples"] is not None:
        settings["train_samples"] = round(images / (1 - settings.get("val_split", 0)))
    config = RunConfig(**settings)
    net = build_network(config.model_part(), generator=generator(3, "weights"), dtype=dtype)
    trainer = Trainer(config, net, dataset(config), group=group)
    gradients: list[dict[str, Tensor | None]] = []

    def note(*_: Any) -> None:
        found = {key: parameter.grad for key, parameter in net.named_parameters()}
        gradients.append({key: None if g is None else g.clone() for key, g in found.items()})

    hook = register_optimizer_step_pre_hook(note)
    try:
        events: list[Event] = list(trainer.run())
    finally:
        hook.remove()
    return {
        "gradients": gradients,
        "weights": {key: value.clone() for key, value in net.state_dict().items()},
        "histories": trainer.histories,
        "best": trainer.best_accuracy,
        "kinds": [event.kind for event in events],
    }


def train_all(data: Path, folder: Path) -> None:
    """What each process of a group does."""
    with ranks.joined() as group:
        for number, (name, size, dtype) in enumerate(table()):
            found = trained(name, size, dtype, data, group)
            torch.save(found, folder / f"{group.size}-{group.rank}-{number}.pt")


def table() -> list[tuple[str, str, torch.dtype]]:
    return [(name, size, dtype) for name in CASES for size in SIZES for dtype in DTYPES]


@pytest.fixture(scope="module")
def shared(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all processes of both groups came to."""
    folder = tmp_path_factory.mktemp("shared")
    started = [ranks.start(size, train_all, data_root, folder) for size in (2, 3)]
    assert [ranks.statuses(processes) for processes in started] == [[0, 0], [0, 0, 0]]
    return folder


@pytest.mark.parametrize("case", range(len(table())), ids=[f"{n}-{s}-{d}"[:60] for n, s, d in table()])
def test_several_processes_train_as_one_does(case: int, shared: Path, data_root: Path) -> None:
    name, size, dtype = table()[case]
    alone = trained(name, size, dtype, data_root)
    largest: dict[str, float] = {}
    for gradients in alone["gradients"]:
        for key, value in gradients.items():
            largest[key] = max(largest.get(key, 0.0), 0.0 if value is None else float(value.norm()))
    for count in (2, 3):
        found = [torch.load(shared / f"{count}-{rank}-{case}.pt") for rank in range(count)]
        for other in found[1:]:
            assert all(torch.equal(a, b) for a, b in pairs(found[0]["weights"], other["weights"]))
            assert other["histories"] == found[0]["histories"]
        assert len(found[0]["gradients"]) == len(alone["gradients"]) >= 4
        for mine, theirs in zip(found[0]["gradients"], alone["gradients"], strict=True):
            for key, value in theirs.items():
                assert (value is None) == (mine[key] is None)
                if value is not None:
                    assert (mine[key] - value).abs().max() <= TOLERANCE[dtype], (count, key)
                    assert (mine[key] - value).norm() <= OF_GRADIENTS[dtype] * largest[key], (count, key)
        for mine, theirs in pairs(found[0]["weights"], alone["weights"]):
            assert distance(mine, theirs) <= TOLERANCE[dtype], count
        assert found[0]["histories"]["test"] == alone["histories"]["test"]
        assert found[0]["histories"]["validation"] == alone["histories"]["validation"]
        assert found[0]["histories"]["train"] == alone["histories"]["train"]
        assert found[0]["histories"]["loss"] == pytest.approx(alone["histories"]["loss"], rel=1e-6)
        assert found[0]["best"] == alone["best"]


def drop_one(data: Path, folder: Path) -> None:
    """Rank 1 drops the third batch once, at its fifth time step; then all begin it again."""
    config = RunConfig(**{**MLP, "mbs": 6, "train_samples": 19, "data_dir": str(data)})
    with ranks.joined() as group:
        net = build_network(config.model_part(), generator=generator(3, "weights"))
        trainer = Trainer(config, net, dataset(config), group=group)
        boundaries: list[int] = []
        trainer.boundary = lambda: bool(boundaries.append(trainer.batch))
        asked = iter(range(10**6))
        trainer.drop = lambda: group.rank == 1 and next(asked) == 2 * (config.T1 + config.T2) + 4
        list(trainer.run())
        torch.save({"weights": net.state_dict(), "boundaries": boundaries}, folder / f"{group.rank}.pt")


def test_a_batch_that_one_process_drops_is_dropped_by_all_and_begins_again(
    data_root: Path, tmp_path: Path
) -> None:
    assert ranks.statuses(ranks.start(2, drop_one, data_root, tmp_path)) == [0, 0]
    alone = trained("one-sided", "divides", torch.float32, data_root)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found["boundaries"] == [1, 2, 2, 3, 4]
        for mine, theirs in pairs(found["weights"], alone["weights"]):
            assert distance(mine, theirs) <= 1e-6


def pairs(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    assert a.keys() == b.keys()
    return [(a[key], b[key]) for key in a]


def distance(a: Tensor, b: Tensor) -> float:
    """Relative, in norm."""
    return float((a - b).norm() / b.norm().clamp_min(1e-30))
