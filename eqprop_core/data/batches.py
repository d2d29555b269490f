"""Batches: order, augmentation and normalisation, on the device where the images are.

A batch is a pure function of (seed, epoch, index): any of them can be made again without those before it.
Random draws are made on the CPU, so that they are the same for every device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from eqprop_core.data.datasets import Images
from eqprop_core.data.randomness import generator
from eqprop_core.published import DatasetInfo

EVERY = slice(None)  # row of a batch
PADDING = 4  # pixels by which an augmented image may be shifted, in each direction


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch: its zero-based index in the epoch, x [batch, C, H, W] normalised, y int64 [batch].

    It is the part `rows` of a batch of `whole` images, where `batches` was asked for a part.
    """

    index: int
    x: Tensor
    y: Tensor
    rows: slice = field(default_factory=lambda: EVERY)
    whole: int = 0


@dataclass(frozen=True, eq=False)
class Shifts:
    """What augmentation does to each image: `mirrored` bool [batch]; `top`, `left` int64 [batch] of the crop.

    They count from the corner of the padded image: 0..2 * PADDING, PADDING being no shift.
    """

    mirrored: Tensor
    top: Tensor
    left: Tensor


def order(n: int, seed: int, epoch: int) -> Tensor:
    """The order of `n` training images in an epoch: a permutation of 0..n-1, int64 [n], on the CPU."""
    return torch.randperm(n, generator=generator(seed, "order", epoch))


def normalize(images: Tensor, info: DatasetInfo, dtype: torch.dtype = torch.float32) -> Tensor:
    """(images / scale - mean) / std per channel: uint8 [batch, C, H, W] to `dtype`, same shape and device.

    In float32, bit for bit what torchvision's ToTensor and Normalize give. Types of less precision are
    computed in float32 and rounded once.
    """
    compute = torch.promote_types(dtype, torch.float32)

    def per_channel(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=compute, device=images.device).view(1, -1, 1, 1)

    # By a tensor, not a number: a GPU multiplies by the reciprocal of a number, which rounds differently.
    x = images.to(compute, copy=True).div_(per_channel((info.scale,)))
    if any(info.mean) or any(deviation != 1 for deviation in info.std):
        x.sub_(per_channel(info.mean)).div_(per_channel(info.std))
    return x.to(dtype)


def draw_shifts(n: int, seed: int, epoch: int, batch: int) -> Shifts:
    """The augmentation of the `n` images of a batch, on the CPU."""
    draws = generator(seed, "augment", epoch, batch)
    return Shifts(
        mirrored=torch.rand(n, generator=draws) < 0.5,
        top=torch.randint(0, 2 * PADDING + 1, (n,), generator=draws),
        left=torch.randint(0, 2 * PADDING + 1, (n,), generator=draws),
    )


def augment(
    images: Tensor, seed: int, epoch: int, batch: int, *, rows: slice = EVERY, whole: int | None = None
) -> Tensor:
    """Mirror each image with probability 1/2, then crop it to its own size out of its edge-padded self.

    [batch, C, H, W] of any type and device to the same. As torchvision's RandomHorizontalFlip followed by
    RandomCrop((H, W), padding=4, padding_mode="edge"), with draws from (seed, epoch, batch): those of `rows`
    of a batch of `whole` images, where these images are but a part of it.
    """
    count, _, height, width = images.shape
    shifts = draw_shifts(count if whole is None else whole, seed, epoch, batch)
    device = images.device
    mirrored, top, left = (
        part[rows].to(device).view(-1, 1) for part in (shifts.mirrored, shifts.top, shifts.left)
    )
    # Padding by repeated edges and cropping is: reading beyond the border reads the border.
    lines = (torch.arange(height, device=device) + top - PADDING).clamp_(0, height - 1)  # [batch, H]
    columns = (torch.arange(width, device=device) + left - PADDING).clamp_(0, width - 1)  # [batch, W]
    columns = torch.where(mirrored, width - 1 - columns, columns)
    places = (lines.unsqueeze(2) * width + columns.unsqueeze(1)).view(count, 1, height * width)
    return images.flatten(2).gather(2, places.expand(-1, images.shape[1], -1)).view_as(images)


_augmented = augment  # `batches` has a setting of that name


def batches(
    images: Images,
    info: DatasetInfo,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    augment: bool,
    dtype: torch.dtype = torch.float32,
    start: int = 0,
    part: Callable[[int], slice] | None = None,
) -> Iterator[Batch]:
    """Yield the batches of an epoch from index `start` on; the last one may be smaller than the others.

    With `shuffle` in the order of (seed, epoch), otherwise as the images lie. `part`, if given, is asked
    which rows of a batch of that many are wanted, a slice with both ends. All work happens on the device of
    `images`. Raises ValueError for a `batch_size` below 1 or a negative `start`.
    """
    if batch_size < 1 or start < 0:
        raise ValueError(f"batch_size {batch_size}, start {start}: accepted are at least 1 and at least 0")
    return _batches(images, info, batch_size, seed, epoch, shuffle, augment, dtype, start, part)


def _batches(
    images: Images,
    info: DatasetInfo,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool,
    augment: bool,
    dtype: torch.dtype,
    start: int,
    part: Callable[[int], slice] | None,
) -> Iterator[Batch]:
    places = order(len(images), seed, epoch).to(images.labels.device) if shuffle else None
    for index in range(start, -(-len(images) // batch_size)):
        place = slice(index * batch_size, min((index + 1) * batch_size, len(images)))
        whole = place.stop - place.start
        rows = EVERY
        if part is not None:
            rows = part(whole)
            place = slice(place.start + rows.start, place.start + rows.stop)
        if places is None:
            pixels, labels = images.images[place], images.labels[place]
        else:
            pixels, labels = (v.index_select(0, places[place]) for v in (images.images, images.labels))
        if augment:
            pixels = _augmented(pixels, seed, epoch, index, rows=rows, whole=whole)
        yield Batch(index, normalize(pixels, info, dtype), labels, rows, whole)
