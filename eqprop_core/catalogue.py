"""Which data sets there are, what their images look like, and which of their files are in place.

For whoever asks about data without wanting the data: validation, the layer table, `eqprop data list`.
Looks at names, sizes and headers of files only; it knows nothing of tensors and never reads a whole file.
Reading, downloading and checking content is the business of `eqprop_core.data`.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from eqprop_core.files import expanded
from eqprop_core.problems import NotThereError
from eqprop_core.published import PUBLISHED, DatasetInfo, FileSpec, Split

TASKS = ("digits", "MNIST", "FashionMNIST", "CIFAR10", "imagefolder", "imagenet")

SPLITS: tuple[Split, Split] = ("train", "test")
DATA_VARIABLE = "EQPROP_DATA"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
DEFAULT_IMAGE_SIZE = 32
IMAGENET_FOLDER = "imagenet_samples"  # as the reference calls it
RANDOM_INPUTS = 20
CIFAR10_PYTHON_FOLDER = "cifar-10-batches-py"
CIFAR10_PYTHON_FILES = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta")


class DataError(ValueError):
    """A data set is missing, damaged or not what was asked for; the message says where and what would do."""


class NoSuchFolderError(DataError, NotThereError):
    """A folder that was named for a data set is not there."""


@dataclass(frozen=True, kw_only=True)
class DataStatus:
    """What of a data set is in place.

    present: complete. subset: every file is there, with fewer images than published; it can be used.
    absent: files are missing (all or some); a download would add them. damaged: something is there that
    cannot be used and has to be removed or replaced first; `note` names it.
    """

    state: Literal["present", "subset", "absent", "damaged"]
    found: tuple[Path, ...]
    missing: tuple[Path, ...]
    train_size: int | None  # images in place; None where unknown
    test_size: int | None
    note: str


def data_root(explicit: Path | None = None) -> Path:
    """Where data sets live: `explicit` (--data-dir), else EQPROP_DATA, else the user's data directory."""
    if explicit is not None:
        return expanded(Path(explicit))
    if variable := os.environ.get(DATA_VARIABLE):
        return expanded(Path(variable))
    return platformdirs.user_data_path("eqprop", appauthor=False) / "datasets"


def describe(task: str, root: Path | None = None, image_size: int | None = None) -> DatasetInfo:
    """Facts about `task`. Only an imagefolder looks at `root` and `image_size` (pixels a side; default 32).

    Raises DataError for an unknown task, and for an image folder that is missing, has a class without
    images, or differs in its classes between train and test.
    """
    if task in PUBLISHED:
        return PUBLISHED[task]
    if task != "imagefolder":
        raise DataError(f"unknown data set {task!r}; accepted: {', '.join(TASKS)}")
    root = data_root(root)
    size = _image_size(image_size)
    try:
        classes = _image_classes(root)
        train, test = (sum(map(len, image_files(root, split).values())) for split in SPLITS)
    except OSError as error:
        raise DataError(f"the image folder {root} cannot be read: {error}") from error
    return DatasetInfo(
        name="imagefolder",
        title=f"images in {root}",
        shape=(3, size, size),
        classes=classes,
        train_size=train,
        test_size=test,
        scale=255.0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        augmentable=True,
        source=str(root),
        licence="your own images",
    )


def augmented_tasks() -> tuple[str, ...]:
    """Tasks whose images may be mirrored and shifted."""
    return (*(name for name, info in PUBLISHED.items() if info.augmentable), "imagefolder")


def shape_and_classes(
    task: str, root: Path | None = None, image_size: int | None = None
) -> tuple[tuple[int, int, int], int] | None:
    """Image shape (channels, height, width) and number of classes; None if unknown. Never raises.

    Of an image folder only the names of the class folders are read, so that it stays quick.
    """
    if task in PUBLISHED:
        return PUBLISHED[task].shape, len(PUBLISHED[task].classes)
    try:
        if task != "imagefolder":
            return None
        size = _image_size(image_size)
        return (3, size, size), len(_image_classes(data_root(root)))
    except (OSError, ValueError):
        return None


def image_files(root: Path, split: Split) -> dict[str, tuple[Path, ...]]:
    """The images of every class in `root/split`, classes and images sorted by name.

    Hidden files, folders inside a class and suffixes other than IMAGE_SUFFIXES are skipped.
    Raises DataError for a class without images.
    """
    images: dict[str, tuple[Path, ...]] = {}
    for name in _class_folders(root, split):
        with os.scandir(root / split / name) as entries:
            names = sorted(entry.name for entry in entries if _is_image(entry))
        if not names:
            raise DataError(
                f"no images in {root / split / name}: every class needs at least one, with one of the "
                f"suffixes {' '.join(IMAGE_SUFFIXES)}"
            )
        images[name] = tuple(root / split / name / image for image in names)
    return images


def status(task: str, root: Path | None = None) -> DataStatus:
    """What of `task` is in place under `root`, judged by names, sizes and headers of files.

    Raises DataError for an unknown task.
    """
    root = data_root(root)
    info = PUBLISHED.get(task)
    try:
        if task == "imagefolder":
            return _image_folder_status(root)
        if task == "imagenet":
            return _imagenet_status(root)
        if info is None:
            info = describe(task)  # says what is accepted
        if task == "CIFAR10" and cifar10_layout(root) == "python":
            found = tuple(root / CIFAR10_PYTHON_FOLDER / name for name in CIFAR10_PYTHON_FILES)
            note = "as Python pickles; checksums are verified before reading"
            return _status("present", found=found, train=info.train_size, test=info.test_size, note=note)
        return _file_status(info, root)
    except OSError as error:
        return _status("damaged", note=f"{root} cannot be read: {error}")


def cifar10_layout(root: Path) -> Literal["binary", "python"]:
    """Which of its two layouts CIFAR-10 is to be read in: python only if binary files are missing."""
    folder = root / CIFAR10_PYTHON_FOLDER
    in_python = all((folder / name).is_file() for name in CIFAR10_PYTHON_FILES)
    in_binary = all(locate(root, spec) is not None for spec in PUBLISHED["CIFAR10"].files)
    return "python" if in_python and not in_binary else "binary"


def locate(root: Path, spec: FileSpec) -> Path | None:
    """The file of `spec` under `root`; an IDX file may have been left compressed (.gz). None if not there."""
    path = root / spec.path
    if path.is_file():
        return path
    compressed = path.with_name(path.name + ".gz")
    return compressed if spec.magic and compressed.is_file() else None


def count_records(path: Path, spec: FileSpec) -> int:
    """Records in the file at `path`, by its header and size alone.

    Raises DataError, naming the file, its size and what is expected, if it cannot be a file of `spec`.
    """
    try:
        size, header = _size_and_header(path, spec.header_bytes)
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    expected = f"{spec.size:,} bytes when complete"
    records, rest = divmod(size - spec.header_bytes, spec.record_bytes)
    if spec.magic:
        if len(header) < spec.header_bytes:
            raise DataError(f"{path} is damaged: {size:,} bytes, expected {expected}")
        magic, count, *shape = struct.unpack(f">{spec.header_bytes // 4}I", header)
        if magic != spec.magic or tuple(shape) != spec.record_shape:
            raise DataError(
                f"{path} is damaged: its header is {header.hex()}, expected {spec.magic:08x}, a count and "
                f"dimensions {spec.record_shape}"
            )
        if count != records or rest:
            wanted = spec.header_bytes + count * spec.record_bytes
            raise DataError(
                f"{path} is damaged: {size:,} bytes, but its header announces {count:,} records, which take "
                f"{wanted:,} bytes (expected {expected})"
            )
    if rest or not 1 <= records <= spec.records:
        raise DataError(
            f"{path} is damaged: {size:,} bytes, expected {expected} "
            f"(or fewer, in whole records of {spec.record_bytes:,})"
        )
    return records


def split_sizes(root: Path, info: DatasetInfo) -> dict[Split, int]:
    """Images per split in those files of `info` that are there.

    Raises DataError for a damaged file, and for images and labels that differ in number.
    """
    images: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    labels: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for spec in info.files:
        if (path := locate(root, spec)) is not None:
            (images if spec.record_shape else labels)[spec.split] += count_records(path, spec)
    for split, count in labels.items():
        if count and images[split] and count != images[split]:
            raise DataError(
                f"{info.name} in {root} is damaged: {images[split]:,} {split} images but {count:,} labels; "
                "expected one label an image"
            )
    return images


def _status(
    state: Literal["present", "subset", "absent", "damaged"],
    *,
    found: tuple[Path, ...] = (),
    missing: tuple[Path, ...] = (),
    train: int | None = None,
    test: int | None = None,
    note: str = "",
) -> DataStatus:
    return DataStatus(state=state, found=found, missing=missing, train_size=train, test_size=test, note=note)


def _file_status(info: DatasetInfo, root: Path) -> DataStatus:
    if not info.files:
        return _status("present", train=info.train_size, test=info.test_size, note="ships with eqprop")
    found = tuple(path for spec in info.files if (path := locate(root, spec)) is not None)
    missing = tuple(root / spec.path for spec in info.files if locate(root, spec) is None)
    try:
        sizes = split_sizes(root, info)
    except DataError as error:
        return _status("damaged", found=found, missing=missing, note=str(error))
    if missing:
        note = f"{len(missing)} of {len(info.files)} files missing" if found else f"not in {root}"
        return _status("absent", found=found, missing=missing, note=note)
    train, test = sizes["train"], sizes["test"]
    if (train, test) == (info.train_size, info.test_size):
        return _status("present", found=found, train=train, test=test)
    note = f"{train:,} of {info.train_size:,} training and {test:,} of {info.test_size:,} test images"
    return _status("subset", found=found, train=train, test=test, note=note)


def _image_folder_status(root: Path) -> DataStatus:
    folders = (root / "train", root / "test")
    found = tuple(folder for folder in folders if folder.is_dir())
    missing = tuple(folder for folder in folders if not folder.is_dir())
    try:
        info = describe("imagefolder", root)
    except (DataError, OSError) as error:
        return _status("absent" if missing else "damaged", found=found, missing=missing, note=str(error))
    return _status("present", found=found, train=info.train_size, test=info.test_size)


def imagenet_samples(root: Path) -> list[Path]:
    """Images, of any photographs, that take the place of random inputs of ImageNet's size."""
    try:
        with os.scandir(root / IMAGENET_FOLDER) as entries:
            return sorted(root / IMAGENET_FOLDER / entry.name for entry in entries if _is_image(entry))
    except FileNotFoundError:
        return []


def _imagenet_status(root: Path) -> DataStatus:
    found = tuple(imagenet_samples(root))
    said = f"{len(found)} images of" if found else f"{RANDOM_INPUTS} random inputs, as there are no images in"
    note = f"{said} {root / IMAGENET_FOLDER}, with labels drawn at random"
    return _status("subset", found=found, train=len(found) or RANDOM_INPUTS, test=1, note=note)


def _size_and_header(path: Path, length: int) -> tuple[int, bytes]:
    """Uncompressed size of a file in bytes, and its first `length` bytes."""
    if path.suffix != ".gz":
        with path.open("rb") as file:
            return path.stat().st_size, file.read(length)
    with gzip.open(path) as unpacked:
        header = unpacked.read(length)
    with path.open("rb") as packed:
        packed.seek(-4, os.SEEK_END)  # gzip ends with the size of what it holds
        return struct.unpack("<I", packed.read(4))[0], header


def _image_size(image_size: int | None) -> int:
    size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
    if size < 1:
        raise DataError(f"--image-size {size}: accepted is a number of pixels from 1")
    return size


def _is_image(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES) and entry.is_file()


def _class_folders(root: Path, split: Split) -> list[str]:
    folder = root / split
    if not folder.is_dir():
        raise NoSuchFolderError(
            f"{folder} is not a folder: an image folder holds train/<class>/ and test/<class>/ with images "
            f"in each, and is chosen by --data-dir or {DATA_VARIABLE}"
        )
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _image_classes(root: Path) -> tuple[str, ...]:
    """Class names of an image folder, sorted."""
    train, test = (_class_folders(root, split) for split in SPLITS)
    for split, names in zip(SPLITS, (train, test), strict=True):
        if not names:
            raise DataError(f"{root / split} is empty: it needs one folder of images for each class")
    if train != test:
        only_train = ", ".join(sorted(set(train) - set(test))) or "none"
        only_test = ", ".join(sorted(set(test) - set(train))) or "none"
        raise DataError(
            f"the classes in {root} differ between train and test: only in train: {only_train}; "
            f"only in test: {only_test}. Both need the same class folders"
        )
    return tuple(train)
