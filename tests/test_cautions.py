"""What is said of settings before a training begins: rates at the end of their decay, continual EP."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import make_run
from typer.testing import Result

from eqprop_core.config import RunConfig
from eqprop_core.presets import all_presets
from eqprop_core.rules import cautions
from eqprop_core.runs.log import read_events
from eqprop_core.runs.words import in_words

Run = Callable[..., Result]
TINY = ["--task", "digits", "--archi", "64", "8", "10", "--lrs", "0.1", "0.1", "--T1", "6", "--T2", "3", "--betas", "0", "0.3", "--train-samples", "40", "--test-samples", "20", "--seed", "1"]  # fmt: skip
CNN: dict[str, Any] = {"task": "digits", "model": "CNN", "channels": [2], "kernels": [3], "alg": "CEP"}


@pytest.mark.parametrize(
    ("settings", "last", "said"),
    [
        ({"epochs": 120}, None, "epochs 101 to 120 train with learning rates of 1e-05"),
        ({"epochs": 5, "decay_epochs": 4}, None, "epoch 5 trains with learning rates of 1e-05"),
        ({"epochs": 4, "decay_epochs": 4}, 9, "epochs 5 to 9 train with"),
        ({"epochs": 100}, None, ""),
        ({"epochs": 120, "lr_decay": False}, None, ""),
        ({"epochs": 9, "decay_epochs": 4}, 3, ""),
    ],
)
def test_epochs_after_the_decay_are_said(settings: dict[str, Any], last: int | None, said: str) -> None:
    config = RunConfig(**{"task": "digits", "lrs": [0.1, 0.1], "archi": [64, 8, 10], "lr_decay": True, **settings})  # fmt: skip
    found = cautions(config, last)
    assert not any("spreads" in text for text in cautions(config, last, advise=False))
    assert [said in text for text in found] == [True] * bool(said)
    assert all(f"--decay-epochs {last or config.epochs} spreads" in text for text in found)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lrs": [0.1, 0.001]}, "lr/(1 - mmt) is 0.1"),
        ({"lrs": [0.002, 0.5], "mmt": 0.9}, "lr/(1 - mmt) is 0.02"),
        ({"lrs": [0.003, 0.5]}, ""),
        ({"lrs": [0.1, 0.1], "alg": "EP"}, ""),
        ({"lrs": [0.1, 0.1], "model": "MLP", "archi": [64, 8, 10], "channels": None, "kernels": None}, ""),
    ],
)
def test_rates_of_continual_ep_that_are_large_for_convolutions_are_said(
    settings: dict[str, Any], said: str
) -> None:
    found = cautions(RunConfig(**{**CNN, **settings}))
    assert [said in text for text in found] == [True] * bool(said)


def test_what_shipped_presets_do_on_purpose_is_only_that_of_the_paper() -> None:
    found = {name: cautions(preset.run_config()) for name, preset in all_presets().presets.items()}
    assert all("with learning rates of 1e-05" in text for said in found.values() for text in said)
    assert not any(found[name] for name in found if name.startswith(("digits", "mnist")))


def test_a_training_says_it_before_its_first_batch_and_a_dry_run_too(eqprop: Run, tmp_path: Path) -> None:
    decay = ["--lr-decay", "--decay-epochs", "1"]
    assert "warning: epochs 2 to 3" in eqprop("train", *TINY, *decay, "--epochs", "3", "--dry-run").stdout
    eqprop("train", *TINY, *decay)
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    told = [in_words(record.event) for record in read_events(run / "events.jsonl")]
    assert not [text for text in told if "1e-05" in text]
    dry = json.loads(eqprop("train", "--load-path", run, "--epochs", "2", "--dry-run", "--json").stdout)
    assert "epochs 2 to 3 train" in dry["warnings"][0]
    said = eqprop("train", "--load-path", run, "--epochs", "2").stderr.splitlines()
    at = next(n for n, line in enumerate(said) if line.startswith("warning: epochs 2 to 3 train"))
    assert at < next(n for n, line in enumerate(said) if line.startswith("epoch 2"))


def test_a_change_that_no_run_takes_is_an_error_alone(eqprop: Run, tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "results", state={"state": "finished", "epoch": 4}, lr_decay=True, decay_epochs=5
    )
    said = eqprop("runs", "set", run.path, "--epochs", "7", code=1).stderr
    assert said == f"error: {run.path}: is finished; there is no process to ask\n"


def test_a_sweep_says_it_once_for_all_of_its_cells(eqprop: Run) -> None:
    words = [
        "digits-mlp-ep",
        "--grid",
        "lr_decay=on",
        "--grid",
        "decay_epochs=3,4",
        "--epochs",
        "5",
        "--dry-run",
    ]
    said = eqprop("sweep", *words).stderr
    assert said.count("with learning rates of 1e-05") == 2
