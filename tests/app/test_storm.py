"""Keys and bytes at random, many at a time, over every screen: alive, without a fault, nothing done outside."""

from __future__ import annotations

import pytest
from storm_keys import storm, storm_in_terminal


@pytest.mark.parametrize(
    ("seed", "keys"),
    [
        (1, 1200),
        pytest.param(2, 12_000, marks=pytest.mark.slow),
        pytest.param(3, 12_000, marks=pytest.mark.slow),
    ],
)
def test_keys_and_bytes_in_bursts(seed: int, keys: int) -> None:
    said: list[str] = []
    raging, sandbox = storm(keys, seed, said.append, tracebacks=True)
    assert not raging.faults, "\n".join(said)
    assert not sandbox.refused
    assert raging.typed >= keys


@pytest.mark.slow
def test_keys_and_bytes_in_a_terminal() -> None:
    assert storm_in_terminal(3000, 1) == []
