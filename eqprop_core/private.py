"""Folders of the user's own, also on a machine that others use.

Libraries keep compiled programs in folders of known names and run what lies there, whoever has made it: torch
in `torchinductor_<user>` in the temporary folder. Here they are told to use folders that nobody else can
change. Knows nothing of torch, and has to be asked before it is loaded.
"""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import platformdirs

from eqprop_core.reasons import reason

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# What says where a library keeps what it runs again, and the name of a folder for it.
LIBRARIES = {
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    "TORCH_EXTENSIONS_DIR": "torch-extensions",
    "TRITON_HOME": "triton",
    "TRITON_CACHE_DIR": "triton/cache",
    "CUDA_CACHE_PATH": "cuda",
}


def private_folder(path: Path) -> Path:
    """Make a folder that only this user can change, or take one that is there and is such a folder.

    Raises `OSError`: also for a link, for what belongs to somebody else, and where others could put another
    folder in its place.
    """
    try:
        for folder in (*reversed(path.parents), path):  # those of `parents=True` are as the umask says
            folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(path)) from None
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "is a link", str(path))
    if found.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "belongs to another user", str(path))
    if found.st_mode & OTHERS_WRITE:
        raise PermissionError(errno.EPERM, "can be changed by others (chmod go-w)", str(path))
    for above in path.parent.resolve(), *path.parent.resolve().parents:
        status = above.stat()
        kept = not status.st_mode & OTHERS_WRITE or status.st_mode & stat.S_ISVTX  # as /tmp is
        if not kept or status.st_uid not in (0, os.getuid()):
            raise PermissionError(errno.EPERM, f"lies in {above}, which others can change", str(path))
    return path


def use_own_folders() -> None:
    """Have torch, Triton, CUDA and compilers keep their files where nobody else can change them.

    A folder that the user chose by a variable is left if it is the user's alone; otherwise standard error
    says why it is not used. Where nothing can be written, everything is left as it is.
    """
    try:
        tempfile.tempdir = os.environ["TMPDIR"] = str(_temporary())
        for variable, name in LIBRARIES.items():
            chosen = os.environ.get(variable)
            if chosen:
                path = Path(os.path.realpath(chosen))  # `resolve` raises what is no `OSError`
                try:
                    private_folder(path)
                    continue
                except OSError as error:
                    said = f"warning: {variable}: {chosen}: {reason(error, path)}"
                    print(f"{said}; not used", file=sys.stderr)  # noqa: T201
            os.environ[variable] = str(private_folder(_caches() / name))
    except OSError:
        pass


def _temporary() -> Path:
    """A folder for temporary files: the usual one if it is the user's alone, or one inside."""
    usual = Path(tempfile.gettempdir())
    status = usual.stat()
    if status.st_uid == os.getuid() and not status.st_mode & 0o077:
        return usual
    return _first(lambda: usual / f"eqprop-{os.getuid()}", lambda: _home() / "temporary")


def _caches() -> Path:
    """A folder for what is kept from one run to the next."""
    return _first(_home, lambda: Path(tempfile.gettempdir()) / "caches")


def _home() -> Path:
    return platformdirs.user_cache_path("eqprop", appauthor=False)


def _first(*places: Callable[[], Path]) -> Path:
    """The first of these that is, or can be made, the user's alone; a new one for this process otherwise."""
    for place in places:
        try:
            return private_folder(place())
        except OSError:
            continue
    return _passing()


@cache
def _passing() -> Path:
    """A folder that ends with this process."""
    path = Path(tempfile.mkdtemp(prefix="eqprop-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
