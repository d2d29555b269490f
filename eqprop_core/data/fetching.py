"""Downloading. A data set appears in its place only when it has arrived whole and its checksum is right.

Nothing is unpacked before that, and no further than to the published sizes. Files come into a temporary
folder next to their place and are then renamed into it, so that whatever interrupts a download leaves missing
files behind, never a broken one. Files of yours are not replaced.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from eqprop_core.catalogue import DATA_VARIABLE, OWN, DataError, describe, place_of, status
from eqprop_core.data.downloading import PIECE, download
from eqprop_core.data.reading import damaged_cifar10_pickles
from eqprop_core.locks import is_held, take
from eqprop_core.problems import tell
from eqprop_core.published import DatasetInfo, FileSpec
from eqprop_core.published_files import cifar10_layout, locate, own_inside, root_inside
from eqprop_core.reasons import reason
from eqprop_core.shell import command
from eqprop_core.spelling import mistaken_for

SECONDS_BETWEEN_LINES = 5.0  # of those that tell how far a download is
FORGOTTEN_SECONDS = 24 * 3600.0  # a download this old was killed
SECONDS_TO_BEGIN = 60.0  # in which one has taken its lock
_PREFIX = ".download-"
_LOCK = "lock"
Told = Callable[[str, int, int | None], object]  # what comes, its bytes so far, and of how many if known


def fetch(task: str, root: Path | None = None, progress: bool | Told = True) -> None:
    """Download what `root` lacks of `task`; nothing happens if it is all there, if only as a subset.

    Progress goes to standard error, or is told to `progress`, which may raise to end the download. Raises
    DataError if the data set cannot be downloaded (the message says which files to put where), if a file in
    its place is damaged, and for an imagefolder that is not there.
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
    told = progress if callable(progress) else now_and_then(printed, SECONDS_BETWEEN_LINES)
    if progress is True:
        tell(f"Downloading {info.title} to {root}")
    elif progress is False:
        told = lambda *_: None  # noqa: E731
    failed = _attempt(info, root, told)
    if failed:
        again = command("data", "get", task, *([] if root == place_of(task) else ["--data-dir", root]))
        raise DataError(
            f"{task} could not be downloaded: {failed}\nTry again later: {again}\n{where_to_put(task, root)}"
        )


def refuse_elsewhere(info: DatasetInfo, root: Path) -> None:
    """Raise DataError where a download is not what is meant: the data set lies in a folder inside, or in one
    whose name looks the same, or images of one's own lie there."""
    if (inside := root_inside(info, root)) is not None:
        raise DataError(f"{info.name} is not in {root}, but in {inside}: --data-dir {inside}")
    if hint := own_inside(info, root):
        raise DataError(f"{info.name} is not in {root}: {hint}")
    if not root.exists() and (other := mistaken_for(root)):
        raise DataError(f"{root} is not there{other}")


def where_to_put(task: str, root: Path) -> str:
    """What to do without a download: the missing files, where they come from, and who chooses the place."""
    info = describe(task)
    files = [root / spec.path for spec in info.files if locate(root, spec) is None]
    either = ", unpacked or as .gz" if info.files[0].magic else " (out of the archive)"
    urls = dict.fromkeys(spec.download.url for spec in info.files if spec.download)
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


def _attempt(info: DatasetInfo, root: Path, told: Told) -> str:
    """Download into a temporary folder, then into place; what went wrong, or nothing."""
    failures = (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_forgotten(root)
        with (
            tempfile.TemporaryDirectory(prefix=_PREFIX, dir=root, ignore_cleanup_errors=True) as folder,
            take(Path(folder) / _LOCK),
        ):
            _download(info, Path(folder), told)
            _install(info, Path(folder), root)
    except failures as error:
        return reason(error)
    return ""


def _download(info: DatasetInfo, folder: Path, told: Told) -> None:
    """Bring all files of `info` into `folder`, at their paths below the data root."""
    wanted = list(dict.fromkeys(spec.download for spec in info.files if spec.download))
    for number, one in enumerate(wanted):
        packed = folder / f"{_PREFIX}{number}"
        what = f"{info.name}, file {number + 1} of {len(wanted)}" if len(wanted) > 1 else info.name
        download(one, packed, lambda done, of, what=what: told(what, done, of))  # type: ignore[misc]
        inside = {spec.path: spec for spec in info.files if spec.download == one}
        spec, *others = inside.values()
        if not others:
            with gzip.open(packed) as source:
                _unpack(source, folder, spec)
        else:
            with tarfile.open(packed) as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.name in inside else None
                    if content is not None:
                        _unpack(content, folder, inside[member.name])
        packed.unlink()
    if (arrived := status(info.name, folder)).state not in ("present", "subset"):
        raise RuntimeError(f"what arrived is {arrived.state}: {arrived.note}")


def _unpack(source: IO[bytes] | gzip.GzipFile, folder: Path, spec: FileSpec) -> None:
    """Write what is unpacked to a file's place, and nothing where that is more than was published."""
    target = folder / spec.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        while piece := source.read(PIECE):
            if file.tell() + len(piece) > spec.size:
                raise RuntimeError(f"{target.name} unpacks to more than the {spec.size:,} published bytes")
            file.write(piece)


def _install(info: DatasetInfo, folder: Path, root: Path) -> None:
    for spec in info.files:
        target = root / spec.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            (folder / spec.path).replace(target)


def _remove_forgotten(root: Path) -> None:
    """Remove what downloads that were killed left behind: nobody holds their locks any more."""
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            age = time.time() - folder.stat().st_mtime
            locked = any(folder.glob(f"{_LOCK}*"))  # earlier versions' are not
            let_go = age > SECONDS_TO_BEGIN and locked and not is_held(folder / _LOCK)
            if let_go or age > FORGOTTEN_SECONDS:
                shutil.rmtree(folder)


def printed(what: str, done: int, of: int | None) -> None:
    """Print how far a download is to standard error."""
    tell(f"fetches {in_words(what, done, of)}")


def in_words(what: str, done: int, of: int | None) -> str:
    """`MNIST, file 1 of 4: 3.2 of 9.9 MB`."""
    whole = "" if of is None else f" of {of / 1e6:.1f}"
    return f"{what}: {done / 1e6:.1f}{whole} MB"


def now_and_then(told: Told, seconds: float) -> Told:
    """Tell only so many seconds apart, also where nothing comes; of each thing its beginning and its end."""
    what_last, then, done_last = "", 0.0, 0

    def tell(what: str, done: int, of: int | None) -> None:
        nonlocal what_last, then, done_last
        now = time.monotonic()
        whole = done == of
        if what == what_last and (done == done_last if whole else now - then < seconds):
            return
        what_last, then, done_last = what, now, done
        told(what, done, of)

    return tell
