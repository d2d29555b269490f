"""Results folders: the one that new runs go to, and those that were used before, so that runs are found.

Each that was used is noted in a file of its own, in the user's state: those who note others at the same time
have nothing to do with it. One that is not there now may be on a disk that is not mounted, and stays noted
until a person has it forgotten, or very many others were used since.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import platformdirs

from eqprop_core.files import bounded_json, expanded, read_text, write_text

MOST_NOTED = 2000  # results folders


def results_root(chosen: str | None = None) -> Path:
    """Where runs are kept: the one `chosen` by --results, else EQPROP_RESULTS, else ./results."""
    return expanded(Path(chosen or os.environ.get("EQPROP_RESULTS") or "results"))


def default_roots() -> list[Path]:
    """EQPROP_RESULTS or ./results, and every results folder that was used before."""
    return [results_root(), *known_roots()]


def remember_root(root: Path) -> None:
    """Note a results folder in the user's state, so that its runs are found from any directory."""
    with suppress(OSError):  # a home that cannot be written only costs this convenience
        folder = roots_folder()
        folder.mkdir(parents=True, exist_ok=True)
        _take_over(folder)
        _note(folder, root.resolve())
        _limit(folder)


def forget_root(root: Path) -> bool:
    """Note a results folder no longer; whether it was noted. Nothing in it is touched. Raises `OSError`."""
    folder = roots_folder()
    if folder.parent.is_dir():
        folder.mkdir(exist_ok=True)
        _take_over(folder)
    try:
        _file_of(folder, root.resolve()).unlink()
    except FileNotFoundError:
        return False
    return True


def known_roots() -> list[Path]:
    """Results folders that were used and are there now, those that were used longest ago first."""
    return [root for root in noted_roots() if _is_there(root)]


def unreachable_roots() -> list[Path]:
    """Results folders that were used and are not there now: deleted, moved, or on a disk that is not here."""
    return [root for root in noted_roots() if not _is_there(root)]


def noted_roots() -> list[Path]:
    """Results folders that were used, those that were used longest ago first."""
    noted = [root for _, root in sorted(_notes(roots_folder()), key=lambda note: note[0].st_mtime_ns)]
    return list(dict.fromkeys([*_noted_before(), *noted]))


def roots_folder() -> Path:
    """Where the results folders that were used are noted, a file each."""
    return platformdirs.user_state_path("eqprop") / "results-folders"


def _note(folder: Path, root: Path) -> None:
    """Note a folder, or that it is used again."""
    path = _file_of(folder, root)
    if _noted_in(path) == root:
        os.utime(path)
    else:
        write_text(path, json.dumps(str(root)) + "\n")


def _limit(folder: Path) -> None:
    """Forget some where there are very many: first those that are not there, the longest unused first."""
    notes = list(_notes(folder))
    if len(notes) > MOST_NOTED:
        notes.sort(key=lambda note: (_is_there(note[1]), note[0].st_mtime_ns))
        for _, root in notes[: len(notes) - MOST_NOTED]:
            _file_of(folder, root).unlink(missing_ok=True)


def _notes(folder: Path) -> Iterator[tuple[os.stat_result, Path]]:
    """Each file of a note, as the system sees it, with the results folder that it names."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".json") and (root := _noted_in(Path(entry.path))) is not None:
                with suppress(OSError):
                    yield entry.stat(), root


def _noted_in(path: Path) -> Path | None:
    """The results folder that a file names, None where it names none."""
    with suppress(OSError, ValueError, RecursionError):
        found = bounded_json(read_text(path))
        return Path(found) if isinstance(found, str) and "\0" not in found else None
    return None


def _file_of(folder: Path, root: Path) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def _is_there(root: Path) -> bool:
    return os.path.isdir(root)  # noqa: PTH112  `is_dir` may raise


# --- one file of all, as earlier versions kept it -----------------------------------------------------------


def _noted_before() -> list[Path]:
    with suppress(OSError, ValueError, TypeError, RecursionError):
        listed = bounded_json(read_text(roots_folder().with_suffix(".json")))
        return [Path(item) for item in listed if isinstance(item, str) and "\0" not in item]
    return []


def _take_over(folder: Path) -> None:
    """Note in a file each what was noted in one. Raises `OSError`."""
    old = folder.with_suffix(".json")
    if old.is_file():
        for root in _noted_before():
            if not _file_of(folder, root).exists():
                _note(folder, root)
        old.unlink(missing_ok=True)
