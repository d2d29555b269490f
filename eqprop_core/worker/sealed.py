"""Archives of numbers that tell by themselves whether one bit of them has changed.

An archive is a zip file as torch and NumPy write it, in memory. Its comment, with which it ends, is the
SHA-256 of all bytes before that: it goes wherever the file goes, and other programs read the file as ever.
An archive without one, of an older version or of another program, has a checksum of each part.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import zipfile
from collections.abc import Sequence

MARK = b"eqprop sha256 "
DIGITS = 64
END = b"PK\5\6"  # what the record begins with that ends a zip file
END_SIZE = 22  # without the comment, whose length is its last number
LONGEST_END = END_SIZE + len(MARK) + DIGITS


class DamagedError(ValueError):
    """An archive that is not as it was written; the message says what is wrong, without a name."""


def sealed(archive: io.BytesIO) -> memoryview:
    """The bytes of an archive that has no comment yet, with the digest as its comment."""
    archive.seek(-2, io.SEEK_END)
    archive.write(struct.pack("<H", len(MARK) + DIGITS) + MARK)
    with archive.getbuffer() as content:
        digest = hashlib.sha256(content).hexdigest()
    archive.write(digest.encode("ascii"))
    return archive.getbuffer()


def check_end(end: bytes) -> None:
    """Raise `DamagedError` where the last `LONGEST_END` bytes of a file are not those of an archive.

    To be asked before a file is read as a whole, which may be of any size.
    """
    size = END_SIZE
    if end[-DIGITS - len(MARK) : -DIGITS] == MARK:
        size = LONGEST_END
    elif end[-2:] != bytes(2):  # the length of a comment
        size = 0
    if end[len(end) - size :][: len(END)] != END:
        raise DamagedError("is damaged: its end is missing, or there is more than was written")


def unsealed(content: bytes) -> io.BytesIO:
    """A new archive of the parts of another, all of which are as they were written.

    Who reads it takes what was verified here: torch itself believes a directory in which a bit has changed,
    and then has whatever was in memory for numbers. Raises `DamagedError` or `MemoryError`.
    """
    check_end(content[-LONGEST_END:])
    if content[-DIGITS - len(MARK) : -DIGITS] == MARK:
        digest = hashlib.sha256(memoryview(content)[:-DIGITS]).hexdigest()
        if digest.encode("ascii") != content[-DIGITS:]:
            raise DamagedError("is damaged: its SHA-256 is not the one that it was written with")
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(copy, "w") as target:
            _check(archive.infolist(), len(content))
            for part in archive.infolist():
                new = zipfile.ZipInfo(part.filename)
                new.file_size = part.file_size  # zipfile has to know of large ones
                with archive.open(part) as source, target.open(new, "w") as place:
                    shutil.copyfileobj(source, place)  # in pieces: most of an archive may be one part
    except (DamagedError, MemoryError):
        raise
    except Exception as error:  # a zip file can be wrong in as many ways as there are bytes
        raise DamagedError(f"is damaged ({str(error)[:120]})") from None
    copy.seek(0)
    return copy


def _check(parts: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Raise `DamagedError` for what the checksum of each part of an archive of `size` bytes does not tell."""
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise DamagedError("is not a checkpoint: its parts are compressed, torch's are not")
    if sum(part.file_size for part in parts) > size:
        raise DamagedError("is not a checkpoint: its parts are larger than the file")
    if any(part.compress_size != part.file_size or part.is_dir() for part in parts):
        raise DamagedError("is damaged: the sizes of its parts do not fit")
    if len({part.filename for part in parts}) != len(parts):
        raise DamagedError("is damaged: a part is there twice")
    if min((part.header_offset for part in parts), default=0):
        raise DamagedError("is damaged: there is more than was written before its first part")
