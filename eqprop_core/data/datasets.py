"""A data set in memory: training, validation and test images as bytes, with their labels.

Where the files are is known by `eqprop_core.catalogue`, how they are read by `reading`. Normalisation and
augmentation are the business of `batches`.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from eqprop_core.catalogue import (
    CIFAR10_PYTHON_FOLDER,
    SPLITS,
    DataError,
    data_root,
    describe,
    imagenet_samples,
    locate,
    status,
)
from eqprop_core.data import reading
from eqprop_core.data.fetching import cifar10_pickles_used, fetch, where_to_put
from eqprop_core.data.randomness import generator
from eqprop_core.data.reading import Pairs
from eqprop_core.published import DatasetInfo, FileSpec, Split

__all__ = ["Dataset", "Images", "fetch", "load_dataset", "verify"]


@dataclass(frozen=True, eq=False)
class Images:
    """Images uint8 [N, C, H, W] and their labels int64 [N], on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Images:
        """The same images on `device`."""
        return Images(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """The images of one task. `validation` is None unless a share of the training images was held out.

    `available` counts the images of each class in the files, before some were chosen.
    """

    info: DatasetInfo
    train: Images
    validation: Images | None
    test: Images
    available: Mapping[Split, Sequence[int]] = field(default_factory=dict)


def load_dataset(
    task: str,
    *,
    root: Path | None = None,
    train_samples: int | None = None,
    test_samples: int | None = None,
    samples: Literal["first", "drawn"] = "first",
    val_split: float = 0.0,
    seed: int = 0,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
    download: bool = True,
    progress: bool = True,
) -> Dataset:
    """Read a data set into the memory of `device`, downloading it to `root` first if it is not there.

    `train_samples` and `test_samples` keep so many images of each split: the first, or `drawn` by `seed`, in
    their order. Of the training images kept, the share `val_split` (0 up to 1, excluded) is held out for
    validation: which ones, depends on `seed` alone. `image_size` is the side in pixels to which the images
    of an imagefolder are brought: scaled so that the shorter side fits, then cropped around the centre.
    Progress goes to standard error.

    Raises DataError if the data set is missing and cannot be downloaded, if a file is damaged, and if
    there are not as many images as asked for.
    """
    root = data_root(root)
    try:
        info = describe(task, root, image_size)
        if task == "imagefolder":
            listed = [reading.listed_images(root, split) for split in SPLITS]
            labels = [torch.tensor([label for _, label in split]) for split in listed]
        else:
            whole = _read(info, root, download, progress)
            labels = [split[1] for split in whole]
        places = [
            _places(len(all_of), wanted, split, seed if samples == "drawn" else None)
            for split, all_of, wanted in zip(SPLITS, labels, (train_samples, test_samples), strict=True)
        ]
        if task == "imagefolder":  # reading images that are not wanted can take minutes
            wanted_files = [[split[place] for place in at] for split, at in zip(listed, places, strict=True)]
            if progress:
                count = sum(map(len, wanted_files))
                print(f"Reading {count:,} images from {root}", file=sys.stderr, flush=True)
            train, test = (Images(*reading.read_images(files, info.shape[1])) for files in wanted_files)
        else:
            train, test = (_chosen(split, at) for split, at in zip(whole, places, strict=True))
    except OSError as error:
        raise DataError(f"{task} in {root} cannot be read: {error}") from error
    train, validation = _hold_out(train, val_split, seed)
    counts = (torch.bincount(split, minlength=len(info.classes)).tolist() for split in labels)
    return Dataset(
        info=info,
        train=train.to(device),
        validation=None if validation is None else validation.to(device),
        test=test.to(device),
        available=dict(zip(SPLITS, counts, strict=True)),
    )


def verify(task: str, root: Path | None = None) -> list[str]:
    """Read all of a data set and list what is wrong with it; an empty list if nothing is.

    Sizes, the range of labels, and checksums where they are known (a subset has none); that every file of
    an imagefolder is an image. Raises DataError for an unknown task.
    """
    root = data_root(root)
    if task == "imagefolder":
        return _image_problems(root)
    info = describe(task)
    if cifar10_pickles_used(task, root):
        return [
            f"{path}: not the published file (MD5 differs)" for path in reading.damaged_cifar10_pickles(root)
        ]
    if task == "imagenet":
        return [
            problem for path in imagenet_samples(root) for problem in _problems(reading.read_image, path, 224)
        ]
    there = status(task, root)
    problems = [f"{path}: missing" for path in there.missing]
    if task == "digits":
        problems += _problems(reading.read_digits)
    for spec in info.files:
        problems += _problems(_verify_file, root, spec, info)
    if not problems and there.state == "damaged":  # as when the numbers of images and labels differ
        problems.append(there.note)
    return problems


def _read(info: DatasetInfo, root: Path, download: bool, progress: bool) -> tuple[Pairs, Pairs]:
    if info.name == "digits":
        return reading.read_digits()
    if info.name == "imagenet":
        return reading.read_imagenet(info, root)
    unusable = ""
    if cifar10_pickles_used(info.name, root):
        if (splits := reading.read_cifar10_python(root)) is not None:
            return splits
        unusable = f"{root / CIFAR10_PYTHON_FOLDER} is not read, as its MD5 checksums are wrong. "
    there = status(info.name, root)
    if there.state == "damaged":
        raise DataError(there.note)
    if there.state == "absent" or unusable:
        if not download:
            raise DataError(
                f"{unusable}{info.name} is not complete in {root}\n{where_to_put(info.name, root)}"
            )
        fetch(info.name, root, progress)
    if info.name == "CIFAR10":
        return reading.read_cifar10_binary(info, root)
    return reading.read_idx(info, root)


def _places(available: int, samples: int | None, split: Split, seed: int | None) -> range | list[int]:
    """Which images of a split to keep, in order: all, the first `samples`, or as many drawn by a `seed`."""
    if samples is None or samples == available:
        return range(available)
    if not 1 <= samples <= available:
        name = {"train": "training", "test": "test"}[split]
        raise DataError(
            f"--{split}-samples {samples}: there are {available:,} {name} images; accepted: 1 to {available}"
        )
    if seed is None:
        return range(samples)
    drawn = torch.randperm(available, generator=generator(seed, f"{split} samples"))[:samples]
    return [int(place) for place in drawn.sort().values]


def _chosen(images: Pairs, places: range | list[int]) -> Images:
    pixels, labels = images
    if len(places) == len(labels):
        return Images(pixels, labels)
    at = torch.tensor(places)
    return Images(pixels[at], labels[at])  # a copy, so that the others leave memory


def _hold_out(train: Images, share: float, seed: int) -> tuple[Images, Images | None]:
    """Training and validation images, each in their original order."""
    if share == 0:
        return train, None
    n = len(train)
    held_out = round(n * share) if 0 < share < 1 else 0
    if not 0 < held_out < n:
        accepted = f"0, or a share that makes 1 to {n - 1:,} of them" if n > 1 else "0"
        raise DataError(
            f"--val-split {share}: of {n:,} training images at least one has to be held out, and one to "
            f"remain; accepted: {accepted}"
        )
    shuffled = torch.randperm(n, generator=generator(seed, "validation"))
    validation, rest = shuffled[:held_out].sort().values, shuffled[held_out:].sort().values
    return (
        Images(train.images[rest], train.labels[rest]),
        Images(train.images[validation], train.labels[validation]),
    )


def _problems(check: Callable[..., object], *arguments: object) -> list[str]:
    try:
        check(*arguments)
    except (DataError, OSError) as error:
        return [str(error)]
    return []


def _verify_file(root: Path, spec: FileSpec, info: DatasetInfo) -> None:
    if (path := locate(root, spec)) is None:
        return
    if len(reading.read_records(root, spec, info)) < spec.records:
        return  # a subset: there is no published checksum
    packed = path.suffix == ".gz"
    expected = spec.md5 or (spec.url_md5 if packed else None)
    if expected is None:
        return
    with gzip.open(path) if packed and spec.md5 else path.open("rb") as file:
        found = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
    if found != expected:
        raise DataError(f"{path} is not the published file: MD5 {found}, expected {expected}")


def _image_problems(root: Path) -> list[str]:
    try:
        info = describe("imagefolder", root)
        listed = [*reading.listed_images(root, "train"), *reading.listed_images(root, "test")]
    except (DataError, OSError) as error:
        return [str(error)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            problem for path, _ in listed for problem in _problems(reading.read_image, path, info.shape[1])
        ]
