"""Files that are never half there, and reading that is bounded.

A run's folder can be copied, unpacked or shared. What is written stays inside it, never through a link, and
what is read is an ordinary file of bounded size: a pipe would wait for ever, a file of gigabytes would fill
the memory. The standard library only: a process that waits for its turn needs no more.
"""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import stat
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

TEXT_LIMIT = 1_000_000  # bytes of a file of settings or facts
MOST_DIGITS = 20  # of a whole number, which a seed below 2**63 does not reach
LEAST_OPEN = 64  # files that a process has open at once, with some to spare
USUAL = 8192  # bytes that ours do not reach; to make room for a million takes longer than to read them


def _ordinary(descriptor: int, path: Path | str) -> int:
    """The descriptor, if it is of an ordinary file; closed otherwise. Raises `OSError`."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is not an ordinary file", str(path))


def _kept_here(descriptor: int, path: Path) -> int:
    """The descriptor, if what is written there changes no file of another folder; closed otherwise.

    Where the system lets a user give a file of another one a second name, it could stand in a run's folder.
    Raises `OSError`.
    """
    found = os.fstat(descriptor)
    if found.st_nlink > 1:
        with suppress(OSError):
            if path.parent.stat().st_uid == found.st_uid:  # as in a backup that is made of links
                return descriptor
        os.close(descriptor)
        raise OSError(errno.EMLINK, "has several names, and another owner than its folder", str(path))
    return descriptor


def open_to_read(path: Path | str) -> IO[bytes]:
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
    return _kept_here(_ordinary(descriptor, path), path)


def read_text(path: Path | str, limit: int = TEXT_LIMIT) -> str:
    """The text of an ordinary file of at most `limit` bytes. Raises `OSError` or `UnicodeDecodeError`."""
    with open_to_read(path) as file:
        content = file.read(min(USUAL, limit + 1))
        if len(content) == USUAL:
            content += file.read(limit + 1 - USUAL)
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


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears whole or not at all: temporary file beside it, sync, rename.

    The temporary name is always the same, so that what a killed process left behind is cleared away; a link
    of that name is not written through.
    """
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        unfinished.unlink(missing_ok=True)
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def clear_unfinished(folder: Path, *, but: Collection[str] = (), seconds: float = 0.0) -> None:
    """Remove what writers of files that have ended left behind, at least so old; nothing is raised.

    But for the files of these names, which others may be writing just now.
    """
    with suppress(OSError):
        for path in folder.glob(".*.tmp"):
            with suppress(OSError):
                written = path.lstat()
                if path.name[1:-4] in but or not stat.S_ISREG(written.st_mode):
                    continue
                if time.time() - written.st_mtime >= seconds:
                    path.unlink()


def sync_folder(path: Path) -> None:
    """Make renames in a folder last through a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def overwrite(path: Path, text: str) -> None:
    """Write a text over a file in one go, in the room that it has, as on a full disk. Raises `OSError`.

    Blanks make it as long as it was, so that at no moment there is an end of the old text behind it. Room for
    a longer one is made first, by blanks as well: where there is none, the old text stays.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    _ordinary(descriptor, path)
    try:
        there = os.fstat(descriptor)
        content = text.encode("utf-8").ljust(there.st_size)
        if there.st_nlink != 1:
            raise OSError(errno.EMLINK, "has several names, and is not written over", str(path))
        more = len(content) - there.st_size
        if more and os.pwrite(descriptor, b" " * more, there.st_size) < more:
            os.ftruncate(descriptor, there.st_size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if os.pwrite(descriptor, content, 0) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def bounded_json(text: str) -> Any:
    """The value that a JSON text from anywhere holds; None for numbers that nothing can reckon with.

    Those are NaN, infinities, and numbers of too many digits or too large for a float, such as 1e999. Raises
    `ValueError` or `RecursionError`.
    """
    return _JSON.decode(text)


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) < MOST_DIGITS else None


def _real(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


_JSON = json.JSONDecoder(parse_int=_whole, parse_float=_real, parse_constant=lambda _: None)


def read_json(path: Path | str) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none or it cannot be read."""
    try:
        value = bounded_json(read_text(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def open_to_lock(path: Path, *, make: bool = True, anew: bool = False) -> int:
    """A descriptor of an ordinary file that only those can open who may write in its folder.

    It is made if need be, `anew` where it must not be there yet; a link is refused. Raises `OSError`.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    flags |= (os.O_CREAT if make else 0) | (os.O_EXCL if anew else 0)
    descriptor = _kept_here(_ordinary(os.open(path, flags, 0o600), path), path)
    with suppress(OSError):
        found, folder = os.fstat(descriptor), path.parent.stat()
        writers = stat.S_IMODE(folder.st_mode) & 0o022
        mode = 0o600 | writers | writers << 1
        if os.geteuid() in (0, found.st_uid) and stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(descriptor, mode)
    return descriptor


def deleted(path: Path, descriptor: int) -> bool:
    """Whether the file behind `descriptor`, once at `path`, was deleted, and not moved.

    Another file that took its place does not count; a file system that does not answer, or that comes and
    goes, has deleted nothing.
    """
    try:
        found = os.fstat(descriptor)
        return found.st_nlink == 0 and not (path.exists() and os.path.samestat(found, path.stat()))
    except OSError:
        return False


class HeldFolder:
    """A folder that is kept open, and so is found wherever it is moved to within its file system.

    Raises `OSError` where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def path(self) -> Path:
        """Where it is now; where it was last if that cannot be told, as of one that was deleted.

        Where another folder has taken that place, it is a name that nothing has: what is written there
        fails, and does not end in what is somebody else's.
        """
        if self._is_at(self._path):
            return self._path
        if (found := _path_of(self._descriptor)) and self._is_at(found):
            self._path = Path(found)
        elif os.path.lexists(self._path):
            return self._path.with_name(f"{self._path.name} (deleted)")
        return self._path

    def _is_at(self, path: Path | str) -> bool:
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._descriptor))  # noqa: PTH116  much quicker
        except (OSError, ValueError):
            return False

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            os.close(self._descriptor)


def _path_of(descriptor: int) -> str | None:
    """The path of what is open, as the system has it now; None where it does not say."""
    with suppress(OSError):
        if sys.platform == "darwin":
            import fcntl

            path: bytes = fcntl.fcntl(descriptor, 50, bytes(1024))  # F_GETPATH
            return os.fsdecode(path.rstrip(b"\0"))
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    return None


def too_few_files() -> str:
    """Why this process cannot have enough files open; empty where it can, if only from now on."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now == resource.RLIM_INFINITY or now >= LEAST_OPEN:
        return ""
    if most == resource.RLIM_INFINITY or most >= LEAST_OPEN:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (LEAST_OPEN, most))
            return ""
    return f"only {now} files may be open at once here (ulimit -n): {LEAST_OPEN} or more are needed"


def has_working_folder() -> bool:
    """Whether the folder that this process works in is still there."""
    try:
        Path.cwd()
    except OSError:
        return False
    return True
