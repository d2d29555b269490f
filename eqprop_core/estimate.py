"""How long a training takes here, from what was measured of a batch, now or at an earlier time.

What was measured is remembered in one small file of the user's state, by the device and by the settings that
it depends on. Epochs and numbers of images are not among them: the estimate is made of these anew. Nor are
the accelerations, as what is measured is the exact way.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import platformdirs

from eqprop_core import catalogue
from eqprop_core.config import Architecture, RunConfig, catalogue_facts
from eqprop_core.devices import Device, device_among
from eqprop_core.files import read_json, write_text
from eqprop_core.locks import changing

MOST_REMEMBERED = 200  # measurements, the latest ones
LONGEST = 1e9  # seconds that are believed
NETWORK = tuple(name for name in Architecture.model_fields if name != "scale")
COUNTED = (*NETWORK, "T1", "T2", "alg", "same_update", "optim", "layout")
UNMEASURED = ("fast", "tol", "updates", "precision", "compile", "check_thm")  # change how long a batch takes


@dataclass(frozen=True)
class Measured:
    """Seconds of a training batch, and of the evaluation of an image, both exactly."""

    batch: float
    image: float


@dataclass(frozen=True)
class Estimate:
    """Seconds that a training takes: all of it, an epoch with its evaluation, and one of its batches."""

    run: float
    epoch: float
    batch: float
    epochs: int
    batches: int  # of an epoch


def exactly(config: RunConfig) -> RunConfig:
    """The configuration without accelerations, as it is measured."""
    return config.changed(fast=False, tol=None, updates="sync", precision="fp32", compile=False)


def unmeasured(config: RunConfig) -> list[str]:
    """Settings that make a batch take another time than was measured, which is without them."""
    return [name for name in UNMEASURED if getattr(config, name) != RunConfig.model_fields[name].default]


def epoch_seconds(measured: Measured, batches: int, evaluated: int) -> float:
    """Seconds of so many batches and of the evaluation of so many images."""
    return batches * measured.batch + evaluated * measured.image


def estimate(config: RunConfig, measured: Measured) -> Estimate | None:
    """How long the training takes; `None` where the number of its images is not known."""
    images = image_counts(config)
    if images is None:
        return None
    train, evaluated = images
    batches = ceil(train / config.mbs)
    epoch = epoch_seconds(measured, batches, evaluated)
    return Estimate(config.epochs * epoch, epoch, measured.batch, config.epochs, batches)


def image_counts(config: RunConfig) -> tuple[int, int] | None:
    """Images that an epoch trains on, and those that it evaluates; `None` where that is not known."""
    there = catalogue.status(config.task, config.data_root)
    train, test = there.train_size, there.test_size
    if (train is None or test is None) and config.task not in catalogue.OWN:
        published = catalogue.describe(config.task)
        train, test = published.train_size, published.test_size
    if train is None or test is None:
        return None
    train, test = min(train, config.train_samples or train), min(test, config.test_samples or test)
    held_out = round(train * config.val_split)
    return max(1, train - held_out), test + held_out


# --- what was measured before -------------------------------------------------------------------------


def measured_file() -> Path:
    """Where it is remembered."""
    return platformdirs.user_state_path("eqprop") / "measured.json"


def measured_as(config: RunConfig, devices: Sequence[Device]) -> str | None:
    """What a measurement is remembered by: device and settings that it depends on, as a short text.

    `None` where the run would compute on none of these devices.
    """
    key = device_among(devices, config.device)
    device = next((device for device in devices if device.key == key), None)
    if device is None:
        return None
    facts: dict[str, Any] = {name: getattr(config, name) for name in COUNTED}
    facts["estimator"] = config.chosen_estimator
    facts["input"] = catalogue_facts(config)[0]
    facts["batch"] = min(config.mbs, config.train_samples or config.mbs)
    facts["device"] = (device.name, device.cores, os.environ.get("OMP_NUM_THREADS"))
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def recall(name: str | None) -> Measured | None:
    """What was measured under this name; `None` where nothing was. Raises nothing."""
    return _remembered().get(name) if name is not None else None


def remember(name: str, measured: Measured) -> None:
    """Keep what was measured, in place of the oldest where there is much."""
    path = measured_file()
    with suppress(OSError):  # a home that cannot be written only costs this convenience
        path.parent.mkdir(parents=True, exist_ok=True)
        with changing(path):
            known = _remembered()
            known.pop(name, None)
            latest = [*known.items(), (name, measured)][-MOST_REMEMBERED:]
            write_text(path, json.dumps({key: asdict(value) for key, value in latest}, indent=0) + "\n")


def _remembered() -> dict[str, Measured]:
    """All that is remembered, the oldest first; what is damaged is left out."""
    found = {name: as_measured(value) for name, value in read_json(measured_file()).items()}
    return {name: measured for name, measured in found.items() if measured is not None}


def as_measured(value: object) -> Measured | None:
    """What was measured, from a JSON value; `None` for anything else."""
    if not isinstance(value, dict):
        return None
    batch, image = value.get("batch"), value.get("image")
    if not isinstance(batch, (int, float)) or not isinstance(image, (int, float)):
        return None
    return Measured(batch, image) if 0 < batch < LONGEST and 0 < image < LONGEST else None
