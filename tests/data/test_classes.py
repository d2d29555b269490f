"""Classes without images, or with far too few, are named before training; what a draw does is no matter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_trainers import SMALL

from eqprop_core.config import RunConfig
from eqprop_core.data.classes import largest_share, left_out
from eqprop_core.data.datasets import Dataset, Images
from eqprop_core.published import PUBLISHED

NAMES = ("ant", "bee", "cow")
CONFIG = RunConfig(**{**SMALL, "train_samples": None, "test_samples": None})


def part(*counts: int) -> Images:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return Images(torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8), labels)


def said(
    train: tuple[int, ...],
    *,
    test: tuple[int, ...] = (5, 5, 5),
    validation: tuple[int, ...] | None = None,
    whole: tuple[int, ...] = (100, 100, 100),
    whole_test: tuple[int, ...] | None = None,
    **settings: object,
) -> list[str]:
    dataset = Dataset(
        replace(PUBLISHED["digits"], classes=NAMES),
        part(*train),
        None if validation is None else part(*validation),
        part(*test),
        {"train": whole, "test": whole_test or test},
    )
    return list(left_out(dataset, CONFIG.changed(**settings)))


def test_the_first_images_of_a_sorted_file() -> None:
    assert said((50, 0, 0), train_samples=50) == [
        "--train-samples 50: all 50 training images are of one class, ant, of 3; "
        "files may be sorted by class: --samples drawn takes some at random"
    ]
    (words,) = said((100, 20, 0), train_samples=120)
    assert words.startswith("--train-samples 120: 1 of 3 classes have none of the 120 training images: cow;")
    (words,) = said((100, 100, 39), train_samples=239)
    assert "far fewer training images than its share (39 of 100)" in words and "cow" in words
    (words,) = said((9, 9, 9), test=(0, 7, 8), whole_test=(20, 20, 20), test_samples=15)
    assert words.startswith("--test-samples 15: 1 of 3 classes have none of the 15 test images: ant; ")


@pytest.mark.parametrize(
    ("train", "settings"),
    [
        ((100, 100, 100), {}),
        ((34, 33, 33), {"train_samples": 100}),
        ((20, 32, 28), {"train_samples": 80}),
        ((2, 6, 1), {"train_samples": 9}),
    ],
)
def test_what_a_draw_gives_is_not_warned_of(train: tuple[int, ...], settings: dict[str, int]) -> None:
    assert said(train, **settings) == []


def test_classes_that_are_unequal_in_the_files_may_be_so_in_a_part() -> None:
    assert said((90, 9, 1), whole=(900, 90, 10), train_samples=100) == []
    (words,) = said((90, 10, 0), whole=(900, 90, 10), train_samples=100, samples="drawn")
    assert words == "--train-samples 100: 1 of 3 classes have none of the 100 training images: cow"


def test_a_class_that_is_tested_but_not_trained_on() -> None:
    assert said((50, 50, 0), whole=(50, 50, 0)) == [
        "1 of 3 classes have none of the 100 training images: cow"
    ]
    assert said((50, 50, 0), test=(5, 5, 0), whole=(50, 50, 0)) == []  # nobody asks for it


def test_a_class_of_which_all_or_nothing_is_held_out() -> None:
    assert said((8, 7, 0), validation=(2, 1, 1), whole=(10, 8, 1), val_split=0.2) == [
        "--val-split 0.2: 1 of 3 classes have none of the 15 training images: cow"
    ]
    assert said((8, 7, 1), validation=(4, 0, 0), whole=(12, 7, 1), val_split=0.2) == [
        "--val-split 0.2: all 4 validation images are of one class, ant, of 3"
    ]


def test_one_class_is_nothing_to_tell_apart() -> None:
    (words,) = said((30, 0, 0), test=(10, 0, 0), whole=(30, 0, 0))
    assert words.startswith("all images are of one class, ant: every answer is right")


@pytest.mark.parametrize(
    ("counts", "share"), [((27, 3), 0.9), ((5, 5, 5, 5), 0.25), ((7,), 1.0), ((0, 1, 3), 0.75)]
)
def test_always_answering_the_largest_class(counts: tuple[int, ...], share: float) -> None:
    assert largest_share(part(*counts)) == pytest.approx(share)
