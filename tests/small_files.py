"""Files of data sets in their real layouts, with few records and known content."""

from __future__ import annotations

import struct

import numpy as np


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as an IDX file."""
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def idx_files(train: int, test: int) -> dict[str, bytes]:
    """The four files of an MNIST-like data set: random pixels, labels 0, 1, 2 … 9, 0 …"""
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": idx(rng.integers(0, 256, (train, 28, 28), dtype=np.uint8)),
        "train-labels-idx1-ubyte": idx(np.arange(train, dtype=np.uint8) % 10),
        "t10k-images-idx3-ubyte": idx(rng.integers(0, 256, (test, 28, 28), dtype=np.uint8)),
        "t10k-labels-idx1-ubyte": idx(np.arange(test, dtype=np.uint8) % 10),
    }


def cifar10_records(n: int, seed: int) -> np.ndarray:
    """`n` records of CIFAR-10's binary version, [n, 3073]: random pixels, labels 0, 1, 2 … 9, 0 …"""
    records = np.random.default_rng(seed).integers(0, 256, (n, 3073), dtype=np.uint8)
    records[:, 0] = np.arange(n) % 10
    return records


def cifar10_files(each: int) -> dict[str, bytes]:
    """The six binary files of CIFAR-10, with `each` records."""
    names = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
    return {name: cifar10_records(each, seed).tobytes() for seed, name in enumerate(names)}
