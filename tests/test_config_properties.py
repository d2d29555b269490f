"""Whatever is given, a configuration is either one that works or a complaint that a person can read."""

from __future__ import annotations

import time
import tomllib
from datetime import date, datetime
from datetime import time as clock
from math import inf, isfinite, nan
from typing import Any, get_args

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eqprop_core.config import ModelConfig, RunConfig
from eqprop_core.names import can_be_shown
from eqprop_core.problems import ConfigError, Problem

NAMES = list(RunConfig.model_fields)
many = settings(
    max_examples=1200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def check_complaint(error: ConfigError) -> None:
    lines = str(error).split("\n")
    assert len(lines) == len(error.problems) > 0
    for line in lines:
        assert can_be_shown(line) and line.startswith("--") and len(line) < 500


def accepted(values: dict[str, Any]) -> RunConfig | None:
    """The configuration of these settings, or `None` if they were refused as they should be."""
    started = time.process_time()
    try:
        config = RunConfig(**values)
    except ConfigError as error:
        check_complaint(error)
        config = None
    assert time.process_time() - started < 0.5
    return config


def check_works(config: RunConfig) -> None:
    shapes = config.connections()
    assert shapes and shapes == config.model_part().connections()
    assert all(size > 0 for shape in shapes for size in (*shape.pre, *shape.post, *shape.weight))
    for rates in (config.lrs, config.wds):
        assert rates is None or len(rates) == len(shapes)
    first, second = config.betas
    assert isfinite(1 / (second - first))
    plain = config.changed(results=None, save=None, load_path=None, all_elements=False, dry_run=False)
    assert RunConfig(**tomllib.loads(tomli_w.dumps(config.stored()))) == plain


# --- anything at all ----------------------------------------------------------------------------------

ODD = [
    None, True, False, nan, inf, -inf, -0.0, 1e308, -1e308, 5e-324, 2**31, 2**63, 2**64, -(2**63), 10**400,
    -(10**400), "", " ", "\x00", "\x1b[2J", "\n", "\r", "\x85", "\x9b31m", "\u2028", "\u202e",
    "\ud800", "\u200b" * 100, "😀" * 600, "9" * 5000, "1 " * 5000, "x" * 10_000, "mai" * 2000, "nan", "inf",
    "1e999", "1_0", "٣", "0x10", "true", b"a", b"\xff", date(2024, 1, 1), datetime(2024, 1, 1), clock(1), 1j,
    (), [], [[]], [None], {}, {"a": {"b": 1}}, {1, 2}, range(5), range(10**7), object(), int, "~nobody/x",
    [1] * 100_000, ["a"] * 100_000, [10_000_000] * 3, [1e308, -1e308], [0.0, 5e-324], list, lambda: 0,
]  # fmt: skip
itself: list[Any] = []
itself.append(itself)
deep: list[Any] = []
for _ in range(5000):
    deep = [deep]
NEVER_PRINTED = [10**5000, -(10**5000), itself, deep]  # even their repr raises
scalars = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=2)
        | st.tuples(inner)
    ),
    max_leaves=6,
)
keys = st.sampled_from([*NAMES, "self", "data", "model_config", "__class__"]) | st.text(max_size=5)


@many
@given(st.dictionaries(keys, anything, max_size=4))
def test_anything_is_a_configuration_that_works_or_a_readable_complaint(values: dict[str, Any]) -> None:
    config = accepted({"lrs": [0.1, 0.1], **values})
    if config is not None:
        check_works(config)


def test_each_setting_survives_each_odd_value() -> None:
    bases: list[dict[str, Any]] = [
        {"lrs": [0.1, 0.1]},
        {"model": "CNN", "lrs": [0.1] * 3},
        {"model": "VFCNN", "loss": "cel", "softmax": True, "todo": "gducheck"},
        {"task": "imagefolder", "data_dir": "/nowhere", "lrs": [0.1, 0.1]},
    ]
    for base in bases:
        for name in NAMES:
            for value in [*ODD, *NEVER_PRINTED]:
                config = accepted({**base, name: value})
                if config is not None:
                    check_works(config)


# --- almost right -------------------------------------------------------------------------------------


def listed(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, min_size=1, max_size=5) | st.lists(values, min_size=2, max_size=3)


sizes = listed(st.sampled_from([1, 2, 3, 5, 10, 12, 28, 512, 784, 10**7]))
rates = listed(st.floats(0, 12) | st.sampled_from([0, 0.1, 1e-9]))
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "archi": st.just([784, 10, 10]) | st.just([3072, 10]) | sizes,
    "channels": sizes,
    "kernels": listed(st.integers(1, 7)),
    "strides": listed(st.integers(1, 3)),
    "paddings": listed(st.integers(0, 3)),
    "pools": st.text("maix", min_size=1, max_size=4),
    "fc": st.just([10]) | sizes,
    "dropouts": listed(st.sampled_from([0.1, 0.5, 1, 0])),
    "scale": st.floats(-1, 10),
    "T1": st.integers(0, 30),
    "T2": st.integers(0, 30),
    "betas": listed(st.sampled_from([0, 0.0, -0.5, 0.5, 1e-13])),
    "lrs": rates,
    "wds": rates,
    "mmt": st.floats(-0.1, 1.1),
    "mbs": st.integers(0, 300),
    "epochs": st.integers(0, 300),
    "val_split": st.floats(-0.1, 1.1),
    "seed": st.integers(-1, 2**63),
    "name": st.text(max_size=130),
    "data_dir": st.sampled_from(["/nowhere", "~/x", "~nobody/x", "."]),
    "image_size": st.integers(0, 64),
}
for setting_name, field in RunConfig.model_fields.items():
    if choices := get_args(field.annotation):
        PLAUSIBLE.setdefault(
            setting_name, st.sampled_from(choices) if type(None) not in choices else st.none()
        )
    if field.annotation is bool:
        PLAUSIBLE[setting_name] = st.booleans()


@many
@given(st.fixed_dictionaries({}, optional=PLAUSIBLE))
def test_almost_right_settings_work_or_are_complained_about(values: dict[str, Any]) -> None:
    config = accepted(values)
    if config is not None:
        check_works(config)


@st.composite
def right(draw: st.DrawFn) -> dict[str, Any]:
    """Settings that fit together, of any kind of network."""
    values: dict[str, Any] = {
        "task": draw(st.sampled_from(["digits", "MNIST", "FashionMNIST", "CIFAR10"])),
        "model": draw(st.sampled_from(["MLP", "VFMLP", "CNN", "VFCNN"])),
        "loss": draw(st.sampled_from(["mse", "cel"])),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "name": draw(st.none() | st.text("abcβ\"'\\#=[]", min_size=1)),
        "betas": [0, draw(st.floats(1e-9, 1e6) | st.floats(-1e6, -1e-9))],
    }
    hidden = draw(st.lists(st.integers(1, 600), max_size=3))
    if values["model"] in ("MLP", "VFMLP"):
        size = {"digits": 64, "CIFAR10": 3072}.get(values["task"], 784)
        values["archi"] = [size, *hidden, 10]
        connections = len(hidden) + 1
    else:
        values["channels"] = draw(st.lists(st.integers(1, 64), min_size=1, max_size=3))
        layers = len(values["channels"])
        values["kernels"] = draw(st.lists(st.sampled_from([1, 3]), min_size=layers, max_size=layers))
        values["paddings"] = [1] * layers
        values["pools"] = draw(st.text("mai", min_size=layers, max_size=layers))
        values["fc"] = [*hidden, 10]
        values["softmax"] = values["loss"] == "cel" and draw(st.booleans())
        connections = layers + len(hidden) + 1
    rate = st.floats(0, 1e6)
    values["lrs"] = draw(st.lists(rate, min_size=connections, max_size=connections))
    values["wds"] = draw(st.none() | st.lists(rate, min_size=connections, max_size=connections))
    return values


@many
@given(right())
def test_settings_that_fit_together_are_accepted_and_come_back_from_toml(values: dict[str, Any]) -> None:
    config = RunConfig(**values)
    check_works(config)
    for name in ("seed", "name", "loss"):
        assert getattr(config, name) == values[name]


# --- networks and problems ----------------------------------------------------------------------------


@many
@given(st.dictionaries(st.sampled_from(list(ModelConfig.model_fields)), anything, max_size=4))
def test_any_network_works_or_is_complained_about(values: dict[str, Any]) -> None:
    try:
        network = ModelConfig(**{"input_shape": (1, 28, 28), **values})
    except ConfigError as error:
        check_complaint(error)
    else:
        assert network.connections()


@many
@given(st.text(), anything, st.text())
def test_any_problem_is_one_printable_line(setting: str, value: Any, message: str) -> None:
    check_complaint(ConfigError([Problem(setting, value, message)]))
