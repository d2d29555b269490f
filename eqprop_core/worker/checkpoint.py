"""Checkpoints and models: written whole or not at all, read without ever running code from them.

`checkpoint.tar` is the latest complete state of a training, `model.pt` the best weights with what builds
their network. The reference's `checkpoint.tar` (its `model_state_dict`) is read as well.
"""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqprop_core.config import ModelConfig
from eqprop_core.networks.network import Network
from eqprop_core.problems import ConfigError
from eqprop_core.runs.files import replacing
from eqprop_core.runs.folder import RunError

FORMAT = 1


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors, numbers, lists and text to a file, replacing it in one go. Raises `OSError`."""
    buffer = io.BytesIO()  # torch turns a full disk into errors of its own; the file is written by us
    torch.save({"format": FORMAT, **content}, buffer)
    with replacing(path) as file:
        file.write(buffer.getbuffer())


def save_model(path: Path, net: Network) -> None:
    """Write a network's weights and the configuration that builds it. Raises `OSError`."""
    save(path, {"model": net.config.model_dump(mode="json"), "model_state_dict": net.state_dict()})


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote. Raises `RunError` that says what is wrong; never runs code from the file."""
    _check_sums(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is said below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(f"{path}: there is no such file") from None
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "Unsupported class" in str(error):
            raise RunError(
                f"{path}: refused, it holds more than numbers (Python objects that could run code); "
                f"only state dicts are read"
            ) from None
        raise RunError(f"{path}: is not a checkpoint, or is damaged") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError,
            ImportError, AssertionError, MemoryError, zipfile.BadZipFile) as error:  # fmt: skip
        reason = str(error).split("\n")[0][:120]
        raise RunError(f"{path}: is not a checkpoint, or is damaged ({reason})") from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: is not a checkpoint: holds {type(content).__name__}, not a dictionary")
    if content.get("format", FORMAT) != FORMAT:
        raise RunError(f"{path}: has format {content['format']}; this version reads {FORMAT}")
    return content


def _check_sums(path: Path) -> None:
    """Raise `RunError` where a checksum inside the file says that it was cut or altered."""
    try:
        if not zipfile.is_zipfile(path):
            return  # very old checkpoints of the reference have no checksums
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        NotImplementedError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        raise RunError(f"{path}: is damaged ({str(error)[:120]})") from None
    if damaged is not None:
        raise RunError(f"{path}: is damaged: the checksum of {damaged[:60]} does not match")


def model_config(content: dict[str, Any], path: Path) -> ModelConfig | None:
    """The architecture that a file records, None where it has none. Raises `RunError`."""
    if "model" not in content:
        return None
    try:
        return ModelConfig(**content["model"])
    except (ConfigError, TypeError) as error:
        raise RunError(f"{path}: its network is not valid: {error}") from None


def load_weights(net: Network, content: dict[str, Any], path: Path) -> None:
    """Put the weights of a file into a network. Raises `RunError` that names what does not fit."""
    weights = content.get("model_state_dict")
    if not isinstance(weights, dict):
        raise RunError(f"{path}: has no weights (model_state_dict)")
    own = net.state_dict()
    wrong: list[str] = []
    for name, value in own.items():
        found = weights.get(name)
        if name not in weights:
            wrong.append(f"{name} is missing")
        elif not isinstance(found, Tensor) or not found.is_floating_point():
            wrong.append(f"{name} is not a tensor of numbers")
        elif found.shape != value.shape:
            wrong.append(f"{name} is {_sizes(found)}, this network has {_sizes(value)}")
    wrong += [f"{name} is not in this network" for name in weights if name not in own]
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise RunError(f"{path}: is of another network: {'; '.join(wrong[:4])}{more}")
    net.load_state_dict(weights)


def _sizes(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"
