"""Batches: pure functions of (seed, epoch, index), with the numbers that torchvision's transforms give."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torchvision.transforms.functional as F
from torch import Tensor
from torchvision import transforms

from eqprop_core.catalogue import describe
from eqprop_core.data.batches import PADDING, augment, batches, draw_shifts, normalize, order
from eqprop_core.data.datasets import Images

CIFAR10 = describe("CIFAR10")


def some_images(n: int, channels: int = 3, size: int = 32) -> Images:
    draws = torch.Generator().manual_seed(7)
    pixels = torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=draws)
    return Images(pixels, torch.arange(n) % 10)


def epoch_of(images: Images, **changes) -> list:
    settings = {"batch_size": 4, "seed": 1, "epoch": 0, "shuffle": True, "augment": True} | changes
    return list(batches(images, CIFAR10, **settings))


def assert_same(one: list, other: list) -> None:
    assert [batch.index for batch in one] == [batch.index for batch in other]
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.y, b.y)


# Order


def test_order_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    assert torch.equal(order(100, 1, 2).sort().values, torch.arange(100))
    assert torch.equal(order(100, 1, 2), order(100, 1, 2))
    assert not torch.equal(order(100, 1, 2), order(100, 1, 3))
    assert not torch.equal(order(100, 1, 2), order(100, 2, 2))


@pytest.mark.parametrize(
    ("n", "size", "sizes"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 4, [3]), (3, 1, [1, 1, 1])]
)
def test_every_image_comes_once_in_batches_of_which_the_last_may_be_smaller(n, size, sizes):
    images = Images(some_images(n).images, torch.arange(n))
    got = epoch_of(images, batch_size=size)
    assert [len(batch.y) for batch in got] == sizes
    assert [batch.index for batch in got] == list(range(len(sizes)))
    assert torch.equal(torch.cat([batch.y for batch in got]), order(n, 1, 0))


def test_images_keep_their_labels_when_shuffled():
    images = some_images(10)
    for batch in epoch_of(images, augment=False):
        for x, y in zip(batch.x, batch.y, strict=True):
            matches = (normalize(images.images, CIFAR10) == x).flatten(1).all(1)
            assert images.labels[matches].tolist() == [y]


def test_without_shuffling_images_come_as_they_lie():
    images = some_images(10)
    got = epoch_of(images, shuffle=False, augment=False)
    assert torch.equal(torch.cat([batch.x for batch in got]), normalize(images.images, CIFAR10))
    assert torch.equal(torch.cat([batch.y for batch in got]), images.labels)


@pytest.mark.parametrize("start", [0, 1, 2, 3, 4])
def test_starting_later_changes_no_batch(start):
    images = some_images(10)
    assert_same(epoch_of(images, start=start), epoch_of(images)[start:])


@pytest.mark.parametrize("change", [{"seed": 2}, {"epoch": 1}])
def test_another_seed_or_epoch_gives_other_batches(change):
    images = some_images(10)
    assert not torch.equal(epoch_of(images)[0].x, epoch_of(images, **change)[0].x)


@pytest.mark.parametrize("change", [{"batch_size": 0}, {"start": -1}])
def test_impossible_batches_are_refused_at_once(change):
    settings = {"batch_size": 4, "seed": 1, "epoch": 0, "shuffle": True, "augment": False} | change
    with pytest.raises(ValueError, match="accepted"):
        batches(some_images(4), CIFAR10, **settings)


# Normalisation


@pytest.mark.parametrize("task", ["CIFAR10", "MNIST", "FashionMNIST"])
def test_normalisation_is_bitwise_that_of_torchvision(task):
    info = describe(task)
    every_value = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(2, info.shape[0], 1, 1)
    reference = transforms.Compose([transforms.ToTensor(), transforms.Normalize(info.mean, info.std)])
    expected = torch.stack([reference(image.permute(1, 2, 0).numpy()) for image in every_value])
    assert torch.equal(normalize(every_value, info), expected)


def test_digits_are_scaled_to_at_most_one():
    every_value = torch.arange(17, dtype=torch.uint8).view(1, 1, 1, 17)
    assert normalize(every_value, describe("digits")).flatten().tolist() == [n / 16 for n in range(17)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_are_close_to_exact(dtype):
    pixels = some_images(2).images
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (CIFAR10.mean, CIFAR10.std))
    exact = (pixels.double() / 255 - mean) / std
    got = normalize(pixels, CIFAR10, dtype)
    assert got.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(got.double(), exact, rtol=eps, atol=max(4 * eps**2, 1e-6 * (eps > 1e-10)))


def test_pixels_are_not_changed_by_reading_them():
    images = some_images(6)
    before = images.images.clone()
    epoch_of(images)
    assert torch.equal(images.images, before)


# Augmentation


def torchvision_augment(images: Tensor, seed: int, epoch: int, batch: int) -> Tensor:
    shifts = draw_shifts(len(images), seed, epoch, batch)
    height, width = images.shape[-2:]
    augmented = []
    for image, mirrored, top, left in zip(images, shifts.mirrored, shifts.top, shifts.left, strict=True):
        image = F.hflip(image) if mirrored else image
        padded = F.pad(image, [PADDING], padding_mode="edge")
        augmented.append(F.crop(padded, int(top), int(left), height, width))
    return torch.stack(augmented)


@pytest.mark.parametrize(
    "shape", [(60, 3, 32, 32), (20, 1, 28, 28), (20, 3, 7, 12), (1, 3, 32, 32), (9, 2, 3, 1)]
)
def test_augmentation_is_what_torchvision_makes_of_the_same_draws(shape):
    draws = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=draws)
    got = augment(images, 5, 1, 2)
    assert got.dtype == torch.uint8
    assert torch.equal(got, torchvision_augment(images, 5, 1, 2))


def test_augmentation_covers_all_shifts_and_mirrors_half():
    shifts = draw_shifts(20_000, 0, 0, 0)
    assert abs(shifts.mirrored.float().mean() - 0.5) < 0.02
    for part in (shifts.top, shifts.left):
        share = part.bincount() / len(part)
        assert len(share) == 2 * PADDING + 1
        assert (share - 1 / 9).abs().max() < 0.02


def test_augmentation_differs_between_batches_and_epochs_but_not_between_calls():
    images = some_images(8).images
    assert torch.equal(augment(images, 0, 1, 2), augment(images, 0, 1, 2))
    others = [augment(images, *place) for place in ((0, 1, 3), (0, 2, 2), (1, 1, 2))]
    assert not any(torch.equal(other, augment(images, 0, 1, 2)) for other in others)


def test_batches_augment_before_they_normalise():
    images = some_images(10)
    chosen = order(10, 1, 0)[4:8]
    expected = normalize(augment(images.images[chosen], 1, 0, 1), CIFAR10)
    assert torch.equal(epoch_of(images)[1].x, expected)


def test_images_of_another_size_keep_it():
    images = some_images(3, size=48)
    info = replace(CIFAR10, shape=(3, 48, 48))
    (batch,) = batches(images, info, batch_size=8, seed=0, epoch=0, shuffle=False, augment=True)
    assert batch.x.shape == (3, 3, 48, 48)


@pytest.mark.gpu
def test_batches_made_on_a_gpu_are_bitwise_those_made_on_the_cpu():
    images = some_images(100)
    on_gpu = epoch_of(images.to("cuda"))
    assert all(batch.x.is_cuda and batch.y.is_cuda for batch in on_gpu)
    for a, b in zip(on_gpu, epoch_of(images), strict=True):
        assert torch.equal(a.x.cpu(), b.x)
        assert torch.equal(a.y.cpu(), b.y)
