"""Randomness as a function of where it is used: (seed, purpose, position), never of what was drawn before.

A run that stops anywhere and resumes draws the same numbers, because no generator outlives its use.
"""

from __future__ import annotations

import hashlib
import json

import torch


def derive_seed(seed: int, purpose: str, *position: int) -> int:
    """A seed in [0, 2**63) for one purpose at one position, such as (epoch, batch).

    The same on every machine and in every version: BLAKE2b of the arguments as a JSON list.
    """
    key = json.dumps([int(seed), purpose, *(int(place) for place in position)])
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A fresh generator on the CPU, seeded by `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *position))
