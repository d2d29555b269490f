"""The one schema behind flags, presets, forms and run folders.

`ModelConfig` says what a network is made of, `RunConfig` all of a run. Both are frozen and complete: lists
that were not given have taken the length that the network needs, and rules across settings have been checked
(`rules.py`) by the time one exists. Whatever is wrong is a `ConfigError` that names each flag.

Adding a setting is one line here: flag, help text, bounds and section are read off the field.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict

from eqprop_core import catalogue, rules
from eqprop_core.files import read_text
from eqprop_core.geometry import ConnectionShape
from eqprop_core.problems import ConfigError, Problem, problems_of
from eqprop_core.reasons import reason

Section = Literal["data", "network", "dynamics", "gradient", "optimizer", "run"]
Estimator = Literal["one-sided", "paired", "random-sign", "symmetric"]
Command = Literal["train", "evaluate", "gducheck", "bench", "sweep"]

SECTIONS: tuple[Section, ...] = get_args(Section)
COMMANDS: tuple[Command, ...] = get_args(Command)
MOST_LAYERS = 1000
TOML_LIMIT = 250_000  # bytes
# A dotted key of n parts takes tomllib memory that grows with the square of n: gigabytes in a small file.
_LONG_KEY = re.compile(r"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){50}""")


def _number(value: Any) -> Any:
    """Refuse true and false where a number is meant; TOML and JSON tell them apart."""
    if isinstance(value, bool):
        raise ValueError("is not a number")
    return value


def _one_or_list(value: Any) -> Any:
    """Accept one value where a list is meant; split the words of a string."""
    if isinstance(value, str):
        return tuple(value.split())
    return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Int = Annotated[int, BeforeValidator(_number)]
Float = Annotated[float, BeforeValidator(_number)]
Item = TypeVar("Item")
Values = Annotated[tuple[Item, ...], Field(fail_fast=True), BeforeValidator(_one_or_list)]
PerLayer = Annotated[
    tuple[Item, ...], Field(fail_fast=True, max_length=MOST_LAYERS), BeforeValidator(_one_or_list)
]
Ints = PerLayer[Annotated[Int, Field(ge=1, le=10_000_000)]]
Paddings = PerLayer[Annotated[Int, Field(ge=0, le=10_000)]]
Rates = PerLayer[Annotated[Float, Field(ge=0, le=1e6)]]
Shares = PerLayer[Annotated[Float, Field(gt=0, le=1)]]
Text = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$")]


def setting(default: Any, section: Section, help: str, *, stored: bool = True, **bounds: Any) -> Any:
    """Declare a setting: its default, the section of the form, its help text and its bounds.

    `stored=False` marks what tells a command what to do and is no part of a run's configuration.
    """
    extra: JsonDict = {"section": section, "stored": stored}
    return Field(default=default, description=help, json_schema_extra=extra, **bounds)


class Settings(BaseModel):
    """Frozen settings that report everything wrong with them at once as a `ConfigError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise ConfigError(problems_of(error)) from None
        problems = self._complete()
        if problems:
            raise ConfigError(problems)

    def _complete(self) -> list[Problem]:
        """Fill in what was not given and return what does not fit together."""
        return []

    def _fill(self, **values: Any) -> None:
        """Set fields while the object is being made (it is frozen afterwards)."""
        self.__dict__.update(values)


class Architecture(Settings):
    """What a network is made of; shared by `ModelConfig` and `RunConfig`."""

    model: Literal["MLP", "VFMLP", "CNN", "VFCNN"] = setting(
        "MLP", "network", "kind of network; VF: vector field, with backward weights of its own"
    )
    archi: Ints | None = setting(None, "network", "layer sizes of an MLP, input first [784 512 10]")
    channels: Ints | None = setting(None, "network", "feature maps of each convolution [32 64]")
    kernels: Ints | None = setting(None, "network", "kernel size of each convolution [5 each]")
    strides: Ints | None = setting(None, "network", "stride of each convolution [1 each]")
    paddings: Paddings | None = setting(None, "network", "padding of each convolution [0 each]")
    pools: Text | None = setting(
        None, "network", "pooling letter of each convolution: m max, a average, i none [m each]"
    )
    fc: Ints | None = setting(None, "network", "sizes of the dense layers after the convolutions [10]")
    act: Literal["mysig", "sigmoid", "tanh", "hard_sigmoid", "my_hard_sig", "ctrd_hard_sig"] = setting(
        "mysig", "network", "activation function of the neurons"
    )
    loss: Literal["mse", "cel"] = setting("mse", "network", "loss: squared error or cross-entropy")
    softmax: bool = setting(
        False,
        "network",
        "read the classes out of the last layer by a softmax outside Φ (CNN, VFCNN with cel)",
    )
    dropouts: Shares | None = setting(
        None, "network", "probabilities to keep a neuron: one for the input, one for each layer [all kept]"
    )
    scale: Float | None = setting(
        None, "network", "factor on the start values of the weights [torch's own start values]", gt=0, le=1e6
    )

    @property
    def is_convolutional(self) -> bool:
        """Whether the network begins with convolutions."""
        return self.model in ("CNN", "VFCNN")

    @property
    def is_vector_field(self) -> bool:
        """Whether backward weights are parameters of their own."""
        return self.model in ("VFMLP", "VFCNN")


class ModelConfig(Architecture):
    """A network: its architecture and the shape of its input, without the batch dimension."""

    input_shape: Values[Annotated[Int, Field(ge=1, le=1_000_000)]] = setting(
        ..., "network", "shape of one input, e.g. 1 28 28", min_length=1, max_length=8
    )

    def _complete(self) -> list[Problem]:
        self._fill(**rules.complete_architecture(self, self.input_shape, None))
        return rules.architecture_problems(self, self.input_shape, None)

    def connections(self) -> tuple[ConnectionShape, ...]:
        """Shapes of the connections, the one that leaves the input first."""
        return rules.connection_shapes(self, self.input_shape)


class RunConfig(Architecture):
    """All of a run: what it is trained on, the network, the dynamics, the gradient, the optimizer."""

    task: Literal["digits", "MNIST", "FashionMNIST", "CIFAR10", "imagefolder", "imagenet", "idx"] = setting(
        "MNIST",
        "data",
        "data set; imagefolder, idx: your own; imagenet: random inputs of its size for gducheck",
    )
    data_dir: Text | None = setting(
        None, "data", "folder that holds the data sets [EQPROP_DATA, or the user's data folder]"
    )
    data_aug: bool = setting(False, "data", "augment training images: flip, and crop after edge padding by 4")
    train_samples: Int | None = setting(None, "data", "use only N of the training images", ge=1, le=10**9)
    test_samples: Int | None = setting(None, "data", "use only N of the test images", ge=1, le=10**9)
    samples: Literal["first", "drawn"] = setting(
        "first", "data", "which N images: the first of the files, or drawn at random by the seed"
    )
    val_split: Float = setting(
        0.0, "data", "share of the training images held out for validation", ge=0, lt=1
    )
    image_size: Int | None = setting(
        None, "data", "side in pixels to which an imagefolder's images are resized [32]", ge=1, le=4096
    )

    T1: Int = setting(20, "dynamics", "time steps of the free phase", ge=1, le=1_000_000)
    T2: Int = setting(4, "dynamics", "time steps of the nudged phase", ge=1, le=1_000_000)
    tol: Float | None = setting(
        None, "dynamics", "end phases, image by image, once states change by less a step [never]", gt=0, le=1
    )
    updates: Literal["sync", "async"] = setting(
        "sync",
        "dynamics",
        "all layers at once, or odd, then even: half of --T1 does; other states if max-pooled",
    )
    precision: Literal["fp32", "tf32", "bf16", "auto"] = setting(
        "fp32",
        "dynamics",
        "precision of products; auto: what is faster here; a lower one: other states if max-pooled",
    )
    compile: bool = setting(False, "dynamics", "compile the time step with torch.compile")
    fast: bool = setting(
        False,
        "dynamics",
        "use the fastest accelerations here whose gradient has cosine 0.999 and norm within 3 %",
    )
    layout: Literal["auto", "contiguous", "channels-last"] = setting(
        "auto", "dynamics", "memory format of convolutions; auto: what is faster here"
    )

    alg: Literal["EP", "BPTT", "CEP"] = setting(
        "EP", "gradient", "equilibrium propagation, backpropagation through time, or continual EP"
    )
    betas: Values[Annotated[Float, Field(ge=-1e6, le=1e6)]] = setting(
        (0.0, 0.01),
        "gradient",
        "nudging strength of the free and of the nudged phase",
        min_length=2,
        max_length=2,
    )
    random_sign: bool = setting(False, "gradient", "draw the sign of the second beta for each batch")
    thirdphase: bool = setting(False, "gradient", "symmetric estimator: nudge by +beta and by -beta")
    estimator: Estimator | None = setting(
        None,
        "gradient",
        "EP gradient; paired: one-sided with a free state run on [as the two flags above]",
    )
    same_update: bool = setting(
        False, "gradient", "vector field: same update for the forward and the backward weight of a pair"
    )
    check_thm: bool = setting(
        False, "gradient", "compare EP with BPTT ten times an epoch while training, on five images"
    )

    optim: Literal["sgd", "adam"] = setting("sgd", "optimizer", "optimizer")
    lrs: Rates | None = setting(None, "optimizer", "learning rate of each connection (required to train)")
    wds: Rates | None = setting(None, "optimizer", "weight decay of each connection [none]")
    mmt: Float = setting(0.0, "optimizer", "momentum, with sgd", ge=0, lt=1)
    lr_decay: bool = setting(False, "optimizer", "cosine decay of the learning rates down to 1e-5")
    decay_epochs: Int = setting(100, "optimizer", "epochs over which --lr-decay runs", ge=1, le=1_000_000)
    epochs: Int = setting(
        1, "optimizer", "number of epochs; with --load-path the remaining ones", ge=1, le=1_000_000
    )
    mbs: Int = setting(20, "optimizer", "images in a batch; of gducheck: those compared", ge=1, le=1_000_000)

    todo: Literal["train", "evaluate", "gducheck"] = setting(
        "train", "run", "what to do: train, evaluate, or gducheck (hold EP against BPTT step by step)"
    )
    device: Text = setting("auto", "run", "auto, cpu, mps, cuda:1, or the index of a GPU")
    seed: Int | None = setting(None, "run", "seed of everything random [drawn and recorded]", ge=0, lt=2**63)
    checkpoint_every: Float = setting(
        10.0, "run", "minutes between checkpoints inside an epoch", gt=0, le=1_000_000
    )
    name: Text | None = setting(None, "run", "a name for the run", max_length=120)
    results: Text | None = setting(
        None, "run", "folder for runs [EQPROP_RESULTS, or ./results]", stored=False
    )
    save: bool | None = setting(None, "run", "keep the run in a folder; train always does", stored=False)
    load_path: Text | None = setting(
        None, "run", "run to resume, evaluate or check: a folder, an id, a name, or last", stored=False
    )
    all_elements: bool = setting(
        False, "run", "keep the arrays of a GDU check whole, not a sample of large layers", stored=False
    )
    dry_run: bool = setting(False, "run", "show layers, plan and configuration, and stop", stored=False)

    def _complete(self) -> list[Problem]:
        shape, classes = catalogue_facts(self)
        self._fill(**rules.drop_inapplicable(self))
        self._fill(**rules.complete_architecture(self, shape, classes))
        problems = rules.architecture_problems(self, shape, classes)
        return problems + rules.run_problems(self, () if problems else rules.connection_shapes(self, shape))

    @property
    def chosen_estimator(self) -> Estimator:
        """The EP gradient estimator that `--estimator`, or `--thirdphase` and `--random-sign`, choose."""
        if self.estimator is not None:
            return self.estimator
        return "symmetric" if self.thirdphase else "random-sign" if self.random_sign else "one-sided"

    @property
    def data_root(self) -> Path:
        """Where its data set lives: --data-dir, else EQPROP_DATA, else the user's data directory."""
        return catalogue.data_root(Path(self.data_dir) if self.data_dir else None)

    def model_part(self) -> ModelConfig:
        """The network of this run."""
        values = {name: getattr(self, name) for name in Architecture.model_fields}
        return ModelConfig(input_shape=catalogue_facts(self)[0], **values)

    def connections(self) -> tuple[ConnectionShape, ...]:
        """Shapes of the connections, the one that leaves the input first."""
        return rules.connection_shapes(self, catalogue_facts(self)[0])

    def stored(self) -> dict[str, Any]:
        """What `config.toml` and presets hold: plain values, without `None` and without command options."""
        values: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None and facts(name)["stored"]:
                values[name] = list(value) if isinstance(value, tuple) else value
        return values

    def changed(self, **values: Any) -> Self:
        """A copy with other values, validated anew."""
        now = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**now, **values})


# What means nothing to a command: settings, and sections. A preset or a run may hold them all the same.
NOT_FOR: dict[Command, str] = {
    "train": "todo all_elements",
    "evaluate": "gradient optimizer T2 fast data_aug dropouts scale todo name results checkpoint_every "
    "all_elements",
    "gducheck": "alg random_sign check_thm optim lrs wds mmt lr_decay decay_epochs epochs tol updates "
    "precision compile fast test_samples todo checkpoint_every",  # it is always exact
    "bench": "tol updates precision compile fast check_thm lr_decay decay_epochs todo name results save "
    "checkpoint_every all_elements dry_run",  # it measures every acceleration by itself
    "sweep": "todo seed name save load_path all_elements",
}


def settings_of(command: Command) -> tuple[str, ...]:
    """The settings that mean something to a command."""
    others = NOT_FOR[command].split()
    names = RunConfig.model_fields
    return tuple(name for name in names if name not in others and facts(name)["section"] not in others)


def facts(name: str) -> dict[str, Any]:
    """Section and whether it is stored, of a setting of `RunConfig`."""
    extra = RunConfig.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return dict(extra)


def catalogue_facts(config: RunConfig) -> tuple[tuple[int, ...], int | None]:
    """Input shape and number of classes of a run's data set; no classes where images of your own lack."""
    found = catalogue.shape_and_classes(config.task, config.data_root, config.image_size)
    if found is not None:
        return found
    if config.task == "idx":  # a stored run is read where its data are not: its first layer is as large
        return (
            (1, 1, config.archi[0]) if config.archi and not config.is_convolutional else (1, 28, 28)
        ), None
    side = config.image_size or catalogue.DEFAULT_IMAGE_SIZE
    return (3, side, side), None


def combine(*layers: Mapping[str, Any]) -> RunConfig:
    """Make a `RunConfig` of several layers of raw settings, later ones winning. Raises `ConfigError`."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    return RunConfig(**merged)


def parse_toml(text: str) -> dict[str, Any]:
    """The document in a TOML text from anywhere. Raises `ValueError`."""
    if _LONG_KEY.search(text):
        raise ValueError("a key has more than 50 parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python's limit of digits, in words for programmers
        raise ValueError("a number in it has too many digits") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises `ConfigError` naming the file, and line and column where it is malformed."""
    try:
        return parse_toml(read_text(path, TOML_LIMIT))
    except FileNotFoundError:
        raise ConfigError([Problem("config", str(path), "there is no such file")]) from None
    except OSError as error:
        problem = Problem("config", str(path), f"cannot be read: {error.strerror or error}")
        raise ConfigError([problem]) from None
    except ValueError as error:  # not UTF-8, not TOML, a number of too many digits
        raise ConfigError([Problem("config", str(path), f"cannot be read: {reason(error)}")]) from None
