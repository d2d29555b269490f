"""A person's own presets as files: making, copying, replacing and deleting them.

The shipped ones are only read. A file is written beside its place, read back and judged there, and gets its
name only then, so that a preset is whole and valid or is not there at all. Knows no terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from eqprop_core.catalogue import OWN
from eqprop_core.config import RunConfig, combine, facts
from eqprop_core.files import clear_unfinished, replacing
from eqprop_core.locks import changing
from eqprop_core.preset_format import flowing
from eqprop_core.presets import (
    NAME,
    NAME_RULE,
    Preset,
    file_error,
    load_preset,
    parse_preset,
    read_text,
    shipped_folder,
    user_folders,
)
from eqprop_core.problems import ConfigError, Problem, flag, shown
from eqprop_core.rules import inapplicable, refused_flags
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.names import CONFIG
from eqprop_core.spelling import did_you_mean

SETTABLE = tuple(name for name in RunConfig.model_fields if facts(name)["stored"] or name == "load_path")
TRUE, FALSE = "true", "false"
SECONDS_TO_WRITE = 3600.0  # a file that is unfinished for longer was left behind


# --- where they are -----------------------------------------------------------------------------------


def own_folder(*, here: bool) -> Path:
    """The folder that new presets go to: `./eqprop-presets`, or that of the user's configuration."""
    return user_folders()[0 if here else -1]


def own_file(name: str) -> Path | None:
    """A person's own file of this name, whether it is a valid preset or not; `None` if there is none."""
    paths = [folder / f"{name}.toml" for folder in user_folders()] if NAME.fullmatch(name) else []
    return next((path for path in paths if path.is_file() or path.is_symlink()), None)


def required_own_file(name: str, *, instead: str) -> Path:
    """A person's own file of this name; raises `ConfigError` where only a shipped one has it, or none.

    `instead` says what can be done about a shipped preset.
    """
    if path := own_file(name):
        return path
    preset = load_preset(name)
    if preset.shipped:
        raise file_error(preset.path, f"is a shipped preset and stays as it is{instead}")
    raise file_error(preset.path, f"is not in {' or '.join(map(str, user_folders()))}; give a name")


def free_place(name: str, *, here: bool) -> Path:
    """Where a new preset of this name goes. Raises `ConfigError` for no name, and for one that is taken."""
    if not NAME.fullmatch(name):
        raise ConfigError([Problem("preset", name, f"is not the name of a preset: {NAME_RULE}")])
    shipped = shipped_folder() / f"{name}.toml"
    if taken := shipped if shipped.is_file() else own_file(name):
        raise file_error(taken, f"has the name {name} already; choose another one")
    return own_folder(here=here) / f"{name}.toml"


# --- writing --------------------------------------------------------------------------------------------


def preset_text(
    config: Mapping[str, Any], *, title: str = "", description: str = "", tags: Sequence[str] = ()
) -> str:
    """The text of a preset file with these settings; what is empty is left out."""
    head = {"title": title.strip(), "description": flowing(description), "tags": list(tags)}
    return tomli_w.dumps({**{key: value for key, value in head.items() if value}, "config": dict(config)})


def write_preset(path: Path, text: str, *, before: str | None = None) -> Preset:
    """Write a preset file whole or not at all; `before` is the text that it replaces, None for a new one.

    Raises `PresetError` for a text that is no valid preset, and `RunError` where it cannot be written, or
    where another process has written there since.
    """
    parse_preset(text, path)  # before the folder is made
    place = path.resolve()  # a link stays one
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        clear_unfinished(place.parent, seconds=SECONDS_TO_WRITE)
        with changing(place), replacing(place) as file:
            if place.exists() if before is None else read_text(place) != before:
                raise RunError(f"{path}: was written by another program meanwhile, and stays as that left it")
            file.write(text.encode("utf-8"))
            file.flush()
            return parse_preset(Path(file.name).read_text(encoding="utf-8"), path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None


def copy_preset(source: Preset, name: str, *, here: bool = False) -> Preset:
    """Copy a preset's file, comments and all. Raises `ConfigError` and `RunError`."""
    return write_preset(free_place(name, here=here), read_text(source.path))


def delete_file(path: Path) -> None:
    """Delete a person's own preset. Raises `RunError` where that cannot be done."""
    try:
        path.unlink()
    except OSError as error:
        raise RunError(f"{path}: cannot be deleted: {error.strerror or error}") from None


# --- settings -------------------------------------------------------------------------------------------


def parse_settings(words: Iterable[str]) -> dict[str, str]:
    """Settings by name out of words like `lrs=0.1 0.05`, `--check-thm`, `no-lr-decay`; values stay text.

    Dashes and underscores are the same, a later word wins. Raises `ConfigError` naming each word that has no
    setting, or no value where one is needed.
    """
    found: dict[str, str] = {}
    problems = []
    for word in words:
        typed, equals, value = word.partition("=")
        key = typed.strip().removeprefix("--").replace("-", "_")
        if not equals and _is_switch(key.removeprefix("no_")):
            key, value = key.removeprefix("no_"), FALSE if key.startswith("no_") else TRUE
        elif not equals and key in SETTABLE:
            problems.append(Problem("set", word, f"has no value: write {key}=VALUE"))
        if key in SETTABLE:
            found[key] = value.strip()
        else:
            problems.append(Problem("set", word, unknown_setting(typed.strip())))
    if problems:
        raise ConfigError(problems)
    return found


def unknown_setting(typed: str) -> str:
    """That there is no such setting, with those that come close."""
    name = typed.removeprefix("--").replace("-", "_")
    accepted = did_you_mean(name, SETTABLE, cutoff=0.5) or "`eqprop train --help` lists them"
    return f"{shown(typed)} is not a setting of a preset; {accepted}"


def _is_switch(name: str) -> bool:
    return name in SETTABLE and RunConfig.model_fields[name].annotation is bool


def changed(base: Mapping[str, Any], changes: Mapping[str, Any], drop: Iterable[str] = ()) -> dict[str, Any]:
    """The settings of a preset with others in their place, typed as TOML has them.

    `changes` may hold text as typed on a command line; settings in `drop` go back to their defaults, and
    those of `base` that no longer apply go. Raises `ConfigError` for what is wrong, and for changes that do
    not apply.
    """
    kept = {name: value for name, value in base.items() if name not in set(drop)}
    config = combine(kept, changes)
    if refused := refused_flags(config, changes):
        raise ConfigError(refused)
    unused = inapplicable(config)
    stated = [name for name in SETTABLE if (name in kept or name in changes) and name not in unused]
    return {name: plain(getattr(config, name)) for name in stated if getattr(config, name) is not None}


def plain(value: Any) -> Any:
    """A setting as TOML has it."""
    return list(value) if isinstance(value, tuple) else value


def in_flags(settings: Mapping[str, Any]) -> str:
    """Typed settings as flags: `--epochs 3 --no-lr-decay`."""

    def one(name: str, value: Any) -> str:
        if isinstance(value, bool):
            return flag(name if value else f"no_{name}")
        return f"{flag(name)} {shown(value)}"

    return " ".join(one(name, value) for name, value in settings.items())


def made_from(origin: str, settings: Mapping[str, Any], drop: Sequence[str]) -> str:
    """A description for a preset that was given none."""
    if not origin:
        return ""
    parts = [f"Made from {origin}"]
    if settings:
        parts.append(f"with {in_flags(settings)}")
    if drop:
        parts.append(f"without {' '.join(map(flag, drop))}")
    return ", ".join(parts) + "."


def settings_of_run(run: RunFolder, *, keep_seed: bool = False) -> dict[str, Any]:
    """What a run was made of, without what is its own: name, device, folder of the data, seed.

    The folder is kept where it says which images, as for an imagefolder. Raises `RunError` for a run
    without a configuration, and `ConfigError` for one that cannot be read.
    """
    settings = run.settings_now()
    if settings is None:
        raise RunError(f"{run.path}: has no {CONFIG}, so that its settings are not known")
    left_out = {"name", "device"}
    if not keep_seed:
        left_out.add("seed")
    if settings.get("task") not in OWN:
        left_out.add("data_dir")
    return {name: value for name, value in settings.items() if name not in left_out}
