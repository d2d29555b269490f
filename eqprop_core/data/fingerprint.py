"""What a network was trained on, as a run records it: classes, numbers, a digest of the images.

Made of the images as they are in memory: the same data elsewhere, or compressed, have the same fingerprint.
`differences` says in words how one is unlike another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from eqprop_core.config import RunConfig
from eqprop_core.data.classes import images_of_classes
from eqprop_core.data.datasets import Dataset, Images
from eqprop_core.problems import shown
from eqprop_core.spelling import alike, spelled

PARTS = {"train": "training", "validation": "validation", "test": "test"}
CHOOSING = {  # which settings decide what images of the files a part has
    "train": ("train_samples", "samples", "val_split", "image_size"),
    "validation": ("train_samples", "samples", "val_split", "image_size"),
    "test": ("test_samples", "samples", "image_size"),
}
CLASSES_SHOWN = 6


class Part(BaseModel):
    """Images of one part of the data: how many of each class, what they are, and in which order.

    `content` is a digest of all images with their labels, whatever their order; `order` also of that.
    `chosen_by` has the settings that chose them out of the files.
    """

    model_config = ConfigDict(frozen=True)
    images: int
    counts: tuple[int, ...]
    content: str
    order: str
    chosen_by: dict[str, int | float | str | None]


class Fingerprint(BaseModel):
    """The data of a run: `classes` in the order of their labels, and each part. `place` is where they lay.

    `digest` is that of all images with their labels, whichever of them are held out for validation; `files`
    are the numbers of images in the files, before some were chosen; `whole` are digests of those, as in
    `Dataset`.
    """

    model_config = ConfigDict(frozen=True)
    task: str
    place: str
    classes: tuple[str, ...]
    digest: str
    files: dict[str, int] = {}
    whole: dict[str, str] = {}
    parts: dict[str, Part]

    def document(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return self.model_dump(mode="json")

    def summary(self) -> dict[str, Any]:
        """What `meta.json` has of it: the same in all runs that were trained on the same."""
        return {
            "in": self.place,
            "classes": list(self.classes),
            "images": {name: part.images for name, part in self.parts.items()},
            "digest": self.digest,
            "files": self.files,
        }


def fingerprint(dataset: Dataset, config: RunConfig) -> Fingerprint:
    """The fingerprint of what is loaded; takes some tenths of a second for MNIST or CIFAR-10."""
    parts: dict[str, Part] = {}
    each: dict[str, list[bytes]] = {name: [] for name in CHOOSING}
    for name, settings in CHOOSING.items():
        images: Images | None = getattr(dataset, name)
        if images is not None:
            chosen_by = {setting: getattr(config, setting) for setting in settings}
            if config.samples == "drawn" or (name != "test" and config.val_split):
                chosen_by["seed"] = config.seed
            each[name] = _each(images)
            parts[name] = Part(
                images=len(images),
                counts=tuple(images_of_classes(images, len(dataset.info.classes))),
                content=_digest(sorted(each[name])),
                order=_digest(each[name]),
                chosen_by=chosen_by,
            )
    return Fingerprint(
        task=config.task,
        place="" if config.task == "digits" else str(config.data_root.absolute()),
        classes=dataset.info.classes,
        digest=_digest([*sorted(each["train"] + each["validation"]), *sorted(each["test"])], 8),
        files={split: sum(counts) for split, counts in dataset.available.items()},
        parts=parts,
        whole=dict(dataset.whole),
    )


def read_fingerprint(document: object) -> Fingerprint | None:
    """The fingerprint in a file that may be of anybody; None where there is none."""
    try:
        return Fingerprint.model_validate(document)
    except ValidationError:
        return None


def relabelled(before: Fingerprint, now: Fingerprint) -> bool:
    """Whether labels mean other classes now. Not so where only names are new, of the same images."""
    if before.classes == now.classes:
        return False
    pairs = [(had, now.parts[name]) for name, had in before.parts.items() if name in now.parts]
    same = [had.content == has.content for had, has in pairs if had.chosen_by == has.chosen_by]
    return not same or not all(same) or len(before.classes) != len(now.classes)


def differences(
    before: Fingerprint,
    now: Fingerprint,
    *,
    ordered: bool = True,
    called: tuple[str, str] = ("before", "now"),
) -> list[str]:
    """How the data differ in words, a clause each; empty where they are the same.

    Of a part that other settings choose, the files that they choose from are compared. Unless `ordered`,
    the order of images is no difference. `called` says which of the two a number is of.
    """
    said = list(_classes(before.classes, now.classes, called))
    for name, kind in PARTS.items():
        had, has = before.parts.get(name), now.parts.get(name)
        if had is not None and has is not None and had.chosen_by == has.chosen_by:
            said += _part_differences(had, has, kind, now.classes, ordered, called)
        elif name in before.whole and before.whole[name] != now.whole.get(name):
            said.append(f"the files hold other {kind} images, or in another order")
    return said


def _each(images: Images) -> list[bytes]:
    """A digest of each image with its label."""
    rows = images.images.cpu().contiguous().flatten(1).numpy()
    return [
        blake2b(row, digest_size=16, salt=label.to_bytes(8, "big")).digest()
        for row, label in zip(rows, images.labels.tolist(), strict=True)
    ]


def _digest(parts: Sequence[bytes], size: int = 16) -> str:
    return blake2b(b"".join(parts), digest_size=size).hexdigest()


def _classes(before: Sequence[str], now: Sequence[str], called: tuple[str, str]) -> Iterator[str]:
    if before == now:
        return
    if len(before) != len(now):
        yield f"{len(before)} classes {called[0]}, {len(now)} {called[1]}"
    if gone := [_told(name, now) for name in before if name not in now]:
        yield f"class {_some(gone)} is not there"
    if new := [_told(name, before) for name in now if name not in before]:
        yield f"class {_some(new)} is new"
    moved = [
        f"{number} was {_told(had, [has])}, is {_told(has, [had])}"
        for number, (had, has) in enumerate(zip(before, now, strict=False))
        if had != has
    ]
    if moved:
        yield f"label {_some(moved)}"


def _told(name: str, others: Sequence[str]) -> str:
    """The name of a class, spelled out where it looks like one of the others."""
    return spelled(name[:60]) if any(alike(name, other) for other in others) else shown(name)


def _part_differences(
    had: Part, has: Part, kind: str, classes: Sequence[str], ordered: bool, called: tuple[str, str]
) -> Iterator[str]:
    if had.images != has.images:
        of_classes = _by_class(had, has, classes)
        yield f"{had.images:,} {kind} images {called[0]}, {has.images:,} {called[1]}{of_classes}"
    elif had.content != has.content:
        yield f"other {kind} images of the same number ({has.images:,}){_by_class(had, has, classes)}"
    elif ordered and had.order != has.order:
        yield f"the same {has.images:,} {kind} images in another order"


def _by_class(had: Part, has: Part, classes: Sequence[str]) -> str:
    if len(had.counts) != len(has.counts) or len(classes) != len(has.counts):
        return ""
    changed = [
        f"{shown(name)} {before:,} → {now:,}"
        for name, before, now in zip(classes, had.counts, has.counts, strict=True)
        if before != now
    ]
    return f" ({_some(changed)})" if 0 < len(changed) <= CLASSES_SHOWN else ""


def _some(words: Sequence[str]) -> str:
    said = ", ".join(words[:CLASSES_SHOWN])
    return said if len(words) <= CLASSES_SHOWN else f"{said} and {len(words) - CLASSES_SHOWN} more"
