"""On a GPU: the same numbers as on the CPU, without a step that waits for the host."""

from __future__ import annotations

import time

import pytest
import torch
from golden_files import NAMES, golden

from eqprop_core import bptt_gradients, ep_gradients, gdu_check
from eqprop_core.events import PhaseProgress
from eqprop_core.learning.steps import Steps

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
