"""The library of presets as both front ends show it: groups, words to look for, what a preset needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eqprop_core import catalogue
from eqprop_core.config import RunConfig
from eqprop_core.estimate import Measured, estimate, unmeasured
from eqprop_core.memory import Room, fitting_mbs
from eqprop_core.presets import Preset
from eqprop_core.problems import flag
from eqprop_core.shell import command
from eqprop_tui.words import duration, in_unit, memory_size, pace

GROUPS = ("start here", "MNIST", "CIFAR-10", "CIFAR-10 vector field", "GDU check")  # first, in this order
DEMO = "digits-mlp-ep"  # what `eqprop demo` trains, and a first look begins with
SOME_SECONDS = 5.0  # of a training: to start it takes as long


def grouped(presets: Iterable[Preset]) -> dict[str, list[Preset]]:
    """Presets by group, in the order in which groups are shown."""
    found: dict[str, list[Preset]] = {}
    for preset in presets:
        found.setdefault(preset.group, []).append(preset)
    order = [*(group for group in GROUPS if group in found), *sorted(found.keys() - set(GROUPS))]
    return {group: found[group] for group in order}


def mentions(preset: Preset, words: Iterable[str]) -> bool:
    """Whether all these words are in its name, title, description or tags, in letters of either case."""
    text = " ".join((preset.name, preset.title, preset.description, *preset.tags)).lower()
    return all(word.lower() in text for word in words)


USABLE = ("present", "subset", "foreign")


def data_state(config: RunConfig) -> str:
    """Whether the files of the data set are here: present, subset, absent, damaged; foreign: others are."""
    there = catalogue.status(config.task, config.data_root)
    return "foreign" if there.foreign else there.state


def data_in_words(config: RunConfig, state: str) -> str:
    """The data set, whether it is here, and what to do about it where it is not."""
    if state in USABLE:
        here = {"present": "here", "subset": "a part of it is here", "foreign": "other images in its place"}
        return f"{config.task} ({here[state]})"
    if config.task in catalogue.OWN:
        return f"{config.task} (not here: data-dir chooses the folder)"
    lacking = "not here" if state == "absent" else "damaged"
    return f"{config.task} ({lacking}: {command('data', 'get', config.task)})"


def memory_in_words(config: RunConfig, place: Room) -> str:
    """What a run needs and what there is, and what would fit where it does not."""
    words = f"about {memory_size(place.need)}"
    if place.free is None:
        return words
    words += f", {memory_size(place.free)} free on {place.device}"
    if place.fits or config.todo != "train":
        return words if place.fits else f"{words}: too little"
    fitting = fitting_mbs(config, place.free)
    return f"{words}: too little; " + (f"--mbs {fitting} would fit" if fitting else "not even --mbs 1 fits")


def time_in_words(config: RunConfig, measured: Measured | None, *, short: bool = False) -> str | None:
    """How long a training takes by what was measured; `None` where that is nothing, or not of this kind."""
    found = estimate(config, measured) if measured is not None and config.todo == "train" else None
    if found is None:
        return None
    words = "some seconds here" if found.run < SOME_SECONDS else f"about {duration(found.run)} here"
    if left_out := [flag(name) for name in unmeasured(config)]:
        words += f" without {' '.join(left_out)}"
    epochs = "1 epoch" if found.epochs == 1 else f"{found.epochs:,} epochs"
    words += f", measured: {epochs} of {pace(found.epoch)}"
    batches = "1 batch" if found.batches == 1 else f"{found.batches:,} batches"
    return words if short else f"{words}, {batches} at {in_unit(found.batch)}"


def divided(presets: Sequence[Preset], most: int = 6) -> dict[str, list[Preset]]:
    """A group in parts, where it has more than `most`: by the first further tag that tells them apart.

    One part without a name where it is small, or where no tag does. Those that lack the tag stay there.
    """
    if len(presets) > most:
        for place in range(1, max(len(preset.tags) for preset in presets)):
            parts: dict[str, list[Preset]] = {}
            for preset in presets:
                parts.setdefault(preset.tags[place] if place < len(preset.tags) else "", []).append(preset)
            if len(parts) > 1:
                return parts
    return {"": list(presets)}


def shortened(names: Sequence[str]) -> list[str]:
    """Names without the words that all of them begin with."""
    words = [name.split("-") for name in names]
    same = 0
    while len(names) > 1 and all(len(one) > same + 1 and one[same] == words[0][same] for one in words):
        same += 1
    return ["-".join(one[same:]) for one in words]
