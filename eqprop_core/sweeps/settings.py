"""By what the runs of a sweep are started, and with which settings; kept in `sweep.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from eqprop_core.problems import ConfigError, Problem, problems_of
from eqprop_core.rules import DEVICE, DEVICE_RULE

USUAL_MINUTES = 60.0  # of a job of Slurm's, where nothing else is said
GRACE = 90  # seconds; as submitit has it
_TIME = re.compile(
    r"(?:(?P<days>\d{1,4})-)?(?:(?P<hours>\d{1,5}):)?(?P<minutes>\d{1,6})(?::(?P<seconds>\d\d))?"
)
_MEMORY = re.compile(r"\d{1,9}[KMGT]?")


class LaunchSettings(BaseModel):
    """Settings of a launcher.

    `jobs` at a time run on each of the `devices` of this machine; what follows `grace` goes to Slurm. `time`
    is the number of minutes after which a run is saved and queued again, `grace` the number of seconds before
    that at which it is told.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    launcher: Literal["local", "slurm"] = "local"
    jobs: int = Field(default=1, ge=1, le=1000)
    devices: tuple[str, ...] = Field(default=(), max_length=1000)
    time: float | None = Field(default=None, gt=0, le=10_000_000)
    grace: int = Field(default=GRACE, ge=1, le=86_400)
    partition: str | None = None
    gpus: int | None = Field(default=None, ge=0, le=1)  # a run of a sweep is one process
    cpus: int | None = Field(default=None, ge=1, le=10_000)
    mem: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    sbatch: dict[str, str | bool] = {}
    setup: tuple[str, ...] = ()

    @field_validator("sbatch")
    @classmethod
    def _parameters_of_sbatch(cls, given: dict[str, str | bool]) -> dict[str, str | bool]:
        for name, value in given.items():
            if wrong := _wrong_with(name, value):
                raise ValueError(f"{name}: {wrong}")
        return given


SLURM_ALONE = ("partition", "gpus", "cpus", "mem", "account", "qos", "constraint", "sbatch", "setup")
LOCAL_ALONE = ("jobs", "devices")


def launch_settings(
    given: Mapping[str, Any], stored: Mapping[str, JsonValue] | None = None
) -> LaunchSettings:
    """Settings as they are typed, over those that a sweep was made with. Raises `ConfigError`."""
    values: dict[str, Any] = {**(stored or {}), **given}
    if values.get("launcher", "local") != (stored or {}).get("launcher", "local"):
        values = dict(given)  # of another kind of launcher, nothing that was chosen holds
    problems: list[Problem] = []
    if isinstance(values.get("time"), str):
        values["time"] = minutes_of(values["time"])
    if isinstance(values.get("mem"), str) and not _MEMORY.fullmatch(values["mem"]):
        problems.append(Problem("mem", values["mem"], "is no size of memory such as 16G or 4000M"))
    for name in SLURM_ALONE if values.get("launcher", "local") == "local" else LOCAL_ALONE:
        if name in given:
            other = "slurm" if name in SLURM_ALONE else "local"
            problems.append(Problem(name, given[name], f"goes with --launcher {other}"))
    problems += [
        Problem("devices", device, DEVICE_RULE)
        for device in values.get("devices", ())
        if not DEVICE.fullmatch(str(device))
    ]
    for name in ("partition", "account", "qos", "constraint"):
        if isinstance(values.get(name), str) and not (values[name].isprintable() and values[name].strip()):
            problems.append(Problem(name, values[name], "must be text on one line"))
    if problems:
        raise ConfigError(problems)
    try:
        settings = LaunchSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(problems_of(error)) from None
    minutes = USUAL_MINUTES if settings.launcher == "slurm" and settings.time is None else settings.time
    if minutes is not None and minutes * 60 <= settings.grace:
        message = f"ends a run before it is told to save, {settings.grace} s before the end (--grace)"
        raise ConfigError([Problem("time", given.get("time", minutes), message)])
    return settings


def minutes_of(text: str) -> float:
    """Minutes of a length of time as sbatch takes it: `90`, `1:30:00`, `2-12:00:00`. Raises `ConfigError`."""
    found = _TIME.fullmatch(text)
    parts = text.rpartition("-")[2].split(":")
    if found is None or (found["days"] and len(parts) == 2):
        message = "is no length of time: minutes, H:MM:SS or D-HH:MM:SS"
        raise ConfigError([Problem("time", text, message)])
    if len(parts) == 2:  # minutes and seconds
        return int(parts[0]) + int(parts[1]) / 60
    days = int(found["days"] or 0)
    if len(parts) == 1:
        return days * 1440 + int(parts[0]) * (60 if found["days"] else 1)
    return days * 1440 + int(parts[0]) * 60 + int(parts[1]) + int(parts[2]) / 60


def sbatch_words(words: list[str]) -> dict[str, str | bool]:
    """Parameters of sbatch as they are typed: `gres=gpu:2`, `exclusive`. Raises `ConfigError`.

    One that is empty, as `wckey=`, is not to be given.
    """
    found: dict[str, str | bool] = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        found[name] = value if equals else True
        if wrong := _wrong_with(name, found[name]):
            raise ConfigError([Problem("sbatch", word, wrong)])
    return found


def _wrong_with(name: str, value: str | bool) -> str | None:
    """Why this is no parameter that sbatch may be given; each has one line of the script."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or not str(value).isprintable():
        return "is no parameter of sbatch such as gres=gpu:2 or exclusive"
    if name in KEPT or (name == "requeue" and value is not True):
        return f"is seen to by eqprop; {KEPT.get(name, KEPT['no-requeue'])}"
    return None


KEPT = {
    "signal": "--grace says how long before the end",
    "time": "give --time",
    "array": "each run is a job of its own",
    "output": "it is in the sweep's jobs folder",
    "error": "it is in the sweep's jobs folder",
    "no-requeue": "a run that is out of time goes on in the same job",
}
