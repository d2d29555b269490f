"""A device that was named is used or refused, by every command; on a machine with a CPU alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_runs import make_run
from typer.testing import Result

from eqprop_core import devices
from eqprop_core.devices import Device
from eqprop_core.problems import ConfigError
from eqprop_core.runs import places
from eqprop_core.runs.places import Place
from eqprop_core.worker import preparing

Run = Callable[..., Result]
TINY = ["--task", "digits", "--archi", "64", "8", "10", "--lrs", "0.1", "0.1", "--T1", "4", "--T2", "2", "--train-samples", "20", "--test-samples", "10", "--seed", "1"]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "list_devices", lambda: [Device("cpu", "a processor")])
    monkeypatch.setattr(places, "DRIVERS", ())
    monkeypatch.setattr(devices, "driver_trouble", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3", "mps"])
@pytest.mark.parametrize(
    "words",
    [
        ["train", *TINY],
        ["train", *TINY, "--foreground"],
        ["train", *TINY, "--dry-run"],
        ["train", "--preset", "digits-mlp-ep"],
        ["evaluate"],
        ["evaluate", "--dry-run"],
        ["gducheck", "--preset", "digits-gducheck"],
        ["bench", "--preset", "digits-mlp-ep"],
        ["reference", *TINY],
        ["sweep", "digits-mlp-ep", "--seeds", "0"],
    ],
    ids=" ".join,
)
def test_a_device_that_is_not_here_is_refused_by_name(
    words: list[str], device: str, eqprop: Run, tmp_path: Path
) -> None:
    stored = ["--load-path", make_run(tmp_path / "made").path] if words[0] == "evaluate" else []
    said = eqprop(*words, *stored, "--device", device, code=2).stderr
    assert f"error: --device {device}: there is no " in said and said.endswith("there is cpu\n")
    assert not (tmp_path / "results").exists()


def test_gpus_of_a_sweep_and_of_a_preset_are_refused_too(eqprop: Run, tmp_path: Path) -> None:
    sweep = ["sweep", "digits-mlp-ep", "--seeds", "0", "--devices"]
    assert "--device cuda:1: there is no GPU here" in eqprop(*sweep, "cuda:1", code=2).stderr
    eqprop("presets", "new", "mine", "--from", "digits-mlp-ep", "--device", "cuda:2")
    assert "--device cuda:2: there is no GPU here" in eqprop("train", "--preset", "mine", code=2).stderr
    assert not (tmp_path / "results").exists()


def test_a_run_that_named_a_gpu_is_not_resumed_elsewhere_unless_told_to(eqprop: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "results", state={"state": "stopped"}, device="cuda:1")
    said = eqprop("runs", "resume", run.path, code=2).stderr
    assert "--device cuda:1: there is no GPU here; there is cpu" in said
    assert said.endswith(f"eqprop train --load-path {run.path} --device auto\n")
    assert "--device cuda:1" in eqprop("train", "--load-path", run.path, "--dry-run", code=2).stderr
    eqprop("train", "--load-path", run.path, "--device", "auto", "--dry-run")


def test_a_bare_index_means_the_cpu_as_for_the_reference(eqprop: Run) -> None:
    said = eqprop("train", *TINY, "--device", "0").stderr
    assert "warning: --device 0: no GPU here, using the CPU\n" in said


@pytest.mark.parametrize(
    ("wanted", "place", "gpus", "chosen"),
    [
        ("cuda:1", Place("cuda:1", "GPU-b"), 1, "cuda:0"),  # the only one that its process sees
        ("auto", Place("cuda:1", "GPU-b"), 1, "cuda:0"),
        ("auto", Place("auto"), 0, "cpu"),  # a driver that cannot be looked at
        ("auto", Place("cpu"), 2, "cpu"),
        ("cuda", Place("cuda:1", "GPU-b", seen_as="cuda:1"), 2, "cuda:1"),
        ("auto", None, 0, "cpu"),
    ],
)
def test_torch_computes_where_it_was_decided_before_it_was_loaded(
    wanted: str, place: Place | None, gpus: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert preparing._chosen(wanted, place) == (chosen, None)


def test_a_gpu_that_torch_cannot_use_is_replaced_where_none_was_named_alone() -> None:
    place = Place("cuda:1", "GPU-b")
    for wanted in ("auto", "1"):
        chosen, warning = preparing._chosen(wanted, place)
        assert chosen == "cpu" and warning is not None and "can use no GPU here, using the CPU" in warning
    with pytest.raises(ConfigError, match=r"--device cuda:1: torch .* can use no GPU here; there is cpu"):
        preparing._chosen("cuda:1", place)
