"""Downloading. A data set appears in its place only when it has arrived whole and its checksum is right.

Files come into a temporary folder next to their place and are then renamed into it, so that whatever
interrupts a download leaves missing files behind, never a broken one. Files of yours are not replaced.
"""

from __future__ import annotations

import contextlib
import gc
import http.client
import io
import shutil
import socket
import sys
import tarfile
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

from eqprop_core.catalogue import DATA_VARIABLE, OWN, DataError, describe, place_of, status
from eqprop_core.data.reading import damaged_cifar10_pickles
from eqprop_core.published import DatasetInfo
from eqprop_core.published_files import cifar10_layout, locate, root_inside
from eqprop_core.reasons import reason

STALLED_SECONDS = 60.0  # a connection silent for so long is given up
FORGOTTEN_SECONDS = 24 * 3600.0  # a download this old was killed
_PREFIX = ".download-"


def fetch(task: str, root: Path | None = None, progress: bool = True) -> None:
    """Download what `root` lacks of `task`; nothing happens if it is all there, if only as a subset.

    Progress goes to standard error. Raises DataError if the data set cannot be downloaded (the message
    says which files to put where), if a file in its place is damaged, and for an imagefolder that is not
    there.
    """
    root = place_of(task, root)
    info = describe(task, root)
    if task in OWN or not info.files:
        return
    there = status(task, root)
    if there.state == "damaged":
        raise DataError(f"{there.note}\nRemove the file to have it downloaded again")
    if there.state != "absent" and not (cifar10_pickles_used(task, root) and damaged_cifar10_pickles(root)):
        return
    refuse_elsewhere(info, root)
    if progress:
        print(f"Downloading {info.title} to {root}", file=sys.stderr, flush=True)
    with _quietly(progress):
        reason = _attempt(info, root)
        if reason:
            gc.collect()  # torchvision leaves failed connections to the collector, which would warn of them
    if reason:
        raise DataError(f"{task} could not be downloaded: {reason}\n{where_to_put(task, root)}")


def refuse_elsewhere(info: DatasetInfo, root: Path) -> None:
    """Raise DataError where the data set lies in a folder inside, so that a download is not what is meant."""
    if (inside := root_inside(info, root)) is not None:
        raise DataError(f"{info.name} is not in {root}, but in {inside}: --data-dir {inside}")


def where_to_put(task: str, root: Path) -> str:
    """What to do without a download: the missing files, where they come from, and who chooses the place."""
    info = describe(task)
    files = [root / spec.path for spec in info.files if locate(root, spec) is None]
    either = ", unpacked or as .gz" if info.files[0].magic else " (out of the archive)"
    urls = dict.fromkeys(spec.url for spec in info.files)
    return "\n".join(
        [
            f"Put these files there{either}:",
            *(f"  {path}" for path in files),
            "They come from:",
            *(f"  {url}" for url in urls),
            f"Another place is chosen by --data-dir or {DATA_VARIABLE}",
        ]
    )


def cifar10_pickles_used(task: str, root: Path) -> bool:
    """Whether `task` is CIFAR-10 and only its Python version is there."""
    return task == "CIFAR10" and cifar10_layout(root) == "python"


def _attempt(info: DatasetInfo, root: Path) -> str:
    """Download into a temporary folder, then into place; what went wrong, or nothing."""
    failures = (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_forgotten(root)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=root, ignore_cleanup_errors=True) as folder:
            _download(info, Path(folder))
            _install(info, Path(folder), root)
    except failures as error:
        return reason(error)
    return ""


def _download(info: DatasetInfo, folder: Path) -> None:
    """Bring all files of `info` into `folder`, at their paths below the data root."""
    from torchvision import datasets

    if info.name == "CIFAR10":
        archive = info.files[0]
        datasets.utils.download_and_extract_archive(archive.url, str(folder), md5=archive.url_md5)
    else:
        getattr(datasets, info.name)(str(folder), download=True)
    if (arrived := status(info.name, folder)).state not in ("present", "subset"):
        raise RuntimeError(f"what arrived is {arrived.state}: {arrived.note}")


def _install(info: DatasetInfo, folder: Path, root: Path) -> None:
    for spec in info.files:
        target = root / spec.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            (folder / spec.path).replace(target)


def _remove_forgotten(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > FORGOTTEN_SECONDS:
                shutil.rmtree(folder)


@contextlib.contextmanager
def _quietly(progress: bool) -> Iterator[None]:
    """Output to standard error only, or nowhere; no Python warnings; no waiting for a dead connection."""
    timeout = socket.getdefaulttimeout()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        if not progress:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        socket.setdefaulttimeout(STALLED_SECONDS)
        try:
            yield
        finally:
            socket.setdefaulttimeout(timeout)
