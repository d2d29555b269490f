"""What needs GPUs, without any: groups by the names of their backends, and what torch says of tensor cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import distributed

from eqprop_core.networks.products import set_tf32, tf32
from eqprop_core.worker import ranks
from eqprop_core.worker.ranks import Rank, _Talk

BACKENDS = ["gloo", "nccl", "cpu:gloo,cuda:nccl", "cuda:nccl,cpu:gloo", "undefined"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_group_is_left_once_whatever_it_is_made_of(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[bool] = []
    monkeypatch.setattr(distributed, "get_backend", lambda: backend)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: left.append(True))
    talk = _Talk(Rank(0, 2, 0, 2), store=None)
    talk.leave()
    talk.leave()
    assert left == [True]


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_a_gpus_library_that_waits_for_the_one_that_is_lost_holds_nobody_up(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr(ranks, "SECONDS_TO_LEAVE", 0.05)
    monkeypatch.setattr(distributed, "get_backend", lambda: backend)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: never.wait(60))
    said: dict[str, str] = {}

    class Store:
        def set(self, name: str, value: str) -> None:
            said[name] = value

        def check(self, names: list[str]) -> bool:
            return names[0] in ("failed/1",)

        def get(self, name: str) -> bytes:
            return b"out of memory"

    try:
        lost = _Talk(Rank(0, 2, 0, 2), Store())._lost(RuntimeError("NCCL communicator was aborted"))
        assert str(lost) == "process 1 of 2 (from 0) ended: out of memory"
        assert "left/0" in said
    finally:
        never.set()


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    backends: Any = torch.backends
    backends.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    set_tf32(False, False)


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize(
    "way",
    [
        "pass",
        "backends.fp32_precision = 'tf32'",
        "backends.fp32_precision = 'ieee'",
        "backends.cuda.matmul.fp32_precision = 'tf32'",
        "backends.cudnn.conv.fp32_precision = 'ieee'",
        "backends.cuda.matmul.allow_tf32 = True",
        "backends.cudnn.allow_tf32 = False",
        "torch.set_float32_matmul_precision('high')",
        "torch.set_float32_matmul_precision('high'); backends.fp32_precision = 'ieee'",
    ],
)
def test_tensor_cores_are_used_and_left_in_whichever_way_they_were_chosen(way: str) -> None:
    backends: Any = torch.backends
    exec(way, {"torch": torch, "backends": backends})

    def chosen() -> tuple[bool, bool]:
        return backends.cuda.matmul.fp32_precision == "tf32", backends.cudnn.conv.fp32_precision == "tf32"

    def by_flags() -> tuple[bool, bool]:
        return backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32

    before = chosen()
    with tf32():
        assert chosen() == by_flags() == (True, True)
    assert chosen() == by_flags() == before
    set_tf32(False, False)
    assert chosen() == by_flags() == (False, False)
    assert backends.cudnn.fp32_precision == "ieee"  # what compiled convolutions go by
