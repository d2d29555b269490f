"""Presets: the shipped ones are the published experiments, and all are found wherever they are."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from eqprop_core.command_line import command_line
from eqprop_core.config import RunConfig
from eqprop_core.presets import PresetError, all_presets, load_preset, shipped_folder, user_folders
from eqprop_core.problems import ConfigError

ROOT = Path(__file__).parent.parent

# --- what the published experiments are ---------------------------------------------------------------

FOUR_CONVOLUTIONS = {
    "channels": [128, 256, 512, 512],
    "kernels": [3, 3, 3, 3],
    "pools": "mmmm",
    "strides": [1, 1, 1, 1],
    "paddings": [1, 1, 1, 0],
}
DEEP = {
    "todo": "train",
    "model": "CNN",
    "task": "CIFAR10",
    "data_aug": True,
    **FOUR_CONVOLUTIONS,
    "fc": [10],
    "act": "my_hard_sig",
    "optim": "sgd",
    "lrs": [0.25, 0.15, 0.1, 0.08, 0.05],
    "wds": [3e-4] * 5,
    "mmt": 0.9,
    "lr_decay": True,
    "epochs": 120,
    "T1": 250,
    "mbs": 128,
}
MSE = {**DEEP, "loss": "mse", "T2": 30}
MSE_EP = {**MSE, "alg": "EP", "betas": [0.0, 0.5]}
CEL = {**DEEP, "loss": "cel", "softmax": True, "T2": 25}
CEL_EP = {**CEL, "alg": "EP", "betas": [0.0, 1.0], "thirdphase": True}
DROPOUT = {"dropouts": [1.0, 1.0, 1.0, 0.9, 1.0]}
VECTOR_FIELD = {**CEL, "model": "VFCNN", "T2": 30}
VECTOR_FIELD_EP = {**VECTOR_FIELD, "alg": "EP", "betas": [0.0, 1.0], "thirdphase": True}
STORED = {
    "model": "CNN",
    "task": "CIFAR10",
    "data_aug": True,
    "T1": 250,
    "thirdphase": True,
    "loss": "mse",
    "load_path": "results/test",
}
CNN_CHECK = {
    "todo": "gducheck",
    "model": "CNN",
    "task": "CIFAR10",
    "act": "hard_sigmoid",
    **FOUR_CONVOLUTIONS,
    "T1": 250,
    "T2": 30,
    "loss": "mse",
}
MLP = {"model": "MLP", "task": "MNIST", "archi": [784, 512, 10]}
MLP_CHECK = {
    **MLP,
    "todo": "gducheck",
    "act": "tanh",
    "T1": 30,
    "T2": 10,
    "mbs": 50,
    "loss": "mse",
    "seed": 0,
}

EXPERIMENTS: dict[str, dict[str, Any]] = {
    "cifar10-cnn-mse-ep-one-sided": MSE_EP,
    "cifar10-cnn-mse-ep-random-sign": {**MSE_EP, "random_sign": True},
    "cifar10-cnn-mse-ep-symmetric": {**MSE_EP, "thirdphase": True},
    "cifar10-cnn-mse-bptt": {**MSE, "alg": "BPTT"},
    "cifar10-cnn-cel-ep-symmetric": CEL_EP,
    "cifar10-cnn-cel-bptt": {**CEL, "alg": "BPTT"},
    "cifar10-cnn-cel-dropout-ep-symmetric": {**CEL_EP, **DROPOUT},
    "cifar10-cnn-cel-dropout-bptt": {**CEL, **DROPOUT, "alg": "BPTT"},
    "cifar10-vfcnn-cel-ep-different-updates": VECTOR_FIELD_EP,
    "cifar10-vfcnn-cel-ep-same-update": {**VECTOR_FIELD_EP, "same_update": True},
    "cifar10-vfcnn-cel-bptt": {**VECTOR_FIELD, "alg": "BPTT"},
    "cifar10-cnn-evaluate": {**STORED, "todo": "evaluate", "mbs": 200},
    "cifar10-cnn-gducheck-trained": {
        **STORED,
        "todo": "gducheck",
        "T2": 15,
        "mbs": 128,
        "betas": [0.0, 0.1],
    },
    "cifar10-cnn-gducheck-beta-0.01": {**CNN_CHECK, "betas": [0.0, 0.01]},
    "cifar10-cnn-gducheck-beta-0.1": {**CNN_CHECK, "betas": [0.0, 0.1]},
    "cifar10-cnn-gducheck-symmetric": {**CNN_CHECK, "betas": [0.0, 0.1], "thirdphase": True},
    "mnist-mlp-gducheck-beta-0.01": {**MLP_CHECK, "betas": [0.0, 0.01]},
    "mnist-mlp-gducheck-beta-0.1": {**MLP_CHECK, "betas": [0.0, 0.1]},
    "mnist-mlp-gducheck-symmetric": {**MLP_CHECK, "betas": [0.0, 0.1], "thirdphase": True},
    "cifar10-cnn-mse-ep-adam-check": {
        "todo": "train",
        "model": "CNN",
        "task": "CIFAR10",
        "channels": [128, 256, 512],
        "kernels": [3, 3, 3],
        "pools": "mmm",
        "strides": [1, 1, 1],
        "fc": [10],
        "optim": "adam",
        "lrs": [5e-5, 5e-5, 1e-5, 7e-6],
        "epochs": 1,
        "act": "hard_sigmoid",
        "betas": [0.0, 0.5],
        "T1": 200,
        "T2": 20,
        "mbs": 128,
        "check_thm": True,
        "random_sign": True,
        "loss": "mse",
    },
    "mnist-mlp-ep": {
        **MLP,
        "todo": "train",
        "optim": "adam",
        "lrs": [5e-4, 5e-4],
        "epochs": 2,
        "act": "mysig",
        "betas": [0.0, 0.1],
        "T1": 30,
        "T2": 10,
        "check_thm": True,
        "mbs": 50,
    },
    "mnist-mlp-continual-ep": {
        **MLP,
        "todo": "train",
        "alg": "CEP",
        "optim": "sgd",
        "lrs": [0.0056, 0.0028],
        "epochs": 100,
        "act": "mysig",
        "betas": [0.0, 0.2],
        "T1": 40,
        "T2": 15,
        "mbs": 20,
        "thirdphase": True,
    },
    "mnist-cnn-ep": {
        "todo": "train",
        "model": "CNN",
        "task": "MNIST",
        "channels": [32, 64],
        "kernels": [5, 5],
        "pools": "mm",
        "strides": [1, 1],
        "fc": [10],
        "optim": "adam",
        "lrs": [5e-5, 1e-5, 8e-6],
        "epochs": 1,
        "act": "hard_sigmoid",
        "betas": [0.0, 0.4],
        "T1": 200,
        "T2": 10,
        "mbs": 100,
    },
}
OURS = (
    *("digits-mlp-ep", "digits-cnn-ep", "digits-vfcnn-ep", "digits-mlp-bptt", "digits-gducheck"),
    *("mnist-mlp-ep-best", "mnist-mlp-bptt-best", "mnist-cnn-ep-best"),
)
PUBLISHED = {
    "cifar10-cnn-mse-ep-one-sided": 86.0,
    "cifar10-cnn-cel-ep-symmetric": 11.7,
    "cifar10-vfcnn-cel-ep-same-update": 13.2,
}


@pytest.fixture(autouse=True)
def _no_presets_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eqprop_core.presets.platformdirs.user_config_path", lambda name: tmp_path / name)


def test_all_shipped_presets_are_valid_and_described() -> None:
    presets, problems = all_presets()
    assert [str(problem) for problem in problems] == []
    assert set(presets) == {*EXPERIMENTS, *OURS}
    for preset in presets.values():
        assert preset.shipped and preset.title and len(preset.description) > 80, preset.name
        assert preset.group in ("start here", "CIFAR-10", "CIFAR-10 vector field", "MNIST", "GDU check")
    assert len({preset.title for preset in presets.values()}) == len(presets)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_published_experiment_has_exactly_its_settings(name: str) -> None:
    assert load_preset(name).config == EXPERIMENTS[name]


def test_expected_results_are_published_ones() -> None:
    expected = {name: preset.expected for name, preset in all_presets().presets.items() if preset.expected}
    assert {name: found.test_error for name, found in expected.items()} == PUBLISHED
    assert all("10.3389/fnins.2021.633674" in found.source for found in expected.values())


def test_digits_by_bptt_differs_from_digits_by_ep_in_the_gradient_only() -> None:
    ep, bptt = load_preset("digits-mlp-ep").config, load_preset("digits-mlp-bptt").config
    assert bptt == {**ep, "alg": "BPTT"}


def test_digits_gducheck_finds_that_the_theorem_holds() -> None:
    import numpy as np
    import torch

    from eqprop_core import build_network, gdu_check

    config = load_preset("digits-gducheck").run_config()
    arrays = np.load(ROOT / "eqprop_core/data/digits.npz")
    x = torch.from_numpy(arrays["images"][:20]).float().unsqueeze(1) / 16
    y = torch.from_numpy(arrays["labels"][:20]).long()
    net = build_network(config.model_part(), generator=torch.Generator().manual_seed(0))
    found = gdu_check(net, x, y, steps=(config.T1, config.T2), beta=config.betas[1], symmetric=True)
    assert max(error for row, error in found.rmse.items() if "neurons" not in row) < 1e-3


def test_overrides_win_over_the_file() -> None:
    config = load_preset("mnist-mlp-ep").run_config(epochs=7, T1=40)
    assert (config.epochs, config.T1, config.T2) == (7, 40, 10)


@pytest.mark.parametrize("name", [*EXPERIMENTS, *OURS])
def test_the_command_line_makes_the_same_configuration(name: str) -> None:
    config = load_preset(name).run_config()
    typed: dict[str, Any] = {}
    words: list[str] = []
    for word in shlex.split(command_line(config, todo=True)):
        if word.startswith("--"):
            words = typed.setdefault(word.removeprefix("--").replace("-", "_"), [])
        else:
            words.append(word)
    again = RunConfig(**{key: " ".join(values) if values else True for key, values in typed.items()})
    if config.load_path:  # says nothing of the network, which is the stored one
        assert "model" not in typed and again.load_path == config.load_path
    else:
        assert again.stored() == config.stored()


def test_the_command_line_is_safe_to_paste() -> None:
    config = load_preset("digits-mlp-ep").run_config(data_dir="--save; rm x", save=False, seed=None)
    line = command_line(config)
    assert "'--data-dir=--save; rm x'" in line and line.endswith("--no-save") and "--todo" not in line


# --- where presets are found --------------------------------------------------------------------------


def test_presets_are_found_in_a_checkout() -> None:
    assert shipped_folder() == ROOT / "presets"


def test_presets_are_found_in_an_installed_wheel(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    program = (
        f"import sys; sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]; "
        f"sys.path.insert(0, {str(installed)!r}); "
        "from eqprop_core import presets; found, problems = presets.all_presets(); "
        "print(presets.shipped_folder()); print(len(found), len(problems)); print('torch' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    folder = installed / "eqprop_core" / "shipped_presets"
    assert answer.stdout.split("\n")[:3] == [str(folder), f"{len(EXPERIMENTS) + len(OURS)} 0", "False"]


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


OWN = 'title = "mine"\n[config]\ntask = "digits"\nlrs = [0.1, 0.1]\n'


def test_ones_own_presets_are_found_and_a_broken_one_hides_none() -> None:
    here, config = user_folders()
    write(here / "quick.toml", OWN)
    write(here / "broken.toml", "title = \n")
    write(here / ".#lock.toml", "not a preset at all")
    write(config / "slow.toml", OWN)
    presets, problems = all_presets()
    assert not presets["quick"].shipped and presets["slow"].group == "own presets"
    assert [problem.path.name for problem in problems] == ["broken.toml"]
    assert load_preset("quick").run_config().archi == (64, 512, 10)
    with pytest.raises(PresetError, match=r"broken\.toml: is not TOML: .*line 1"):
        load_preset("broken")


def test_a_name_belongs_to_the_first_file_that_has_it() -> None:
    here, config = user_folders()
    write(here / "mnist-mlp-ep.toml", OWN)
    write(here / "quick.toml", OWN)
    write(config / "quick.toml", OWN)
    presets, problems = all_presets()
    assert presets["mnist-mlp-ep"].shipped and load_preset("mnist-mlp-ep").shipped
    assert presets["quick"].path == here / "quick.toml"
    assert [str(problem) for problem in problems] == [
        f"{here / 'mnist-mlp-ep.toml'}: is not used: a shipped preset has the name mnist-mlp-ep already; "
        "rename the file",
        f"{config / 'quick.toml'}: is not used: {here / 'quick.toml'} has the name quick already; "
        "rename the file",
    ]


def test_a_folder_that_is_none_is_a_problem_and_not_a_crash() -> None:
    write(user_folders()[0], "a file where the folder should be")
    presets, problems = all_presets()
    assert len(presets) == len(EXPERIMENTS) + len(OURS)
    assert [str(problem) for problem in problems] == ["eqprop-presets: cannot be listed: Not a directory"]


def test_missing_shipped_presets_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eqprop_core.presets.shipped_folder", lambda: tmp_path / "gone")
    presets, problems = all_presets()
    assert presets == {} and "install eqprop again" in str(problems[0])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar10-cnn-cel-ep-symetric", "did you mean cifar10-cnn-cel-ep-symmetric"),
        ("digits-mlp", "did you mean digits-mlp-ep, digits-mlp-bptt or "),
        ("quite another thing", "is not the name of a preset"),
        ("zzz", "`eqprop presets list`"),
        ("../presets/mnist-mlp-ep", "is not the name of a preset"),
        ("/etc/passwd", "is not the name of a preset"),
        ("..", "is not the name of a preset"),
        ("", "is not the name of a preset"),
        ("a" * 101, "is not the name of a preset"),
        ("nowhere/quick.toml", "there is no such file"),
        ("a\0b/quick.toml", "null"),
    ],
)
def test_an_unknown_name_is_refused(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(hint)):
        load_preset(name)


def test_a_preset_can_be_a_path(tmp_path: Path) -> None:
    path = write(tmp_path / "elsewhere" / "quick.toml", "\ufeff" + OWN.replace("\n", "\r\n"))
    preset = load_preset(str(path))
    assert (preset.name, preset.title, preset.path, preset.shipped) == ("quick", "mine", path, False)
    assert (preset.description, preset.tags, preset.expected) == ("", (), None)
