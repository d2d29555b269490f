"""A form over `RunConfig`: what is typed for each setting, what is wrong with it, what it comes to.

Everything is text until it is judged, so that half a number is no error of the program, and nothing that is
wrong can be started. Knows no widget.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

from eqprop_core.config import SECTIONS, Architecture, RunConfig, combine, facts
from eqprop_core.presets import Preset
from eqprop_core.problems import ConfigError, Problem, flag
from eqprop_core.rules import inapplicable
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.settings import Plan, make_plan
from eqprop_core.shell import joined
from eqprop_tui.cli.flags import kind_of
from eqprop_tui.describing import words_of

ALSO = ("load_path", "results")  # settings that a run does not store, and a form has all the same
ON, OFF = "on", "off"


ACTIVATIONS = {
    "mysig": "1 / (1 + exp(-4 (x - 1/2)))",
    "sigmoid": "1 / (1 + exp(-x))",
    "tanh": "tanh(x)",
    "hard_sigmoid": "clamp(x, 0, 1)",
    "my_hard_sig": "clamp(x/2, 0, 1)",
    "ctrd_hard_sig": "clamp(2x, -1, 1) / 2",
}


def explained(name: str, text: str) -> str:
    """What a setting means, and what the text that is typed for it does."""
    words = RunConfig.model_fields[name].description or ""
    return f"{words}; {text} is {ACTIVATIONS[text]}" if name == "act" and text in ACTIVATIONS else words


def settings_of(section: str) -> list[str]:
    """The settings of a section of the form, in order."""
    return [
        name
        for name in RunConfig.model_fields
        if facts(name)["section"] == section and (facts(name)["stored"] or name in ALSO)
    ]


FIELDS = tuple(name for section in SECTIONS for name in settings_of(section))


def choices(name: str) -> tuple[str, ...]:
    """What can be chosen for a setting; nothing where it is typed."""
    kind = kind_of(name)
    if kind is bool:
        return (OFF, ON)
    if get_origin(kind) is not Literal:
        return ()
    unsaid = ("",) if RunConfig.model_fields[name].default is None else ()
    return (*unsaid, *map(str, get_args(kind)))


def as_text(name: str, value: Any) -> str:
    """A setting as one would type it; empty where it is not given."""
    if value is None:
        return ""
    if kind_of(name) is bool:
        return ON if value in (True, "true", ON) else OFF
    if isinstance(value, (list, tuple)):
        return " ".join(map(_word, value))
    return _word(value)


def _word(value: Any) -> str:
    """A value without the `.0` that a whole number need not have."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@dataclass
class Form:
    """What is typed, over the settings that one began with."""

    settings: Mapping[str, Any]
    preset: Preset | None = None
    typed: dict[str, str] = field(default_factory=dict)
    config: RunConfig | None = None  # what is typed comes to; None while something is wrong
    last_valid: RunConfig | None = None
    problems: dict[str, Problem] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begin(self.settings)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Begin anew with these settings."""
        self.settings = dict(settings)
        self.start = typed_as(self.settings)
        self.typed = dict(self.start)
        self.judge()

    def type(self, name: str, text: str) -> None:
        """Take in what is typed for a setting, and judge all."""
        self.typed[name] = text
        self.judge()

    def undo(self, name: str) -> str:
        """Give a setting back what it began with."""
        self.type(name, self.start[name])
        return self.start[name]

    @property
    def hidden(self) -> dict[str, str]:
        """Settings that do not apply to what is chosen, each with the reason."""
        chosen: dict[str, str | None] = {name: self.typed[name] for name in ("model", "optim", "task")}
        optional = ("estimator", "train_samples", "test_samples")
        chosen |= {name: self.typed[name].strip() or None for name in optional}
        unused = inapplicable(SimpleNamespace(**chosen))
        if self.typed["todo"] == "train":
            unused["load_path"] = "training goes on by resuming the run"
        return {name: why for name, why in unused.items() if name in FIELDS}

    @property
    def changed(self) -> list[str]:
        """Settings that are not what they were, of those that apply."""
        return self._unlike(self.start)

    def _unlike(self, others: Mapping[str, str]) -> list[str]:
        """Settings that are not as typed in `others`, of those that apply."""
        hidden = self.hidden

        def means(name: str, text: str) -> str:
            return text.strip() or as_text(name, RunConfig.model_fields[name].default)

        return [
            name
            for name in FIELDS
            if name not in hidden and not same_text(means(name, self.typed[name]), means(name, others[name]))
        ]

    def given(self, names: Iterable[str] = FIELDS) -> dict[str, Any]:
        """Raw settings that are given and apply: text, and true or false."""
        hidden = self.hidden
        found: dict[str, Any] = {}
        for name in names:
            text = self.typed[name].strip()
            if name not in hidden and text:
                found[name] = text == ON if kind_of(name) is bool else text
        return found

    def judge(self) -> None:
        """Find out what is wrong, and what the settings come to."""
        try:
            self.config = self.last_valid = combine(self.given())
            self.problems = {}
        except ConfigError as error:
            self.config = None
            self.problems = {problem.setting: problem for problem in error.problems}

    def stated(self) -> dict[str, Any]:
        """The settings for a preset: those that were given at the start, and those that were changed."""
        config = self.config
        assert config is not None
        names = [name for name in self.given() if name in self.settings or name in self.changed]
        values = {
            name: getattr(config, name) for name in names if facts(name)["stored"] or name == "load_path"
        }
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
        }

    def plan(self) -> Plan:
        """What is to be done. Raises `ConfigError` and `RunError` for what is wrong."""
        if self.config is None:
            raise ConfigError(list(self.problems.values()))
        names = [name for name in FIELDS if name != "todo"]
        if self.config.load_path:  # what is not said here is as in that run, and so is the network
            names = [name for name in names if name in self.settings or name in self.changed]
            names = [name for name in names if name in self.changed or name not in Architecture.model_fields]
        given = self.given(names)
        plan = make_plan(self.config.todo, given, None, tuple(self.words()))
        return Plan(plan.config, plan.stored, self.preset, plan.command, plan.more_epochs, plan.labels)

    def command(self) -> str:
        """The command line that means the same, quoted for a shell; empty where nothing is valid yet."""
        return joined(self.words())

    def words(self) -> list[str]:
        """Its words: with the preset and what differs, where that says it all."""
        config = self.config or self.last_valid
        if config is None:
            return []
        if self.preset is not None and self.config is not None:
            differing = self._unlike(typed_as(self.preset.config))
            changes = self.given(differing)
            if not differing:
                return ["eqprop", config.todo, "--preset", self.preset.name]
            with suppress(ConfigError, RunError):
                if make_plan(config.todo, changes, self.preset).config == config:
                    return ["eqprop", config.todo, "--preset", self.preset.name, *in_flags(changes)]
        return words_of(config)


def typed_as(settings: Mapping[str, Any]) -> dict[str, str]:
    """What is typed for these settings, and for all others their defaults."""
    return {name: as_text(name, settings.get(name, RunConfig.model_fields[name].default)) for name in FIELDS}


def in_flags(settings: Mapping[str, Any]) -> list[str]:
    """Raw settings as flags."""
    words: list[str] = []
    for name, value in settings.items():
        if isinstance(value, bool):
            words.append(flag(name if value else f"no_{name}"))
        elif get_origin(kind_of(name)) is tuple:
            words += [flag(name), *value.split()]
        else:
            words += [f"{flag(name)}={value}"] if value.startswith("-") else [flag(name), value]
    return words


def same_text(one: str, other: str) -> bool:
    """Whether two texts mean the same values."""

    def values(text: str) -> list[float | str]:
        found: list[float | str] = []
        for word in text.split():
            try:
                found.append(float(word))
            except ValueError:
                found.append(word)
        return found

    return one.strip() == other.strip() or values(one) == values(other)
