"""How long a run takes, by what was measured; and that this is remembered, within bounds, whatever the file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eqprop_core import estimate as subject
from eqprop_core.config import RunConfig
from eqprop_core.devices import Device
from eqprop_core.estimate import (
    MOST_REMEMBERED,
    Measured,
    estimate,
    measured_as,
    measured_file,
    recall,
    remember,
    unmeasured,
)

DIGITS: dict[str, Any] = {"task": "digits", "archi": [64, 16, 10], "lrs": [0.1, 0.05], "mbs": 20}
CPU = [Device("cpu", "A processor", cores=2)]
MEASURED = Measured(batch=0.01, image=0.0001)


def name(**settings: Any) -> str | None:
    return measured_as(RunConfig(**{**DIGITS, **settings}), CPU)


def test_an_estimate_is_made_of_batches_and_evaluated_images() -> None:
    found = estimate(RunConfig(**DIGITS, epochs=3), MEASURED)
    assert found is not None and (found.epochs, found.batches, found.batch) == (3, 72, 0.01)  # 1,438 images
    assert found.epoch == pytest.approx(0.72 + 0.0359) and found.run == pytest.approx(3 * found.epoch)


@pytest.mark.parametrize(
    ("settings", "batches", "evaluated"),
    [
        ({}, 3000, 10_000),  # MNIST is not here: as published
        ({"train_samples": 50, "test_samples": 7}, 3, 7),
        ({"val_split": 0.25}, 2250, 25_000),
        ({"task": "imagefolder", "archi": None, "model": "CNN", "lrs": [0.1, 0.1, 0.1]}, None, None),
    ],
)
def test_images_are_counted_as_a_run_does(
    settings: dict[str, Any], batches: int | None, evaluated: int | None
) -> None:
    config = RunConfig(**{"lrs": [0.1, 0.1], "mbs": 20, **settings})
    found = estimate(config, Measured(batch=1.0, image=1.0))
    assert (found and found.batches) == batches
    assert evaluated is None or (found is not None and found.epoch - found.batches == evaluated)


def test_what_does_not_change_the_speed_is_no_part_of_the_name() -> None:
    same = [
        {"epochs": 9},
        {"train_samples": 100},
        {"name": "x"},
        {"seed": 3},
        {"lrs": [1, 1]},
        {"fast": True},
    ]
    assert {name(**settings) for settings in same} == {name()}
    assert measured_as(RunConfig(**DIGITS, device="cpu"), [*CPU, Device("cuda:0", "A GPU")]) == name()


@pytest.mark.parametrize(
    "settings",
    [
        {"mbs": 21},
        {"archi": [64, 17, 10]},
        {"T1": 21},
        {"T2": 5},
        {"alg": "BPTT"},
        {"thirdphase": True},
        {"optim": "adam"},
        {"act": "tanh"},
        {"model": "VFMLP"},
        {"train_samples": 10},  # a batch is smaller
    ],
    ids=str,
)
def test_what_changes_the_speed_has_another_name(settings: dict[str, Any]) -> None:
    assert name(**settings) != name()


def test_another_device_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(**DIGITS)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    others = [
        [Device("cpu", "Another", cores=2)],
        [Device("cpu", "A processor", cores=4)],
        [*CPU, Device("cuda:0", "A GPU")],
    ]
    assert len({name(), *(measured_as(config, devices) for devices in others)}) == 4
    assert measured_as(config, []) is None and name(device="3") == name()  # the CPU, with a warning
    before = name()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert name() != before


def test_accelerations_are_left_out_of_what_is_measured() -> None:
    config = RunConfig(**DIGITS, tol=1e-5, compile=True, check_thm=True)
    assert unmeasured(config) == ["tol", "compile", "check_thm"] and unmeasured(RunConfig(**DIGITS)) == []
    assert subject.exactly(config).changed(check_thm=False) == RunConfig(**DIGITS)


# --- remembered ---------------------------------------------------------------------------------------


def test_what_was_measured_is_kept_and_replaced() -> None:
    assert recall("one") is None and recall(None) is None
    remember("one", MEASURED)
    remember("two", Measured(1.0, 2.0))
    assert recall("one") == MEASURED
    remember("one", Measured(3.0, 4.0))
    assert (recall("one"), recall("two")) == (Measured(3.0, 4.0), Measured(1.0, 2.0))
    assert list(measured_file().parent.iterdir()) == [measured_file()]


def test_the_latest_are_kept() -> None:
    for number in range(MOST_REMEMBERED):
        remember(f"{number:016}", MEASURED)
    remember(f"{0:016}", MEASURED)  # measured again: the latest
    remember("one more", MEASURED)
    kept = json.loads(measured_file().read_text())
    assert len(kept) == MOST_REMEMBERED and f"{1:016}" not in kept and f"{0:016}" in kept
    assert measured_file().stat().st_size < 100_000


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\x00", b'{"one": ' * 10_000, b"null"], ids=repr)
def test_a_damaged_file_is_ignored_and_replaced(content: bytes) -> None:
    measured_file().parent.mkdir(parents=True)
    measured_file().write_bytes(content)
    assert recall("one") is None
    remember("one", MEASURED)
    assert recall("one") == MEASURED


@pytest.mark.parametrize(
    "entry",
    [3, None, {}, {"batch": "1", "image": 1}, {"batch": -1, "image": 1}, {"batch": 1e300, "image": 1}],
    ids=str,
)
def test_a_damaged_entry_is_left_out(entry: object) -> None:
    remember("good", MEASURED)
    known = json.loads(measured_file().read_text())
    measured_file().write_text(json.dumps({"bad": entry, **known}))
    assert recall("bad") is None and recall("good") == MEASURED


def test_a_state_folder_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    remember("one", MEASURED)
    assert recall("one") is None
