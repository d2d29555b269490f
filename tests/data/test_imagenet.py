"""Inputs of ImageNet's size, for GDU checks alone: random ones, or images of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import Result

from eqprop_core.catalogue import status
from eqprop_core.config import RunConfig
from eqprop_core.data.datasets import load_dataset, verify
from eqprop_core.problems import ConfigError

Run = Callable[..., Result]
NETWORK = "--model CNN --channels 2 --kernels 7 --strides 16 --pools i --fc 1000".split()  # noqa: SIM905


def test_random_inputs_are_always_the_same(tmp_path: Path) -> None:
    first, again = (load_dataset("imagenet", root=tmp_path) for _ in range(2))
    assert first.train.images.shape == (20, 3, 224, 224)
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.train.labels, again.train.labels)
    assert len(first.info.classes) == 1000 and int(first.train.labels.max()) < 1000
    assert "20 random inputs" in status("imagenet", tmp_path).note
    assert verify("imagenet", tmp_path) == []


def test_images_in_the_references_folder_take_their_place(tmp_path: Path) -> None:
    samples = tmp_path / "imagenet_samples"
    samples.mkdir()
    for number, name in enumerate(("beach.JPEG", "boat.JPEG", "lemon.JPEG")):
        Image.new("RGB", (300 + number, 260), (10, 200, 30)).save(samples / name)
    (samples / "notes.txt").write_text("no image")
    data = load_dataset("imagenet", root=tmp_path)
    assert data.train.images.shape == (3, 3, 224, 224)
    assert abs(int(data.train.images[0, 1].float().mean()) - 200) < 5
    assert status("imagenet", tmp_path).train_size == 3
    (samples / "boat.JPEG").write_bytes(b"no")
    assert "boat.JPEG" in verify("imagenet", tmp_path)[0]


@pytest.mark.parametrize("todo", ["train", "evaluate"])
def test_there_is_nothing_to_learn_from(todo: str) -> None:
    with pytest.raises(ConfigError, match="--task imagenet: goes with gducheck alone"):
        RunConfig(task="imagenet", todo=todo, archi=(3 * 224 * 224, 1000), lrs=(0.1,))


def test_a_command_line_of_the_reference_checks_on_it(eqprop: Run, tmp_path: Path) -> None:
    words = ["--task", "imagenet", *NETWORK, "--todo", "gducheck", "--T1", "3", "--T2", "2"]
    answer = eqprop("reference", *words, "--data-dir", tmp_path)
    assert "synapses.1.weight" in answer.stdout and "random inputs" in answer.stderr
    assert "must end with 1000" in eqprop("reference", *words, "--fc", "10", code=2).stderr
