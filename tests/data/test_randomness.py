"""Randomness is a function of (seed, purpose, position)."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from eqprop_core.data.randomness import derive_seed, generator


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, "order", 0), 8407243675484231436),
        ((1, "augment", 3, 17), 5802434881255085351),
        ((-5, "validation"), 3852307260966600742),
        ((2**70, "signs", 1), 6618598960900750699),
    ],
)
def test_derived_seeds_are_the_same_in_every_version(arguments, expected):
    assert derive_seed(*arguments) == expected


def test_derived_seeds_fit_in_63_bits():
    seeds = [derive_seed(seed, "order") for seed in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds).bit_length() == 63


def test_every_argument_matters():
    arguments = [
        (0, "order"),
        (0, "order", 0),
        (0, "order", 0, 0),
        (0, "order", 1),
        (0, "order", 12),
        (0, "order", 1, 2),
        (0, "order", 2, 1),
        (1, "order", 0),
        (0, "augment", 0),
        (0, "order0"),
    ]
    for one, other in combinations(arguments, 2):
        assert derive_seed(*one) != derive_seed(*other), (one, other)


def test_numbers_of_other_libraries_count_as_integers():
    assert derive_seed(torch.tensor(3), "order", torch.tensor(4)) == derive_seed(3, "order", 4)


def test_a_generator_starts_anew_and_leaves_the_global_one_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = torch.rand(5, generator=generator(1, "order", 2))
    again = torch.rand(5, generator=generator(1, "order", 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, torch.rand(5, generator=generator(1, "order", 3)))
    assert torch.equal(torch.rand(3), expected)
