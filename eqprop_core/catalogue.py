"""Which data sets there are, what their images look like, and which of their files are in place.

For whoever asks about data without wanting the data: validation, the layer table, `eqprop data list`.
Looks at names, sizes and headers of files, and at the labels of your own IDX files; it knows nothing of
tensors. Reading, downloading and checking content is the business of `eqprop_core.data`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from eqprop_core import image_folder
from eqprop_core.files import expanded
from eqprop_core.image_folder import is_image
from eqprop_core.own_idx import find_set, own_idx, quick_facts
from eqprop_core.published import IDX_NAMES, PUBLISHED, DatasetInfo, Split
from eqprop_core.published import DataError as DataError
from eqprop_core.published import NoSuchFolderError as NoSuchFolderError
from eqprop_core.published_files import (
    CIFAR10_PYTHON_FILES,
    CIFAR10_PYTHON_FOLDER,
    cifar10_layout,
    foreign_files,
    foreign_in_words,
    locate,
    own_inside,
    root_above,
    root_inside,
    split_sizes,
)
from eqprop_core.reasons import reason

TASKS = ("digits", "MNIST", "FashionMNIST", "CIFAR10", "imagefolder", "imagenet", "idx")
OWN = ("imagefolder", "idx")  # what is in them is known from --data-dir alone

DATA_VARIABLE = "EQPROP_DATA"
DEFAULT_IMAGE_SIZE = 32
IMAGENET_FOLDER = "imagenet_samples"  # as the reference calls it
RANDOM_INPUTS = 20


@dataclass(frozen=True, kw_only=True)
class DataStatus:
    """What of a data set is in place.

    present: complete. subset: every file is there, with other numbers of images than published; it can be
    used. absent: files are missing (all or some); a download would add them. damaged: something is there
    that cannot be used and has to be removed or replaced first; `note` names it.
    """

    state: Literal["present", "subset", "absent", "damaged"]
    found: tuple[Path, ...]
    missing: tuple[Path, ...]
    train_size: int | None  # images in place; None where unknown
    test_size: int | None
    note: str
    foreign: bool = False  # these are not the published images


def data_root(explicit: Path | None = None) -> Path:
    """Where data sets live: `explicit` (--data-dir), else EQPROP_DATA, else the user's data directory."""
    if explicit is not None:
        return expanded(Path(explicit))
    if variable := os.environ.get(DATA_VARIABLE):
        return expanded(Path(variable))
    return platformdirs.user_data_path("eqprop", appauthor=False) / "datasets"


def place_of(task: str, root: Path | None = None) -> Path:
    """The data root for `task`, also where a folder inside was given (`…/MNIST/raw`)."""
    return root_above(task, data_root(root))


def describe(task: str, root: Path | None = None, image_size: int | None = None) -> DatasetInfo:
    """Facts about `task`. Only images of your own depend on `root`, an imagefolder's on `image_size`, too.

    `image_size` is in pixels a side, 32 where it is not given. Raises DataError for an unknown task, for an
    image folder that is missing, has a class without images, or differs in its classes between train and
    test, and for IDX files that do not belong together.
    """
    if task in PUBLISHED:
        return PUBLISHED[task]
    root = data_root(root)
    try:
        if task == "idx":
            return own_idx(root)
        if task == "imagefolder":
            _image_size(image_size)
            return folder_info(root, image_folder.counts(root), image_size)
    except OSError as error:
        kind = "image folder" if task == "imagefolder" else "folder of IDX files"
        raise DataError(f"the {kind} {root} cannot be read: {reason(error, root)}") from error
    raise DataError(f"unknown data set {task!r}; accepted: {', '.join(TASKS)}")


def folder_info(root: Path, counts: image_folder.Counts, image_size: int | None = None) -> DatasetInfo:
    """Facts about an image folder whose images have been counted."""
    size = _image_size(image_size)
    return DatasetInfo(
        name="imagefolder",
        title=f"images in {root}",
        shape=(3, size, size),
        classes=counts.classes,
        train_size=counts.train,
        test_size=counts.test,
        scale=255.0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        augmentable=True,
        source=str(root),
        licence="your own images",
    )


def augmented_tasks() -> tuple[str, ...]:
    """Tasks whose images may be mirrored and shifted."""
    return (*(name for name, info in PUBLISHED.items() if info.augmentable), *OWN)


def shape_and_classes(
    task: str, root: Path | None = None, image_size: int | None = None
) -> tuple[tuple[int, int, int], int] | None:
    """Image shape (channels, height, width) and number of classes; None if unknown. Never raises.

    Of an image folder only the names of the class folders are read, so that it stays quick.
    """
    if task in PUBLISHED:
        return PUBLISHED[task].shape, len(PUBLISHED[task].classes)
    try:
        if task == "idx":
            return quick_facts(data_root(root))
        if task != "imagefolder":
            return None
        size = _image_size(image_size)
        return (3, size, size), len(image_folder.split_folders(data_root(root))[1])
    except (OSError, ValueError):
        return None


def image_files(root: Path, split: Split) -> dict[str, tuple[Path, ...]]:
    """The images of every class of a split of an image folder, classes and images sorted by name.

    Raises DataError for what is no image folder.
    """
    images = image_folder.survey(root).images[split]
    return {name: tuple(map(Path, paths)) for name, paths in images.items()}


def status(task: str, root: Path | None = None) -> DataStatus:
    """What of `task` is in place under `root`, judged by names, sizes, headers and first records of files.

    Raises DataError for an unknown task.
    """
    root = place_of(task, root)
    info = PUBLISHED.get(task)
    try:
        if task == "imagefolder":
            return _image_folder_status(root)
        if task == "imagenet":
            return _imagenet_status(root)
        if task == "idx":
            return _idx_status(root)
        if info is None:
            info = describe(task)  # says what is accepted
        if task == "CIFAR10" and cifar10_layout(root) == "python":
            found = tuple(root / CIFAR10_PYTHON_FOLDER / name for name in CIFAR10_PYTHON_FILES)
            note = "as Python pickles; checksums are verified before reading"
            return _status("present", found=found, train=info.train_size, test=info.test_size, note=note)
        return _file_status(info, root)
    except OSError as error:
        return _status("damaged", note=f"{root} cannot be read: {reason(error, root)}")


def _status(
    state: Literal["present", "subset", "absent", "damaged"],
    *,
    found: tuple[Path, ...] = (),
    missing: tuple[Path, ...] = (),
    train: int | None = None,
    test: int | None = None,
    note: str = "",
    foreign: bool = False,
) -> DataStatus:
    return DataStatus(
        state=state,
        found=found,
        missing=missing,
        train_size=train,
        test_size=test,
        note=note,
        foreign=foreign,
    )


def _file_status(info: DatasetInfo, root: Path) -> DataStatus:
    if not info.files:
        return _status("present", train=info.train_size, test=info.test_size, note="ships with eqprop")
    places = {spec: locate(root, spec) for spec in info.files}
    found = tuple(path for path in places.values() if path is not None)
    missing = tuple(root / spec.path for spec, path in places.items() if path is None)
    try:
        sizes = split_sizes(root, info)
        foreign = foreign_files(root, info)
    except DataError as error:
        return _status("damaged", found=found, missing=missing, note=str(error))
    if missing:
        note = f"{len(missing)} of {len(info.files)} files missing" if found else f"not in {root}"
        if (inside := root_inside(info, root)) is not None:
            note += f", but in {inside}: --data-dir {inside}"
        elif hint := own_inside(info, root):
            note += f"; {hint}"
        return _status("absent", found=found, missing=missing, note=note)
    train, test = sizes["train"], sizes["test"]
    notes = [foreign_in_words(info, foreign)] if foreign else []
    whole = (train, test) == (info.train_size, info.test_size)
    if not whole:
        of = f"{train:,} of {info.train_size:,} training and {test:,} of {info.test_size:,} test images"
        notes.append(of)
    state: Literal["present", "subset"] = "present" if whole else "subset"
    note = "; ".join(notes)
    return _status(state, found=found, train=train, test=test, note=note, foreign=bool(foreign))


def _image_folder_status(root: Path) -> DataStatus:
    folders = (root / "train", root / "test")
    found = tuple(folder for folder in folders if folder.is_dir())
    missing = tuple(folder for folder in folders if not folder.is_dir())
    try:
        info = describe("imagefolder", root)
    except DataError as error:
        return _status("absent" if missing else "damaged", found=found, missing=missing, note=str(error))
    return _status("present", found=found, train=info.train_size, test=info.test_size)


def imagenet_samples(root: Path) -> list[Path]:
    """Images, of any photographs, that take the place of random inputs of ImageNet's size."""
    try:
        with os.scandir(root / IMAGENET_FOLDER) as entries:
            return sorted(root / IMAGENET_FOLDER / entry.name for entry in entries if is_image(entry))
    except FileNotFoundError:
        return []


def _imagenet_status(root: Path) -> DataStatus:
    found = tuple(imagenet_samples(root))
    said = f"{len(found)} images of" if found else f"{RANDOM_INPUTS} random inputs, as there are no images in"
    note = f"{said} {root / IMAGENET_FOLDER}, with labels drawn at random"
    return _status("subset", found=found, train=len(found) or RANDOM_INPUTS, test=1, note=note)


def _idx_status(root: Path) -> DataStatus:
    try:
        found = tuple(find_set(root).values())
    except DataError as error:
        return _status("absent", missing=tuple(root / name for name in IDX_NAMES), note=str(error))
    try:
        info = own_idx(root)
    except DataError as error:
        return _status("damaged", found=found, note=str(error))
    return _status("present", found=found, train=info.train_size, test=info.test_size)


def _image_size(image_size: int | None) -> int:
    size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
    if size < 1:
        raise DataError(f"--image-size {size}: accepted is a number of pixels from 1")
    return size
