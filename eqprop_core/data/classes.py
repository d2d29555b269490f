"""How the classes share the images: what choosing some leaves out, and what always answering one gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt

from eqprop_core.config import RunConfig
from eqprop_core.data.datasets import Dataset, Images
from eqprop_core.problems import flag, shown

NAMES_SHOWN = 10
FEW = 0.5  # of the images that a class would have by its share
DEVIATIONS = 4.0  # by which a draw does not stray


def images_of_classes(images: Images, classes: int) -> list[int]:
    """The number of images of each class."""
    counts: list[int] = images.labels.cpu().bincount(minlength=classes).tolist()
    return counts


def largest_share(images: Images) -> float:
    """The share of the largest class (0 to 1): how often always answering that one is right."""
    counts = images.labels.cpu().bincount()
    return float(counts.max()) / len(images)


def left_out(dataset: Dataset, config: RunConfig) -> Iterator[str]:
    """Warnings of classes that have images in the files, but none, or few, in a part that is used."""
    names = dataset.info.classes
    whole = dataset.available
    if not whole:
        return
    somewhere = [n for n in range(len(names)) if any(counts[n] for counts in whole.values())]
    train = images_of_classes(dataset.train, len(names))
    chosen, validation = train, [0] * len(names)
    if dataset.validation is not None:
        validation = images_of_classes(dataset.validation, len(names))
        chosen = [sum(pair) for pair in zip(train, validation, strict=True)]
    test = images_of_classes(dataset.test, len(names))
    if len(somewhere) == 1:
        only = _named(names, somewhere)
        yield f"all images are of one class, {only}: every answer is right, and there is nothing to learn"
        return
    for counts, setting, kind in ((chosen, "train_samples", "training"), (test, "test_samples", "test")):
        all_of = whole["train" if setting == "train_samples" else "test"]
        samples = getattr(config, setting)
        use = "" if samples is None else f"{flag(setting)} {samples}: "
        hint = ""
        if samples is not None and config.samples == "first" and dataset.info.name != "imagefolder":
            hint = "; files may be sorted by class: --samples drawn takes some at random"
        missing = [n for n in somewhere if not counts[n]]
        if missing:
            hint = hint if any(all_of[n] for n in missing) else ""
            yield f"{use}{_none_of(missing, somewhere, names, sum(counts), kind)}{hint}"
        elif samples is not None and (few := _few(counts, all_of)):
            yield (
                f"{use}of class {_named(names, few)} there are far fewer {kind} images than its share "
                f"({_numbers(few, counts, all_of)}){hint}"
            )
    if dataset.validation is not None:
        use = f"{flag('val_split')} {config.val_split:g}: "
        for counts, kind in ((train, "training"), (validation, "validation")):
            if missing := [n for n in somewhere if chosen[n] and not counts[n]]:
                yield f"{use}{_none_of(missing, somewhere, names, sum(counts), kind)}"


def _few(counts: Sequence[int], whole: Sequence[int]) -> list[int]:
    """Classes with so few of the chosen images, against their share of the whole, as no draw would give."""
    expected = [sum(counts) * of / sum(whole) for of in whole]
    return [
        n
        for n, (found, mean) in enumerate(zip(counts, expected, strict=True))
        if found < FEW * mean and mean - found > DEVIATIONS * sqrt(mean)
    ]


def _none_of(missing: list[int], of: list[int], names: Sequence[str], images: int, kind: str) -> str:
    left = [n for n in of if n not in missing]
    if len(left) == 1:
        return f"all {images:,} {kind} images are of one class, {_named(names, left)}, of {len(of)}"
    return (
        f"{len(missing)} of {len(of)} classes have none of the {images:,} {kind} images: "
        f"{_named(names, missing)}"
    )


def _named(names: Sequence[str], which: Sequence[int]) -> str:
    said = ", ".join(shown(names[n]) for n in which[:NAMES_SHOWN])
    return said if len(which) <= NAMES_SHOWN else f"{said} and {len(which) - NAMES_SHOWN} more"


def _numbers(which: Sequence[int], counts: Sequence[int], whole: Sequence[int]) -> str:
    return ", ".join(f"{counts[n]:,} of {whole[n]:,}" for n in which[:NAMES_SHOWN])
