"""The reference's command lines, word for word, and the files that each leaves behind."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from eqprop_core.runs.log import read_events

Run = Callable[..., Result]

LINES = (Path(__file__).parent.parent / "reference_commands.txt").read_text().strip().splitlines()
ALIKE = (*range(1, 10), 13, 14)  # to the first and the eleventh, and to the sixteenth; some 10 s each
SHORT = ("--epochs", "1", "--train-samples", "4", "--test-samples", "4", "--T1", "8", "--T2", "3")

ALWAYS = {
    "config.toml",
    "hyperparameters.txt",
    "meta.json",
    "events.jsonl",
    "state.json",
    "console.log",
    "lock",
}
TRAINED = {
    "checkpoint.tar", "model.pt", "final_model.pt", "final_checkpoint.tar", "train-test_acc.png", "neural_activity.png",
}  # fmt: skip
CHECKED = {"events.jsonl", "console.log"}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def gdu_files(rows: set[str]) -> set[str]:
    return {f"gdu/{row}.{kind}" for row in rows for kind in ("png", "npz")} | {"gdu/distances.png"}


def rows_of(folder: Path) -> set[str]:
    """Parameters and layers of neurons that the folder's GDU checks compared."""
    events = [record.event for record in read_events(folder / "events.jsonl") if record.event.kind == "gdu"]
    assert events
    return {row.name for row in events[-1].rows}


def open_everything(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 100
    for path in folder.rglob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert arrays["ep"].shape == arrays["bptt"].shape
            assert arrays["ep"].shape[0] == 3
            assert all(np.isfinite(arrays[name]).all() for name in ("ep", "bptt"))


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, id=str(n), marks=[pytest.mark.slow] * (n in ALIKE)) for n, line in enumerate(LINES)],
)
def test_a_command_line_of_the_reference_runs_and_leaves_its_files(
    line: str, eqprop: Run, data_root: Path, tmp_path: Path
) -> None:
    words = shlex.split(line)
    arguments = [*words, "--data-dir", str(data_root), *SHORT]
    todo = words[words.index("--todo") + 1]
    base: set[str] = set()
    if "--load-path" in words:
        architecture = ["--channels", "8", "8", "--kernels", "3", "3", "--lrs", "0.1", "0.1", "0.1"]
        trained = [*["--model", "CNN", "--task", "CIFAR10", "--loss", "mse", "--save"], *architecture]
        eqprop("reference", *trained, "--data-dir", str(data_root), *SHORT)
        (made,) = tmp_path.glob("results/EP/mse/*/*")
        made.rename(tmp_path / "results/test")
        base = files(tmp_path / "results/test")

    eqprop("reference", *arguments)

    if "--save" not in words:
        assert files(tmp_path) == set()
        return
    if "--load-path" in words:
        run = tmp_path / "results/test"
        (check,) = (run / "checks").iterdir()
        expected = CHECKED | (gdu_files(rows_of(check)) if todo == "gducheck" else set())
        assert files(check) == expected
        assert files(run) == base | {str((check / name).relative_to(run)) for name in expected}
        if todo == "evaluate":
            assert "test accuracy" in (run / "hyperparameters.txt").read_text()
        open_everything(check)
        return
    algorithm = words[words.index("--alg") + 1] if "--alg" in words else "EP"
    loss = words[words.index("--loss") + 1] if "--loss" in words else "mse"
    (run,) = tmp_path.glob(f"results/{algorithm}/{loss}/*/*")
    expected = ALWAYS | (TRAINED if todo == "train" else set())
    if todo == "gducheck" or "--check-thm" in words:
        expected |= gdu_files(rows_of(run))
    assert files(run) == expected
    assert files(tmp_path) == {str(run.relative_to(tmp_path) / name) for name in expected}
    open_everything(run)


def test_every_line_of_the_reference_is_here() -> None:
    assert len(LINES) == 23


def test_a_device_that_is_not_here_is_the_cpu_with_a_warning(eqprop: Run, data_root: Path) -> None:
    line = next(line for line in LINES if "--device 7" in line and "MNIST" in line)
    said = eqprop("reference", *shlex.split(line), "--data-dir", str(data_root), *SHORT, "--no-save").stderr
    assert "warning: --device 7" in said


def test_a_todo_that_is_none_is_refused(eqprop: Run) -> None:
    assert "is not one of train, evaluate, gducheck" in eqprop("reference", "--todo", "fly", code=2).stderr
