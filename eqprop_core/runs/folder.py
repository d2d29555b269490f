"""A run as a folder: where it is, what is in it, and writing its files so that none is ever half there.

Knows nothing of torch. What a list of runs does not need, as the schema of all settings, is imported where it
is used. Layout: results/<alg>/<loss>/<yyyy-mm-dd>/<hh-mm-ss>, with a suffix -2, -3 … if taken.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from eqprop_core import __version__
from eqprop_core.files import (
    HeldFolder,
    expanded,
    make_folder,
    open_to_append,
    overwrite,
    read_json,
    write_text,
)
from eqprop_core.locks import HeldError, Lock, changing, is_held, take
from eqprop_core.names import can_be_shown
from eqprop_core.problems import ConfigError, NotThereError, Problem, flag, shown
from eqprop_core.runs.names import (
    BEST_FIRST,
    CHECKPOINT,
    CHECKPOINT_BEFORE,
    CHECKS,
    CONFIG,
    EVENTS,
    FINAL_CHECKPOINT,
    FINAL_MODEL,
    HYPERPARAMETERS,
    LOCK,
    META,
    STATE,
)
from eqprop_core.runs.reference import is_reference, settings_of, state_of
from eqprop_core.runs.roots import remember_root
from eqprop_core.shell import command as command_line
from eqprop_core.shell import joined
from eqprop_core.spelling import mistaken_for

LIKE = "like"  # in `meta.json`: the run that it repeats
BEGUN_WITH = "begun_with"  # in `meta.json`: how the run computed when it began
DATA = "data"  # in `meta.json`, checkpoints and models: what it was trained on
COMPUTED_BY = ("torch", "device_name", "threads", "processes", "choices")  # where that is not there, these

if TYPE_CHECKING:
    from eqprop_core.config import RunConfig
    from eqprop_core.presets import Preset

PRUNED = "pruned"  # in meta.json: kinds of files that were removed on purpose
TEXT_SHOWN = 1000  # characters of a name or a path


class RunError(RuntimeError):
    """A folder that is not a run, or a run that cannot be used; the message says which and what to do."""


class NoSuchRunError(RunError, NotThereError):
    """What was named is no run, or no sweep, or several."""


class RunFolder:
    """One run's folder at `path`; `file` is the one of its files with weights that was named, if one was."""

    def __init__(self, path: Path, file: str | None = None) -> None:
        self._path = path
        self._held: HeldFolder | None = None
        self.file = file

    @property
    def path(self) -> Path:
        """Where it is; one that is held is found where it was moved to."""
        return self._path if self._held is None else self._held.path

    def hold(self) -> None:
        """Keep the folder open from now on, where that can be done: it is followed when it is moved."""
        if self._held is None:
            with suppress(OSError):
                self._held = HeldFolder(self._path)

    @classmethod
    def create(
        cls,
        root: Path,
        config: RunConfig,
        *,
        command: Sequence[str],
        preset: Preset | None = None,
        labels: Mapping[str, Any] | None = None,
        now: datetime | None = None,
    ) -> RunFolder:
        """Make the folder of a new run with its configuration and `meta.json`. Raises `RunError`.

        `labels` may hold `tags` (a list) and a `note`; the name is that of the configuration or the preset.
        """
        now = now or datetime.now()
        path: Path | None = None
        day = root / config.alg / config.loss / now.strftime("%Y-%m-%d")
        try:
            path = new_folder(day, now.strftime("%H-%M-%S"))
            cls(path)._begin(config, command, preset, labels or {}, now)
        except BaseException as error:  # an interrupt, too
            _undo(path, error, f"--results {root}")
        remember_root(root)
        return cls(path)

    @classmethod
    def create_at(
        cls,
        path: Path,
        config: RunConfig,
        *,
        command: Sequence[str],
        preset: Preset | None = None,
        labels: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        """Make the folder of a new run at a path of its own, where there is no run. Raises `RunError`.

        What a process left there that was killed before it had made a run is taken over.
        """
        if os.access(path / CONFIG, os.F_OK):
            raise RunError(f"{path}: there is a run already")
        made = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                path.mkdir()
                made = True
            cls(path)._begin(config, command, preset, labels or {}, datetime.now())
        except BaseException as error:
            _undo(path if made else None, error, str(path))
        return cls(path)

    def _begin(
        self,
        config: RunConfig,
        command: Sequence[str],
        preset: Preset | None,
        labels: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """Write what a new run has; last what makes its folder one. Raises `OSError`."""
        import tomli_w

        meta = {
            "id": _new_id(),
            "name": config.name or (preset.name if preset else self.path.name),
            "tags": [],
            "note": "",
            "preset": preset.name if preset else None,
            "expected": asdict(preset.expected) if preset and preset.expected else None,
            **labels,
            "created": now.astimezone().isoformat(timespec="seconds"),
            "command": list(command),
            "host": socket.gethostname(),
            "eqprop": __version__,
            "commit": _commit(),
            "python": platform.python_version(),
        }
        write_text(self.path / HYPERPARAMETERS, hyperparameters(config, command))
        write_text(self.path / META, json.dumps(meta, indent=2) + "\n")
        write_text(self.path / CONFIG, tomli_w.dumps(config.stored()))

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at a path, or with weights in a file at that path. Raises `RunError` if there is none."""
        path = expanded(path)
        if path.is_file():
            return cls(path.parent, None if path.name in (CONFIG, HYPERPARAMETERS) else path.name)
        if not path.is_dir():
            other = mistaken_for(path)
            raise NoSuchRunError(
                f"--load-path {path}: there is no such folder{other or '; give the folder of a run'}"
            )
        if not any((path / name).exists() for name in (CONFIG, *BEST_FIRST)):
            raise NoSuchRunError(
                f"--load-path {path}: holds no run; a run has {CONFIG} and {CHECKPOINT} or {BEST_FIRST[0]}"
            )
        return cls(path)

    @property
    def is_ours(self) -> bool:
        """Whether it has a `config.toml`; without one it is another program's, to be read only."""
        return os.access(self.path / CONFIG, os.F_OK)

    def config(self) -> dict[str, Any] | None:
        """The stored settings, those of a folder of the reference too; None where there are none.

        Raises `ConfigError`.
        """
        path = self.path / CONFIG
        if not self.is_ours:
            return settings_of(self.path) if is_reference(self.path) else None
        from eqprop_core.config import read_toml

        settings, known = read_toml(path), _stored_names()
        unknown = [key for key in settings if key not in known]
        if unknown:
            raise ConfigError(
                [Problem(key, settings[key], f"is not a setting ({path})") for key in unknown[:20]]
            )
        return settings

    def begun_with(self) -> dict[str, Any]:
        """How the run computed when it began, to repeat it. Raises `RunError` where that is not recorded."""
        meta = self.meta()
        begun = meta.get(BEGUN_WITH, {name: meta[name] for name in COMPUTED_BY if name in meta})
        if not isinstance(begun, dict) or "choices" not in begun:
            raise RunError(f"{self.path}: nothing is recorded of how it computes; it has not begun to train")
        return begun

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Add to `meta.json` what the process that owns the run finds out; what cannot be written is lost."""
        with suppress(RunError):
            self._change_meta(facts)

    def identify(self) -> None:
        """Give a run that has no `meta.json` an id and a name. Raises `RunError`."""
        if not os.path.lexists(self.path / META):  # a link, where there is one, is left alone
            with suppress(OSError):
                created = datetime.fromtimestamp((self.path / CONFIG).stat().st_mtime).astimezone()
                self._change_meta(
                    {
                        "id": _new_id(),
                        "name": self.path.name,
                        "created": created.isoformat(timespec="seconds"),
                    }
                )

    def relabel(self, retag: Callable[[list[str]], list[str]] | None = None, /, **labels: Any) -> None:
        """Change `name`, `tags`, `note` or another entry of `meta.json`. Raises `RunError`.

        `retag` makes the tags out of those that there are then, so that others' are not lost. The process
        that owns the run, if there is one, takes them over into `state.json` by itself.
        """
        self.refuse_if_foreign()
        self._change_meta(labels, retag)
        try:
            with suppress(RunError), self.lock():
                if state := self.read_state():
                    self.write_state({**state, **self.labels()})
        except OSError as error:
            raise self._unwritable(error) from None

    def refuse_if_foreign(self) -> None:
        """Raise `RunError` for a folder of the reference, which is only read."""
        if is_reference(self.path):
            begins = command_line("train", "--load-path", self.path.absolute(), "--epochs", "N")
            raise RunError(
                f"{self.path}: is a folder of the reference, in which nothing is changed; "
                f"`{begins}` begins a run with its weights"
            )

    def stored_tags(self) -> list[str]:
        """The tags of a run as they are to be kept, also those that a list could not show."""
        tags = self.meta().get("tags")
        return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []

    def _change_meta(
        self, changes: Mapping[str, Any], retag: Callable[[list[str]], list[str]] | None = None
    ) -> None:
        """Change entries of `meta.json`, of which no other process changes any meanwhile. Raises `RunError`.

        One that cannot be read is left as it is: what it held would be lost.
        """
        path = self.path / META
        try:
            with changing(path):
                meta = self.meta()
                if not meta and path.exists():
                    raise RunError(f"{path}: cannot be read; repair it, or move it away to begin a new one")
                if retag is not None:
                    changes = {**changes, "tags": retag(self.stored_tags())}
                write_text(path, json.dumps({**meta, **changes}, indent=2) + "\n")
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(f"{self.path}: cannot write there: {error.strerror or error}")

    def labels(self) -> dict[str, Any]:
        """What a person calls the run: its name and tags."""
        meta = self.meta()
        return {name: meta[name] for name in ("name", "tags") if name in meta}

    def expected_accuracy(self) -> float | None:
        """The published accuracy in per cent of the preset that the run came from."""
        expected = self.meta().get("expected")
        error = expected.get("test_error") if isinstance(expected, dict) else None
        return 100 - error if isinstance(error, (int, float)) and 0 <= error <= 100 else None

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Replace `state.json`; on a full disk, write over the one that is there. Raises `OSError`."""
        text = json.dumps(state) + "\n"
        try:
            write_text(self.path / STATE, text)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            overwrite(self.path / STATE, text)

    def identity(self) -> dict[str, Any]:
        """What a list of runs shows of this one, so that it need not open anything but `state.json`."""
        meta = self.meta()
        try:
            config = self.config() or {}
        except ConfigError:
            config = {}
        return {
            **{name: text(meta.get(name)) for name in ("name", "preset", "created", "device")},
            "id": id_of(meta.get("id")),
            "tags": tags_of(meta.get("tags")),
            "processes": meta["processes"] if type(meta.get("processes")) is int else 1,
            **{name: config.get(name) for name in ("model", "task", "alg", "loss", "epochs")},
        }

    def settings_now(self) -> dict[str, Any] | None:
        """The stored settings with those that were changed since; None where there is no `config.toml`.

        Raises `ConfigError` or `RunError` for what cannot be read.
        """
        settings = self.config()
        return None if settings is None else {**settings, **self.amendments()}

    def amendments(self) -> dict[str, Any]:
        """Settings that were changed on resuming and in flight, the latest of each. Raises `RunError`."""
        from eqprop_core.events import Amended
        from eqprop_core.runs.log import read_events

        changed: dict[str, Any] = {}
        try:
            for record in read_events(self.path / EVENTS, (Amended.kind,)):
                if isinstance(record.event, Amended):
                    changed.update(record.event.settings)
        except OSError as error:
            raise RunError(f"{self.path / EVENTS}: cannot be read: {error.strerror or error}") from None
        known = _stored_names()
        return {name: value for name, value in changed.items() if name in known}

    def fail(self, message: str) -> None:
        """Write down that a run ended before it began, or began again; a complete one stays complete."""
        state = self.read_state()
        how = "finished" if state.get("before", state.get("state")) == "finished" else "failed"
        with suppress(OSError):
            self.write_state({**state, "state": how, "message": message[:2000]})

    def has_checkpoint(self) -> bool:
        """Whether it can go on from where it was; without one it can begin."""
        return any((self.path / name).exists() for name in (CHECKPOINT, CHECKPOINT_BEFORE))

    def is_complete(self) -> bool:
        """Whether it has finished, with all that is written at the end but what was removed on purpose."""
        if self.read_state().get("state") != "finished":
            return False
        there = all((self.path / name).exists() for name in (FINAL_MODEL, FINAL_CHECKPOINT))
        return there or PRUNED in self.meta() or not self.has_checkpoint()

    def has_weights(self) -> bool:
        """Whether there is something to evaluate or to check."""
        return any((self.path / name).exists() for name in BEST_FIRST)

    def without_checkpoints(self) -> bool:
        """Whether its checkpoints were removed on purpose, so that it cannot go on."""
        removed = self.meta().get(PRUNED)
        return isinstance(removed, list) and "checkpoints" in removed and not self.has_checkpoint()

    def lock(self) -> Lock:
        """Own the run until the lock that is returned is closed.

        Raises `RunError` if another does, or if the folder cannot be written.
        """
        try:
            return take(self.path / LOCK)
        except HeldError as held:
            raise RunError(f"{self.path}: is in use by {held.holder}") from None
        except OSError as error:
            raise RunError(f"{self.path / LOCK}: cannot be written: {error.strerror or error}") from None

    def is_owned(self) -> bool:
        """Whether a process holds the lock of the run; True where that cannot be told."""
        return is_held(self.path / LOCK)

    def read_state(self) -> dict[str, Any]:
        """What `state.json` says, text and numbers alone (and the tags); empty where it cannot be read."""
        state = read_json(os.path.join(self.path, STATE))  # noqa: PTH118  a `Path` costs as much as reading
        if not state:
            state = state_of(self.path)
        plain = {name: value for name, value in state.items() if not isinstance(value, (list, dict))}
        return {**plain, "tags": tags_of(state["tags"])} if "tags" in state else plain

    def meta(self) -> dict[str, Any]:
        """What `meta.json` says; empty where it cannot be read."""
        return read_json(self.path / META)

    def append_hyperparameters(self, text: str) -> None:
        """Add a paragraph to `hyperparameters.txt`, as an evaluation does. Raises `OSError`."""
        with os.fdopen(open_to_append(self.path / HYPERPARAMETERS), "a", encoding="utf-8") as file:
            file.write(text.rstrip("\n") + "\n")

    def new_check(self) -> Path:
        """Make a folder `checks/<time>` for a check or an evaluation. Raises `RunError`."""
        try:
            make_folder(self.path / CHECKS)
            return new_folder(self.path / CHECKS, datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
        except OSError as error:
            raise self._unwritable(error) from None


def text(value: object) -> str | None:
    """A value of a file as a list may show it: printable text, or None."""
    return value[:TEXT_SHOWN] if isinstance(value, str) and can_be_shown(value) else None


def id_of(value: object) -> str | None:
    """The id of a run as a file has it; None for what is none, as it is shown to be pasted."""
    return value if isinstance(value, str) and re.fullmatch("[0-9a-f]{8}", value) else None


def tags_of(value: object) -> list[str]:
    """The tags that a file holds, those that can be shown."""
    return [tag for tag in map(text, value[:100]) if tag] if isinstance(value, list) else []


def _stored_names() -> set[str]:
    """The settings that `config.toml` may hold."""
    from eqprop_core.config import RunConfig, facts

    return {name for name in RunConfig.model_fields if facts(name)["stored"]}


def _new_id() -> str:
    import secrets

    return secrets.token_hex(4)


def _commit() -> str | None:
    """The commit of the checkout that this program runs from, None where it is installed otherwise."""
    home = Path(__file__).parents[2]
    if not (home / ".git").exists():
        return None
    import subprocess

    with suppress(OSError, subprocess.SubprocessError):
        words = ["git", "-C", str(home), "rev-parse", "HEAD"]
        return subprocess.run(words, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    return None


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder, with a suffix -2, -3 … where the name is taken. Raises `OSError`."""
    parent.mkdir(parents=True, exist_ok=True)
    count = 1
    while True:
        path = parent / (name if count == 1 else f"{name}-{count}")
        try:
            path.mkdir()
        except FileExistsError:
            count += 1
        else:
            return path


def _undo(path: Path | None, error: BaseException, named: str) -> NoReturn:
    """Take away a folder that was made for a run which could not be made, and say why it could not."""
    if path is not None:
        import shutil

        shutil.rmtree(path, ignore_errors=True)  # just made: nothing in it is anybody's
    if not isinstance(error, OSError):
        raise error
    raise RunError(
        f"{named}: cannot make a run there: {error.strerror or error}; choose a folder that can be written"
    ) from None


def hyperparameters(config: RunConfig, command: Sequence[str]) -> str:
    """The command line and every setting in words, a line each."""
    lines = ["command line", "  " + joined(list(command or sys.argv)), "", "settings"]
    for name, value in config.stored().items():
        help = type(config).model_fields[name].description
        lines.append(f"  {flag(name):<18} {shown(value):<28} {help}")
    layers = [
        f"  {shape.title:<18} {_sizes(shape.post):<16} {shape.parameters:,}" for shape in config.connections()
    ]
    return "\n".join([*lines, "", "connections: kind, shape of the upper layer, parameters", *layers, ""])


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
