"""Checkpoints: whole or not at all, refused in words, and never run."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from eqprop_core import ModelConfig, build_network
from eqprop_core.runs.folder import RunError
from eqprop_core.worker import checkpoint
from eqprop_core.worker.weights import load_weights

CONFIG = ModelConfig(model="VFMLP", input_shape=(1, 8, 8), archi=[64, 12, 10])


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch code-was-run",)


def test_a_model_comes_back_with_its_network(tmp_path: Path) -> None:
    net = build_network(CONFIG)
    checkpoint.write(tmp_path / "model.pt", checkpoint.packed_model(net))
    content = checkpoint.load(tmp_path / "model.pt")
    again = build_network(ModelConfig(**content["model"]))
    load_weights(again, content, tmp_path / "model.pt")
    assert again.config == CONFIG
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_the_references_checkpoint_is_read(tmp_path: Path) -> None:
    net = build_network(CONFIG)
    torch.save({"model_state_dict": net.state_dict(), "epoch": 3, "best": 97.1}, tmp_path / "checkpoint.tar")
    again = build_network(CONFIG)
    load_weights(again, checkpoint.load(tmp_path / "checkpoint.tar"), tmp_path / "checkpoint.tar")
    assert torch.equal(net.synapses[0].weight, again.synapses[0].weight)


@pytest.mark.parametrize("whole", [True, False], ids=["a pickled model", "hidden among weights"])
def test_code_in_a_checkpoint_is_refused_and_not_run(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pt"
    torch.save(Hostile() if whole else {"model_state_dict": {"synapses.0.weight": Hostile()}}, path)
    with pytest.raises(RunError, match="could run code"):
        checkpoint.load(path)
    path.write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(RunError):
        checkpoint.load(path)
    assert not (tmp_path / "code-was-run").exists()


def test_another_network_is_named_layer_by_layer(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    checkpoint.write(path, checkpoint.packed_model(build_network(CONFIG)))
    other = build_network(ModelConfig(model="MLP", input_shape=(1, 8, 8), archi=[64, 20, 10]))
    with pytest.raises(RunError, match=r"synapses\.0\.weight is 12×64, this network has 20×64"):
        load_weights(other, checkpoint.load(path), path)
    with pytest.raises(RunError, match=r"B_syn\.0\.weight is not in this network"):
        same_size = build_network(ModelConfig(model="MLP", input_shape=(1, 8, 8), archi=[64, 12, 10]))
        load_weights(same_size, checkpoint.load(path), path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a checkpoint",
        b"PK\x03\x04 but no zip",
        random.Random(1).randbytes(5000),
        b"\x80\x02}q\x00.",
    ],
)
def test_what_is_no_checkpoint_is_said(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.tar"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"checkpoint\.tar"):
        load_weights(build_network(CONFIG), checkpoint.load(path), path)


def test_a_checkpoint_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    checkpoint.write(path, checkpoint.packed_model(build_network(CONFIG)))
    whole = path.read_bytes()
    for cut in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:cut])
        with pytest.raises(RunError):
            load_weights(build_network(CONFIG), checkpoint.load(path), path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "not a dictionary"),
        ({"format": 99, "model_state_dict": {}}, "format 99"),
        ({"weights": {}}, "no weights"),
        ({"model_state_dict": {"synapses.0.weight": "text"}}, "is not a tensor"),
    ],
)
def test_other_content_is_said(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(content, path)
    with pytest.raises(RunError, match=said):
        load_weights(build_network(CONFIG), checkpoint.load(path), path)


def test_a_write_that_fails_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    checkpoint.write(path, checkpoint.packed_model(build_network(CONFIG)))
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(path, checkpoint.packed_model(build_network(CONFIG)))
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["model.pt"]
