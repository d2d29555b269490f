"""What a command has to do: flags, a preset and a stored run made into one configuration.

A flag wins over a preset or a stored run, and those over the defaults. With `--load-path` the stored
architecture is used; a flag that contradicts it is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from eqprop_core import catalogue
from eqprop_core.config import Architecture, RunConfig, combine, facts
from eqprop_core.files import expanded
from eqprop_core.memory import GDU_IMAGES
from eqprop_core.presets import Preset
from eqprop_core.problems import ConfigError, Problem, flag, shown
from eqprop_core.rules import CLASSES_RULE, refused_flags
from eqprop_core.runs.folder import DATA, NoSuchRunError, RunError, RunFolder
from eqprop_core.runs.labels import check_name
from eqprop_core.runs.listing import find_run
from eqprop_core.runs.names import CONFIG, HYPERPARAMETERS

Todo = Literal["train", "evaluate", "gducheck"]
NOTHING_TO_EVALUATE = "is required: the run whose network is evaluated, as a folder, an id, a name, or last"


@dataclass(frozen=True)
class Plan:
    """One thing to do: the whole configuration, the run it starts from, and where it came from.

    `more_epochs` is `--epochs` where a training is resumed: how many to add. `labels` are the tags and the
    note of a new run.
    """

    config: RunConfig
    stored: RunFolder | None = None
    preset: Preset | None = None
    command: tuple[str, ...] = ()
    more_epochs: int | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)


def make_plan(
    todo: Todo,
    flags: Mapping[str, Any],
    preset: Preset | None = None,
    command: tuple[str, ...] = (),
    *,
    like: Mapping[str, Any] | None = None,
) -> Plan:
    """Combine typed flags (raw values by setting) with a preset and the run of `--load-path`.

    Without a preset, `like` has the settings of another run, to begin a new one with.

    Raises `ConfigError` for settings that are wrong, and `RunError` for a folder that is no run.
    """
    if flags.get("todo", todo) != todo:
        raise ConfigError([Problem("todo", flags["todo"], f"contradicts the command, which is {todo}")])
    layers: list[Mapping[str, Any]] = []
    stored: RunFolder | None = None
    settings: Mapping[str, Any] | None = None
    preset_settings = dict(preset.config if preset else like or {})
    if load_path := flags.get("load_path", preset_settings.get("load_path")):
        stored = _stored_run(str(load_path))
        flags = {**flags, "load_path": os.fsencode(str(load_path)).decode("utf-8", "backslashreplace")}
        if todo == "train" and stored.without_checkpoints():  # it would begin again, over what it came to
            raise RunError(
                f"--load-path {stored.path}: its checkpoints were removed; it can be evaluated and checked, "
                f"not resumed"
            )
        settings = _settings_of(stored, flags)
    if todo == "evaluate" and stored is None:
        raise ConfigError([Problem("load_path", None, NOTHING_TO_EVALUATE)])
    if settings is not None:
        layers.append(settings)
        preset_settings = {
            name: value for name, value in preset_settings.items() if name not in Architecture.model_fields
        }
    places = {
        name: str(expanded(Path(str(flags[name]))).absolute()) for name in ("data_dir",) if name in flags
    }
    if todo == "gducheck" and not (preset_settings.get("todo") == todo and "mbs" in preset_settings):
        preset_settings["mbs"] = GDU_IMAGES  # however large the batches of a training are
    layers += [preset_settings, flags, places, {"todo": todo}]
    try:
        config = combine(*layers)
    except ConfigError as error:
        problems = [_located(problem, stored, settings or {}, flags) for problem in error.problems]
        if stored is not None and any(CLASSES_RULE in problem.message for problem in problems):
            problems += _other_classes(stored, {**(settings or {}), **preset_settings, **flags, **places})
        raise ConfigError(problems) from None
    if settings is not None and stored is not None and stored.is_ours:
        _refuse_contradictions(combine({**settings, "todo": "evaluate"}), config, flags)
    if refused := refused_flags(config, flags):
        raise ConfigError(refused)
    if config.name is not None and (settings is None or "name" in flags):
        check_name(config.name)
    labels: dict[str, Any] = {}
    if stored is not None and not stored.is_ours and todo == "train":  # another program's weights begin a run
        labels = {"started_from": str((stored.path / (stored.file or "")).resolve())}
        stored = None
    more = config.epochs if stored is not None and todo == "train" and "epochs" in flags else None
    if more is not None and settings is not None:
        config = config.changed(epochs=settings.get("epochs", 1))
    return Plan(config, stored, preset, command, more, labels)


def known_settings(load_path: str) -> Mapping[str, Any] | None:
    """The settings of the run of `--load-path`, None where none can be read. Raises `RunError`."""
    stored = _stored_run(load_path)
    try:
        return stored.settings_now()
    except ConfigError:  # which is said where they are needed
        return None


def _settings_of(stored: RunFolder, flags: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The settings of a stored run; None for another program's that cannot be read, if flags give a network.

    Raises `ConfigError` or `RunError`.
    """
    try:
        return stored.settings_now()
    except ConfigError:
        if stored.is_ours or not Architecture.model_fields.keys() & flags.keys():
            raise
    return None


def _stored_run(wanted: str) -> RunFolder:
    """The run of `--load-path`: a folder or a checkpoint in it, or what commands name runs by.

    Raises `RunError`.
    """
    if "/" in wanted or os.path.exists(expanded(Path(wanted))):  # noqa: PTH110  `Path.exists` may raise
        return RunFolder.open(Path(wanted))
    try:
        path = find_run(wanted).path
    except RunError as error:
        raise NoSuchRunError(f"--load-path {error}") from None
    return RunFolder.open(path)


def _located(
    problem: Problem, stored: RunFolder | None, settings: Mapping[str, Any], flags: Mapping[str, Any]
) -> Problem:
    """Say where a setting came from that nobody typed."""
    if stored is None or problem.setting in flags or problem.setting not in settings:
        return problem
    file = stored.path / (CONFIG if stored.is_ours else HYPERPARAMETERS)
    return replace(problem, message=f"{problem.message} (in {file})")


def _other_classes(stored: RunFolder, settings: Mapping[str, Any]) -> list[Problem]:
    """Which classes an image folder has, beside those that a run was trained on."""
    recorded = stored.meta().get(DATA)
    had = recorded.get("classes") if isinstance(recorded, dict) else None
    try:
        root = catalogue.data_root(Path(settings["data_dir"]) if "data_dir" in settings else None)
        has = catalogue.describe(str(settings.get("task")), root).classes
    except (ValueError, OSError):
        return []
    if not isinstance(had, list):
        return []
    new, gone = [name for name in has if name not in had], [name for name in had if name not in has]
    said = [f"{word} {shown(names)}" for word, names in (("new", new), ("not there", gone)) if names]
    message = f"has {len(has)} classes, the run was trained on {len(had)}: {'; '.join(said)}"
    return [Problem("data_dir", str(root), message)]


def _refuse_contradictions(stored: RunConfig, config: RunConfig, flags: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for typed flags that ask for another network than the stored one."""
    problems = [
        Problem(
            name,
            getattr(config, name),
            f"contradicts the stored run, whose network has {flag(name)} {shown(getattr(stored, name))}",
        )
        for name in Architecture.model_fields
        if name in flags and name != "dropouts" and getattr(stored, name) != getattr(config, name)
    ]
    if stored.val_split or config.val_split:
        problems += [
            Problem(
                name,
                getattr(config, name),
                f"would validate on images that were trained on; the run has {shown(getattr(stored, name))}",
            )
            for name in ("seed", "val_split", "train_samples", "samples", "task")
            if getattr(stored, name) != getattr(config, name)
        ]
    if problems:
        raise ConfigError(problems)


def changed_settings(before: Mapping[str, Any], config: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Settings of `config` that are not those that a run had `before`: what it had, and what it has now.

    None where nothing is known of what it had, as of a checkpoint of the reference. What a run of before
    there was a setting does not say had its default.
    """
    now = config.stored()
    if not before:
        return {}
    defaults = {name: field.default for name, field in RunConfig.model_fields.items()}
    had = {**{name: now.get(name) for name in now if getattr(config, name) == defaults[name]}, **before}
    return {
        name: (had.get(name), now.get(name))
        for name in RunConfig.model_fields
        if facts(name)["stored"] and name not in ("todo", "epochs") and had.get(name) != now.get(name)
    }


def in_flags(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Changed settings as flags with both values."""

    def one(value: Any) -> str:
        return "default" if value is None else shown(value)

    return ", ".join(f"{flag(name)} {one(old)} → {one(new)}" for name, (old, new) in changes.items())
