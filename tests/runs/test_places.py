"""Which device a run gets, and what its process sees of it."""

from __future__ import annotations

import pytest

from eqprop_core.devices import Device, Occupant
from eqprop_core.problems import ConfigError
from eqprop_core.runs import launcher, logout
from eqprop_core.runs.places import Place, choose_place

GPUS = [
    Device("cpu", "CPU"),
    Device("cuda:0", "A", memory_total=100, memory_used=80, uuid="GPU-aa"),
    Device("cuda:1", "B", memory_total=100, memory_used=10, uuid="GPU-bb"),
]


@pytest.mark.parametrize(
    ("wanted", "lengths", "place"),
    [
        ("auto", {}, Place("cuda:1", "GPU-bb")),
        ("auto", {"GPU-bb": 1}, Place("cuda:0", "GPU-aa")),
        ("auto", {"GPU-bb": 1, "GPU-aa": 1}, Place("cuda:1", "GPU-bb")),
        ("0", {"GPU-aa": 5}, Place("cuda:0", "GPU-aa")),
        ("cuda:1", {}, Place("cuda:1", "GPU-bb")),
        ("cpu", {}, Place("cpu")),
    ],
)
def test_the_device_is_chosen_by_its_line_and_its_memory(
    wanted: str, lengths: dict[str, int], place: Place
) -> None:
    assert choose_place(wanted, lambda there: lengths.get(there.line, 0), GPUS) == (place, None)


def test_a_process_sees_its_device_alone() -> None:
    assert Place("cuda:1", "GPU-bb").environment["CUDA_VISIBLE_DEVICES"] == "GPU-bb"
    assert Place("cuda:1", "GPU-bb").torch_name == "cuda:0"
    assert Place("cpu").environment["CUDA_VISIBLE_DEVICES"] == ""
    with pytest.raises(ConfigError, match="no such GPU"):
        choose_place("7", lambda _: 0, GPUS)
    assert choose_place("3", lambda _: 0, GPUS[:1])[0] == Place("cpu")


def test_processes_of_others_on_the_gpu_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [Occupant(1, "root2", 2**31), Occupant(2, logout.user(), 5), Occupant(3, None, None)]
    monkeypatch.setattr(launcher, "occupants", lambda uuid: there if uuid == "GPU-bb" else [])
    assert launcher._others_on(Place("cuda:1", "GPU-bb")) == [
        "cuda:1 is in use by process 1 of root2, 2.0 GiB",
        "cuda:1 is in use by process 3 of an unknown user",
    ]
    assert launcher._others_on(Place("cuda:0", "GPU-aa")) == launcher._others_on(Place("cpu")) == []
