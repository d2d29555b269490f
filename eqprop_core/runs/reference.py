"""A folder that the reference left, read as a run: its settings, its epochs, how it stands.

It has no `config.toml`; its `hyperparameters.txt` begins with the command line and tells the settings,
and its checkpoints hold the accuracies. Nothing is written there, and nothing of it is run. Knows nothing of
torch.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqprop_core.files import read_text
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.runs.names import CHECKPOINT, CONFIG, FINAL_CHECKPOINT, HYPERPARAMETERS, META
from eqprop_core.runs.numbers import NumberArray, read_numbers

if TYPE_CHECKING:
    from eqprop_core.events import EpochFinished, Event, Record

_CHECKPOINTS = (FINAL_CHECKPOINT, CHECKPOINT)
INVENTED = 10.0  # per cent: what its lists of accuracies begin with, before any epoch
LABELS = {
    "model": "model",
    "task": "task",
    "data augmentation": "data_aug",
    "learning rate decay": "lr_decay",
    "scale for weight init": "scale",
    "archi": "archi",
    "activation": "act",
    "dropouts": "dropouts",
    "learning rates": "lrs",
    "weight decays": "wds",
    "momentum": "mmt",
    "optimizer": "optim",
    "loss": "loss",
    "alg": "alg",
    "minibatch size": "mbs",
    "T1": "T1",
    "T2": "T2",
    "betas": "betas",
    "random beta_2 sign": "random_sign",
    "thirdphase": "thirdphase",
    "softmax": "softmax",
    "same update VFCNN": "same_update",
    "epochs": "epochs",
    "seed": "seed",
}
NOT_OF_A_RUN = ("todo", "save", "load_path", "device")  # of that command, or of that machine
WAY_OUT = "give the network by flags instead, as --model MLP --archi 784 512 10"


def is_reference(path: Path | str) -> bool:
    """Whether a folder is one that the reference left, by the names of its files."""

    def has(name: str) -> bool:
        return os.path.exists(os.path.join(path, name))  # noqa: PTH110, PTH118  much quicker, and never raises

    return (
        not has(CONFIG) and has(HYPERPARAMETERS) and any(map(has, _CHECKPOINTS)) and not has(META)
    )  # with a `meta.json` it is a run of ours that has lost its `config.toml`


def settings_of(path: Path) -> dict[str, Any]:
    """The settings in its `hyperparameters.txt`, as those of a run. Raises `ConfigError`."""
    from eqprop_core.config import combine
    from eqprop_core.reference_line import read, understood

    file = path / HYPERPARAMETERS
    try:
        lines = read_text(file).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(file, f"cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
    said = [line.removeprefix("- ").partition(": ") for line in lines if line.startswith("- ")]
    words = _words(next((line for line in lines if " --" in line and not line.startswith("- ")), ""))
    try:
        settings = read(words)
        for label, _, value in said:
            if (name := LABELS.get(label.partition(" (")[0])) is not None and value.strip() != "None":
                settings[name] = _value(value.strip())
        if not words and not {"model", "archi"} & settings.keys():
            raise _unusable(
                file, "does not tell which network it is of, as it does not have the command line"
            )
        settings = {name: value for name, value in settings.items() if name not in NOT_OF_A_RUN}
        settings = understood({**settings, "todo": "train"})[0]
        return {**combine(settings, {"todo": "evaluate"}).stored(), "todo": "train"}
    except ConfigError as error:
        if error.problems[0].setting == "config":
            raise
        raise _unusable(file, "; ".join(map(str, error.problems))) from None


def _words(line: str) -> list[str]:
    """The words of a command line, without the quotes that it may have been copied with."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _value(text: str) -> Any:
    """A value as Python prints it."""
    if text in ("True", "False"):
        return text == "True"
    return " ".join(text.strip("[]").replace(",", " ").split()) if text.startswith("[") else text


def _unusable(file: Path, why: str) -> ConfigError:
    return ConfigError([Problem("config", str(file), f"{why}; {WAY_OUT}")])


def accuracies(content: dict[str, Any]) -> list[tuple[float, float]]:
    """Training and test accuracy after each epoch, of what a checkpoint of the reference holds."""
    train, test = (_numbers(content.get(name)) for name in ("train_acc", "test_acc"))
    if train[:1] == test[:1] == [INVENTED]:
        train, test = train[1:], test[1:]
    return list(zip(train, test, strict=False))


def _numbers(values: object) -> list[float]:
    """The numbers at the beginning of a list."""
    if isinstance(values, NumberArray):
        values = values.kind.unpack(values.raw)
    found: list[float] = []
    for value in values if isinstance(values, (list, tuple)) else ():
        if isinstance(value, NumberArray) and value.shape in ((), (1,)):
            value = value.kind.unpack(value.raw)[0]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
            break
        found.append(float(value))
    return found


def epochs_from(accuracies: list[tuple[float, float]]) -> list[EpochFinished]:
    """Epochs with nothing but these accuracies: loss, rates and time were not kept."""
    from eqprop_core.events import EpochFinished  # pydantic: a list of other runs does without

    return [
        EpochFinished(
            epoch=number,
            train_accuracy=train,
            validation_accuracy=None,
            test_accuracy=test,
            loss=None,
            test_loss=None,
            rates=[],
            seconds=0.0,
            best=all(test > before for _, before in accuracies[: number - 1]),
        )
        for number, (train, test) in enumerate(accuracies, 1)
    ]


def records_of(path: Path) -> list[Record]:
    """The events that the run of a folder of the reference would have written."""
    if not is_reference(path):
        return []
    from eqprop_core.events import Record, RunFinished

    when, all_epochs, complete = _looked_at(path, *map(_stamp, (path / name for name in _CHECKPOINTS)))
    events: list[Event] = [*epochs_from(all_epochs)]
    if complete and all_epochs:
        tests = [test for _, test in all_epochs]
        events.append(RunFinished(best_accuracy=max(tests), last_accuracy=tests[-1], seconds=0.0))
    return [Record(number, when, event) for number, event in enumerate(events, 1)]


def state_of(path: Path) -> dict[str, Any]:
    """What the `state.json` of a folder of the reference would say; empty for any other."""
    if not is_reference(path):
        return {}
    try:
        settings = settings_of(path)
    except ConfigError:
        settings = {}
    _, all_epochs, complete = _looked_at(path, *map(_stamp, (path / name for name in _CHECKPOINTS)))
    tests = [test for _, test in all_epochs]
    return {
        "id": hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8],
        "name": path.name,
        "state": "finished" if complete else "stopped",
        **{name: settings.get(name) for name in ("model", "task", "alg", "loss")},
        "epoch": len(tests),
        "epochs": len(tests) if complete else settings.get("epochs"),
        "best": max(tests, default=None),
        "last": tests[-1] if tests else None,
        "created": _created(path),
        "tags": ["reference"],
    }


@lru_cache(maxsize=1000)
def _looked_at(path: Path, *stamps: tuple[int, int]) -> tuple[float, list[tuple[float, float]], bool]:
    """When it was last saved, the accuracies of the checkpoint with most of them, and if it has ended."""
    saved = [path / name for name, stamp in zip(_CHECKPOINTS, stamps, strict=True) if stamp[0]]
    longest = max((accuracies(read_numbers(file)) for file in saved), key=len, default=[])
    when = max((stamp[0] for stamp in stamps), default=0) / 1e9
    return when, longest, bool(stamps[0][0])


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _created(path: Path) -> str | None:
    """When it began, which the names of its folder and of the one above tell."""
    try:
        begun = datetime.strptime(f"{path.parent.name} {path.name[:8]}", "%Y-%m-%d %H-%M-%S")
    except ValueError:
        try:
            begun = datetime.fromtimestamp((path / HYPERPARAMETERS).stat().st_mtime)
        except (OSError, ValueError, OverflowError):
            return None
    return begun.astimezone().isoformat(timespec="seconds")
