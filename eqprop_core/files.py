"""Opening files of a folder that may come from anywhere: bounded, never waiting, never through a link.

A run's folder can be copied, unpacked or shared. What is appended to stays inside it, and what is read is an
ordinary file of bounded size: a pipe would wait for ever, a file of gigabytes would fill the memory.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

TEXT_LIMIT = 1_000_000  # bytes of a file of settings or facts; ours have a few thousand


def _ordinary(descriptor: int, path: Path) -> int:
    """The descriptor, if it is of an ordinary file; closed otherwise. Raises `OSError`."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is not an ordinary file", str(path))


def open_to_read(path: Path) -> IO[bytes]:
    """Open an ordinary file. Raises `OSError`."""
    return os.fdopen(_ordinary(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), path), "rb")


def open_to_append(path: Path) -> int:
    """A descriptor that appends to an ordinary file, made if need be; links are refused. Raises `OSError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise OSError(errno.ELOOP, "is a link, which is not written through", str(path)) from None
        raise error
    return _ordinary(descriptor, path)


def read_text(path: Path, limit: int = TEXT_LIMIT) -> str:
    """The text of an ordinary file of at most `limit` bytes. Raises `OSError` or `UnicodeDecodeError`."""
    with open_to_read(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"is too large: {limit:,} bytes at most", str(path))
    return content.decode("utf-8")


def make_folder(path: Path) -> None:
    """Make a folder inside one that exists; one that is there is taken, a link is not. Raises `OSError`."""
    path.mkdir(exist_ok=True)
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a link, which is not written through", str(path))


def expanded(path: Path) -> Path:
    """The path with a leading `~` made a home folder, where there is such a person."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path
