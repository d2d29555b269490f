"""What needs GPUs, without any: groups by the names of their backends, and what torch says of tensor cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import distributed

from eqprop_core.networks.products import set_tf32, tf32
from eqprop_core.worker import by_torch
from eqprop_core.worker.machines import Machines
from eqprop_core.worker.ranks import Rank


class Store:
    """What the processes of several machines wrote where they meet."""

    def __init__(self, **there: bytes) -> None:
        self.there = {name.replace("_", "/"): value for name, value in there.items()}

    def set(self, name: str, value: str) -> None:
        self.there[name] = value.encode()

    def check(self, names: list[str]) -> bool:
        return all(name in self.there for name in names)

    def get(self, name: str) -> bytes:
        return self.there[name]


def machines(store: Store) -> Machines:
    """Rank 0 of two, without a connection."""
    found = Machines.__new__(Machines)
    found._here, found._store, found._open = Rank(0, 2, 0, 2), store, True
    found._beats = SimpleNamespace(end=lambda: None)  # type: ignore[assignment]
    return found


def test_a_group_is_left_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[bool] = []
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: left.append(True))
    talk = machines(Store())
    talk.leave()
    talk.leave()
    assert left == [True]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (b"out of memory", "out of memory"),
        (b"\x1b]0;owned\x07\xff", "\\x1b]0;owned\\x07\ufffd"),
        (b"x" * 10**6, "x" * 2048),
    ],
)
def test_a_library_that_waits_for_the_one_that_is_lost_holds_nobody_up(
    said: bytes, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr(by_torch, "SECONDS_TO_LEAVE", 0.05)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: never.wait(60))
    store = Store(failed_1=said)
    try:
        lost = machines(store)._lost(RuntimeError("NCCL communicator was aborted"))
        assert str(lost) == f"process 1 of 2 (from 0) ended: {read}"
        assert "left/0" in store.there
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
