"""Presets: named, complete, validated configurations of a run, one TOML file each.

The shipped ones live in `presets/`; a person's own in `./eqprop-presets` and in the user's configuration
folder. A file that cannot be used is a `PresetError` that names the file, the line and the key, and never
hides the other presets. Knows nothing of runs and nothing of terminals.
"""

from __future__ import annotations

import importlib.resources
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs

from eqprop_core.config import TOML_LIMIT, RunConfig, combine, parse_toml
from eqprop_core.names import can_be_shown
from eqprop_core.preset_format import document_problems, flowing, line_of
from eqprop_core.problems import ConfigError, Problem, shown
from eqprop_core.reasons import reason
from eqprop_core.spelling import did_you_mean, spelled

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
SIZE_LIMIT = TOML_LIMIT  # bytes of a preset file
MOST_PROBLEMS = 20  # said of a file
NAME_RULE = "small letters, digits and . _ - , beginning with a letter or digit"


@dataclass(frozen=True)
class Expected:
    """What a publication reports for this configuration: test error in per cent, and where it says so."""

    test_error: float
    source: str


@dataclass(frozen=True)
class Preset:
    """A preset as its file has it; `config` holds the settings that the file gives, not completed."""

    name: str
    title: str
    description: str
    tags: tuple[str, ...]
    expected: Expected | None
    config: dict[str, Any]
    path: Path
    shipped: bool

    @property
    def group(self) -> str:
        """The group of the library that it is listed in: its first tag."""
        return self.tags[0] if self.tags else "own presets"

    def run_config(self, **overrides: Any) -> RunConfig:
        """The configuration of a run, `overrides` winning over the file. Raises `ConfigError`."""
        return combine(self.config, overrides)


class PresetError(ConfigError):
    """A preset file that cannot be used, at `path`; each line of the text is one thing wrong with it.

    Settings of its `problems` are the file's keys, as in `config.lrs`, or empty where it is the file itself;
    `lines` has the line of those keys that stand on one.
    """

    def __init__(
        self, path: Path, problems: Sequence[Problem], lines: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(problems)
        self.path = path
        self.lines = dict(lines or {})
        self.args = ("\n".join(_sentence(path, problem, self.lines) for problem in problems),)


class PresetLibrary(NamedTuple):
    """All presets by name, shipped ones first, and what was wrong with files that are not among them."""

    presets: dict[str, Preset]
    problems: tuple[PresetError, ...]


# --- where they are -----------------------------------------------------------------------------------


def shipped_folder() -> Path:
    """The folder of the shipped presets, in an installed wheel as in a checkout."""
    package = Path(str(importlib.resources.files("eqprop_core")))
    installed = package / "shipped_presets"
    return installed if installed.is_dir() else package.parent / "presets"


def user_folders() -> list[Path]:
    """Folders of a person's own presets, the first one winning; they need not exist."""
    return [Path("eqprop-presets"), platformdirs.user_config_path("eqprop") / "presets"]


def all_presets() -> PresetLibrary:
    """Every preset there is, and the files that cannot be used. Raises nothing.

    A name belongs to the first file that has it, shipped ones before a person's own; a later file of that
    name is among the problems.
    """
    presets: dict[str, Preset] = {}
    problems: list[PresetError] = []
    shipped = shipped_folder()
    if not shipped.is_dir():
        problems.append(file_error(shipped, "is missing, with all shipped presets: install eqprop again"))
    for folder in (shipped, *user_folders()):
        try:
            paths = sorted(folder.iterdir(), key=lambda path: path.stem)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(file_error(folder, f"cannot be listed: {error.strerror}"))
            continue
        for path in paths:
            if path.suffix != ".toml" or path.name.startswith("."):
                continue
            try:
                preset = read_preset(path)
            except PresetError as error:
                problems.append(error)
                continue
            first = presets.setdefault(preset.name, preset)
            if first is not preset:
                problems.append(_hidden(path, first))
    return PresetLibrary(presets, tuple(problems))


def hidden_by(preset: Preset) -> list[PresetError]:
    """A person's own files that have the name of this preset and are not used because of it."""
    paths = [folder / preset.path.name for folder in user_folders()]
    return [_hidden(path, preset) for path in paths if path != preset.path and path.is_file()]


def _hidden(path: Path, owner: Preset) -> PresetError:
    who = "a shipped preset" if owner.shipped else str(owner.path)
    return file_error(path, f"is not used: {who} has the name {owner.name} already; rename the file")


def load_preset(name: str) -> Preset:
    """The preset of this name, or the one in this `.toml` file.

    Raises `ConfigError` for a name that no preset has, with those that come close, and `PresetError` for a
    file that cannot be used.
    """
    if name.endswith(".toml"):
        return read_preset(Path(name))
    if not NAME.fullmatch(name):
        message = f"is not the name of a preset: {NAME_RULE}; or give the path of a .toml file"
        if spelled(name) != name:
            message += f"; what was given is {spelled(name)}"
        raise ConfigError([Problem("preset", name, message)])
    presets, problems = all_presets()
    if name in presets:
        return presets[name]
    for problem in problems:
        if problem.path.name == f"{name}.toml":
            raise problem
    hint = did_you_mean(name, presets, cutoff=0.5) or "`eqprop presets list` shows those there are"
    raise ConfigError([Problem("preset", name, f"there is no preset of this name; {hint}")])


# --- reading one ----------------------------------------------------------------------------------------


def read_preset(path: Path) -> Preset:
    """Read and validate a preset file; its name is the file's, without `.toml`.

    Raises `PresetError` for a file that is missing, too large, not TOML, or holds anything but the keys and
    settings of a preset.
    """
    if not NAME.fullmatch(path.stem) or path.suffix != ".toml":
        raise file_error(path, f"is not named like a preset: {NAME_RULE}, then .toml")
    return parse_preset(read_text(path), path)


def judged_document(
    text: str, path: Path, problems_of: Callable[[Mapping[str, Any]], Iterable[Problem]]
) -> dict[str, Any]:
    """The TOML of the file at `path`, if it has no problems. Raises `PresetError`, with their lines."""
    try:
        document = parse_toml(text)
    except ValueError as error:
        raise file_error(path, f"is not TOML: {error}") from None
    problems = list(islice(problems_of(document), MOST_PROBLEMS))
    if problems:
        lines = {problem.setting: line_of(text, problem.setting) for problem in problems}
        raise PresetError(path, problems, {key: line for key, line in lines.items() if line})
    return document


def parse_preset(text: str, path: Path) -> Preset:
    """The preset that `text` is, as the file at `path`, which need not exist. Raises `PresetError`."""
    if len(text.encode(errors="replace")) > SIZE_LIMIT:
        raise file_error(path, f"is too large for a preset: {SIZE_LIMIT:,} bytes at most")
    document = judged_document(text, path, document_problems)
    expected = document.get("expected")
    return Preset(
        name=path.stem,
        title=document.get("title", path.stem),
        description=flowing(document.get("description", "")),
        tags=tuple(document.get("tags", ())),
        expected=Expected(float(expected["test_error"]), expected["source"]) if expected else None,
        config=document["config"],
        path=path,
        shipped=path.parent.resolve() == shipped_folder().resolve(),
    )


def read_text(path: Path) -> str:
    """The text of a file that is to be a preset. Raises `PresetError` where it cannot be read as one."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            problem = "is not a file"
        elif status.st_size > SIZE_LIMIT:
            problem = f"is too large for a preset: {status.st_size:,} bytes, {SIZE_LIMIT:,} at most"
        else:
            return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problem = "there is no such file"
    except UnicodeDecodeError as error:
        problem = f"is not text in UTF-8 (byte {error.start})"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except ValueError as error:  # a path that no file can have
        problem = f"cannot be read: {reason(error)}"
    raise file_error(path, problem)


def file_error(path: Path, message: str) -> PresetError:
    """What is wrong with a preset file as a whole."""
    return PresetError(path, [Problem("", None, message)])


def _sentence(path: Path, problem: Problem, lines: Mapping[str, int]) -> str:
    where = str(path) if can_be_shown(str(path)) else ascii(str(path))
    if problem.setting in lines:
        where += f", line {lines[problem.setting]}"
    if not problem.setting:
        return f"{where}: {problem.message}"
    value = "" if problem.value is None else f" {shown(problem.value)}"
    return f"{where}: {shown(problem.setting)}{value}: {problem.message}"
