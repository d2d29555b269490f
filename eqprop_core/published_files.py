"""The files of published data sets on a disk: where they lie, what they hold, whether they are those.

Also of your own IDX files, once it is known what they hold (`own_idx`). Looks at names, sizes, headers and
first records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from eqprop_core import idx
from eqprop_core.published import PUBLISHED, SPLITS, DataError, DatasetInfo, FileSpec, Split

CIFAR10_PYTHON_FOLDER = "cifar-10-batches-py"
CIFAR10_PYTHON_FILES = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta")


def root_above(task: str, root: Path) -> Path:
    """The data root, where a folder of the data set itself was given in its place (`…/MNIST/raw`)."""
    homes = (
        {PurePosixPath(spec.path).parent for spec in PUBLISHED[task].files} if task in PUBLISHED else set()
    )
    if task == "CIFAR10":
        homes.add(PurePosixPath(CIFAR10_PYTHON_FOLDER))
    whole = root.absolute()
    for home in sorted(homes):
        for depth in range(len(home.parts), 0, -1):
            if whole.parts[-depth:] == home.parts[:depth] and (whole.parents[depth - 1] / home).is_dir():
                return whole.parents[depth - 1]
    return root


def root_inside(info: DatasetInfo, root: Path) -> Path | None:
    """The first folder in `root` that holds the data set, where `root` is one too high."""
    home = PurePosixPath(info.files[0].path).parent
    try:
        places = sorted(root.iterdir())
    except OSError:
        return None
    for place in places:
        if (place / home).is_dir() and all(locate(place, spec) is not None for spec in info.files):
            return place
    return None


def own_inside(info: DatasetInfo, root: Path) -> str:
    """A hint where IDX files that are no published ones lie in `root` itself; empty where none do."""
    if not info.files[0].magic:
        return ""
    images = [
        files["train", "images"] for files in idx.sets_in(root).values() if len(files) == len(idx.ROLES)
    ]
    specs = [spec for one in PUBLISHED.values() for spec in one.files if spec.magic]
    own = [path for path in images if not any(_is_published(path, spec) for spec in specs)]
    return (
        f"{own[0]} is not of {info.name}; for images of your own: --task idx --data-dir {root}" if own else ""
    )


def cifar10_layout(root: Path) -> Literal["binary", "python"]:
    """Which of its two layouts CIFAR-10 is to be read in: python only if binary files are missing."""
    folder = root / CIFAR10_PYTHON_FOLDER
    in_python = all((folder / name).is_file() for name in CIFAR10_PYTHON_FILES)
    in_binary = all(locate(root, spec) is not None for spec in PUBLISHED["CIFAR10"].files)
    return "python" if in_python and not in_binary else "binary"


def locate(root: Path, spec: FileSpec) -> Path | None:
    """The file of `spec` under `root`. None if not there.

    An IDX file may have been left compressed (.gz), may be called as on Kaggle, and may lie in the folder of
    its data set without `raw`; or in `root` itself, if it begins as the published one does.
    """
    path = root / spec.path
    if path.is_file():
        return path
    if not spec.magic or spec.path.endswith(".gz"):
        return None
    name = PurePosixPath(spec.path).name
    for folder in (path.parent, path.parent.parent, root):
        for found in (folder / spelling for spelling in idx.spellings(name)):
            if found.is_file() and (folder != root or _is_published(found, spec)):
                return found
    return None


def _is_published(path: Path, spec: FileSpec) -> bool:
    try:
        return _is_foreign(path, spec) is False
    except (DataError, OSError):
        return False


def count_records(path: Path, spec: FileSpec) -> int:
    """Records in the file at `path`, by its header and size.

    Raises DataError, naming the file, its size and what is expected, if it cannot be a file of `spec`.
    """
    size = path.stat().st_size
    expected = f"expected {spec.size:,} bytes when complete"
    if spec.magic and size:
        return _count_idx_records(path, spec, expected)
    records, rest = divmod(size - spec.header_bytes, spec.record_bytes)
    if rest or not 1 <= records <= spec.records:
        fewer = "" if spec.magic else f" (or fewer, in whole records of {spec.record_bytes:,})"
        raise DataError(f"{path} is damaged: {size:,} bytes, {expected}{fewer}")
    return records


def _count_idx_records(path: Path, spec: FileSpec, expected: str) -> int:
    with idx.unpacked(path) as file:
        head = file.read(spec.header_bytes).hex()
    wanted = f"expected {spec.magic:08x}, a count and dimensions {spec.record_shape}"
    try:
        header = idx.read_header(path)
    except DataError as error:
        why = str(error).removeprefix(f"{path} is ").removeprefix("damaged: ")
        raise DataError(f"{path} is damaged: its header is {head}, {wanted} ({why})") from error
    if header.magic != spec.magic or header.shape != spec.record_shape:
        hint = ""
        if header.kind == idx.UNSIGNED_BYTES:
            hint = f"; if these are images of your own: --task idx --data-dir {path.parent}"
        raise DataError(f"{path} is damaged or of another data set: its header is {head}, {wanted}{hint}")
    size = idx.content_size(path, header.size)
    if size != header.size or not header.records:
        # Of what is compressed, no more is read than is announced, and a byte.
        held = f"more than {header.size:,}" if path.suffix == ".gz" and size > header.size else f"{size:,}"
        also = "" if header.size == spec.size else f" ({expected})"
        raise DataError(
            f"{path} is damaged: {held} bytes, but its header announces {header.records:,} records, which "
            f"take {header.size:,} bytes{also}"
        )
    return header.records


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


def foreign_files(root: Path, info: DatasetInfo) -> list[Path]:
    """Files in the place of a published data set that begin otherwise than the published ones do.

    Raises DataError for a damaged file.
    """
    found = ((locate(root, spec), spec) for spec in info.files)
    return [path for path, spec in found if path is not None and _is_foreign(path, spec)]


def _is_foreign(path: Path, spec: FileSpec) -> bool | None:
    """Whether a file begins otherwise than the published one; None where that cannot be told."""
    length = spec.head_records * spec.record_bytes
    if spec.head_md5 is None:
        return None
    with idx.unpacked(path) as file:
        file.read(spec.header_bytes)
        head = file.read(length)
    return (
        hashlib.md5(head, usedforsecurity=False).hexdigest() != spec.head_md5 if len(head) == length else None
    )


def foreign_in_words(info: DatasetInfo, files: Sequence[Path]) -> str:
    """What is to be said of a data set that these files show to be another one."""
    which = f"{files[0]} is" if len(files) == 1 else f"{files[0]} and {len(files) - 1} more are"
    return f"these are not the images of {info.name}: {which} not as published, or in another order"
