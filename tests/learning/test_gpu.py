"""On a GPU: the same numbers as on the CPU, without a step that waits for the host."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from golden_files import NAMES, golden
from small_trainers import CNN, dataset

from eqprop_core import RunConfig, bptt_gradients, build_network, ep_gradients, gdu_check
from eqprop_core.data.randomness import generator
from eqprop_core.events import PhaseProgress
from eqprop_core.learning.steps import Steps
from eqprop_core.learning.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_on_the_gpu_are_those_on_the_cpu(name: str) -> None:
    case = golden(name)
    x, y = case.tensor("x", torch.float64), case.tensor("y", torch.float64)
    there = (case.network(torch.float64).cuda(), x.cuda(), y.cuda())
    here = (case.network(torch.float64), x, y)
    beta, same = case.config["beta"], case.same_update
    for compute in (
        lambda net, x, y: ep_gradients(net, x, y, steps=case.steps, beta=beta, same_update=same),
        lambda net, x, y: bptt_gradients(net, x, y, steps=case.steps),
        lambda net, x, y: gdu_check(net, x, y, steps=case.steps, beta=beta, same_update=same).ep,
    ):
        for key, value in compute(*here).items():
            torch.testing.assert_close(compute(*there)[key].cpu(), value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_settling_never_waits_for_the_host(name: str) -> None:
    case = golden(name)
    net = case.network(torch.float32).cuda()
    x, y = case.tensor("x", torch.float32).cuda(), case.tensor("y", torch.float32).cuda()
    steps = Steps(time.monotonic, lambda _: None, lambda: False)
    watch = steps.watch(lambda step: PhaseProgress(epoch=1, batch=1, phase="free", step=step, steps=5))
    s = net.settle(x, net.initial_state(len(x)), steps=2, beta=0.1, y=y)  # libraries load at first use
    torch.cuda.set_sync_debug_mode("error")
    try:
        net.settle(x, s, steps=5, beta=0.1, y=y, watch=watch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_masks_are_a_function_of_the_seed_and_are_drawn_on_the_gpu() -> None:
    config = RunConfig(**{**CNN, "dropouts": [0.9, 0.8, 0.7, 1.0]})
    net = build_network(config.model_part()).cuda()
    net.use(replace(net.numerics, masks="device"))

    def draw(*position: int, rows: slice = slice(None)) -> list[torch.Tensor]:
        masks = net.draw_masks(12, generator(3, "dropout", *position), rows)
        assert masks is not None
        return list(masks)

    whole, again, other = draw(1, 2), draw(1, 2), draw(1, 3)
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    assert not torch.equal(whole[0], other[0])
    assert all(torch.equal(a[3:7], b) for a, b in zip(whole, draw(1, 2, rows=slice(3, 7)), strict=True))
    torch.cuda.set_sync_debug_mode("error")
    try:
        draw(1, 2)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def train_on_gpus(folder: Path) -> None:
    """What each process does: a few batches on the GPU of its rank, in float64."""
    with ranks.joined() as group:
        torch.save(trained(torch.device(f"cuda:{group.rank}"), group), folder / f"{group.rank}.pt")


def trained(device: torch.device, group: Any = None) -> dict[str, torch.Tensor]:
    """Weights after an epoch of the small CNN."""
    config = RunConfig(**{**CNN, "epochs": 1, "thirdphase": True, "mbs": 7})
    net = build_network(
        config.model_part(), generator=generator(3, "weights"), device=device, dtype=torch.float64
    )
    parts = {
        name: images.to(device) if images is not None else None
        for name in ("train", "validation", "test")
        for images in [getattr(dataset(config), name)]
    }
    for _ in Trainer(config, net, replace(dataset(config), **parts), group=group).run():
        pass
    return {name: value.cpu() for name, value in net.state_dict().items()}


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_process_on_every_gpu_trains_as_one_does(tmp_path: Path) -> None:
    count = min(torch.cuda.device_count(), 7)
    assert ranks.statuses(ranks.start(count, train_on_gpus, tmp_path)) == [0] * count
    alone = trained(torch.device("cuda:0"))
    for rank in range(count):
        for name, value in torch.load(tmp_path / f"{rank}.pt").items():
            torch.testing.assert_close(value, alone[name], rtol=1e-10, atol=1e-12)
