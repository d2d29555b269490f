"""Files that a command is asked to write: `-` is standard output, and none is overwritten unasked."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from eqprop_core.files import expanded
from eqprop_core.problems import ConfigError, Problem

STANDARD = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")  # as shells and systems call it


def is_standard(path: Path) -> bool:
    """Whether this is standard output, rather than a file."""
    return str(path) in STANDARD


def is_channel(path: Path) -> bool:
    """Whether this is a device or a pipe, which is written into and never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def writable(setting: str, wanted: Path, *, force: bool) -> Path:
    """The file to write. Raises `ConfigError` for a folder, and for one that is there already."""
    path = expanded(wanted)
    message = None
    if is_standard(path) or is_channel(path):
        return path
    if path.is_dir():
        message = "is a folder"
    elif path.exists() and not force:
        message = "is there already; --force overwrites it"
    if message:
        raise ConfigError([Problem(setting, str(wanted), message)])
    return path


def picture_file(wanted: Path, *, force: bool, printed: bool = False) -> Path:
    """The file to draw into. Raises `ConfigError` as well for one that cannot be a picture.

    `printed` says that a document goes to standard output already.
    """
    message = None
    if is_standard(wanted):
        if printed:
            message = "is a picture on standard output, and so is what else is asked for"
        elif sys.stdout.isatty():
            message = "is a picture, and standard output is a terminal; name a file, or a pipe"
    elif wanted.suffix.lower() != ".png":
        message = "must end in .png"
    elif not expanded(wanted).parent.is_dir():
        message = f"there is no folder {expanded(wanted).parent}"
    if message:
        raise ConfigError([Problem("figure", str(wanted), message)])
    return writable("figure", wanted, force=force)


@contextmanager
def drawn(path: Path) -> Iterator[Path]:
    """A file to draw into, which goes to standard output afterwards if that is wished."""
    if not is_standard(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="eqprop-") as folder:
        picture = Path(folder) / "picture.png"
        yield picture
        with picture.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def beside(path: Path | None) -> AbstractContextManager[Any]:
    """Print to standard error what would stand in the way of a picture on standard output."""
    return redirect_stdout(sys.stderr) if path is not None and is_standard(path) else nullcontext()
