"""Rules across settings, and the values that settings take when they are not given.

Works on anything that has the settings as attributes; `config.py` declares them. Each rule yields
`Problem`s that name the flag, the value and what would be accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

from eqprop_core.catalogue import augmented_tasks
from eqprop_core.geometry import ConnectionShape, GeometryError, Shape, cnn_connections, mlp_connections
from eqprop_core.problems import Problem, flag
from eqprop_core.spelling import spelled

CONVOLUTION_LISTS = ("kernels", "strides", "paddings", "pools")
CONVOLUTION_DEFAULTS = {"kernels": 5, "strides": 1, "paddings": 0}
PARAMETER_LIMIT = 20_000_000_000
CLASSES_RULE = "the number of classes"
SMALLEST_NUDGE = 1e-12
DECAY_FLOOR = 1e-5  # of the learning rates, at the end of --lr-decay
CONTINUAL_RATE = 0.01  # lr/(1 - mmt) of convolutions, from which on continual EP learnt little or nothing
CONTINUAL_WORKS = (
    "--act tanh --lrs 0.002 0.002 0.004 --mmt 0 --betas 0 0.5 --thirdphase --T2 15 came to 94 % in 30 "
    "epochs, rates of 0.01 stayed at chance level"
)
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,4})?|\d{1,4}")
DEVICE_RULE = "is not a device; auto, cpu, mps, cuda:1 and the index of a GPU are"


def inapplicable(config: Any) -> dict[str, str]:
    """Settings that this configuration does not use, each with the reason.

    They are dropped when they come with a preset or a stored run, and refused when typed as a flag.
    """
    convolutional = config.model in ("CNN", "VFCNN")
    unused: dict[str, str] = {}
    if convolutional:
        unused["archi"] = f"{config.model} takes --channels and --fc"
    else:
        for name in ("channels", *CONVOLUTION_LISTS, "fc"):
            unused[name] = f"{config.model} takes --archi"
    if config.model not in ("VFMLP", "VFCNN"):
        unused["same_update"] = "only the vector-field models VFMLP and VFCNN have weights to pair"
    if config.estimator is not None:
        for name in ("thirdphase", "random_sign"):
            unused[name] = f"--estimator {config.estimator} says which"
    if config.optim != "sgd":
        unused["mmt"] = "momentum goes with --optim sgd"
    if config.train_samples is None and config.test_samples is None:
        unused["samples"] = "goes with --train-samples or --test-samples"
    if config.task != "imagefolder":
        unused["image_size"] = f"goes with --task imagefolder; {config.task} has its own size"
    return unused


def drop_inapplicable(config: Any) -> dict[str, Any]:
    """Values that put unused settings back to their defaults."""
    return {name: type(config).model_fields[name].default for name in inapplicable(config)}


def complete_architecture(config: Any, input_shape: Shape, classes: int | None) -> dict[str, Any]:
    """Values for the lists that were not given, of the length that the network needs, and `None` for those
    of the other kind of network."""
    outputs = 10 if classes is None else classes
    if config.model in ("MLP", "VFMLP"):
        archi = config.archi if config.archi is not None else (prod(input_shape), 512, outputs)
        return {**dict.fromkeys(("channels", *CONVOLUTION_LISTS, "fc")), "archi": archi}
    channels = config.channels if config.channels is not None else (32, 64)
    values: dict[str, Any] = {"archi": None, "channels": channels}
    for name, default in CONVOLUTION_DEFAULTS.items():
        if getattr(config, name) is None:
            values[name] = (default,) * len(channels)
    if config.pools is None:
        values["pools"] = "m" * len(channels)
    if config.fc is None:
        values["fc"] = (outputs,)
    return values


def connection_shapes(config: Any, input_shape: Shape) -> tuple[ConnectionShape, ...]:
    """Connections of a completed architecture. Raises `GeometryError` where sizes do not fit."""
    vector_field = config.model in ("VFMLP", "VFCNN")
    if config.model in ("MLP", "VFMLP"):
        return mlp_connections(input_shape, config.archi, vector_field=vector_field)
    return cnn_connections(
        input_shape,
        channels=config.channels,
        kernels=config.kernels,
        strides=config.strides,
        paddings=config.paddings,
        pools=config.pools,
        fc=config.fc,
        softmax=config.softmax,
        vector_field=vector_field,
    )


def architecture_problems(config: Any, input_shape: Shape, classes: int | None) -> list[Problem]:
    """Everything that does not fit together in a network."""
    problems = list(_list_lengths(config))
    if config.softmax and config.loss == "mse":
        problems.append(Problem("softmax", None, "goes with --loss cel; with --loss mse leave it out"))
    if config.softmax and config.model in ("MLP", "VFMLP"):
        problems.append(Problem("softmax", None, f"{config.model} has no readout; use CNN or VFCNN"))
    if problems:
        return problems
    try:
        shapes = connection_shapes(config, input_shape)
    except GeometryError as error:
        return [Problem(error.setting, getattr(config, error.setting), error.message)]
    if classes is not None:
        last = "archi" if config.model in ("MLP", "VFMLP") else "fc"
        if shapes[-1].post != (classes,):
            problems.append(Problem(last, getattr(config, last), f"must end with {classes}, {CLASSES_RULE}"))
    total = sum(shape.parameters + shape.backward_parameters for shape in shapes)
    if total > PARAMETER_LIMIT:
        biggest = max(shapes, key=lambda shape: shape.parameters)
        setting = "archi" if config.archi else ("fc" if biggest.kind != "conv" else "channels")
        problems.append(
            Problem(
                setting, getattr(config, setting), f"makes {total:,} parameters; {PARAMETER_LIMIT:,} at most"
            )
        )
    layers = len(shapes) - config.softmax
    if config.dropouts is not None and len(config.dropouts) != layers + 1:
        problems.append(
            Problem(
                "dropouts",
                config.dropouts,
                f"{_count(config.dropouts)}, but {layers + 1} are needed: one for the input and one for "
                f"each of the {layers} layers of neurons",
            )
        )
    return problems


def _list_lengths(config: Any) -> Iterator[Problem]:
    """Yield lists whose length is not that of `channels`, and unknown pooling letters."""
    if config.model in ("MLP", "VFMLP"):
        return
    layers = len(config.channels)
    for name in CONVOLUTION_LISTS:
        value = getattr(config, name)
        if len(value) != layers:
            found = _count(value, "letter" if name == "pools" else "value")
            wanted = f"{layers} convolution{'' if layers == 1 else 's'} (--channels): give {layers}"
            yield Problem(name, value, f"{found} for {wanted}")
    if unknown := sorted(set(config.pools) - set("mai")):
        yield Problem("pools", config.pools, f"unknown letter {', '.join(unknown)}; m max, a average, i none")
    if not layers:
        yield Problem("channels", None, "needs at least one convolution")
    if not config.fc:
        yield Problem("fc", None, "needs at least the number of classes")


def run_problems(config: Any, shapes: Sequence[ConnectionShape]) -> list[Problem]:
    """Everything that does not fit together in a run; `shapes` is empty where the network itself is wrong."""
    return [
        *_gradient_problems(config),
        *_speed_problems(config),
        *_optimizer_problems(config, shapes),
        *_data_problems(config),
    ]


def _gradient_problems(config: Any) -> Iterator[Problem]:
    first, second = config.betas
    needs_bptt = config.alg == "BPTT" or config.todo == "gducheck" or config.check_thm
    if config.todo != "evaluate" and needs_bptt and config.T2 > config.T1:
        yield Problem(
            "T2",
            config.T2,
            f"BPTT unrolls the last T2 of the T1 steps: at most {config.T1} (--T1 {config.T1})",
        )
    if abs(second - first) < SMALLEST_NUDGE:
        needed = f"the two must differ by {SMALLEST_NUDGE:g} or more: their difference divides the contrast"
        yield Problem("betas", config.betas, needed)
    if config.random_sign and config.thirdphase:
        yield Problem("random_sign", None, "either --random-sign or --thirdphase, not both")
    if first != 0 and config.chosen_estimator not in ("one-sided", "paired"):
        named = {"symmetric": "thirdphase", "random-sign": "random_sign"}
        chosen = (
            f"--estimator {config.estimator}" if config.estimator else flag(named[config.chosen_estimator])
        )
        yield Problem("betas", config.betas, f"the first must be 0 with {chosen}")
    if config.alg == "CEP" and config.chosen_estimator == "paired":
        needed = (
            "continual EP compares each time step with the one before it: one-sided, random-sign or symmetric"
        )
        yield Problem("estimator", "paired", needed)


def _speed_problems(config: Any) -> Iterator[Problem]:
    accelerations = {"tol": None, "updates": "sync", "precision": "fp32", "compile": False}
    chosen = [name for name, exact in accelerations.items() if getattr(config, name) != exact]
    if config.fast and chosen:
        given = ", ".join(map(flag, chosen))
        yield Problem("fast", None, f"chooses accelerations itself: either --fast or {given}")
    if config.compile and (config.updates != "sync" or config.precision != "fp32"):
        yield Problem("compile", None, "goes with --updates sync and --precision fp32")
    if config.alg == "CEP" and (config.fast or config.updates != "sync"):
        which = "fast" if config.fast else "updates"
        needed = "--alg CEP changes weights at every time step of all layers at once; leave it out"
        yield Problem(which, None if config.fast else config.updates, needed)


def _optimizer_problems(config: Any, shapes: Sequence[ConnectionShape]) -> Iterator[Problem]:
    if config.lrs is None and config.todo == "train":
        hint = f": {len(shapes)} values, one a connection" if shapes else ""
        yield Problem("lrs", None, f"is required to train{hint}")
    for name in ("lrs", "wds"):
        value = getattr(config, name)
        if value is not None and shapes and len(value) != len(shapes):
            yield Problem(
                name,
                value,
                f"{_count(value)}, but {len(shapes)} are needed: one for each connection "
                f"({', '.join(_arrow(shape) for shape in shapes)})",
            )
    if config.alg == "CEP" and config.wds is not None and max(config.wds, default=0) >= 10:
        yield Problem("wds", config.wds, "continual EP shrinks weights by 1 - 0.1·wd a batch: less than 10")
    if config.alg == "CEP" and config.wds is not None and config.optim != "sgd":
        yield Problem(
            "wds", config.wds, "continual EP spreads weight decay over the steps of --optim sgd only"
        )
    if config.alg == "CEP" and config.wds is not None and 0 in (config.lrs or ()):
        yield Problem("lrs", config.lrs, "continual EP with --wds divides by the learning rate: more than 0")


def _data_problems(config: Any) -> Iterator[Problem]:
    if not DEVICE.fullmatch(config.device):
        given = spelled(config.device)
        yield Problem(
            "device",
            config.device,
            DEVICE_RULE + (f"; what was given is {given}" if given != config.device else ""),
        )
    if config.name is not None and not may_name(config.name):
        yield Problem("name", config.name, NAME_RULE)
    if config.task == "imagenet" and config.todo != "gducheck":
        needed = "goes with gducheck alone: it has some inputs of that size, and nothing to learn from"
        yield Problem("task", config.task, needed)
    if config.data_aug and config.task not in augmented_tasks():
        yield Problem(
            "data_aug",
            None,
            f"would mirror {config.task}; it goes with {', '.join(augmented_tasks())}",
        )


NAME_RULE = "means something else where a run is named: not last, no / and no - at the beginning"


def may_name(name: str) -> bool:
    """Whether a run may have this name, so that commands which take a run find it by that."""
    return name != "last" and "/" not in name and not name.startswith("-")


def _count(values: Sequence[Any], what: str = "value") -> str:
    return f"{len(values)} {what}" + ("" if len(values) == 1 else "s")


def _arrow(shape: ConnectionShape) -> str:
    return f"{shape.kind} {'×'.join(map(str, shape.pre))}→{'×'.join(map(str, shape.post))}"


def refused_flags(config: Any, given: Mapping[str, Any]) -> list[Problem]:
    """Problems for flags that were typed although this configuration does not use them.

    A switch that was turned off asks for nothing.
    """
    unused = inapplicable(config)
    return [
        Problem(name, None, f"does not apply: {unused[name]}")
        for name, value in given.items()
        if name in unused and value is not False
    ]


def cautions(config: Any, epochs: int | None = None, *, advise: bool = True) -> list[str]:
    """What to know before the first batch of a training that is to end after `epochs`, or as configured.

    Sentences about settings that are accepted and may not be meant so, with the flags that would change them,
    unless `advise` is false: for a run that has begun, whose commands do not take them.
    """
    said = []
    last = config.epochs if epochs is None else epochs
    if config.lr_decay and last > config.decay_epochs:
        first = config.decay_epochs + 1
        which = f"epochs {first} to {last} train" if last > first else f"epoch {last} trains"
        said.append(
            f"{which} with learning rates of {DECAY_FLOOR:g}, where --lr-decay ends (--decay-epochs "
            f"{config.decay_epochs})"
            + f"; --decay-epochs {last} spreads it over all, --no-lr-decay leaves it out"
            * advise
        )
    if config.alg == "CEP" and config.model in ("CNN", "VFCNN"):
        rates = (config.lrs or ())[: len(config.channels or ())]
        largest = max(rates, default=0.0) / ((1 - config.mmt) if config.optim == "sgd" else 1)
        if largest >= CONTINUAL_RATE:
            said.append(
                "continual EP sums its updates over all places of a feature map, so that convolutions need "
                f"smaller rates than with EP: lr/(1 - mmt) is {largest:.2g}"
                + f". On the digits, {CONTINUAL_WORKS}"
                * advise
            )
    return said
