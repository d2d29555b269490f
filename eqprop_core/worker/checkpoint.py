"""Checkpoints and models: written whole or not at all, read without ever running code from them.

`checkpoint.tar` is the latest complete state of a training, `model.pt` the best weights with what builds
their network. Weights that other programs saved are read as well (`weights.py`).
"""

from __future__ import annotations

import io
import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from eqprop_core.files import open_to_read, replacing
from eqprop_core.learning.trainer import Trainer
from eqprop_core.networks.network import Network
from eqprop_core.problems import printable, shown
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.numbers import NUMPY
from eqprop_core.worker.sealed import LONGEST_END, DamagedError, check_end, sealed, unsealed
from eqprop_core.worker.weights import is_plain, load_weights

FORMAT = 1
ZIP = b"PK"  # how a zip file begins
BEGINNINGS = (ZIP, *(bytes((0x80, protocol)) for protocol in range(2, 6)))  # or a pickle, before torch 1.6
ALLOWED: list[Any] = [(stand_in, name) for name, stand_in in NUMPY.items()]
LATER = re.compile(r"Unsupported operand (6[67]|14\d|15[01])\b")  # opcodes of protocols 3 to 5
MOMENTS = {"SGD": ("momentum_buffer",), "Adam": ("exp_avg", "exp_avg_sq")}


class OtherFormatError(RunError):
    """A whole checkpoint, of a version of eqprop that this one does not know."""


def save(path: Path, content: dict[str, Any], *, before: Path | None = None) -> None:
    """Write tensors, numbers, lists and text to a file, replacing it in one go. Raises `OSError`.

    With `before`, the file that is replaced is kept under that name, once the new one is wholly on disk.
    """
    write(path, packed(content), before=before)


def packed(content: dict[str, Any]) -> memoryview:
    """The bytes of a checkpoint file; torch turns a full disk into errors of its own, so we write them."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    return sealed(buffer)


def write(path: Path, content: memoryview, *, before: Path | None = None) -> None:
    """Write what `packed` made, as `save` does. Raises `OSError`."""
    with replacing(path) as file:
        file.write(content)
        if before is not None and path.exists():
            file.flush()
            os.fsync(file.fileno())
            _keep(path, before)


def _keep(path: Path, before: Path) -> None:
    """Give a file a second name in place of what had that; the only one where it can have but one."""
    if before.exists() and before.samefile(path):  # kept by a try that failed later
        return
    temporary = before.with_name("." + before.name)
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(path)
        temporary.replace(before)
    except OSError:  # a file system without hard links
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        path.replace(before)


def packed_model(net: Network, facts: Mapping[str, Any] = MappingProxyType({})) -> memoryview:
    """The bytes of a file with a network's weights, the configuration that builds it, and other facts."""
    model = net.config.model_dump(mode="json")
    return packed({"model": model, "model_state_dict": net.state_dict(), **facts})


def is_whole(path: Path) -> bool:
    """Whether a file can be loaded."""
    try:
        load(path)
    except OtherFormatError:
        return True
    except RunError:
        return False
    return True


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote. Raises `RunError` that says what is wrong; never runs code from the file.

    The file is read once, into memory: what is loaded is what was verified, whatever becomes of it meanwhile.
    """
    file = _verified(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(ALLOWED):
            warnings.simplefilter("ignore")  # what matters is said below
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RunError(f"{path}: {_refusal(str(error))}") from None
    except Exception:  # torch promises nothing about bytes that it did not write
        raise RunError(f"{path}: is not a checkpoint, or is damaged") from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: is not a checkpoint: holds {type(content).__name__}, not a dictionary")
    found = content.get("format", FORMAT)
    if not isinstance(found, int) or found != FORMAT:
        raise OtherFormatError(f"{path}: has format {shown(found)}; this version reads {FORMAT}")
    return content


def _refusal(said: str) -> str:
    """Why a pickle is not taken, by what torch, or what stands for NumPy, said of it."""
    if found := re.search(r"GLOBAL (\S{1,100})", said):
        return (
            f"refused, as it holds Python objects ({printable(found[1])}), which could run code when they "
            f"are read; only numbers, text and tensors are"
        )
    if LATER.search(said):
        return (
            "is pickled in a later protocol than 2, which is what torch reads without running it; save it "
            "without pickle_protocol"
        )
    if "Unsupported class" in said:
        return "refused, as it holds Python objects, which could run code when they are read"
    if found := re.search(r"NumPy [\w ]{1,60}", said):
        return f"refused, as it holds a {found[0]}".replace("a NumPy data", "NumPy data")
    return "is not a checkpoint, or is damaged"


def _verified(path: Path) -> io.BytesIO:
    """What a file holds, verified as far as that can be done. Raises `RunError`."""
    try:
        if not path.is_file():
            raise RunError(f"{path}: there is no such file")
        with open_to_read(path) as file:
            begin = file.read(2)
            if begin not in BEGINNINGS:
                raise RunError(f"{path}: is not a checkpoint, or is damaged")
            if begin == ZIP:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LONGEST_END))
                check_end(file.read(LONGEST_END))
            file.seek(0)
            content = file.read()
        # Very old checkpoints of the reference have no checksums.
        return unsealed(content) if begin == ZIP else io.BytesIO(content)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise RunError(f"{path}: is larger than the memory that there is") from None
    except DamagedError as error:
        raise RunError(f"{path}: {printable(str(error))}") from None


def load_first(net: Network, folder: Path, names: Sequence[str]) -> tuple[Path, dict[str, Any], list[str]]:
    """Put the weights of the first file that can be used into a network, of those with these names.

    Returns the file, what it holds, and what there is to say: why another was not taken, and what was done
    with names and kinds of numbers. Raises `RunError` where there is none.
    """
    refused: list[str] = []
    for path in (folder / name for name in names):
        if not path.exists():
            continue
        try:
            content = load(path)
            notes = load_weights(net, content, path)
        except OtherFormatError:
            raise
        except RunError as error:
            refused.append(str(error))
            continue
        return path, content, [*(f"{said}; {path.name} is used instead" for said in refused), *notes]
    raise RunError("; ".join(refused) or f"{folder}: holds none of {', '.join(names)}")


def training_state(
    content: dict[str, Any], trainer: Trainer, path: Path, *, with_optimizer: bool
) -> dict[str, Any]:
    """What `trainer.restore` takes, from a file whose weights its network has taken. Raises `RunError`.

    Of an optimizer its moments are taken, and none of its settings: those are the configuration's.
    """
    wrong = list(_position_problems(content))
    state = {**content, "model_state_dict": trainer.net.state_dict()}
    if with_optimizer:
        own = trainer.optimizer.state_dict()
        stored = content.get("optimizer_state_dict")
        moments = stored.get("state") if isinstance(stored, dict) else None
        wrong += moment_problems(moments, trainer.optimizer)
    if wrong:
        raise RunError(f"{path}: its training state is not valid ({'; '.join(wrong[:4])})")
    if with_optimizer:
        assert isinstance(moments, dict)
        # Optimizers that work on all values in one pass take them to lie one after the other in memory.
        dense = {
            index: {name: _dense(value) for name, value in found.items()} for index, found in moments.items()
        }
        state["optimizer_state_dict"] = {"state": dense, "param_groups": own["param_groups"]}
    return state


def _dense(value: object) -> object:
    """A tensor in memory of its own, without gaps or overlaps."""
    return value.clone(memory_format=torch.contiguous_format) if isinstance(value, Tensor) else value


def _position_problems(content: dict[str, Any]) -> Iterator[str]:
    position, running, histories = (content.get(name) for name in ("position", "running", "histories"))
    if not isinstance(position, dict) or not all(_is_count(position.get(key)) for key in ("epoch", "batch")):
        yield "position must be an epoch and a batch"
    if (
        not isinstance(running, dict)
        or set(running) != {"images", "correct", "loss"}
        or not all(_is_count(running[name]) for name in ("images", "correct"))
        or not _is_number(running["loss"])
    ):
        yield "running must be counts of images and a loss"
    if not isinstance(histories, dict) or not all(
        isinstance(values := histories.get(name), list) and all(v is None or _is_number(v) for v in values)
        for name in ("train", "validation", "test", "loss")
    ):
        yield "histories must be lists of numbers"
    if content.get("best_accuracy") is not None and not _is_number(content["best_accuracy"]):
        yield "best_accuracy must be a number"
    for name in ("lr_factor", "events_per_second", "seconds"):  # older checkpoints have fewer of them
        if not _is_number(content.get(name, 0)):
            yield f"{name} must be a number"
    if not _is_count(content.get("epochs")):
        yield "epochs must be a whole number"
    if not _is_count(content.get("seq", 0)):
        yield "seq must be a whole number"


def moment_problems(moments: object, optimizer: torch.optim.Optimizer) -> Iterator[str]:
    """What an optimizer would trip over many batches later."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not isinstance(moments, dict):
        yield "the optimizer has no state"
        return
    names = MOMENTS[type(optimizer).__name__]
    for index, found in moments.items():
        if not _is_count(index) or index >= len(parameters) or not isinstance(found, dict):
            yield "the optimizer is of another network"
            return
        tensors = {name: value for name, value in found.items() if name != "step"}
        if type(optimizer) is torch.optim.SGD and tensors.get("momentum_buffer", 0) is None:
            tensors = {}
        fits = all(
            name in names and is_plain(value) and value.shape == parameters[index].shape
            for name, value in tensors.items()
        )
        if type(optimizer) is torch.optim.Adam and found:
            step = found.get("step")
            fits &= len(tensors) == len(names)
            fits &= is_plain(step) and step.numel() == 1 and 0 <= float(step) < 1e15
        elif "step" in found:
            fits = False
        if not fits:
            yield f"the moments of parameter {index} do not fit it"
    number = 0
    for group in optimizer.param_groups:  # whose parameters take every step together
        with_moments = {
            any(found.get(name) is not None for name in names)
            for found in (moments.get(number + n, {}) for n in range(len(group["params"])))
        }
        number += len(group["params"])
        if len(with_moments) > 1:
            yield f"the moments of the parameters before number {number} are not complete"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**15)
