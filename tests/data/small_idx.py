"""Sets of IDX files with few random images."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from small_files import idx

from eqprop_core.data.datasets import load_dataset

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
pack = gzip.compress


def load(root: Path, task: str = "idx"):
    return load_dataset(task, root=root, download=False, progress=False)


def put(
    folder: Path,
    *,
    shape: tuple[int, ...] = (6, 4),
    labels: tuple[list[int], list[int]] = ([0, 1, 2] * 4, [2, 1, 0]),
    names: tuple[str, ...] = NAMES,
    packed: bool = False,
) -> list[np.ndarray]:
    """Write a set of random images; returns what is in its files."""
    draws = np.random.default_rng(3)
    arrays = []
    for split in labels:
        arrays += [
            draws.integers(0, 256, (len(split), *shape), dtype=np.uint8),
            np.array(split, dtype=np.uint8),
        ]
    for name, array in zip(names, arrays, strict=True):
        path = folder / (f"{name}.gz" if packed else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(idx(array)) if packed else idx(array))
    return arrays


def in_members(*lengths: int):
    """Content as members of these lengths, and one of the rest."""

    def packed(content: bytes) -> bytes:
        parts = []
        for length in lengths:
            parts.append(pack(content[:length]))
            content = content[length:]
        return b"".join([*parts, pack(content)])

    return packed
