"""Images of one's own are trained on, resumed and evaluated."""

from __future__ import annotations

import gzip
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from small_files import idx
from typer.testing import Result

from eqprop_core.runs.log import read_events

Run = Callable[..., Result]


def kinds(folder: Path) -> list[str]:
    return [record.event.kind for record in read_events(folder / "events.jsonl")]


def test_an_image_folder_is_trained_on_and_a_broken_image_is_named(eqprop: Run, tmp_path: Path) -> None:
    for split, count in (("train", 4), ("test", 2)):
        for label, colour in (("dark", 30), ("light", 220)):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for n in range(count):
                Image.new("RGB", (20, 14), (colour, colour, colour + n)).save(folder / f"{n}.png")
    flags = [
        "--task",
        "imagefolder",
        "--data-dir",
        "images",
        "--image-size",
        "8",
        "--lrs",
        "0.1",
        "0.1",
        "--T1",
        "5",
        "--T2",
        "2",
        "--betas",
        "0",
        "0.3",
    ]
    shown = eqprop("train", *flags, "--dry-run").stdout
    assert "3×8×8" in shown
    (tmp_path / "images/train/dark/deep").mkdir()
    (tmp_path / "images/train/dark/0.png").rename(tmp_path / "images/train/dark/deep/0.png")
    (tmp_path / "images/train/light/moving.gif").touch()
    said = eqprop("train", *flags).stderr
    assert "8 training and 4 test images" in said
    assert "warning: 1 file is left out: 1 file of another kind (1 .gif): train/light/moving.gif" in said
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    assert tomllib.loads((run / "config.toml").read_text())["archi"] == [192, 512, 2]
    assert "warning" in kinds(run)
    (tmp_path / "images/train/light/9.png").write_bytes(b"\x89PNG no image")
    assert "9.png" in eqprop("train", *flags, code=1).stderr


def put_idx(folder: Path, shape: tuple[int, ...], labels: range) -> None:
    """48 training and 12 test images, each label brighter than the one before."""
    folder.mkdir(parents=True)
    for split, count in (("train", 48), ("t10k", 12)):
        found = np.resize(np.array(labels, dtype=np.uint8), count)
        pixels = np.ones((count, *shape), dtype=np.uint8)
        pixels *= (250 // max(labels) * found).reshape(-1, *[1] * len(shape))
        (folder / f"{split}-images-idx{pixels.ndim}-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (folder / f"{split}-labels.idx1-ubyte").write_bytes(idx(found))


def test_idx_images_of_ones_own_are_trained_on_resumed_and_evaluated(eqprop: Run, tmp_path: Path) -> None:
    put_idx(tmp_path / "mine" / "raw", (5, 6, 3), range(1, 4))
    flags = ["--task", "idx", "--data-dir", "mine", "--model", "CNN", "--channels", "4", "--kernels", "3"]
    flags += ["--pools", "i", "--lrs", "0.1", "0.1", "--T1", "6", "--T2", "2", "--seed", "1"]
    assert "3×5×6" in eqprop("train", *flags, "--dry-run").stdout
    assert (
        "idx: present, 48 training and 12 test images"
        in eqprop("data", "check", "idx", "--data-dir", "mine").stdout
    )
    assert "must end with 3, the number of classes" in eqprop("train", *flags, "--fc", "10", code=2).stderr
    said = eqprop("train", *flags).stderr
    assert "warning: the labels are 1 to 3: taken as the classes 0 to 2, in this order" in said
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    eqprop("train", "--load-path", run, "--epochs", "1")
    parts = json.loads(eqprop("evaluate", "--load-path", run, "--json").stdout)["parts"]
    assert (parts["train"]["images"], parts["test"]["images"]) == (48, 12)
    (tmp_path / "mine").rename(tmp_path / "moved")
    eqprop("runs", "show", run)
    assert "mine is no folder of IDX files" in eqprop("evaluate", "--load-path", run, code=2).stderr


def test_other_images_in_the_place_of_mnist_are_trained_on_with_a_warning(
    eqprop: Run, tmp_path: Path
) -> None:
    put_idx(tmp_path / "MNIST" / "raw", (28, 28), range(10))
    flags = ["--data-dir", "MNIST/raw", "--archi", "784", "8", "10", "--T1", "6", "--T2", "2", "--seed", "1"]
    said = "warning: these are not the images of MNIST: "
    assert said in eqprop("train", *flags, "--lrs", "0.1", "0.1").stderr
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    assert said in eqprop("evaluate", "--load-path", run).stderr
