"""IDX files of your own: any height and width, gray or in colour, any number of classes.

Called as those of MNIST are (`train-images-idx3-ubyte` and so on), as Kaggle or EMNIST call theirs, plain or
compressed. Classes are the labels that the training images have, in order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from eqprop_core import idx
from eqprop_core.idx import ROLES, Header, Named
from eqprop_core.published import IDX_NAMES, DataError, DatasetInfo, FileSpec, NoSuchFolderError
from eqprop_core.published_files import split_sizes
from eqprop_core.spelling import mistaken_for

DEPTH = 3  # folders below --data-dir in which files are looked for
MOST_FOLDERS = 200  # that are looked into
CHANNELS = (3, 1, 4, 2)  # in colour; where two sides could be the channels, the one that is first here
MOST_NAMED = 5

Set = dict[Named, Path]
_USUAL = ", ".join(IDX_NAMES)


def own_idx(root: Path) -> DatasetInfo:
    """What the IDX files below `root` are. Raises `DataError` where they lack or do not fit together."""
    files = find_set(root)
    headers = {named: _checked(files[named], named) for named in ROLES}
    _refuse_more_labels(files, headers)
    train, test = headers["train", "images"], headers["test", "images"]
    if train.shape != test.shape:
        raise DataError(
            f"training and test images differ in size: {_sides(train)} in {files['train', 'images']}, "
            f"{_sides(test)} in {files['test', 'images']}"
        )
    labels, other = (idx.values_in(files[split, "labels"]) for split in ("train", "test"))
    if unknown := sorted(other - labels):
        raise DataError(
            f"{files['test', 'labels']} has labels that no training image has: {_ranges(unknown)}; "
            f"those of the training images are {_ranges(sorted(labels))}"
        )
    specs = tuple(
        FileSpec(
            path=str(files[named].absolute()),
            split=named[0],
            records=headers[named].records,
            record_shape=headers[named].shape,
            magic=headers[named].magic,
        )
        for named in ROLES
    )
    channels, height, width = shape = image_shape(train, files["train", "images"])
    info = DatasetInfo(
        name="idx",
        title=f"IDX images in {files['train', 'images'].parent}, {height} x {width}"
        + ("" if channels == 1 else f" in {channels} channels"),
        shape=shape,
        classes=tuple(map(str, sorted(labels))),
        train_size=train.records,
        test_size=test.records,
        scale=255.0,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        augmentable=True,
        source=str(root),
        licence="your own images",
        files=specs,
    )
    split_sizes(root, info)
    return info


def quick_facts(root: Path) -> tuple[tuple[int, int, int], int]:
    """Shape of an image (channels, height, width) and number of classes. Raises `DataError` and `OSError`."""
    files = find_set(root)
    headers = {named: _checked(files[named], named) for named in ROLES[:2]}
    _refuse_more_labels(files, headers)
    shape = image_shape(headers["train", "images"], files["train", "images"])
    return shape, len(idx.values_in(files["train", "labels"]))


def remarks(info: DatasetInfo) -> list[str]:
    """What is to be said although nothing is wrong."""
    labels = [int(name) for name in info.classes]
    if labels == list(range(len(labels))):
        return []
    return [f"the labels are {_ranges(labels)}: taken as the classes 0 to {len(labels) - 1}, in this order"]


def image_shape(header: Header, path: Path) -> tuple[int, int, int]:
    """Channels, height and width of the images that a header announces. Raises `DataError`."""
    if len(header.shape) == 2:
        height, width = header.shape
        return 1, height, width
    first, middle, last = header.shape
    for channels in CHANNELS:
        if channels == first:
            return channels, middle, last
        if channels == last:
            return channels, first, middle
    raise DataError(
        f"{path} holds images of {_sides(header)}: expected 1 to 4 channels, before or after height and width"
    )


def find_set(root: Path) -> Set:
    """The files of images and labels, of training and test, in `root` or in folders inside.

    Where a folder holds several sets, `root` may end with what the names of one begin with
    (`EMNIST/raw/emnist-letters`). Raises `DataError` where there are none, or several.
    """
    if not root.is_dir():
        wanted = root.name.strip("-_.")
        found = {name: one for name, one in idx.sets_in(root.parent).items() if name.strip("-_.") == wanted}
        if not found or not wanted:
            raise NoSuchFolderError(
                f"{root} is no folder of IDX files: expected are {_USUAL}{mistaken_for(root)}"
            )
        return _only([(root.parent, name, one) for name, one in found.items()], root)
    level, looked_at, partial = [root], 0, list[tuple[Path, str, Set]]()
    for _ in range(DEPTH + 1):
        sets = [(folder, name, one) for folder in level for name, one in idx.sets_in(folder).items()]
        if any(len(one) == len(ROLES) for _, _, one in sets):
            return _only([found for found in sets if len(found[2]) == len(ROLES)], root)
        partial += sets
        looked_at += len(level)
        level = [inside for folder in level for inside in _folders(folder)][: MOST_FOLDERS - looked_at]
    if partial:
        return _only(partial[:1], root)
    raise DataError(
        f"no IDX files in {root}: expected are {_USUAL}, plain or as .gz, there or in folders inside; "
        "another place is chosen by --data-dir or EQPROP_DATA"
    )


def _only(sets: list[tuple[Path, str, Set]], root: Path) -> Set:
    """The one set, if it is one and complete."""
    if len(sets) > 1:
        choices = [str(folder / name.rstrip("-_.")) if name else str(folder) for folder, name, _ in sets]
        some = ", ".join(choices[:MOST_NAMED]) + (" …" if len(choices) > MOST_NAMED else "")
        raise DataError(f"{root} holds {len(sets)} sets of IDX files; choose one by --data-dir: {some}")
    folder, _, files = sets[0]
    if missing := [named for named in ROLES if named not in files]:
        words = ", ".join(
            f"the {'training' if split == 'train' else split} {role}" for split, role in missing
        )
        here = ", ".join(sorted(path.name for path in files.values()))
        raise DataError(f"{folder} holds {here}; missing are {words} (of {_USUAL})")
    return files


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder that may hold a set, sorted."""
    with suppress(OSError), os.scandir(folder) as entries:
        return [
            folder / name
            for name in sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            if not name.startswith(".")
        ]
    return []


def _checked(path: Path, named: Named) -> Header:
    """The header of a file, if it is one of images or of labels. Raises `DataError`."""
    header = idx.read_header(path)
    if header.kind != idx.UNSIGNED_BYTES:
        raise DataError(
            f"{path} holds {idx.KINDS[header.kind]}: expected unsigned bytes (0x08 in its header)"
        )
    dimensions = len(header.shape) + 1
    if named[1] == "labels" and dimensions != 1:
        raise DataError(f"{path} has {dimensions} dimensions: labels have one, a number for each image")
    if named[1] == "images" and dimensions not in (3, 4):
        raise DataError(
            f"{path} has {dimensions} dimension{'s' * (dimensions > 1)}: gray images have 3 (number, height, "
            "width), those in colour 4"
        )
    if not header.records:
        raise DataError(f"{path} holds no {named[1]}")
    if 0 in header.shape:
        raise DataError(f"{path} announces images of {_sides(header)}")
    return header


def _refuse_more_labels(files: Set, headers: Mapping[Named, Header]) -> None:
    """Raise `DataError` where more labels are announced than images, before they are read."""
    for named, header in headers.items():
        images = headers[named[0], "images"].records
        if header.records > images:
            raise DataError(
                f"{files[named]} is damaged: {images:,} {named[0]} images but {header.records:,} labels; "
                "expected one label an image"
            )


def _sides(header: Header) -> str:
    return " x ".join(map(str, header.shape))


def _ranges(values: Iterable[int]) -> str:
    """Whole numbers, sorted, as ranges: `0 to 9 and 255`."""
    ranges: list[list[int]] = []
    for value in values:
        if ranges and value == ranges[-1][-1] + 1:
            ranges[-1][1:] = [value]
        else:
            ranges.append([value])
    said = [" to ".join(map(str, part)) for part in ranges]
    shown = said[: 2 * MOST_NAMED] + (["…"] if len(said) > 2 * MOST_NAMED else [])
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown) or "none"
