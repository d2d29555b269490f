"""IDX files, as of MNIST, plain or compressed by gzip: their headers, their sizes, how they are called.

A header announces how many records of which shape follow. Nothing here trusts that: a compressed file is
read through where its end does not confirm the header, and never further than the header announces. gzip is
as RFC 1952 has it: several members, empty ones, zeros after the end. The size in the last four bytes is that
of the last member alone.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from eqprop_core import cgroups
from eqprop_core.published import DataError, Split
from eqprop_core.reasons import reason

UNSIGNED_BYTES = 0x08
KINDS = {0x08: "unsigned bytes", 0x09: "signed bytes", 0x0B: "short integers", 0x0C: "integers"} | {
    0x0D: "floating-point numbers",
    0x0E: "floating-point numbers of 8 bytes",
}
MOST_DIMENSIONS = 8
PACKED_AT_MOST = 1032  # times smaller, by deflate: what is announced to be more is a lie
CHUNK = 1 << 20

Role = Literal["images", "labels"]
Named = tuple[Split, Role]
ROLES: tuple[Named, ...] = (
    *(("train", "images"), ("train", "labels")),
    *(("test", "images"), ("test", "labels")),
)
SPLIT_NAMES: dict[str, Split] = {"train": "train", "t10k": "test", "test": "test"}
# As published (train-images-idx3-ubyte), on Kaggle (train-images.idx3-ubyte), EMNIST (emnist-letters-test-…).
_NAME = re.compile(
    r"(?P<set>(?!\.).*?)(?P<split>train|t10k|test)[-_.](?P<role>images?|labels?)[-_.]idx\d[-_.]ubyte(?P<gz>\.gz)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Header:
    """What an IDX file announces: the kind of its values, how many records, and the shape of each."""

    kind: int
    records: int
    shape: tuple[int, ...]

    @property
    def magic(self) -> int:
        """The four bytes that a file with it begins with."""
        return (self.kind << 8) + 1 + len(self.shape)

    @property
    def start(self) -> int:
        """Bytes before the first record."""
        return 4 * (2 + len(self.shape))

    @property
    def size(self) -> int:
        """Bytes of the whole file, of single-byte values."""
        return self.start + self.records * math.prod(self.shape)


@contextmanager
def unpacked(path: Path) -> Iterator[io.BufferedIOBase]:
    """The content of a file, of a `.gz` as it is read. What is wrong with it is a `DataError` in words."""
    at = 0
    try:
        with path.open("rb") as file:
            if not _is_packed(path):
                yield file
                return
            with gzip.GzipFile(fileobj=file) as content:
                try:
                    yield content
                finally:
                    at = content.tell()
    except gzip.BadGzipFile as error:
        said = reason(error)
        if said == "Not a gzipped file":
            said = "something that is not gzip follows its end" if at else "it is not compressed by gzip"
        elif "check failed" in said or "Incorrect length" in said:
            said = "it is damaged inside, as its checksum tells"
        raise DataError(f"{path} cannot be read: {said}") from error
    except EOFError as error:
        raise DataError(f"{path} cannot be read: it ends too early, as after a broken download") from error
    except zlib.error as error:
        raise DataError(f"{path} cannot be read: it is damaged inside") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error, path)}") from error


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def read_header(path: Path) -> Header:
    """The header of an IDX file of records. Raises `DataError` where it has none."""
    with unpacked(path) as file:
        head = file.read(4)
        dimensions = head[3] if len(head) == 4 and head[:2] == b"\0\0" and head[2] in KINDS else 0
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            packed = (
                "; it is compressed, as files are whose names end in .gz" if head[:2] == b"\x1f\x8b" else ""
            )
            raise DataError(f"{path} is no IDX file: it begins with {head.hex() or 'nothing'}{packed}")
        sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(f"{path} is damaged: it ends within its header")
    records, *shape = struct.unpack(f">{dimensions}I", sizes)
    return Header(head[2], records, tuple(shape))


def content_size(path: Path, announced: int) -> int:
    """Bytes that a file holds, unpacked: exactly up to `announced`, and some number above it where more.

    Raises `DataError` for a compressed file that is damaged, as far as it was read, and for one that does not
    fit into memory, where images are held.
    """
    status = path.stat()
    refuse_too_large(path, announced)
    if not _is_packed(path):
        return status.st_size
    if status.st_size >= 18 and announced <= PACKED_AT_MOST * status.st_size:
        with path.open("rb") as packed:
            packed.seek(-4, os.SEEK_END)
            if struct.unpack("<I", packed.read(4))[0] == announced % 2**32:
                return announced  # the usual file, of one member
    found = _counted(path, status.st_size, status.st_mtime_ns, announced)
    if isinstance(found, str):
        raise DataError(found)
    return found


def refuse_too_large(path: Path, announced: int) -> None:
    """Raise `DataError` for a file that could hold what it announces, if that is more than memory holds."""
    could = path.stat().st_size * (PACKED_AT_MOST if _is_packed(path) else 1)
    if min(announced, could) > (there := memory_here()):
        raise DataError(
            f"{path} announces {announced:,} bytes, more than the {there:,} bytes of memory here, in which "
            "images are held"
        )


def memory_here() -> int:
    """Bytes of memory that this machine has, or this process is granted of it."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(whole, cgroups.memory().limit or whole)


@lru_cache(maxsize=64)
def _counted(path: Path, size: int, changed: int, most: int) -> int | str:
    """Bytes in a compressed file, counted to a little above `most`; or what is wrong with it.

    Remembered by the file's size and time, which are not looked at.
    """
    count = 0
    try:
        with unpacked(path) as file:
            while count <= most and (chunk := file.read(min(CHUNK, most + 1 - count))):
                count += len(chunk)
    except DataError as error:
        return str(error)
    return count


def values_in(path: Path) -> frozenset[int]:
    """The different values in a file of labels. Raises `DataError`."""
    status = path.stat()
    found = _values(path, status.st_size, status.st_mtime_ns)
    if isinstance(found, str):
        raise DataError(found)
    return found


@lru_cache(maxsize=64)
def _values(path: Path, size: int, changed: int) -> frozenset[int] | str:
    values: set[int] = set()
    try:
        header = read_header(path)
        refuse_too_large(path, header.size)
        with unpacked(path) as file:
            file.read(header.start)
            left = header.size - header.start
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                while chunk := chunk.translate(None, bytes(values)):  # a hundred times as fast as a set
                    values.add(chunk[0])
    except DataError as error:
        return str(error)
    return frozenset(values)


def spellings(name: str) -> tuple[str, ...]:
    """Ways in which a published file may be called: with a dot, in a folder of its name, compressed."""
    names = (name, name.replace("-idx", ".idx"))
    plain = (*names, *(f"{one}/{other}" for one in names for other in names))
    return (*plain, *(f"{one}.gz" for one in plain))


def sets_in(folder: Path) -> dict[str, dict[Named, Path]]:
    """IDX files in a folder by what their names begin with: `""`, or `emnist-letters-`, and so on.

    A file that lies in a folder of such a name is found too; an unpacked one goes before a compressed one.
    """
    found: dict[str, dict[Named, Path]] = {}
    try:
        with os.scandir(folder) as entries:
            so_called = [(e.is_dir(), match) for e in entries if (match := _NAME.fullmatch(e.name))]
    except OSError:
        return {}
    for is_folder, match in sorted(so_called, key=lambda one: (bool(one[1]["gz"]), one[0], one[1][0])):
        name = match[0]
        path = folder / name
        if is_folder:
            inside = (path / one for one in spellings(name.replace(".idx", "-idx")))
            path = next((one for one in inside if one.is_file()), path)
        if path.is_file():
            named: Named = (
                SPLIT_NAMES[match["split"].lower()],
                "images" if match["role"].lower().startswith("image") else "labels",
            )
            found.setdefault(match["set"], {}).setdefault(named, path)
    return found
