"""The command line that means the same as a configuration."""

from __future__ import annotations

from eqprop_core.config import Architecture, Command, RunConfig, settings_of
from eqprop_core.problems import flag
from eqprop_core.shell import joined


def command_line(config: RunConfig, *, todo: bool = False, command: Command | None = None) -> str:
    """The `command_words`, quoted for a shell."""
    return joined(command_words(config, todo=todo, command=command))


def command_words(config: RunConfig, *, todo: bool = False, command: Command | None = None) -> list[str]:
    """The flags that make `config`: what differs from the defaults, in order of settings.

    They follow `eqprop` and the `command`, or `train`, `evaluate` or `gducheck` as `todo` says; with `todo`
    it is among the flags, as `eqprop reference` takes it. Lists are separated by spaces; those that the
    configuration completed are given too. With `--load-path` the network is the stored one, and no flag but
    `--dropouts` describes it. What means nothing to the command is left out.
    """
    read = {*(settings_of(command or config.todo) if not todo else RunConfig.model_fields), "todo"}
    stored = set(Architecture.model_fields) - {"dropouts"} if config.load_path else set()
    words: list[str] = []
    for name, field in RunConfig.model_fields.items():
        value = getattr(config, name)
        if value is None or value == field.default or name in stored or name not in read:
            continue
        if name == "todo" and not todo:
            continue
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(f"no_{name}"))
        elif isinstance(value, tuple):
            words += [flag(name), *map(str, value)]
        elif str(value).startswith("-"):  # a name or a folder that would be read as a flag
            words.append(f"{flag(name)}={value}")
        else:
            words += [flag(name), str(value)]
    return words
