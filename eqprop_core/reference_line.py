"""A command line of the reference, understood as the reference understands it.

Its parser takes the beginnings of flags, and its code reads as many values as it has layers, and no flag that
its network, its data or its optimizer has no use for. What is left out here for one of these reasons is told.
Too few values are left as they are: the settings themselves refuse them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from eqprop_core.catalogue import augmented_tasks
from eqprop_core.config import Architecture, RunConfig
from eqprop_core.problems import ConfigError, Problem, flag, shown
from eqprop_core.rules import CONVOLUTION_LISTS, inapplicable

SETTINGS = (
    *("model", "task", "pools", "archi", "channels", "kernels", "strides", "paddings", "fc", "act"),
    *("optim", "lrs", "wds", "mmt", "loss", "alg", "mbs", "T1", "T2", "betas", "epochs", "check_thm"),
    *("random_sign", "data_aug", "lr_decay", "scale", "save", "todo", "load_path", "seed", "device"),
    *("thirdphase", "softmax", "same_update", "dropouts"),
)  # fmt: skip
IGNORED = {
    "--cep-debug": "what it prints is not printed here",
    "--save-nrn": "pictures of neural activity are always drawn with --save",
}
REFUSED = {
    "fivephase": "is of a branch of the reference; the estimator of highest order here is --thirdphase",
    "local": "is of a branch of the reference: layers without shared weights; use --model CNN, or MLP",
}
PROGRAM = re.compile(r"(.*/)?(python[\d.]*|[^/]*\.py)")


def spelled_out(words: Sequence[str], others: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Words with flags in full, those that do nothing here left out, and what there is to say of them.

    `others` are flags that the reference does not have. Raises `ConfigError` for the beginning of several
    flags, and for flags of the reference's branches.
    """
    known = [*map(flag, SETTINGS), "--cep-debug"]
    kept: list[str] = []
    notes: list[str] = []
    first = 0
    while first < len(words) and PROGRAM.fullmatch(words[first]):
        first += 1
    for place, word in enumerate(words[first:], first):
        if word == "--":
            return [*kept, *words[place:]], notes
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            kept.append(word)
            continue
        if name not in (*others, *known, *IGNORED):
            meant = [one for one in known if one.startswith(name)]
            refused = (
                one for one in REFUSED if flag(one) == name or (not meant and flag(one).startswith(name))
            )
            if setting := next(refused, None):
                raise ConfigError([Problem(setting, None, REFUSED[setting])])
            if len(meant) > 1:
                needed = f"is the beginning of {', '.join(meant)}: give more of it"
                raise ConfigError([Problem(name.removeprefix("--"), None, needed)])
            name = meant[0] if meant else name
        if name in IGNORED:
            notes.append(f"{name} is left out: {IGNORED[name]}")
        else:
            kept.append(f"{name}{equals}{value}")
    return kept, notes


def read(words: Sequence[str]) -> dict[str, Any]:
    """The settings of a whole command line, values as they were typed; flags that are not known are skipped.

    Raises `ConfigError` as `spelled_out` does.
    """
    given: dict[str, Any] = {}
    by_flag = {flag(name): name for name in SETTINGS}
    setting: str | None = None
    for word in spelled_out(words)[0]:
        if not word.startswith("--"):
            if setting is not None:
                given[setting] = f"{given[setting]} {word}".strip()
            continue
        name, _, value = word.partition("=")
        setting = by_flag.get(name)
        if setting is not None and isinstance(RunConfig.model_fields[setting].default, bool):
            given[setting], setting = True, None
        elif setting is not None:
            given[setting] = value
    return given


def understood(
    flags: Mapping[str, Any], stored: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The flags that the reference reads, and what to say of the rest; `stored` has the settings of a run.

    Values are as they were typed: words with spaces between them, or lists.
    """
    given, notes = dict(flags), []
    if not given.get("load_path", "-"):  # the reference's way to say none
        del given["load_path"]
    if stored is not None:
        for name in [name for name in given if name in Architecture.model_fields and name != "dropouts"]:
            had = stored.get(name, RunConfig.model_fields[name].default)
            value = given.pop(name)
            if _words(value) != _words(had):
                notes.append(f"{flag(name)} {shown(value)} is left out: the network is the stored one")
    seen = SimpleNamespace(
        **{name: field.default for name, field in RunConfig.model_fields.items()} | dict(stored or {}) | given
    )
    for name, why in _unread(seen).items():
        if name in given:
            value = "" if given[name] is True else f" {shown(given[name])}"
            notes.append(f"{flag(name)}{value} is left out: {why}")
            del given[name]
    for name, (count, what) in _counts(seen).items():
        if name not in given:
            continue
        words = list(str(given[name])) if name == "pools" else _words(given[name])
        if name in ("lrs", "wds") and seen.todo != "train" and len(words) != count:
            notes.append(f"{flag(name)} {shown(given[name])} is left out: nothing is trained")
            del given[name]
            continue
        used = [word for word in words if word in "mai"] if name == "pools" else words
        used = used[:count]
        if 0 < count == len(used) < len(words):
            given[name] = ("" if name == "pools" else " ").join(used)
            notes.append(
                f"{flag(name)} {shown(' '.join(words) if name != 'pools' else ''.join(words))}: "
                f"{given[name]} is used, as there {what}; the rest is left out"
            )
    return given, notes


def _words(value: Any) -> list[str]:
    """The values of a list, or the one value, as words."""
    if isinstance(value, str):
        return value.split()
    return list(map(str, value)) if isinstance(value, (list, tuple)) else [str(value)]


def _unread(seen: Any) -> dict[str, str]:
    """Flags that the reference's code does not look at, each with the reason."""
    unread = inapplicable(seen)
    if seen.model in ("MLP", "VFMLP"):
        unread["softmax"] = f"{seen.model} has no readout"
    if seen.task not in augmented_tasks():
        unread["data_aug"] = f"{seen.task} is not augmented"
    if seen.thirdphase:
        unread["random_sign"] = "--thirdphase nudges by both signs"
    elif not re.fullmatch(r"[-+]?0*\.?0*(e.*)?", (_words(seen.betas) or ["0"])[0], re.IGNORECASE):
        unread["random_sign"] = "the first of --betas is not 0"
    return unread


def _counts(seen: Any) -> dict[str, tuple[int, str]]:
    """How many values of each list are read, and why so many."""
    counts = {"betas": (2, "are two phases")}
    if seen.model in ("MLP", "VFMLP"):
        connections = len(_words(seen.archi or (0, 0, 0))) - 1
    else:
        layers = len(_words(seen.channels or (32, 64)))
        convolutions = "is 1 convolution" if layers == 1 else f"are {layers} convolutions"
        counts |= dict.fromkeys(CONVOLUTION_LISTS, (layers, convolutions))
        connections = layers + len(_words(seen.fc or (10,)))
    joined = "is 1 connection" if connections == 1 else f"are {connections} connections"
    neurons = connections - bool(seen.softmax) + 1
    counts |= dict.fromkeys(("lrs", "wds"), (connections, joined))
    counts["dropouts"] = neurons, f"are {neurons} layers with the input"
    return counts
