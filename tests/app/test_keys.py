"""Every key of the table does what it says: a case for each, and none without one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app import (  # noqa: F401
    cases_chart,
    cases_compare,
    cases_configure,
    cases_everywhere,
    cases_library,
    cases_monitor,
    cases_runs,
    cases_sweep,
)
from app.world import CASES, World, keys_of
from eqprop_tui.keys import TABLE

PRESSED = [
    pytest.param(place, key.action, press, id=f"{place}-{key.action}-{press}")
    for place, keys in TABLE.items()
    for key in keys
    for press in keys_of(key.keys)
]


@pytest.mark.parametrize(("place", "action", "press"), PRESSED)
def test_key(place: str, action: str, press: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (place, action) in CASES, f"the key {press} of {place} ({action}) has no test"
    asyncio.run(CASES[place, action](World(tmp_path, monkeypatch), press))


def test_no_case_without_a_key() -> None:
    assert set(CASES) == {(place, key.action) for place, keys in TABLE.items() for key in keys}
