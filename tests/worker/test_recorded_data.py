"""A run knows what it was trained on: data that differ are said, in words; what cannot be meant is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_files import idx
from typer.testing import Result

from eqprop_core.config import RunConfig
from eqprop_core.data.fingerprint import fingerprint
from eqprop_core.runs import starting
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.launcher import files_unlike
from eqprop_core.worker import checkpoint
from eqprop_core.worker.recorded_data import check_alike

Run = Callable[..., Result]
NET = ["--task", "imagefolder", "--data-dir", "data", "--image-size", "4", "--archi", "48", "6", "3", "--lrs", "0.1", "0.1", "--T1", "4", "--T2", "2", "--betas", "0", "0.5", "--mbs", "5", "--seed", "1"]  # fmt: skip
CLASSES = ("ash", "elm", "oak")
DIFFERS = "warning: the data differ from what it was trained on: "


def paint(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour % 256, 90, 30)).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An image folder of three classes with eight training and two test images each."""
    for place, name in enumerate(CLASSES):
        for n in range(10):
            split = "train" if n < 8 else "test"
            paint(tmp_path / "data" / split / name / f"{n}.png", 80 * place + 7 * n)
    return tmp_path / "data"


@pytest.fixture
def run(eqprop: Run, data: Path, tmp_path: Path) -> Path:
    """A run of one epoch on them."""
    return trained(eqprop, tmp_path)


def trained(eqprop: Run, at: Path, *words: str) -> Path:
    eqprop("train", *NET, *words)
    (folder,) = at.glob("results/EP/mse/*/*")
    return folder


def rename(data: Path, old: str, new: str) -> None:
    for split in ("train", "test"):
        (data / split / old).rename(data / split / new)


def said(result: Result) -> list[str]:
    """Errors, and warnings about data."""
    lines = re.findall(r"^(?:warning|error): .*$", result.stderr, re.MULTILINE)
    return [line for line in lines if line.startswith("error") or re.search("data differ|other data", line)]


def stored(run: Path) -> dict[str, Any]:
    return checkpoint.load(run / "checkpoint.tar")


def inside_an_epoch(run: Path) -> None:
    """Put the run where it stood after the third batch of its second epoch."""
    content = stored(run)
    content["position"] = {"epoch": 1, "batch": 3}
    content["epochs"] = 2
    checkpoint.save(run / "checkpoint.tar", content)


def test_what_it_was_trained_on_is_recorded(run: Path, data: Path, eqprop: Run) -> None:
    recorded = json.loads((run / "meta.json").read_text())["data"]
    assert recorded["classes"] == list(CLASSES) and recorded["images"] == {"train": 24, "test": 6}
    assert recorded["in"] == str(data)
    for name in ("checkpoint.tar", "model.pt", "final_model.pt"):
        assert checkpoint.load(run / name)["data"]["parts"]["test"]["counts"] == [2, 2, 2]
    shown = eqprop("runs", "show", run).stdout
    assert f"24 train, 6 test images of 3 classes, digest {recorded['digest']}" in shown


def test_nothing_is_said_of_the_same_data(run: Path, data: Path, eqprop: Run) -> None:
    for path in data.rglob("*.png"):
        path.touch()
    assert said(eqprop("evaluate", "--load-path", run)) == []
    assert said(eqprop("evaluate", "--load-path", run, "--test-samples", "3")) == []
    assert said(eqprop("gducheck", "--load-path", run)) == []
    assert said(eqprop("train", "--load-path", run, "--epochs", "1")) == []


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    "samples",
    [
        ["--train-samples", "9", "--test-samples", "4"],
        ["--samples", "drawn", "--train-samples", "11", "--test-samples", "5"],
    ],
)
def test_other_data_are_told_where_other_images_are_chosen(
    eqprop: Run, tmp_path: Path, samples: list[str], split: str
) -> None:
    values = {"train": np.arange(12, dtype=np.uint8) % 3, "t10k": np.arange(6, dtype=np.uint8) % 3}
    for name, labels in values.items():
        images = np.repeat(labels * 60, 16).reshape(-1, 4, 4)
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / "own" / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    eqprop(
        "train",
        "--task",
        "idx",
        "--data-dir",
        "own",
        "--archi",
        "16",
        "6",
        "3",
        "--lrs",
        "1",
        "1",
        "--seed",
        "1",
    )
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    path = tmp_path / "own" / ("train-images-idx3-ubyte" if split == "train" else "t10k-images-idx3-ubyte")
    assert said(eqprop("evaluate", "--load-path", run, *samples)) == []
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    (line,) = said(eqprop("evaluate", "--load-path", run, *samples))
    kind = "training" if split == "train" else "test"
    assert f"{DIFFERS}the files hold other {kind} images" in line


def test_data_that_have_moved_are_the_same(run: Path, data: Path, eqprop: Run) -> None:
    data.rename(data.with_name("moved"))
    result = eqprop("train", "--load-path", run, "--epochs", "1", "--data-dir", "moved")
    assert said(result) == []
    assert "resumed with other settings: --data-dir" in result.stderr
    moved = str(data.with_name("moved"))
    assert (RunFolder(run).settings_now() or {})["data_dir"] == moved
    assert json.loads((run / "meta.json").read_text())["data"]["in"] == moved
    assert said(eqprop("evaluate", "--load-path", run)) == []


def test_a_run_of_before_there_were_fingerprints_goes_on(run: Path, data: Path, eqprop: Run) -> None:
    for name in ("checkpoint.tar", "model.pt"):
        content = checkpoint.load(run / name)
        del content["data"]
        if "config" in content:
            del content["config"]["samples"]
        checkpoint.save(run / name, content)
    rename(data, "ash", "zelkova")
    assert said(eqprop("evaluate", "--load-path", run)) == []
    assert said(eqprop("train", "--load-path", run, "--epochs", "1")) == []
    assert stored(run)["data"]["classes"] == ["elm", "oak", "zelkova"]  # recorded from here on


def renamed(data: Path) -> None:
    rename(data, "elm", "yew")


def added(data: Path) -> None:
    paint(data / "train" / "oak" / "new.png", 250)


def replaced(data: Path) -> None:
    for place, path in enumerate(sorted((data / "train").rglob("*.png"))):
        paint(path, 3 * place)


def retested(data: Path) -> None:
    (data / "test" / "ash" / "9.png").unlink()


def reordered(data: Path) -> None:
    (data / "train" / "elm" / "0.png").rename(data / "train" / "elm" / "z.png")


@pytest.mark.parametrize(
    ("change", "evaluated", "resumed"),
    [
        (renamed, "was trained on other classes, so that answers .*class elm is not there; class yew is new; label 1 was elm, is oak", "was trained on other classes"),
        (added, r"24 training images before, 25 now \(oak 8 → 9\)", r"24 training images before, 25 now \(oak"),
        (replaced, r"other training images of the same number \(24\)", "other training images of the same number"),
        (retested, r"6 test images before, 5 now \(ash 2 → 1\) \(", "6 test images before, 5 now"),
        (reordered, None, "the same 24 training images in another order"),
    ],
)  # fmt: skip
def test_what_differs_is_said(
    run: Path, data: Path, eqprop: Run, change: Callable[[Path], None], evaluated: str | None, resumed: str
) -> None:
    change(data)
    status = 1 if change is renamed else 0
    result = said(eqprop("evaluate", "--load-path", run, code=status))
    assert len(result) == (evaluated is not None)
    assert all(re.search(str(evaluated), line) and str(data) in line for line in result)
    checked = said(eqprop("gducheck", "--load-path", run))
    assert len(checked) == 1 and checked[0].startswith(DIFFERS)  # a gradient's check needs no right labels
    (line,) = said(eqprop("train", "--load-path", run, "--epochs", "1", code=status))
    assert re.search(resumed, line)
    if status == 0:  # from here on these are its data
        assert said(eqprop("train", "--load-path", run, "--epochs", "1")) == []


@pytest.mark.parametrize(("old", "new"), [("elm/0", "elm/z"), ("ash/7", "ash/00"), ("oak/3", "oak/A")])
def test_images_that_were_trained_on_are_not_held_out(
    old: str, new: str, eqprop: Run, data: Path, tmp_path: Path
) -> None:
    run = trained(eqprop, tmp_path, "--val-split", "0.3")
    (data / "train" / f"{old}.png").rename(data / "train" / f"{new}.png")
    (line,) = said(eqprop("train", "--load-path", run, "--epochs", "1", code=1))
    assert "would validate on images that were trained on: they are the same, in another order" in line


def test_classes_that_are_called_otherwise_are_the_same_where_the_images_are(
    run: Path, data: Path, eqprop: Run
) -> None:
    rename(data, "elm", "ulmus")  # after oak, so that labels change
    assert "other classes" in said(eqprop("evaluate", "--load-path", run, code=1))[0]
    rename(data, "ulmus", "hornbeam")  # between ash and oak, as elm was
    (line,) = said(eqprop("evaluate", "--load-path", run))
    assert line.startswith(
        f"{DIFFERS}class elm is not there; class hornbeam is new; label 1 was elm, is hornbeam"
    )


def test_another_number_of_classes_is_named(run: Path, data: Path, eqprop: Run) -> None:
    for split in ("train", "test"):
        paint(data / split / "fir" / "0.png", 8)
    errors = eqprop("evaluate", "--load-path", run, code=2).stderr
    assert "has 4 classes, the run was trained on 3: new fir" in errors
    for name in ("fir", "oak"):
        for split in ("train", "test"):
            shutil.rmtree(data / split / name)
    errors = eqprop("train", "--load-path", run, "--epochs", "1", code=2).stderr
    assert "has 2 classes, the run was trained on 3: not there oak" in errors


@pytest.mark.parametrize("count", [1, -3])
def test_a_place_inside_an_epoch_needs_as_many_images(run: Path, data: Path, eqprop: Run, count: int) -> None:
    inside_an_epoch(run)
    for n in range(abs(count)):
        path = data / "train" / "elm" / (f"more{n}.png" if count > 0 else f"{n}.png")
        paint(path, 5) if count > 0 else path.unlink()
    before = (run / "checkpoint.tar").read_bytes()
    (line,) = said(eqprop("train", "--load-path", run, code=1))
    assert f"after 3 batches, and the epoch now has 5: 24 training images before, {24 + count} now" in line
    assert (run / "checkpoint.tar").read_bytes() == before


def test_other_images_inside_an_epoch_are_said(run: Path, data: Path, eqprop: Run) -> None:
    inside_an_epoch(run)
    paint(data / "train" / "ash" / "3.png", 201)
    assert said(eqprop("train", "--load-path", run)) == [
        f"{DIFFERS}other training images of the same number (24) ({data})"
    ]


def test_a_validation_split_that_has_moved_is_refused(data: Path, eqprop: Run, tmp_path: Path) -> None:
    run = trained(eqprop, tmp_path, "--val-split", "0.25")
    (data / "train" / "ash" / "0.png").unlink()
    (line,) = said(eqprop("train", "--load-path", run, "--epochs", "1", code=1))
    assert "would validate on images that were trained on: 24 training images before, 23 now" in line
    (line,) = said(eqprop("evaluate", "--load-path", run))
    assert "18 training images before, 17 now" in line and "other validation images" in line


def test_a_run_that_begins_again_says_that_its_data_are_others(run: Path, data: Path, eqprop: Run) -> None:
    for path in run.glob("*.tar"):
        path.unlink()
    assert said(eqprop("train", "--load-path", run)) == []
    for path in run.glob("*.tar"):
        path.unlink()
    (data / "test" / "oak" / "8.png").unlink()
    (line,) = said(eqprop("train", "--load-path", run))
    assert re.search("with other data than before: 24 train, 6 test .* then, 24 train, 5 test .* now", line)


def test_a_run_that_repeats_another_says_that_its_data_are_others(run: Path, data: Path, eqprop: Run) -> None:
    assert said(eqprop("train", "--like", run, "--results", "again")) == []
    (data / "train" / "oak" / "0.png").unlink()
    (line,) = said(eqprop("train", "--like", run, "--results", "third"))
    assert re.search("begins with other data than before: 24 train.* then, 23 train.* now", line)


def mnist(root: Path, shade: int) -> None:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split, count in (("train", 20), ("t10k", 10)):
        pixels = np.full((count, 28, 28), shade, np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None]
        (folder / f"{split}-images-idx3-ubyte").write_bytes(idx(pixels))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx(np.arange(count, dtype=np.uint8) % 10))


def test_another_copy_that_the_environment_names(
    eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, shade in (("mine", 0), ("same", 0), ("other", 50)):
        mnist(tmp_path / name, shade)
    words = ["--task", "MNIST", "--archi", "784", "4", "10", "--lrs", "0.1", "0.1", "--T1", "3", "--T2", "2", "--seed", "1"]  # fmt: skip
    monkeypatch.setenv("EQPROP_DATA", "mine")
    eqprop("train", *words)
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    for name, differing in (("mine", False), ("same", False), ("other", True)):
        monkeypatch.setenv("EQPROP_DATA", name)
        found = said(eqprop("evaluate", "--load-path", run))
        assert len(found) == differing
        assert all(line.endswith(f"({tmp_path / 'mine'} before, {tmp_path / 'other'} now)") for line in found)


def test_a_new_run_that_begins_with_other_weights_says_what_they_know(
    run: Path, data: Path, eqprop: Run
) -> None:
    weights = run.parents[4] / "weights"
    weights.mkdir()
    shutil.copy(run / "model.pt", weights)
    rename(data, "elm", "yew")
    (line,) = said(eqprop("train", "--load-path", weights, *NET, "--results", "new"))
    assert line.startswith(f"{DIFFERS}class elm is not there; class yew is new")


def test_runs_that_were_trained_on_other_data_are_told_apart(run: Path, data: Path, eqprop: Run) -> None:
    (data / "train" / "ash" / "0.png").unlink()
    eqprop("train", *NET, "--results", "second")
    (second,) = run.parents[4].glob("second/EP/mse/*/*")
    assert re.search(
        r"^data .*24 train.*23 train", eqprop("runs", "compare", run, second, "--no-figure").stdout, re.M
    )
    assert "data " not in eqprop("runs", "compare", run, shutil.copytree(run, run.with_name("copy")), "--no-figure").stdout  # fmt: skip


def test_numbers_are_told_before_a_process_has_read_the_images(run: Path, data: Path) -> None:
    folder, config = RunFolder(run), RunConfig(**RunFolder(run).settings_now() or {})
    assert files_unlike(folder, config) == []
    (data / "train" / "ash" / "0.png").unlink()
    assert files_unlike(folder, config) == [
        f"{data} has 23 training images; there were 24 when it was last trained"
    ]
    folder.relabel(data={"files": {"train": "many", "test": None}})
    assert files_unlike(folder, config) == []


def test_resume_takes_up_data_that_have_moved(
    run: Path, data: Path, eqprop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = []

    def launch(run: RunFolder, config: Any, wanted: Any) -> None:
        launched.append((config.data_dir, dict(wanted.changes)))
        raise RunError("as far as this goes")

    monkeypatch.setattr(starting, "launch", launch)
    (data.parent / "empty").mkdir()
    for wrong in ("empty", "nowhere"):
        words = ("runs", "resume", run, "--epochs", "1", "--data-dir", wrong)
        assert f"its data are not in {data.parent / wrong}" in eqprop(*words, code=1).stderr
    data.rename(data.with_name("elsewhere"))
    assert (
        "--data-dir DIR says where they are now"
        in eqprop("runs", "resume", run, "--epochs", "1", code=1).stderr
    )
    assert launched == []
    eqprop("runs", "resume", run, "--epochs", "1", "--data-dir", "elsewhere", code=1)
    place = str(data.with_name("elsewhere"))
    assert launched == [(place, {"data_dir": place})]


def test_processes_that_have_other_data_do_not_train_together(run: Path, data: Path) -> None:
    from small_trainers import SMALL, dataset

    configs = [RunConfig(**{**SMALL, "train_samples": count}) for count in (150, 149)]
    one, other = (fingerprint(dataset(config), configs[0]) for config in configs)
    check_alike(one, [one.document()] * 3, ["here"] * 3)
    with pytest.raises(RunError, match="process 1 on there has other data than process 0: 150 training images in process 0, 149 in process 1"):  # fmt: skip
        check_alike(one, [one.document(), other.document()], ["here", "there"])
