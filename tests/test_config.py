"""The schema of a run: defaults, lists that complete themselves, rules, and what is stored."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pydantic import ValidationError

from eqprop_core.config import SECTIONS, ModelConfig, RunConfig, combine, facts, read_toml
from eqprop_core.problems import ConfigError, Problem, flag, shown
from eqprop_core.rules import inapplicable, refused_flags

MLP: dict[str, Any] = {"lrs": [0.1, 0.05]}
CNN: dict[str, Any] = {"model": "CNN", "lrs": [0.1, 0.05, 0.02]}
VFCNN: dict[str, Any] = {**CNN, "model": "VFCNN"}
SOFTMAX: dict[str, Any] = {**CNN, "loss": "cel", "softmax": True}
CIFAR10: dict[str, Any] = {
    **SOFTMAX, "task": "CIFAR10", "channels": [128, 256, 512, 512], "kernels": [3] * 4,
    "paddings": [1, 1, 1, 0], "fc": [10], "lrs": [0.25, 0.15, 0.1, 0.08, 0.05],
}  # fmt: skip
EXAMPLES = {"MLP": MLP, "CNN": CNN, "VFCNN": VFCNN, "softmax": SOFTMAX, "CIFAR10": CIFAR10}


def complaint(**given: Any) -> str:
    """The text of the error that these settings make."""
    with pytest.raises(ConfigError) as caught:
        RunConfig(**given)
    return str(caught.value)


# --- defaults and completion --------------------------------------------------------------------------

DEFAULTS = {
    "model": "MLP", "task": "MNIST", "archi": (784, 512, 10), "act": "mysig", "optim": "sgd", "lrs": None,
    "wds": None, "mmt": 0.0, "loss": "mse", "softmax": False, "alg": "EP", "mbs": 20, "T1": 20, "T2": 4,
    "betas": (0.0, 0.01), "random_sign": False, "thirdphase": False, "same_update": False,
    "check_thm": False, "data_aug": False, "lr_decay": False, "epochs": 1, "scale": None, "dropouts": None,
    "seed": None, "device": "auto", "load_path": None, "save": None, "decay_epochs": 100, "val_split": 0.0,
    "channels": None, "kernels": None, "strides": None, "paddings": None, "pools": None, "fc": None,
    "train_samples": None, "test_samples": None, "samples": "first", "image_size": None, "name": None, "data_dir": None,
    "results": None, "dry_run": False, "checkpoint_every": 10.0,
}  # fmt: skip


def test_defaults_are_the_references() -> None:
    config = RunConfig(todo="evaluate")
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    assert RunConfig(lrs=[0.1, 0.1]).todo == "train"


def test_a_cnn_without_lists_is_the_references() -> None:
    config = RunConfig(**CNN)
    assert (config.channels, config.kernels, config.strides, config.paddings) == (
        (32, 64),
        (5, 5),
        (1, 1),
        (0, 0),
    )
    assert (config.pools, config.fc, config.archi) == ("mm", (10,), None)


def test_lists_that_were_not_given_take_the_length_of_channels() -> None:
    config = RunConfig(model="CNN", channels=[4, 5, 6], kernels=[3, 3, 3], todo="evaluate")
    assert (config.strides, config.paddings, config.pools) == ((1, 1, 1), (0, 0, 0), "mmm")


@pytest.mark.parametrize(
    ("task", "archi"),
    [("digits", (64, 512, 10)), ("FashionMNIST", (784, 512, 10)), ("CIFAR10", (3072, 512, 10))],
)
def test_layer_sizes_that_were_not_given_fit_the_task(task: str, archi: tuple[int, ...]) -> None:
    assert RunConfig(task=task, **MLP).archi == archi


def test_an_image_folder_decides_the_number_of_classes(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("ant", "bee", "cat"):
            (tmp_path / split / name).mkdir(parents=True)
    folder = {"task": "imagefolder", "data_dir": str(tmp_path), "image_size": 16}
    assert RunConfig(**MLP, **folder).archi == (768, 512, 3)
    assert RunConfig(**CNN, **folder).fc == (3,)
    assert "--fc 10: must end with 3, the number of classes" in complaint(**CNN, **folder, fc=[10])


@pytest.mark.parametrize("where", ["/nowhere/at/all", "~nobody-of-that-name/images"])
def test_a_missing_image_folder_is_no_reason_to_refuse_a_configuration(where: str) -> None:
    config = RunConfig(**CNN, task="imagefolder", data_dir=where, fc=[7])
    assert config.connections()[-1].post == (7,)


def test_lists_of_the_other_kind_of_network_are_dropped() -> None:
    mlp = RunConfig(**MLP, channels=[8], fc=[10], pools="m", mmt=0.9, image_size=8, same_update=True)
    assert (mlp.channels, mlp.fc, mlp.pools, mlp.image_size, mlp.same_update) == (
        None,
        None,
        None,
        None,
        False,
    )
    assert RunConfig(**CNN, archi=[1, 2, 3]) == RunConfig(**CNN)
    assert RunConfig(**MLP, optim="adam", mmt=0.9).mmt == 0.0
    given = {"model": "CNN", "input_shape": (1, 28, 28)}
    assert ModelConfig(**given, archi=[1, 2, 3]) == ModelConfig(**given)


def test_one_value_or_words_stand_for_a_list() -> None:
    config = RunConfig(model="CNN", channels=8, kernels="3", lrs="0.1 0.05", betas="0 -0.5")
    assert (config.channels, config.kernels, config.lrs, config.betas) == (
        (8,),
        (3,),
        (0.1, 0.05),
        (0.0, -0.5),
    )


@pytest.mark.parametrize(
    ("flags", "estimator"),
    [
        ({}, "one-sided"),
        ({"random_sign": True}, "random-sign"),
        ({"thirdphase": True}, "symmetric"),
        ({"estimator": "paired"}, "paired"),
        ({"estimator": "symmetric"}, "symmetric"),
        ({"estimator": "one-sided", "thirdphase": True}, "one-sided"),
    ],
)
def test_the_estimator(flags: dict[str, Any], estimator: str) -> None:
    assert RunConfig(**MLP, **flags).chosen_estimator == estimator


def test_a_named_estimator_takes_the_place_of_the_references_switches() -> None:
    config = RunConfig(**MLP, thirdphase=True, estimator="paired")
    assert not config.thirdphase and "thirdphase" not in [n for n, v in config.stored().items() if v is True]
    (problem,) = refused_flags(config, {"thirdphase": True, "random_sign": False})
    assert str(problem) == "--thirdphase: does not apply: --estimator paired says which"


# --- rules --------------------------------------------------------------------------------------------

RULES: list[tuple[dict[str, Any], str]] = [
    # the network
    ({**MLP, "archi": [784]}, "--archi 784: needs at least two sizes"),
    ({**MLP, "archi": [100, 10]}, "--archi 100 10: begins with 100, but the input has 784 values (1×28×28)"),
    ({**MLP, "archi": [784, 9]}, "--archi 784 9: must end with 10, the number of classes"),
    ({**MLP, "archi": [784, 10**7, 10**7, 10]}, "parameters; 20,000,000,000 at most"),
    ({**CNN, "channels": []}, "--channels: needs at least one convolution"),
    ({**CNN, "fc": []}, "--fc: needs at least the number of classes"),
    ({**CNN, "fc": [100, 9]}, "--fc 100 9: must end with 10, the number of classes"),
    ({**CNN, "kernels": [5]}, "--kernels 5: 1 value for 2 convolutions (--channels): give 2"),
    ({**CNN, "strides": [1, 1, 1]}, "--strides 1 1 1: 3 values for 2 convolutions (--channels): give 2"),
    ({**CNN, "paddings": [0]}, "--paddings 0: 1 value for 2 convolutions (--channels): give 2"),
    ({**CNN, "pools": "mmm"}, "--pools mmm: 3 letters for 2 convolutions (--channels): give 2"),
    ({**CNN, "pools": "mx"}, "--pools mx: unknown letter x; m max, a average, i none"),
    ({**CNN, "kernels": [5, 13]}, "--kernels 5 13: kernel 13 with padding 0 does not fit"),
    ({**CNN, "kernels": [5, 12]}, "--pools mm: nothing is left after pooling 1×1 by 2×2"),
    ({**CNN, "channels": [10**7, 10**7]}, "parameters; 20,000,000,000 at most"),
    ({**CNN, "fc": [10**7, 10**7, 10]}, "--fc 10000000 10000000 10: makes"),
    ({**CNN, "softmax": True}, "--softmax: goes with --loss cel; with --loss mse leave it out"),
    ({**MLP, "softmax": True, "loss": "cel"}, "--softmax: MLP has no readout; use CNN or VFCNN"),
    ({**MLP, "model": "VFMLP", "softmax": True}, "--softmax: VFMLP has no readout; use CNN or VFCNN"),
    ({**MLP, "dropouts": [0.5]}, "--dropouts 0.5: 1 value, but 3 are needed"),
    ({**CIFAR10, "dropouts": [0.5] * 6}, "6 values, but 5 are needed: one for the input and one for"),
    # the gradient
    ({**MLP, "alg": "BPTT", "T2": 21}, "--T2 21: BPTT unrolls the last T2 of the T1 steps: at most 20"),
    ({**MLP, "check_thm": True, "T2": 21}, "--T2 21: BPTT unrolls"),
    ({**MLP, "todo": "gducheck", "T2": 21}, "--T2 21: BPTT unrolls"),
    ({**MLP, "betas": [0.1, 0.1]}, "--betas 0.1 0.1: the two must differ by 1e-12 or more"),
    ({**MLP, "betas": [0, 1e-320]}, "the two must differ by 1e-12 or more"),
    ({**MLP, "betas": [0.1]}, "--betas 0.1: needs at least 2 values"),
    ({**MLP, "betas": [0, 0.1, 0.2]}, "--betas 0 0.1 0.2: takes at most 2 values"),
    ({**MLP, "betas": [0.1, 0.2], "thirdphase": True}, "--betas 0.1 0.2: the first must be 0 with --th"),
    ({**MLP, "betas": [0.1, 0.2], "random_sign": True}, "the first must be 0 with --random-sign"),
    ({**MLP, "random_sign": True, "thirdphase": True}, "--random-sign: either --random-sign or --thirdphase"),
    # the optimizer
    ({}, "--lrs: is required to train: 2 values, one a connection"),
    ({"model": "CNN"}, "--lrs: is required to train: 3 values, one a connection"),
    ({"lrs": [0.1]}, "--lrs 0.1: 1 value, but 2 are needed: one for each connection (dense 1×28×28→512,"),
    ({**CNN, "wds": [0.1, 0.1]}, "--wds 0.1 0.1: 2 values, but 3 are needed: one for each connection"),
    ({**MLP, "alg": "CEP", "wds": [10, 0]}, "--wds 10.0 0.0: continual EP shrinks weights by 1 -"),
    ({"alg": "CEP", "lrs": [0.1, 0], "wds": [0.1, 0]}, "--lrs 0.1 0.0: continual EP with --wds divides"),
    # the data
    ({**MLP, "data_aug": True}, "--data-aug: would mirror MNIST; it goes with FashionMNIST, CIFAR10, "),
    ({**MLP, "data_aug": True, "task": "digits"}, "--data-aug: would mirror digits"),
]


@pytest.mark.parametrize(("given", "words"), RULES, ids=[words[:40] for _, words in RULES])
def test_what_does_not_fit_together_is_said_with_flag_value_and_remedy(
    given: dict[str, Any], words: str
) -> None:
    assert words in complaint(**given)


BOUNDS: list[tuple[str, Any, str]] = [
    ("T1", 0, "--T1 0: must be 1 or more"),
    ("T2", 1_000_001, "--T2 1000001: must be 1000000 or less"),
    ("mbs", 0, "--mbs 0: must be 1 or more"),
    ("epochs", -1, "--epochs -1: must be 1 or more"),
    ("epochs", 1.5, "--epochs 1.5: is not a whole number"),
    ("epochs", True, "--epochs on: is not a number"),
    ("decay_epochs", 0, "--decay-epochs 0: must be 1 or more"),
    ("train_samples", 0, "--train-samples 0: must be 1 or more"),
    ("train_samples", 10**400, "--train-samples (a number of 401 digits): must be 1000000000 or less"),
    ("test_samples", "all", "--test-samples all: is not a whole number"),
    ("val_split", 1, "--val-split 1: must be less than 1"),
    ("val_split", -0.1, "--val-split -0.1: must be 0 or more"),
    ("image_size", 5000, "--image-size 5000: must be 4096 or less"),
    ("mmt", 1, "--mmt 1: must be less than 1"),
    ("scale", 0, "--scale 0: must be greater than 0"),
    ("seed", -1, "--seed -1: must be 0 or more"),
    ("seed", 2**63, "--seed 9223372036854775808: must be less than 9223372036854775808"),
    ("lrs", [0.1, -0.1], "--lrs -0.1: must be 0 or more"),
    ("lrs", [0.1, 1e300], "--lrs 1e+300: must be 1000000 or less"),
    ("wds", "a b", "--wds a: is not a number"),
    ("wds", [0.1, float("nan")], "--wds nan: must be a finite number"),
    ("betas", [0, float("inf")], "--betas inf: must be a finite number"),
    ("betas", [0, 1e308], "--betas 1e+308: must be 1000000 or less"),
    ("dropouts", [1, 0, 1], "--dropouts 0: must be greater than 0"),
    ("archi", [784, 0, 10], "--archi 0: must be 1 or more"),
    ("archi", {"a": 1}, "--archi (a table): must be a list of values"),
    ("archi", [1] * 1001, "takes at most 1000 values"),
    ("channels", [[3]], "--channels 3: is not a whole number"),
    ("paddings", [-1], "--paddings -1: must be 0 or more"),
    ("model", "RNN", "--model RNN: is not one of MLP, VFMLP, CNN, VFCNN"),
    ("task", "SVHN", "--task SVHN: is not one of digits, MNIST, FashionMNIST, CIFAR10, imagefolder"),
    ("act", "relu", "--act relu: is not one of mysig, sigmoid, tanh"),
    ("loss", "MSE", "--loss MSE: is not one of mse, cel"),
    ("alg", "ep", "--alg ep: is not one of EP, BPTT, CEP"),
    ("optim", "lbfgs", "--optim lbfgs: is not one of sgd, adam"),
    ("todo", "test", "--todo test: is not one of train, evaluate, gducheck"),
    ("softmax", "perhaps", "--softmax perhaps: must be true or false"),
    ("pools", 7, "--pools 7: must be text"),
    ("device", "", "--device (empty): must not be empty"),
    ("name", "a\nb", r"--name a\nb: must not contain control characters"),
    ("name", "\x9b31m", r"--name \x9b31m: must not contain control characters"),
    ("name", "x" * 121, "takes at most 120 characters"),
    ("lerning_rate", 1, "--lerning-rate 1: is not a setting"),
    ("self", 1, "--self 1: is not a setting"),
]


@pytest.mark.parametrize(("name", "value", "words"), BOUNDS, ids=[words[:40] for *_, words in BOUNDS])
def test_values_out_of_bounds_are_refused_with_what_would_be_accepted(
    name: str, value: Any, words: str
) -> None:
    assert words in complaint(**{**MLP, name: value})


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig(T1=0, act="relu", nonsense=1)
    assert {problem.setting for problem in caught.value.problems} == {"T1", "act", "nonsense"}
    with pytest.raises(ConfigError) as caught:
        RunConfig(data_aug=True, betas=[1, 1], alg="BPTT", T2=30)
    assert [problem.setting for problem in caught.value.problems] == ["T2", "betas", "lrs", "data_aug"]


@pytest.mark.parametrize(
    "given",
    [
        {**MLP, "T2": 30},  # EP settles further than T1
        {"todo": "evaluate", "alg": "BPTT", "T2": 30},
        {"todo": "evaluate"},
        {"todo": "gducheck"},
        {**MLP, "betas": [0.5, -0.5]},
        {**MLP, "alg": "CEP", "wds": [9.9, 0]},
        {**MLP, "wds": [10, 0]},
        {**CNN, "dropouts": [1, 0.9, 0.8, 1]},
        {**CIFAR10, "dropouts": [1, 0.9, 0.8, 0.7, 0.6], "data_aug": True},
        {**MLP, "model": "VFMLP", "loss": "cel", "same_update": True},
        {**VFCNN, "fc": [50, 10], "lrs": [0.1] * 4},
    ],
    ids=str,
)
def test_what_fits_together_is_accepted(given: dict[str, Any]) -> None:
    RunConfig(**given)


@pytest.mark.parametrize(
    ("given", "typed", "words"),
    [
        (CNN, "archi", "--archi: does not apply: CNN takes --channels and --fc"),
        (MLP, "channels", "--channels: does not apply: MLP takes --archi"),
        (MLP, "pools", "--pools: does not apply: MLP takes --archi"),
        (CNN, "same_update", "--same-update: does not apply: only the vector-field models VFMLP and VFCNN"),
        ({**MLP, "optim": "adam"}, "mmt", "--mmt: does not apply: momentum goes with --optim sgd"),
        (MLP, "image_size", "--image-size: does not apply: goes with --task imagefolder"),
        (MLP, "samples", "--samples: does not apply: goes with --train-samples or --test-samples"),
    ],
)
def test_a_typed_flag_without_effect_is_refused(given: dict[str, Any], typed: str, words: str) -> None:
    (problem,) = refused_flags(RunConfig(**given), {typed: 1, "T1": 9})
    assert words in str(problem)


@pytest.mark.parametrize("given", EXAMPLES.values(), ids=EXAMPLES)
def test_settings_without_effect_have_no_influence(given: dict[str, Any]) -> None:
    config = RunConfig(**given)
    for name in inapplicable(config):
        assert getattr(config, name) == RunConfig.model_fields[name].default


# --- the object ---------------------------------------------------------------------------------------


def test_a_configuration_is_frozen() -> None:
    config = RunConfig(**MLP)
    with pytest.raises(ValidationError, match="frozen"):
        config.T1 = 3  # type: ignore[misc]
    assert isinstance(hash(config), int)


def test_connections_and_model_part_agree() -> None:
    for given in EXAMPLES.values():
        config = RunConfig(**given)
        assert config.connections() == config.model_part().connections()
        assert len(config.connections()) == len(given["lrs"])


def test_the_cifar10_model_part() -> None:
    part = RunConfig(**CIFAR10).model_part()
    assert part.input_shape == (3, 32, 32)
    assert [shape.post for shape in part.connections()] == [
        (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 1, 1), (10,),
    ]  # fmt: skip
    assert part.is_convolutional and not part.is_vector_field


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "--input-shape: is required"),
        ({"input_shape": []}, "--input-shape (empty): needs at least 1 values"),
        ({"input_shape": [1, 0, 28]}, "--input-shape 0: must be 1 or more"),
        ({"input_shape": [1] * 9}, "takes at most 8 values"),
        ({"input_shape": [784], "model": "CNN"}, "--model CNN: a convolutional network needs images"),
        ({"input_shape": [1, 28, 28], "model": "CNN", "archi": [1], "channels": [10**7] * 2}, "--channels"),
        ({"input_shape": [784], "lrs": [1]}, "--lrs 1: is not a setting"),
    ],
)
def test_a_network_that_cannot_be_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ModelConfig(**given)
    assert words in str(caught.value)


def test_a_network_may_have_any_number_of_classes() -> None:
    assert ModelConfig(input_shape=[4], archi=[4, 3]).connections()[-1].post == (3,)


def test_changed_makes_a_validated_copy() -> None:
    config = RunConfig(**MLP)
    assert config.changed(epochs=7).epochs == 7 and config.epochs == 1
    with pytest.raises(ConfigError, match="--epochs 0: must be 1 or more"):
        config.changed(epochs=0)


def test_later_layers_win() -> None:
    config = combine({"T1": 5, "T2": 2}, MLP, {"T1": 9})
    assert (config.T1, config.T2, config.lrs) == (9, 2, (0.1, 0.05))


# --- what is stored -----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", EXAMPLES.values(), ids=EXAMPLES)
def test_a_stored_configuration_comes_back_equal(given: dict[str, Any]) -> None:
    config = RunConfig(
        **given, seed=2**63 - 1, name="β ≠ 0 \"'\\", betas=[0, 1e-5], wds=[1e-300] * len(given["lrs"])
    )
    text = tomli_w.dumps(config.stored())
    assert RunConfig(**tomllib.loads(text)) == config


def test_what_tells_a_command_what_to_do_is_not_stored() -> None:
    config = RunConfig(**MLP, results="/tmp/x", save=True, load_path="/tmp/y", dry_run=True)
    assert config.stored() == RunConfig(**MLP).stored()
    assert set(config.stored()).isdisjoint({"results", "save", "load_path", "dry_run"})


def test_stored_values_are_plain() -> None:
    for value in RunConfig(**CIFAR10).stored().values():
        assert type(value) in (int, float, str, bool, list)


def test_reading_a_file_that_is_not_there_or_malformed_names_it(tmp_path: Path) -> None:
    good, bad, binary = (tmp_path / name for name in ("good.toml", "bad.toml", "binary.toml"))
    good.write_text("T1 = 5\n")
    bad.write_text("T1 = 5\nT2 =\n")
    binary.write_bytes(b"\xff\xfe\x00")
    assert read_toml(good) == {"T1": 5}
    for path, words in [
        (tmp_path / "none.toml", "there is no such file"),
        (bad, "line 2"),
        (binary, "cannot be read"),
        (tmp_path, "cannot be read"),
    ]:
        with pytest.raises(ConfigError) as caught:
            read_toml(path)
        assert words in str(caught.value) and shown(str(path))[:40] in str(caught.value)


# --- the set of settings ------------------------------------------------------------------------------

SETTINGS = """
    model archi channels kernels strides paddings pools fc act loss softmax dropouts scale
    task data_dir data_aug train_samples test_samples samples val_split image_size
    T1 T2 tol updates precision compile fast layout alg betas random_sign thirdphase estimator same_update check_thm
    optim lrs wds mmt lr_decay decay_epochs epochs mbs
    todo device seed checkpoint_every name results save load_path all_elements dry_run
"""


def test_the_set_of_settings() -> None:
    """Presets and run folders of users depend on these names: removing one is a decision, not a clean-up."""
    assert list(RunConfig.model_fields) == SETTINGS.split()
    assert list(ModelConfig.model_fields) == [*SETTINGS.split()[:13], "input_shape"]


def test_every_setting_has_a_section_and_a_help_text() -> None:
    for name, field in RunConfig.model_fields.items():
        assert facts(name)["section"] in SECTIONS
        assert field.description and len(field.description) < 90


# --- problems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, 2.5, "a"], "1 2.5 a"),
        (True, "on"),
        ("", "(empty)"),
        ("a\x1b[31m", r"a\x1b[31m"),
        (10**5000, "(a number of 5001 digits)"),
        ({"a": 1}, "(a table)"),
        ("x" * 100, "x" * 59 + "…"),
        ([[[[[1]]]]], "…"),
    ],
    ids=["list", "bool", "nothing", "control", "huge", "table", "long", "nested"],
)
def test_values_are_shown_as_one_would_type_them(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_problem_is_one_printable_line() -> None:
    line = str(Problem("check\nthm" * 50, "\x00" * 5000, "must\r\nnot " * 500))
    assert line.isprintable() and len(line) < 500
    assert flag("check_thm") == "--check-thm"
