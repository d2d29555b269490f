"""Memory by arithmetic: it grows with what grows, and is close to what torch takes on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_config_properties import right

from eqprop_core.config import RunConfig
from eqprop_core.devices import Device
from eqprop_core.memory import fitting_mbs, memory_need, room_for, training_memory
from eqprop_core.presets import all_presets

CNN = {
    "model": "CNN", "task": "MNIST", "channels": [16, 32], "lrs": [1e-4] * 3, "act": "hard_sigmoid",
    "T1": 4, "T2": 3, "mbs": 100, "train_samples": 200, "test_samples": 1, "seed": 0,
}  # fmt: skip
MLP = {"task": "MNIST", "lrs": [0.1, 0.1], "T1": 20, "T2": 4, "mbs": 20}


def total(**changes: Any) -> int:
    return training_memory(RunConfig(**{**CNN, **changes})).total


# --- what it grows with -------------------------------------------------------------------------------


def test_more_of_anything_takes_no_less() -> None:
    assert total(mbs=20) < total(mbs=100) < total(mbs=200)
    assert total(channels=[16, 32]) < total(channels=[16, 64]) < total(channels=[32, 64])
    assert total(optim="sgd") < total(mmt=0.9) < total(optim="adam")
    assert total(thirdphase=False) < total(thirdphase=True)
    assert total(train_samples=200) < total(train_samples=2000)
    assert total(check_thm=False) < total(check_thm=True, T2=4)
    assert total(model="CNN") < total(model="VFCNN")
    assert total(dropouts=None) < total(dropouts=[1, 0.5, 0.5, 1])


def test_the_graph_of_bptt_grows_with_its_steps_and_ep_does_not() -> None:
    by_bptt = [total(alg="BPTT", T1=30, T2=steps) for steps in (10, 20, 30)]
    assert by_bptt[2] - by_bptt[1] == by_bptt[1] - by_bptt[0] > 0
    assert total(T1=30, T2=10) == total(T1=30, T2=30) < by_bptt[0]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    config=right(), alg=st.sampled_from(["EP", "BPTT"]), mbs=st.integers(1, 4000), more=st.integers(0, 4000)
)
def test_larger_batches_never_take_less(config: dict[str, Any], alg: str, mbs: int, more: int) -> None:
    config = {**config, "alg": alg}
    small = training_memory(RunConfig(**{**config, "mbs": mbs}))
    large = training_memory(RunConfig(**{**config, "mbs": mbs + more}))
    assert 0 < small.total <= large.total
    assert all(part >= 0 for part in (small.parameters, small.gradients, small.states, small.data))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(config=right(), free=st.integers(0, 2**36))
def test_the_largest_batch_that_fits_is_the_largest(config: dict[str, Any], free: int) -> None:
    def need(mbs: int) -> int:
        return training_memory(RunConfig(**{**config, "mbs": mbs})).total

    found = fitting_mbs(RunConfig(**config), free)
    if found is None:
        assert need(1) > free
        return
    assert need(found) <= free
    images = {"digits": 1438, "CIFAR10": 50_000}.get(config["task"], 60_000)
    assert found == images if found >= images else need(found + 1) > free


def test_images_that_are_not_there_are_no_error(tmp_path: Any) -> None:
    config = RunConfig(task="imagefolder", data_dir=str(tmp_path), archi=[3 * 32 * 32, 10], lrs=[0.1])
    assert training_memory(config).data == 0
    assert fitting_mbs(config, 2**60) == 1_000_000


@pytest.mark.parametrize("name", sorted(all_presets().presets))
def test_every_shipped_preset_has_a_need(name: str) -> None:
    assert 2**20 < memory_need(all_presets().presets[name].run_config()).total < 16 * 2**30


# --- the device it would run on -----------------------------------------------------------------------

CPU = Device("cpu", "CPU", memory_total=4 * 2**30, memory_used=2**30)
GPU = Device("cuda:0", "GPU", memory_total=2**30, memory_used=2**30 - 10)


@pytest.mark.parametrize(
    ("device", "devices", "where", "fits"),
    [
        ("auto", [CPU], "cpu", True),
        ("auto", [CPU, GPU], "cuda:0", False),
        ("cpu", [CPU, GPU], "cpu", True),
        ("3", [CPU], "cpu", True),
        ("3", [CPU, GPU], None, None),
        ("auto", [Device("cpu", "CPU")], "cpu", None),
        ("auto", [], "cpu", None),
    ],
)
def test_room_is_judged_where_the_run_would_compute(
    device: str, devices: list[Device], where: str | None, fits: bool | None
) -> None:
    room = room_for(RunConfig(**MLP, device=device), devices)
    assert (room.device, room.fits) == (where, fits)


# --- against what torch takes -------------------------------------------------------------------------

MEASURE = """
import json, re, sys
import torch
from eqprop_core.config import RunConfig
from eqprop_core.data.datasets import Dataset, Images
from eqprop_core.learning.trainer import Trainer
from eqprop_core.networks.network import build_network
from eqprop_core.published import PUBLISHED

def status(key):
    return 1024 * int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

def train(config):
    info = PUBLISHED[config.task]
    train, test = (
        Images(torch.zeros(n, *info.shape, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64))
        for n in (config.train_samples, config.test_samples)
    )
    for _ in Trainer(config, build_network(config.model_part()), Dataset(info, train, None, test)).run():
        pass

torch.set_num_threads(1)
config = RunConfig(**json.loads(sys.argv[1]))
train(config.changed(mbs=1, train_samples=2))  # the libraries are in memory then
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
train(config)
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures by /proc")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"alg": "BPTT", "T1": 10, "T2": 10, "mbs": 50},
        pytest.param({"model": "VFCNN", "thirdphase": True}, marks=pytest.mark.slow),
        pytest.param(
            {"check_thm": True, "T1": 20, "T2": 20, "channels": [32, 128], "mbs": 10, "train_samples": 20},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["EP", "BPTT", "vector field", "GDU checks"],
)
def test_what_is_said_is_close_to_what_is_taken(changes: dict[str, Any]) -> None:
    settings_ = {**CNN, **changes}
    # Memory goes back to the system at once, so that what is measured is what is in use.
    quick = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, json.dumps(settings_)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **quick})
    if "clear_refs" in done.stderr:
        pytest.skip("this system does not let a process measure itself")
    assert done.returncode == 0, done.stderr
    ratio = training_memory(RunConfig(**settings_)).total / int(done.stdout)
    assert 0.8 < ratio < 1.8, (ratio, done.stdout)


def test_references_of_low_precision_are_counted() -> None:
    config = RunConfig(task="MNIST", model="CNN", lrs=[0.1] * 3)
    assert memory_need(config.changed(precision="bf16")).states > memory_need(config).states
