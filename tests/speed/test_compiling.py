"""The compiled time step: the same states where a compiler is at hand, and words where it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from eqprop_core import ModelConfig, build_network
from eqprop_core.networks.numerics import Numerics
from eqprop_core.speed import compiling
from eqprop_core.speed.compiling import compile_step

CNN: dict[str, Any] = {"model": "CNN", "input_shape": (1, 8, 8), "channels": [4], "kernels": [3], "pools": "m", "fc": [6, 5], "act": "mysig"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what a compiler warns of is its own
def test_compiled_time_steps_lead_to_the_same_states() -> None:
    net = build_network(ModelConfig(**CNN), generator=torch.Generator().manual_seed(0))
    seconds, error = compile_step(net, 6, torch.device("cpu"))
    if error is not None:
        pytest.skip(f"nothing can be compiled here: {error}")
    x, y = torch.rand(6, 1, 8, 8), torch.arange(6) % 5
    exact = net.settle(x, net.initial_state(6), steps=20, beta=0.5, y=y)
    with net.using(replace(net.numerics, compiled=True)):
        compiled = net.settle(x, net.initial_state(6), steps=20, beta=0.5, y=y)
    assert seconds > 0
    for found, expected in zip(compiled, exact, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_compiler_that_fails_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler\nwith a long story")

    monkeypatch.setattr(compiling.torch, "compile", broken)
    net = build_network(ModelConfig(**CNN))
    assert compile_step(net, 3, torch.device("cpu")) == (0.0, "no compiler")
    assert net.compiled_step is None and net.numerics == Numerics()
