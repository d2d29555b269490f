"""Weights out of what a file holds: found under whatever name, held against a network, and put into it.

Knows nothing of files, which `checkpoint.py` reads. Weights have the names of DESIGN's state dicts
(`synapses.N.weight`); names of wrappers before them, as of torch's DataParallel, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from eqprop_core.learning.finite import infinite
from eqprop_core.networks.network import Network
from eqprop_core.problems import shown
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.numbers import NumberArray

USUAL = "model_state_dict"
OTHERS = ("state_dict", "model")  # where other programs keep weights
WRAPPERS = re.compile(
    r"(?<![^.])(?:(?:module|_orig_mod)\.)+"
)  # of DataParallel and torch.compile, also of parts
NAME = re.compile(r"((?:[^.]+\.)*?)((?:synapses|B_syn)\..+)", re.DOTALL)  # what is before it, and the name


def load_weights(net: Network, content: Mapping[str, Any], path: Path) -> list[str]:
    """Put the weights of a file's content into a network; returns what there is to say of them.

    Raises `RunError` that names what does not fit, or is not finite: nothing can be said of such a network.
    """
    place, weights = _find(content, path)
    notes = [] if place == USUAL else [f"{path.name}: its weights are {place}"]
    named: dict[str, Any] = {}
    befores: dict[str, None] = {}
    others: list[object] = []
    inside = twice = False
    for key, value in weights.items():
        match = NAME.fullmatch(key) if isinstance(key, str) else None
        if match is None:
            others.append(key)
        else:
            name = WRAPPERS.sub("", match[2])
            befores[match[1]] = None
            inside |= name != match[2]
            twice |= name in named
            named[name] = value
    if len(befores) > 1 and (twice or any(WRAPPERS.sub("", before) for before in befores)):
        told = ", ".join(shown(before) for before in list(befores)[:4])
        raise RunError(f"{path}: holds weights of several networks, by what is before their names: {told}")
    if twice:
        raise RunError(
            f"{path}: holds some weights twice, with and without module. or _orig_mod. in their names"
        )
    if before := " or ".join(shown(before) for before in befores if before):
        notes.append(f"{path.name}: the names of its weights begin with {before}, which is left out")
    if inside:
        notes.append(f"{path.name}: module. and _orig_mod. inside the names of its weights are left out")
    if others and weights is not content:
        notes.append(f"{path.name}: {shown(others[0])} is no weight of a network and left out")
    named = {name: _tensor(value) for name, value in named.items()}
    if wrong := list(_problems(net, named)):
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise RunError(f"{path}: is of another network: {'; '.join(wrong[:4])}{more}")
    own = net.state_dict()
    kinds = sorted({str(value.dtype).removeprefix("torch.") for value in named.values()})
    computed = str(next(iter(own.values())).dtype).removeprefix("torch.")
    if kinds != [computed]:
        notes.append(f"{path.name}: its weights are {', '.join(kinds)}; taken as {computed}")
    net.load_state_dict({name: named[name] for name in own})
    if lost := infinite(dict(net.named_parameters())):
        more = f" and {len(lost) - 4} more" if len(lost) > 4 else ""
        raise RunError(f"{path}: its weights are not finite numbers: {', '.join(lost[:4])}{more}")
    return notes


def _find(content: Mapping[str, Any], path: Path) -> tuple[str, Mapping[str, Any]]:
    """Where among the content the weights are, in words, and the weights. Raises `RunError`."""
    places = {name: content[name] for name in (USUAL, *OTHERS) if isinstance(content.get(name), dict)}
    places["the whole file"] = content
    for place, found in places.items():
        if any(isinstance(key, str) and NAME.fullmatch(key) for key in found):
            return place if place in (USUAL, "the whole file") else f"under {place}", found
    for found in places.values():
        names = [key for key, value in found.items() if isinstance(value, (Tensor, NumberArray))]
        if names:
            some = ", ".join(map(shown, names[:3]))
            raise RunError(
                f"{path}: its weights have other names ({some}) than networks have here "
                f"(synapses.0.weight, synapses.0.bias, …)"
            )
    raise RunError(f"{path}: has no weights ({USUAL})")


def _problems(net: Network, weights: Mapping[str, Any]) -> Iterator[str]:
    """What of some weights does not fit a network."""
    own = net.state_dict()
    for name, value in own.items():
        found = weights.get(name)
        if name not in weights:
            yield f"{name} is missing"
        elif isinstance(found, Tensor) and not found.is_floating_point():
            yield f"{name} is {str(found.dtype).removeprefix('torch.')}, not a tensor of real numbers"
        elif not is_plain(found):
            yield f"{name} is not a tensor of numbers"
        elif found.shape != value.shape:
            yield f"{name} is {sizes(found)}, this network has {sizes(value)}"
    yield from (f"{shown(name)} is not in this network" for name in weights if name not in own)


def _tensor(value: Any) -> Any:
    """A tensor in place of an array of NumPy's."""
    if not isinstance(value, NumberArray):
        return value
    kind = np.dtype(value.kind.order + value.kind.code)
    array = np.ndarray(value.shape, kind, value.raw, order="F" if value.fortran else "C")
    return torch.from_numpy(np.array(array, dtype=kind.newbyteorder("="), order="C"))


def is_plain(value: object) -> TypeGuard[Tensor]:
    """Whether it is a tensor of real numbers that lie in this memory, and nothing else."""
    return (
        isinstance(value, Tensor)
        and type(value) in (Tensor, torch.nn.Parameter)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.is_floating_point()
        and not value._backward_hooks  # a file can bring some; torch trips over them at the next save
    )


def sizes(tensor: Tensor) -> str:
    """The shape of a tensor in words."""
    return "×".join(map(str, tensor.shape)) or "a number"
