"""Folders of the user's own: what others could have put there is never used."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from eqprop_core import private
from eqprop_core.private import LIBRARIES, private_folder, use_own_folders

NOBODY = 65534


def as_somebody_else(folder: Path, work: Callable[[], object]) -> None:
    """Do something in a folder as another user, or skip the test where this process may not."""
    if os.getuid() != 0:
        pytest.skip("only root can be another user for a while")
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.umask(0)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A temporary folder as /tmp is."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def test_a_folder_is_made_that_only_its_user_can_change(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = private_folder(tmp_path / "in" / "its" / "own")
    finally:
        os.umask(before)
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in (made, *made.parents[:2]))
    assert private_folder(made) == made


def plain_file(place: Path) -> None:
    place.touch()


def link(place: Path) -> None:
    place.with_name("elsewhere").mkdir()
    place.symlink_to(place.with_name("elsewhere"))


def dangling(place: Path) -> None:
    place.symlink_to("nowhere")


def open_to_all(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


FAULTS = {
    plain_file: "is no folder",
    link: "is a link",
    dangling: "is no folder|is a link",
    open_to_all: "by others",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_lies_in_its_place_is_refused_in_words(tmp_path: Path, fault: Callable[[Path], None]) -> None:
    fault(tmp_path / "place")
    with pytest.raises(OSError, match=FAULTS[fault]):
        private_folder(tmp_path / "place")


def test_a_folder_in_one_that_others_can_change_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PermissionError, match="which others can change"):
        private_folder(tmp_path / "open" / "inside")


def test_a_folder_of_another_user_is_refused(shared: Path) -> None:
    as_somebody_else(shared, Path("taken").mkdir)
    with pytest.raises(PermissionError, match="belongs to another user"):
        private_folder(shared / "taken")


@pytest.fixture
def as_a_person(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The variables of somebody who has chosen nothing, on a machine whose temporary folder is `shared`."""
    for name in LIBRARIES:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("TMPDIR", str(shared))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return shared


def in_use() -> dict[str, Path]:
    return {name: Path(os.environ[name]) for name in ("TMPDIR", *LIBRARIES)}


def test_libraries_keep_what_they_run_again_where_others_cannot_put_anything(
    as_a_person: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use_own_folders()
    first = in_use()
    assert first["TMPDIR"] == as_a_person / f"eqprop-{os.getuid()}" == Path(tempfile.gettempdir())
    for name, folder in first.items():
        assert private_folder(folder).stat().st_mode & 0o077 == 0
        assert name == "TMPDIR" or folder.is_relative_to(tmp_path / "cache")
    use_own_folders()
    assert in_use() == first
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_others_have_put_in_the_way_is_passed_by(
    as_a_person: Path, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    fault(as_a_person / f"eqprop-{os.getuid()}")
    (tmp_path / "cache").mkdir()
    fault(tmp_path / "cache" / "eqprop")
    use_own_folders()
    for folder in in_use().values():
        assert private_folder(folder).name != "elsewhere"


def test_what_another_user_has_put_in_the_way_is_passed_by(as_a_person: Path) -> None:
    taken = as_a_person / f"eqprop-{os.getuid()}"
    as_somebody_else(as_a_person, Path(taken.name).mkdir)
    use_own_folders()
    assert not any(folder.is_relative_to(taken) for folder in in_use().values())


def test_where_nothing_of_home_can_be_written_a_temporary_folder_is_taken(
    as_a_person: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").touch()
    use_own_folders()
    assert all(folder.is_relative_to(as_a_person) for folder in in_use().values())


def test_a_folder_that_the_user_chose_is_kept_if_it_is_safe(
    as_a_person: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_to_all(tmp_path / "open")
    (tmp_path / "link").symlink_to(tmp_path / "own")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "link"))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "open"))
    use_own_folders()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "link")
    assert (tmp_path / "own").is_dir()
    assert os.environ["TRITON_CACHE_DIR"] != str(tmp_path / "open")
    said = capsys.readouterr().err
    assert (
        said
        == f"warning: TRITON_CACHE_DIR: {tmp_path / 'open'}: can be changed by others (chmod go-w); not used\n"
    )


def test_a_process_that_can_write_nowhere_goes_on(as_a_person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", refused)
    monkeypatch.setattr(private.tempfile, "mkdtemp", refused)
    private._passing.cache_clear()
    use_own_folders()


WAYS = {
    "worker": "from eqprop_core.worker.__main__ import main; main(['run'])",
    "foreground": "sys.argv[1:] = ['train', '--preset', 'digits-mlp-ep', '--foreground']; start.main()",
    "bench": "sys.argv[1:] = ['bench', '--preset', 'digits-mlp-ep', '--quick']; start.main()",
}
UNTIL_TORCH = """
import importlib.abc, os, sys
from eqprop_tui import start
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("loads torch with", os.environ["TORCHINDUCTOR_CACHE_DIR"], flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_torch_goes_by_own_folders(tmp_path: Path, way: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text('task = "digits"\nlrs = [0.1, 0.1]\n')
    environment = {name: value for name, value in os.environ.items() if name not in LIBRARIES}
    program = [sys.executable, "-c", UNTIL_TORCH + WAYS[way]]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.stdout.startswith("loads torch with "), done.stdout + done.stderr


@pytest.mark.slow
def test_a_file_where_torch_would_keep_what_it_compiled_keeps_nobody_from_training(
    as_a_person: Path, tmp_path: Path
) -> None:
    (as_a_person / f"torchinductor_{getpass.getuser()}").touch()
    words = ["train", "--preset", "digits-mlp-ep", "--epochs", "1", "--foreground", "--compile"]
    words += ["--train-samples", "40", "--test-samples", "20"]
    program = [sys.executable, "-m", "eqprop_tui", *words]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "compiling the time step took" in done.stdout + done.stderr
    assert [path.name for path in as_a_person.iterdir() if path.name.startswith("torchinductor")] == [
        f"torchinductor_{getpass.getuser()}"
    ]


def test_a_chosen_folder_that_is_a_link_to_itself_is_not_used(
    as_a_person: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("TRITON_HOME", str(tmp_path / "loop"))
    use_own_folders()
    assert in_use()["TRITON_HOME"] == tmp_path / "cache" / "eqprop" / "triton"
    assert "TRITON_HOME" in capsys.readouterr().err
