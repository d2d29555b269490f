"""A data set in memory: training, validation and test images as bytes, with their labels.

Where the files are is known by `eqprop_core.catalogue`, how they are read by `reading`. Normalisation and
augmentation are the business of `batches`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from eqprop_core import image_folder, own_idx
from eqprop_core.catalogue import DataError, describe, folder_info, imagenet_samples, place_of, status
from eqprop_core.data import reading
from eqprop_core.data.fetching import Told, cifar10_pickles_used, fetch, refuse_elsewhere, where_to_put
from eqprop_core.data.randomness import generator
from eqprop_core.data.reading import Pairs
from eqprop_core.idx import unpacked
from eqprop_core.problems import tell
from eqprop_core.published import SPLITS, DatasetInfo, FileSpec, Split
from eqprop_core.published_files import (
    CIFAR10_PYTHON_FOLDER,
    count_records,
    foreign_in_words,
    locate,
    own_inside,
    root_inside,
)
from eqprop_core.reasons import reason

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

    `available` counts the images of each class in the files, before some were chosen; `whole` has a digest of
    all of them in their order, of an imagefolder of the labels alone.
    `remarks` are sentences on what is not as one would think, such as files that are not used.
    """

    info: DatasetInfo
    train: Images
    validation: Images | None
    test: Images
    available: Mapping[Split, Sequence[int]] = field(default_factory=dict)
    whole: Mapping[Split, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


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
    progress: bool | Told = True,
) -> Dataset:
    """Read a data set into the memory of `device`, downloading it to `root` first if it is not there.

    `train_samples` and `test_samples` keep so many images of each split: the first, or `drawn` by `seed`, in
    their order. Of the training images kept, the share `val_split` (0 up to 1, excluded) is held out for
    validation: which ones, depends on `seed` alone. `image_size` is the side in pixels to which the images
    of an imagefolder are brought: scaled so that the shorter side fits, then cropped around the centre.
    Progress goes to standard error, or is told to `progress`.

    Raises DataError if the data set is missing and cannot be downloaded, if a file is damaged, and if
    there are not as many images as asked for.
    """
    root = place_of(task, root)
    try:
        if task == "imagefolder":
            folder = image_folder.survey(root)
            info, remarks = folder_info(root, folder.counts, image_size), _folder_remarks(folder)
            listed = [reading.listed_images(folder, split) for split in SPLITS]
            labels = [torch.tensor([label for _, label in split]) for split in listed]
            digests = [_digest(split) for split in labels]
        else:
            info = describe(task, root)
            whole = _read(info, root, download, progress)
            remarks = _file_remarks(info, root)
            labels = [split[1] for split in whole]
            digests = [_digest(*split) for split in whole]
        places = [
            _places(len(all_of), wanted, split, seed if samples == "drawn" else None)
            for split, all_of, wanted in zip(SPLITS, labels, (train_samples, test_samples), strict=True)
        ]
        if task == "imagefolder":  # reading images that are not wanted can take minutes
            wanted_files = [[split[place] for place in at] for split, at in zip(listed, places, strict=True)]
            if progress:
                count = sum(map(len, wanted_files))
                tell(f"Reading {count:,} images from {root}")
            train, test = (Images(*reading.read_images(files, info.shape[1])) for files in wanted_files)
        else:
            train, test = (_chosen(split, at) for split, at in zip(whole, places, strict=True))
    except OSError as error:
        raise DataError(f"{task} in {root} cannot be read: {reason(error, root)}") from error
    train, validation = _hold_out(train, val_split, seed)
    counts = (torch.bincount(split, minlength=len(info.classes)).tolist() for split in labels)
    return Dataset(
        info=info,
        train=train.to(device),
        validation=None if validation is None else validation.to(device),
        test=test.to(device),
        available=dict(zip(SPLITS, counts, strict=True)),
        whole=dict(zip(SPLITS, digests, strict=True)),
        remarks=remarks,
    )


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def verify(task: str, root: Path | None = None) -> list[str]:
    """Read all of a data set and list what is wrong with it; an empty list if nothing is.

    Sizes, the range of labels, and checksums where they are known (a subset has none); that every file of
    an imagefolder is an image. Raises DataError for an unknown task.
    """
    root = place_of(task, root)
    if task == "imagefolder":
        return _image_problems(root)
    if task == "idx" and (there := status(task, root)).state != "present":
        return [there.note]
    info = describe(task, root)
    if cifar10_pickles_used(task, root):
        return [
            f"{path}: not the published file (MD5 differs)" for path in reading.damaged_cifar10_pickles(root)
        ]
    if task == "imagenet":
        return reading.broken_images(list(map(str, imagenet_samples(root))))
    there = status(task, root)
    if info.files and there.missing and (inside := root_inside(info, root)) is not None:
        return [f"{task} is not in {root}, but in {inside}: --data-dir {inside}"]
    problems = [f"{path}: missing" for path in there.missing]
    if there.missing and (hint := own_inside(info, root)):
        problems.append(hint)
    if task == "digits":
        problems += _problems(reading.read_digits)
    for spec in info.files:
        problems += _problems(_verify_file, root, spec, info)
    if not problems and there.state == "damaged":  # as when the numbers of images and labels differ
        problems.append(there.note)
    return problems


def remarks(task: str, root: Path | None = None) -> tuple[str, ...]:
    """What is to be said of a data set that is in place, although nothing is wrong with it.

    Files that are not used, by reason, or that are not the published ones. Raises DataError.
    """
    root = place_of(task, root)
    if task == "imagefolder":
        return _folder_remarks(image_folder.survey(root), whole=True)
    return _file_remarks(describe(task, root), root)


def _file_remarks(info: DatasetInfo, root: Path) -> tuple[str, ...]:
    if info.name == "idx":
        return tuple(own_idx.remarks(info))
    if cifar10_pickles_used(info.name, root):
        return ()
    there = status(info.name, root)
    if there.foreign:
        return (there.note,)
    places = [(locate(root, spec), spec) for spec in info.files]
    if changed := [path for path, spec in places if path is not None and _other_sum(path, spec)]:
        return (foreign_in_words(info, changed),)
    return (f"{info.name} is a subset: {there.note}",) if there.state == "subset" else ()


def _folder_remarks(folder: image_folder.ImageFolder, *, whole: bool = False) -> tuple[str, ...]:
    """In one line what is not used, or in a line for each reason."""
    lines = folder.left_out.lines(folder.root)
    if lines and not whole:
        count = folder.left_out.total
        lines = [f"{count:,} {'file is' if count == 1 else 'files are'} left out: {'; '.join(lines)}"]
    elif lines:
        lines = [f"left out: {line}" for line in lines]
    return (*folder.remarks, *lines)


def _read(info: DatasetInfo, root: Path, download: bool, progress: bool | Told) -> tuple[Pairs, Pairs]:
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
        refuse_elsewhere(info, root)
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
    except DataError as error:
        return [str(error)]
    except OSError as error:
        return [reason(error)]
    return []


def _verify_file(root: Path, spec: FileSpec, info: DatasetInfo) -> None:
    if (path := locate(root, spec)) is None:
        return
    reading.read_records(root, spec, info)
    if (found := _other_sum(path, spec)) is not None:
        raise DataError(f"{path} is not the published file: SHA-256 {found}, expected {spec.sha256}")


def _other_sum(path: Path, spec: FileSpec) -> str | None:
    """The SHA-256 of the content of a complete file, if it is not the published one.

    None also for a subset, and where the published one is not known. That of a compressed file says nothing,
    as the same content can be packed in many ways.
    """
    if spec.sha256 is None or count_records(path, spec) != spec.records:
        return None
    with unpacked(path) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return None if found == spec.sha256 else found


def _image_problems(root: Path) -> list[str]:
    try:
        folder = image_folder.survey(root)
    except DataError as error:
        return [str(error)]
    except OSError as error:
        return [f"the image folder {root} cannot be read: {reason(error, root)}"]
    paths = [path for split in SPLITS for path, _ in reading.listed_images(folder, split)]
    return reading.broken_images(paths)
