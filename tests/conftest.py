"""Shared by all tests: one thread is as fast as two for networks this small, and leaves a core free."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from typer.testing import CliRunner, Result

torch.set_num_threads(1)
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # however slow it is
settings.load_profile("any machine")
if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # as for what a script starts with &; inherited by programs
    signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, str(Path(__file__).parent))

from small_files import cifar10_files, idx_files  # noqa: E402

from eqprop_core.private import use_own_folders  # noqa: E402

use_own_folders()  # as commands do, which then change nothing any more; tests compile once


@pytest.fixture(autouse=True)
def _as_at_first() -> None:
    """A test may train in this process as a worker does, which counts tiny numbers as zero."""
    torch.manual_seed(0)
    torch.set_flush_denormal(False)


def _isolated(home: Path, patch: pytest.MonkeyPatch) -> None:
    """Keep a person's own presets, data and run folders out of the tests, and the tests out of theirs."""
    for name in ("EQPROP_DATA", "EQPROP_RESULTS", "SLURM_JOB_ID", "XDG_SESSION_ID"):
        patch.delenv(name, raising=False)
    patch.setenv("EQPROP_LINES", str(home / "lines"))
    patch.setenv("EQPROP_FOREGROUND", "1")  # a process for each training would take most of the time
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        patch.setenv(name, str(home))


@pytest.fixture(scope="session", autouse=True)
def _no_home_at_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What lasts longer than a test, as a run that a module shares, is kept away from the person too."""
    with pytest.MonkeyPatch.context() as patch:
        _isolated(tmp_path_factory.mktemp("session-home"), patch)
        yield


@pytest.fixture(autouse=True)
def _no_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a home of its own."""
    _isolated(tmp_path_factory.mktemp("home"), monkeypatch)


@pytest.fixture
def hang_up_heard() -> Iterator[None]:
    """Programs started by a test hear a hang-up, also where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def warm_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of runs are forked from a process that has imported torch, which takes them seconds each."""
    if sys.platform == "linux":  # elsewhere a process cannot be shown by other words
        import warm_worker

        monkeypatch.setattr("eqprop_core.runs.launcher.spawn", warm_worker.spawn)


@pytest.fixture
def cold_workers(warm_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are programs all the same, in a module where they are forked."""
    from warm_worker import SPAWN

    monkeypatch.setattr("eqprop_core.runs.launcher.spawn", SPAWN)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST and CIFAR-10 in their real layouts, 20 training and 10 test images of noise each."""
    root = tmp_path_factory.mktemp("datasets")
    layouts = {"MNIST/raw": idx_files(20, 10), "cifar-10-batches-bin": cifar10_files(4)}
    for folder, files in layouts.items():
        (root / folder).mkdir(parents=True)
        for name, content in files.items():
            (root / folder / name).write_bytes(content)
    return root


@pytest.fixture
def eqprop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `eqprop` in an empty working directory; `code` is the exit status that is expected."""
    from eqprop_tui.cli.main import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words], prog_name="eqprop")
        said = result.stdout + result.stderr
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, said
        assert "Traceback" not in said
        return result

    return run
