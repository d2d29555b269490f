"""Files to tensors, one function a layout. Each checks what it reads and raises DataError naming the file.

Nothing here downloads; nothing is unpickled before its checksum is right, and arrays alone are.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from io import BufferedIOBase
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from eqprop_core.catalogue import RANDOM_INPUTS, imagenet_samples
from eqprop_core.data.randomness import generator
from eqprop_core.devices import cores_of_a_run
from eqprop_core.idx import CHUNK, unpacked
from eqprop_core.image_folder import ImageFolder
from eqprop_core.published import DataError, DatasetInfo, FileSpec, Split
from eqprop_core.published_files import (
    CIFAR10_PYTHON_FILES,
    CIFAR10_PYTHON_FOLDER,
    count_records,
    locate,
    split_sizes,
)
from eqprop_core.reasons import reason

Pairs = tuple[Tensor, Tensor]  # images uint8 [N, C, H, W], labels int64 [N]

DIGITS = Path(__file__).with_name("digits.npz")
DIGITS_TEST_STEP = 5  # every fifth image tests


def read_digits() -> tuple[Pairs, Pairs]:
    """Training and test images of the shipped digits: 1,438 and 359 (every fifth) of [1, 8, 8], 0..16."""
    try:
        with np.load(DIGITS, allow_pickle=False) as arrays:
            images = torch.from_numpy(arrays["images"]).unsqueeze(1)
            labels = torch.from_numpy(arrays["labels"]).long()
    except (OSError, ValueError, KeyError, EOFError, zlib.error) as error:
        raise DataError(f"{DIGITS} is damaged ({reason(error, DIGITS)}): install eqprop again") from error
    test = torch.arange(len(labels)) % DIGITS_TEST_STEP == DIGITS_TEST_STEP - 1
    return (images[~test], labels[~test]), (images[test], labels[test])


def read_imagenet(info: DatasetInfo, root: Path) -> tuple[Pairs, Pairs]:
    """Inputs of ImageNet's size: the images in its folder, or always the same random ones, as many as labels.

    The first of them is the test image.
    """
    paths, size = imagenet_samples(root), info.shape[1]
    random = generator(0, info.name)
    if paths:
        images = torch.from_numpy(np.stack([read_image(str(path), size) for path in paths]))
    else:
        images = torch.randint(256, (RANDOM_INPUTS, *info.shape), generator=random, dtype=torch.uint8)
    labels = torch.randint(len(info.classes), (len(images),), generator=random)
    return (images, labels), (images[:1], labels[:1])


def read_idx(info: DatasetInfo, root: Path) -> tuple[Pairs, Pairs]:
    """Training and test images of IDX files, which are all there; their labels are places in the classes."""
    split_sizes(root, info)
    place_of_label = torch.full((256,), -1)
    place_of_label[_labels(info)] = torch.arange(len(info.classes))
    train_images, train_labels, test_images, test_labels = (
        read_records(root, spec, info) for spec in info.files
    )
    return (
        (_channels_first(train_images, info), place_of_label[train_labels.long()]),
        (_channels_first(test_images, info), place_of_label[test_labels.long()]),
    )


def _labels(info: DatasetInfo) -> list[int]:
    """What the labels in the files are, in the order of the classes: of your own IDX files, their names."""
    return [int(name) for name in info.classes] if info.name == "idx" else list(range(len(info.classes)))


def _channels_first(images: Tensor, info: DatasetInfo) -> Tensor:
    """Images [N, H, W], [N, C, H, W] or [N, H, W, C] as [N, C, H, W]."""
    if images.ndim == 3:
        return images.unsqueeze(1)
    return images if images.shape[1:] == info.shape else images.permute(0, 3, 1, 2).contiguous()


def read_cifar10_binary(info: DatasetInfo, root: Path) -> tuple[Pairs, Pairs]:
    """Training and test images of CIFAR-10 from its binary version, whose files are all there."""

    def split(name: Split) -> Pairs:
        parts = [read_records(root, spec, info) for spec in info.files if spec.split == name]
        records = torch.cat(parts)
        return records[:, 1:].reshape(-1, *info.shape), records[:, 0].long()

    return split("train"), split("test")


def read_cifar10_python(root: Path) -> tuple[Pairs, Pairs] | None:
    """Training and test images of CIFAR-10 from torchvision's layout; None unless all checksums are right."""
    if damaged_cifar10_pickles(root):
        return None
    from torchvision.datasets import CIFAR10

    def split(files: Sequence[Sequence[str]]) -> Pairs:
        parts = [_unpickled(root / CIFAR10_PYTHON_FOLDER / name, md5) for name, md5 in files]
        images = np.concatenate([images for images, _ in parts]).reshape(-1, 3, 32, 32)
        return torch.from_numpy(images), torch.tensor([label for _, labels in parts for label in labels])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy finds the old pickles deprecated
        return split(CIFAR10.train_list), split(CIFAR10.test_list)


class _Arrays(pickle.Unpickler):
    """Makes NumPy's arrays, and nothing else that a pickle may name."""

    NAMES = ("_reconstruct", "_frombuffer", "ndarray", "dtype")

    def find_class(self, module: str, name: str) -> Any:
        """What makes an array."""
        if name in self.NAMES and module.split(".")[0] == "numpy":
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")


def _unpickled(path: Path, md5: str) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], list[int]]:
    """Images [N, 3072] and labels of a file of torchvision's layout. Raises DataError."""
    content = path.read_bytes()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:  # of what is read, not of a file
        raise DataError(f"{path} is not the published file (MD5 differs)")
    try:
        found = _Arrays(io.BytesIO(content), encoding="latin1").load()
        return found["data"], found["labels"]
    except (pickle.UnpicklingError, LookupError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {reason(error, path)}") from error


def damaged_cifar10_pickles(root: Path) -> list[Path]:
    """Files of torchvision's CIFAR-10 layout that are missing or lack the MD5 that torchvision expects."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    md5s = dict([*CIFAR10.train_list, *CIFAR10.test_list])
    md5s[CIFAR10.meta["filename"]] = CIFAR10.meta["md5"]
    paths = [root / CIFAR10_PYTHON_FOLDER / name for name in CIFAR10_PYTHON_FILES]
    return [path for path in paths if not check_integrity(path, md5s[path.name])]


def read_records(root: Path, spec: FileSpec, info: DatasetInfo) -> Tensor:
    """All records of one file, uint8 [records, *spec.record_shape], with labels in the range of `info`.

    Labels are the records of a file of single bytes, or the first byte of a record of one dimension.
    """
    path = locate(root, spec)
    if path is None:
        raise DataError(f"{root / spec.path} is missing")
    count = count_records(path, spec)
    expected = spec.header_bytes + count * spec.record_bytes
    try:
        content = np.empty(expected, dtype=np.uint8)
        with unpacked(path) as file:  # a byte more is asked for, so that all of it is checked
            size = _fill(file, content.data) + len(file.read(1))
    except MemoryError as error:
        raise DataError(f"{path} takes {expected:,} bytes of memory, which are not there") from error
    if size != expected:
        held = f"{size:,}" if size < expected else f"more than {expected:,}"
        raise DataError(f"{path} is damaged: it holds {held} bytes, expected {expected:,}")
    records = torch.from_numpy(content[spec.header_bytes :]).view(count, *spec.record_shape)
    if len(spec.record_shape) < 2:
        found = set((records if records.ndim == 1 else records[:, 0]).tolist())
        if unknown := found - set(_labels(info)):
            known = f"0 to {len(info.classes) - 1}"
            own = f"; images of your own: --task idx --data-dir {path.parent}" if spec.magic else ""
            raise DataError(f"{path} is damaged: it has a label {max(unknown)}, expected {known}{own}")
    return records


def _fill(file: BufferedIOBase, content: memoryview) -> int:
    """Read as much as fits; returns how many bytes there were."""
    read = 0
    while read < len(content) and (chunk := file.read(min(CHUNK, len(content) - read))):
        content[read : read + len(chunk)] = chunk
        read += len(chunk)
    return read


def listed_images(folder: ImageFolder, split: Split) -> list[tuple[str, int]]:
    """Paths of the images of a split with their labels: the first of every class, then the second of every …

    Within a class they are sorted by name. So the first N images hold the classes in equal parts.
    """
    classes = [[(path, label) for path in paths] for label, paths in enumerate(folder.images[split].values())]
    return [image for row in zip_longest(*classes) for image in row if image is not None]


def broken_images(paths: Sequence[str]) -> list[str]:
    """What is wrong with those of these files that cannot be read as images."""

    def problem(path: str) -> str | None:
        try:
            read_image(path, 8)
        except DataError as error:
            return str(error)
        return None

    with _quiet_readers() as readers:
        return [said for said in readers.map(problem, paths) if said is not None]


# PIL knows many more, such as EPS, which it has another program carry out.
Image.init()
FORMATS = tuple({"JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF", "AVIF", "JPEG2000"} & Image.OPEN.keys())
LARGE = 20_000_000  # pixels, of which several at a time could fill the memory
_one_large_image = threading.Lock()


def read_image(path: str, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """One image as uint8 [3, size, size]: RGB, shorter side scaled to `size`, the centre kept.

    Bilinear with antialiasing. Alpha is dropped, and a rotation noted in EXIF is not applied, both as in
    torchvision's ImageFolder. Raises DataError for a file that is no image of 8 bits a channel.
    """
    try:
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:  # noqa: PTH123 - there may be millions
            if image.mode.startswith(("I", "F")):
                raise DataError(f"{path} has pixels of mode {image.mode}; expected 8 bits a channel")
            with _one_large_image if image.width * image.height > LARGE else nullcontext():
                square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
    except DataError:
        raise
    except Exception as error:  # PIL's readers raise nearly anything on a broken file
        raise DataError(f"{path} cannot be read as an image: {_what_is_wrong(path, error)}") from error
    return np.asarray(square).transpose(2, 0, 1)


PROGRAMMERS = re.compile(r"decoder|data stream|codec|buffer")  # what PIL says to those who call it


def _what_is_wrong(path: str, error: Exception) -> str:
    """Why a file is no image."""
    with suppress(OSError):
        if Path(path).stat().st_size == 0:
            return "it is empty (0 bytes)"
    if isinstance(error, UnidentifiedImageError):
        return "it is in none of the formats that are known, whatever its suffix says"
    if isinstance(error, Image.DecompressionBombError):
        return f"it is larger than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    # What else is raised was not written for people: `invalid literal for int() with base 10`.
    said = reason(error, path) if isinstance(error, (OSError, SyntaxError)) else ""
    return "it is damaged" if not said or PROGRAMMERS.search(said) else said


@contextmanager
def _quiet_readers() -> Iterator[ThreadPoolExecutor]:
    """Threads that read images, without PIL's remarks on size, transparency and metadata."""
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, cores_of_a_run() or 1)) as readers:
        warnings.simplefilter("ignore")
        try:
            yield readers
        except BaseException:
            readers.shutdown(cancel_futures=True)
            raise


def read_images(listed: Sequence[tuple[str, int]], size: int) -> Pairs:
    """The listed images with their labels, each as `read_image` does."""
    pixels = np.empty((len(listed), 3, size, size), dtype=np.uint8)

    def read_one(place: int) -> None:
        pixels[place] = read_image(listed[place][0], size)

    with _quiet_readers() as readers:
        for _ in readers.map(read_one, range(len(listed))):
            pass
    return torch.from_numpy(pixels), torch.tensor([label for _, label in listed], dtype=torch.int64)
