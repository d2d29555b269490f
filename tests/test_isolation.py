"""The tests leave a person's own files alone, whatever a fixture's scope is."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from eqprop_core.runs.roots import roots_folder

HOMES = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "EQPROP_LINES")


@pytest.fixture(scope="session")
def session_sees() -> list[Path]:
    return [roots_folder(), *(Path(os.environ[name]) for name in HOMES)]


@pytest.fixture(scope="module")
def module_sees() -> list[Path]:
    return [roots_folder(), *(Path(os.environ[name]) for name in HOMES)]


def test_fixtures_of_every_scope_see_a_temporary_home(
    session_sees: list[Path], module_sees: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = Path(pwd.getpwuid(os.getuid()).pw_dir)
    temporary = tmp_path_factory.getbasetemp()
    here = [roots_folder(), *(Path(os.environ[name]) for name in HOMES)]
    for path in (*session_sees, *module_sees, *here):
        assert path.is_relative_to(temporary), path
        assert path != own
    assert here != module_sees  # each test has its own
