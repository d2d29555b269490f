"""Every shipped preset, at full size, on a few images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from eqprop_core.config import Command, settings_of
from eqprop_core.presets import all_presets
from eqprop_core.problems import flag
from eqprop_core.runs.log import read_events

SHIPPED = all_presets().presets
FEW = {"train_samples": 8, "test_samples": 4, "mbs": 4, "epochs": 1, "T1": 8, "T2": 3}


def few(command: Command) -> list[str]:
    """Flags for little work, those that mean something to the command."""
    return [
        word
        for name, value in FEW.items()
        if name in settings_of(command)
        for word in (flag(name), str(value))
    ]


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_preset_runs(
    name: str, eqprop: Callable[..., Result], data_root: Path, tmp_path: Path
) -> None:
    todo = SHIPPED[name].run_config().todo
    stored = []
    if "load_path" in SHIPPED[name].config:
        small = [
            "--model",
            "CNN",
            "--task",
            "CIFAR10",
            "--channels",
            "4",
            "4",
            "--kernels",
            "3",
            "3",
            "--lrs",
            "0.1",
            "0.1",
            "0.1",
            "--loss",
            "mse",
        ]
        eqprop("train", *small, *few("train"), "--data-dir", data_root, "--results", tmp_path / "made")
        (run,) = tmp_path.glob("made/*/*/*/*")
        stored = ["--load-path", str(run)]
    place = ["--data-dir", data_root, "--save"]
    place += ["--results", tmp_path / "results"] if not stored else []
    eqprop(todo, "--preset", name, *few(todo), *place, *stored)
    (log,) = [
        *tmp_path.glob("results/*/*/*/*/events.jsonl"),
        *tmp_path.glob("made/*/*/*/*/checks/*/events.jsonl"),
    ]
    kinds = [record.event.kind for record in read_events(log)]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_finished"
    assert {"train": "epoch_finished", "evaluate": "evaluated", "gducheck": "gdu"}[todo] in kinds
    if todo == "train":
        assert next(r.event for r in read_events(log) if r.event.kind == "batch").batches == 2
