"""Small data sets in the layouts of the real ones, with known content."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from small_files import cifar10_files, idx_files


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    """A data root with 30 training and 10 test images of MNIST, one file of them compressed."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in idx_files(30, 10).items():
        if name.startswith("t10k-images"):
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def small_cifar10(tmp_path: Path) -> Path:
    """A data root with the binary version of CIFAR-10, four records a file."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, content in cifar10_files(4).items():
        (folder / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """An image folder with the classes cat and dog, each with three training images and one test image."""
    for split, names in (("train", "abc"), ("test", "a")):
        for label, kind in enumerate(("cat", "dog")):
            folder = tmp_path / split / kind
            folder.mkdir(parents=True)
            for place, name in enumerate(names):
                colour = (100 * label, 10 * place, 255)
                Image.new("RGB", (40, 20), colour).save(folder / f"{name}.png")
    return tmp_path


@pytest.fixture
def sparse_file() -> Callable[[Path, int, bytes], None]:
    """Write a file of any size that takes no space: its first bytes, then zeros."""

    def write(path: Path, size: int, head: bytes = b"") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(head)
            file.truncate(size)

    return write
