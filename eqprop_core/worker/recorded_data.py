"""Whether the data that are here are those that weights were trained on; refuses what cannot be meant.

Weights of before there were fingerprints, and those of other programs, are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eqprop_core.data.fingerprint import Fingerprint, differences, read_fingerprint, relabelled
from eqprop_core.runs.folder import DATA, RunError
from eqprop_core.runs.words import data_in_words


def told_to_use(content: Mapping[str, Any], now: Fingerprint, path: Path, *, todo: str) -> list[str]:
    """What there is to say where the weights in `path` are evaluated, checked or begun with.

    Raises `RunError` for an evaluation in which labels mean other classes.
    """
    before = read_fingerprint(content.get(DATA))
    if before is None:
        return []
    if todo == "evaluate":
        _refuse_other_classes(before, now, path, "answers would be held against other labels")
    return _said(before, now, differences(before, now, ordered=todo == "gducheck"))


def told_to_go_on(
    content: Mapping[str, Any], now: Fingerprint, path: Path, *, batch: int, batches: int
) -> list[str]:
    """What there is to say where a training goes on from `path`, after `batch` of an epoch's `batches`.

    Raises `RunError` where labels mean other classes, where a place inside an epoch means nothing as the
    number of images is another, and where that moves the images that are held out for validation.
    """
    before = read_fingerprint(content.get(DATA))
    if before is None:
        return []
    _refuse_other_classes(before, now, path, "it would unlearn what it has learnt")
    had, has = _trained_on(before), _trained_on(now)
    numbers = f"{had:,} training images before, {has:,} now{_where(before, now)}"
    way_out = (
        "it goes on with the images of before; eqprop train --from-run begins a new run with its settings"
    )
    if had != has and batch:
        raise RunError(
            f"{path}: was saved inside an epoch, after {batch} batches, and the epoch now has {batches}: "
            f"{numbers}; {way_out}"
        )
    if had != has and "validation" in before.parts:
        raise RunError(f"{path}: would validate on images that were trained on: {numbers}; {way_out}")
    if _held_out_moved(before, now):
        raise RunError(
            f"{path}: would validate on images that were trained on: they are the same, in another order, as "
            f"when files are renamed{_where(before, now)}; {way_out.replace('images of', 'order of')}"
        )
    return _said(before, now, differences(before, now))


def told_to_begin_again(recorded: object, now: Fingerprint) -> list[str]:
    """What there is to say where a run begins again, or repeats another, by what `meta.json` has recorded."""
    before, has = data_in_words(recorded), data_in_words(now.summary())
    return [] if before in ("", has) else [f"it begins with other data than before: {before} then, {has} now"]


def check_alike(own: Fingerprint, documents: Sequence[object], hosts: Sequence[str]) -> None:
    """Raise `RunError` where a process of those that train together, on `hosts`, has loaded other data."""
    for rank, (document, host) in enumerate(zip(documents, hosts, strict=True)):
        other = Fingerprint.model_validate(document)
        if found := differences(own, other, called=("in process 0", f"in process {rank}")):
            raise RunError(
                f"process {rank} on {host} has other data than process 0: {'; '.join(found)} "
                f"({own.place} and {other.place})"
            )


def _refuse_other_classes(before: Fingerprint, now: Fingerprint, path: Path, why: str) -> None:
    if relabelled(before, now):
        said = "; ".join(differences(before, now)[:4])
        raise RunError(
            f"{path}: was trained on other classes, so that {why}: {said}{_where(before, now)}; the classes "
            "have to be called as they were"
        )


def _held_out_moved(before: Fingerprint, now: Fingerprint) -> bool:
    """Whether other images are held out for validation, of the same."""
    had, has = (data.parts.get("validation") for data in (before, now))
    if had is None or has is None or had.chosen_by != has.chosen_by:
        return False
    return before.digest == now.digest and had.content != has.content


def _trained_on(data: Fingerprint) -> int:
    return sum(data.parts[name].images for name in ("train", "validation") if name in data.parts)


def _said(before: Fingerprint, now: Fingerprint, found: list[str]) -> list[str]:
    if not found:
        return []
    return [f"the data differ from what it was trained on: {'; '.join(found)}{_where(before, now)}"]


def _where(before: Fingerprint, now: Fingerprint) -> str:
    if before.place == now.place:
        return f" ({now.place})" if now.place else ""
    return f" ({before.place or before.task} before, {now.place or now.task} now)"
