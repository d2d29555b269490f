"""What is recorded of data: the same wherever and however they lie, and in words how others are unlike them."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainers import SMALL

from eqprop_core.config import RunConfig
from eqprop_core.data.datasets import Dataset, Images, load_dataset
from eqprop_core.data.fingerprint import Fingerprint, differences, fingerprint, read_fingerprint, relabelled
from eqprop_core.published import PUBLISHED

CONFIG = RunConfig(**{**SMALL, "train_samples": None, "test_samples": None})
NAMES = ("ant", "bee", "cow")


def images(count: int, seed: int) -> Images:
    pixels = torch.randint(
        0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    return Images(pixels, torch.arange(count) % 3)


DATA = Dataset(replace(PUBLISHED["digits"], classes=NAMES), images(9, 0), images(3, 1), images(6, 2))


def at(part: Images, places: list[int]) -> Images:
    return Images(part.images[places], part.labels[places])


def called(*names: str) -> Dataset:
    return replace(DATA, info=replace(DATA.info, classes=names))


def brighter(part: Images) -> Images:
    return Images(torch.cat([part.images[:-1], part.images[-1:] ^ 1]), part.labels)


CHANGES: list[tuple[Callable[[], Dataset], list[str]]] = [
    (lambda: DATA, []),
    (lambda: replace(DATA, train=at(DATA.train, list(range(8)))), ["9 training images before, 8 now (cow 3 → 2)"]),
    (lambda: replace(DATA, test=images(600, 2)), ["6 test images before, 600 now (ant 2 → 200, bee 2 → 200, cow 2 → 200)"]),
    (lambda: replace(DATA, test=brighter(DATA.test)), ["other test images of the same number (6)"]),
    (lambda: replace(DATA, validation=brighter(images(3, 1))), ["other validation images of the same number (3)"]),
    (
        lambda: replace(DATA, train=Images(DATA.train.images, DATA.train.labels.clamp(max=1))),
        ["other training images of the same number (9) (bee 3 → 6, cow 3 → 0)"],
    ),
    (lambda: replace(DATA, train=at(DATA.train, [3, 1, 2, 0, *range(4, 9)])), ["the same 9 training images in another order"]),
    (lambda: called("ant", "bee", "cat"), ["class cow is not there", "class cat is new", "label 2 was cow, is cat"]),
    (
        lambda: called("ant", "bee", "cow "),
        [r"class cow is not there", r"class cow  (cow\u0020) is new", r"label 2 was cow, is cow  (cow\u0020)"],
    ),
    (lambda: called("bee", "cow", "zebra"), ["class ant is not there", "class zebra is new", "label 0 was ant, is bee, 1 was bee, is cow, 2 was cow, is zebra"]),
    (lambda: called("ant", "bat", "bee", "cow"), ["3 classes before, 4 now", "class bat is new", "label 1 was bee, is bat, 2 was cow, is bee"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_how_data_differ_is_said_in_words(change: Callable[[], Dataset], said: list[str]) -> None:
    before = read_fingerprint(fingerprint(DATA, CONFIG).document())
    assert before == fingerprint(DATA, CONFIG)
    assert differences(before, fingerprint(change(), CONFIG)) == said


def test_the_order_of_images_need_not_matter() -> None:
    other = fingerprint(replace(DATA, test=at(DATA.test, [5, 4, 3, 2, 1, 0])), CONFIG)
    assert differences(fingerprint(DATA, CONFIG), other, ordered=False) == []
    assert fingerprint(DATA, CONFIG).parts["test"].order != other.parts["test"].order
    assert fingerprint(DATA, CONFIG).summary() == other.summary()


@pytest.mark.parametrize(
    ("dataset", "other"),
    [
        (DATA, False),
        (called("ant", "bee", "cat"), False),  # the same images, called otherwise
        (replace(called("ant", "bee", "cat"), test=images(6, 5)), True),
        (called("ant", "bat", "bee", "cow"), True),
        (replace(DATA, train=images(30, 5)), False),
    ],
)
def test_other_names_are_other_labels_unless_the_images_are_the_same(dataset: Dataset, other: bool) -> None:
    assert relabelled(fingerprint(DATA, CONFIG), fingerprint(dataset, CONFIG)) == other


def test_what_other_settings_choose_is_not_compared() -> None:
    fewer = CONFIG.changed(test_samples=3)
    now = fingerprint(replace(DATA, test=at(DATA.test, [0, 1, 2])), fewer)
    assert differences(fingerprint(DATA, CONFIG), now) == []
    drawn = [fingerprint(DATA, fewer.changed(samples="drawn", seed=seed)).parts["test"] for seed in (1, 2)]
    assert drawn[0].chosen_by != drawn[1].chosen_by


def test_what_is_held_out_does_not_change_what_the_data_are() -> None:
    digests = set()
    for share, seed in ((0.0, 0), (0.2, 0), (0.2, 1)):
        config = CONFIG.changed(val_split=share, seed=seed)
        data = fingerprint(load_dataset("digits", val_split=share, seed=seed), config)
        digests.add(data.digest)
    assert len(digests) == 1


def test_data_elsewhere_and_compressed_are_the_same(small_mnist: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(small_mnist / "MNIST", moved / "MNIST")
    for path in (moved / "MNIST" / "raw").iterdir():
        if path.suffix == ".gz":
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        else:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    found = []
    for root in (small_mnist, moved):
        config = RunConfig(task="MNIST", lrs=(0.1, 0.1), seed=1, data_dir=str(root))
        found.append(fingerprint(load_dataset("MNIST", root=root), config))
    assert differences(found[0], found[1]) == []
    assert found[0].place != found[1].place
    assert found[0].summary()["digest"] == found[1].summary()["digest"]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "data",
        {},
        {"task": "digits"},
        {"task": "digits", "place": "", "classes": [1, 2], "digest": "", "parts": {}},
        {"task": "digits", "place": "", "classes": [], "digest": "", "parts": {"train": {"images": "many"}}},
        {"task": "digits", "place": "", "classes": [], "digest": "", "parts": {"train": torch.zeros(3)}},
    ],
)
def test_what_is_no_fingerprint_is_none(document: Any) -> None:
    assert read_fingerprint(document) is None


def test_names_in_a_foreign_file_steer_no_terminal() -> None:
    document = fingerprint(called("a\x1b[2J", "b\n" * 50, "c"), CONFIG).document()
    before = read_fingerprint(document)
    assert isinstance(before, Fingerprint)
    assert all(
        said.isprintable() and len(said) < 300 for said in differences(before, fingerprint(DATA, CONFIG))
    )
