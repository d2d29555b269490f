"""The reference's numbers: nine small networks, their inputs, states, gradients and trained parameters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eqprop_core import ModelConfig, Network, build_network

FOLDER = Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))
FIELDS = ("model", "input_shape", "archi", "channels", "kernels", "strides", "paddings", "pools", "fc", "act", "loss", "softmax")  # fmt: skip


@dataclass(frozen=True)
class Golden:
    name: str
    config: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        return {
            key.removeprefix(prefix + "/"): value
            for key, value in self.arrays.items()
            if key.startswith(prefix + "/")
        }

    def states(self, prefix: str) -> list[np.ndarray]:
        group = self.group(prefix)
        return [group[str(n)] for n in range(len(group))]

    def tensor(self, key: str, dtype: torch.dtype) -> Tensor:
        value = torch.from_numpy(self.arrays[key])
        return value.to(dtype) if value.is_floating_point() else value

    def network(self, dtype: torch.dtype) -> Network:
        config = ModelConfig(**{name: self.config[name] for name in FIELDS if name in self.config})
        net = build_network(config, dtype=dtype)
        parameters = {name: torch.from_numpy(value) for name, value in self.group("param").items()}
        net.load_state_dict(parameters, strict=True)
        return net

    @property
    def steps(self) -> tuple[int, int]:
        return self.config["T1"], self.config["T2"]

    @property
    def same_update(self) -> bool:
        return self.config.get("same_update", False)


@cache
def golden(name: str) -> Golden:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files if key != "config"}
        return Golden(name, json.loads(str(file["config"])), arrays)
