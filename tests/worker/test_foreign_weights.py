"""Weights that other programs saved: taken whatever they are called, as long as they are numbers and fit."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from eqprop_core import ModelConfig, build_network
from eqprop_core.networks.network import Network
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.names import BEST_FIRST, LATEST_FIRST
from eqprop_core.runs.numbers import read_numbers
from eqprop_core.worker import checkpoint

CONFIG = ModelConfig(model="VFMLP", input_shape=(1, 8, 8), archi=[64, 6, 10])
State = dict[str, Tensor]


def network(seed: int = 1, config: ModelConfig = CONFIG) -> Network:
    return build_network(config, generator=torch.Generator().manual_seed(seed))


def before(prefix: str) -> Callable[[State], Any]:
    return lambda state: {"model_state_dict": {prefix + name: value for name, value in state.items()}}


def as_numpy(state: State, kind: str = "<f4", order: Any = "C") -> Any:
    return {name: np.array(value.numpy(), dtype=kind, order=order) for name, value in state.items()}


TAKEN: dict[str, tuple[Callable[[State], Any], str]] = {
    "DataParallel": (before("module."), "begin with module."),
    "torch.compile": (before("_orig_mod."), "begin with _orig_mod."),
    "both": (before("module._orig_mod."), "begin with module._orig_mod."),
    "both the other way": (before("_orig_mod.module."), "begin with _orig_mod.module."),
    "torch.compile of the layers": (
        lambda s: {"model_state_dict": {n.replace("0.", "0._orig_mod."): v for n, v in s.items()}},
        "module. and _orig_mod. inside the names",
    ),
    "DataParallel of a layer and of the whole": (
        lambda s: {"model_state_dict": {"module." + n.replace(".1.", ".1.module."): v for n, v in s.items()}},
        "inside the names",
    ),
    "DataParallel of some": (
        lambda s: {"model_state_dict": {("module." if ".0." in n else "") + n: v for n, v in s.items()}},
        "begin with module.",
    ),
    "a bare state dict": (dict, "the whole file"),
    "under state_dict": (lambda state: {"state_dict": state, "epoch": 3}, "under state_dict"),
    "under model": (lambda state: {"model": state}, "under model"),
    "under model, wrapped": (lambda s: {"model": before("module.")(s)["model_state_dict"]}, "begin with module."),
    "float64": (lambda s: {"model_state_dict": {n: v.double() for n, v in s.items()}}, "are float64; taken as float32"),
    "a counter among them": (lambda s: {"model_state_dict": {**s, "n_averaged": torch.tensor(3)}}, "n_averaged is no"),
    "NumPy arrays": (lambda state: {"model_state_dict": as_numpy(state)}, ""),
    "NumPy arrays of columns": (lambda s: {"model_state_dict": as_numpy(s, order="F")}, ""),
    "NumPy, big-endian doubles": (lambda s: {"state_dict": as_numpy(s, ">f8")}, "are float64"),
    "NumPy numbers beside": (
        lambda s: {"model_state_dict": s, "best": np.float64(87.5), "epoch": np.int32(3), "test_acc": np.ones(4)},
        "",
    ),
    "empty arrays beside": (lambda s: {"model_state_dict": s, "angles": np.zeros((0, 3)), "none": np.array([], "i4")}, ""),
    "NumPy truth beside": (lambda s: {"model_state_dict": s, "done": np.bool_(True), "lr": np.float16(0.5)}, ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAKEN)
def test_weights_are_found_under_other_names_and_of_other_kinds(kind: str, tmp_path: Path) -> None:
    made, said = TAKEN[kind]
    net, path = network(), tmp_path / "weights.pt"
    torch.save(made(net.state_dict()), path)
    again = network(2)
    found, _, notes = checkpoint.load_first(again, tmp_path, [path.name])
    assert found == path
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert said in "; ".join(notes)
    assert bool(notes) == bool(said)


TWICE: dict[str, tuple[Callable[[State], Any], str]] = {
    "one compiled, one not": (lambda s: s | {"_orig_mod." + n: v for n, v in s.items()}, "several networks"),
    "a layer compiled and not": (lambda s: s | {"synapses.0._orig_mod.bias": s["synapses.0.bias"]}, "some weights twice"),
    "two networks": (lambda s: {f"{a}.{n}": v for a in ("teacher", "module.student") for n, v in s.items()}, "several networks"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TWICE)
def test_weights_that_are_there_twice_are_refused(kind: str, tmp_path: Path) -> None:
    made, said = TWICE[kind]
    torch.save({"model_state_dict": made(network().state_dict())}, tmp_path / "model.pt")
    with pytest.raises(RunError, match=said):
        checkpoint.load_first(network(2), tmp_path, ["model.pt"])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_later_protocol_is_told(protocol: int, new: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    content = {"model_state_dict": network().state_dict(), "best": np.float64(3)}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    if protocol < 3:
        assert checkpoint.load(path)["best"] == 3
    else:
        with pytest.raises(RunError, match=r"is pickled in a later protocol than 2"):
            checkpoint.load(path)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_taken_as_they_are(kind: torch.dtype, tmp_path: Path) -> None:
    net = network()
    torch.save({n: v.to(kind) for n, v in net.state_dict().items()}, tmp_path / "model.pt")
    again = network(2)
    _, _, notes = checkpoint.load_first(again, tmp_path, BEST_FIRST)
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(a.to(kind).float(), b)
    assert str(kind).removeprefix("torch.") in notes[-1]


def test_files_of_torch_before_its_zip_files_are_read(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "checkpoint.tar"
    content = {"model_state_dict": net.state_dict(), "test_acc": [10.0, 55.5]}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    again = network(2)
    checkpoint.load_first(again, tmp_path, LATEST_FIRST)
    assert torch.equal(net.synapses[0].weight, again.synapses[0].weight)
    assert read_numbers(path)["test_acc"] == [10.0, 55.5]


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch code-was-run",)


class Crafted:
    """Gives NumPy's own functions what they should not be given."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> Any:
        return self.made


SCALAR = np.float64(1).__reduce__()[0]
RECONSTRUCT = np.ones(1).__reduce__()[0]
REFUSED: dict[str, tuple[Any, str]] = {
    "objects": (np.array([Hostile()], dtype=object), "could run code|NumPy"),
    "objects that are numbers": (np.array([1, 2.5], dtype=object), "NumPy data that is no plain number"),
    "text": (np.str_("a"), "NumPy data that is no plain number"),
    "dates": (np.datetime64("2026-01-01"), "NumPy data that is no plain number"),
    "records": (np.zeros(2, dtype=[("a", "f8")]), "NumPy data that is no plain number"),
    "a number of too few bytes": (Crafted(SCALAR, np.dtype("f8"), b"123"), "NumPy number that is damaged"),
    "a function of NumPy's": (np.frombuffer, r"could run code|NumPy"),
    "bytes that fill the memory": (Crafted(bytes, 10**12), "NumPy array that is damaged"),
    "code": (Hostile(), "could run code"),
    "code as a kind": (Crafted(np.dtype, Hostile()), "could run code"),
    "code as a class": (Crafted(RECONSTRUCT, Hostile(), (0,), b"b"), "could run code"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_only_numbers_is_refused_and_not_run(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, said = REFUSED[what]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint.tar"
    for new in (True, False):
        torch.save(
            {"model_state_dict": network().state_dict(), "best": value},
            path,
            _use_new_zipfile_serialization=new,
        )
        with pytest.raises(RunError, match=said):
            checkpoint.load(path)
        assert read_numbers(path) == {}
    path.write_bytes(pickle.dumps({"train_acc": [Hostile()]}))
    assert read_numbers(path) == {}
    assert not (tmp_path / "code-was-run").exists()


def test_what_does_not_fit_is_named_with_both_shapes(tmp_path: Path) -> None:
    state = {f"module.{name}": value for name, value in network().state_dict().items()}
    del state["module.synapses.1.bias"]
    state["module.synapses.0.weight"] = torch.zeros(7, 64)
    state["module.B_syn.0.weight"] = torch.zeros(6, 10, dtype=torch.int8)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(RunError) as caught:
        checkpoint.load_first(network(), tmp_path, BEST_FIRST)
    assert "synapses.0.weight is 7×64, this network has 6×64" in str(caught.value)
    assert "synapses.1.bias is missing" in str(caught.value)
    assert "B_syn.0.weight is int8, not a tensor of real numbers" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"fc1.weight": torch.zeros(3), "fc1.bias": torch.zeros(3)}, "other names (fc1.weight, fc1.bias) than"),
        ({"a.synapses.0.bias": torch.zeros(3), "b.synapses.0.bias": torch.zeros(3)}, "of several networks"),
        ({"model_state_dict": {}, "epoch": 3}, "has no weights"),
        ({"model_state_dict": {**network().state_dict(), "synapses.2.bias": torch.ones(3)}}, "synapses.2.bias is not in"),
    ],
    ids=["other names", "two networks", "none", "a layer more"],
)  # fmt: skip
def test_weights_of_something_else_are_told(content: Any, said: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(RunError) as caught:
        checkpoint.load_first(network(), tmp_path, BEST_FIRST)
    assert said in str(caught.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(network().state_dict()["synapses.0.weight"].numpy().tobytes()[:16])
    content[place] ^= 1
    path.write_bytes(bytes(content))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def pickled(path: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(64, 6)), path)


@pytest.mark.parametrize("damage", [cut, altered, emptied, pickled])
@pytest.mark.parametrize(
    ("bad", "good", "order"),
    [
        ("checkpoint.tar", "checkpoint.prev.tar", LATEST_FIRST),
        ("checkpoint.tar", "model.pt", LATEST_FIRST),
        ("model.pt", "checkpoint.tar", BEST_FIRST),
        ("model.pt", "final_checkpoint.tar", BEST_FIRST),
    ],
)
def test_of_two_files_the_good_one_is_taken_and_told(
    damage: Callable[[Path], None], bad: str, good: str, order: tuple[str, ...], tmp_path: Path
) -> None:
    net = network()
    for name in (bad, good):
        torch.save({"model_state_dict": net.state_dict()}, tmp_path / name)
    damage(tmp_path / bad)
    again = network(2)
    found, _, (said,) = checkpoint.load_first(again, tmp_path, order)
    assert found.name == good
    assert torch.equal(net.synapses[0].weight, again.synapses[0].weight)
    assert said.startswith(f"{tmp_path / bad}: ") and said.endswith(f"; {good} is used instead")


def test_where_none_is_good_each_is_told(tmp_path: Path) -> None:
    for name in ("checkpoint.tar", "model.pt"):
        (tmp_path / name).write_bytes(b"no")
    with pytest.raises(
        RunError, match=r"model\.pt: is not a checkpoint.*checkpoint\.tar: is not a checkpoint"
    ):
        checkpoint.load_first(network(), tmp_path, BEST_FIRST)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
@pytest.mark.parametrize("order", [BEST_FIRST, LATEST_FIRST])
def test_weights_that_are_not_finite_are_named_and_not_used(
    value: float, order: tuple[str, ...], tmp_path: Path
) -> None:
    bad, good = network().state_dict(), network(2).state_dict()
    bad["synapses.1.weight"] = bad["synapses.1.weight"].double()  # of which float32 holds not all
    bad["synapses.1.weight"][0, 0] = value
    torch.save({"model_state_dict": bad}, tmp_path / order[0])
    with pytest.raises(RunError, match=r"its weights are not finite numbers: synapses\.1\.weight"):
        checkpoint.load_first(network(), tmp_path, order)
    torch.save({"model_state_dict": good}, tmp_path / order[1])
    net = network()
    found, _, said = checkpoint.load_first(net, tmp_path, order)
    assert found.name == order[1]
    assert "not finite" in said[0] and said[0].endswith(f"; {order[1]} is used instead")
    assert torch.equal(net.synapses[1].weight, good["synapses.1.weight"])
