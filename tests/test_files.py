"""Reading files whole, and of bounded size."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eqprop_core.files import (
    USUAL,
    HeldFolder,
    clear_unfinished,
    open_to_append,
    open_to_lock,
    overwrite,
    read_text,
)


@pytest.mark.parametrize("size", [0, 1, USUAL - 1, USUAL, USUAL + 1, 3 * USUAL])
def test_a_file_is_read_whole_up_to_the_limit_and_refused_beyond_it(size: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    for limit in {size, size + 1, 5 * USUAL}:
        assert read_text(path, limit) == "x" * size
    if size:
        with pytest.raises(OSError, match="is too large"):
            read_text(str(path), size - 1)


def test_a_folder_that_is_held_is_found_wherever_it_is_moved_to(tmp_path: Path) -> None:
    place = tmp_path / "first"
    place.mkdir()
    (place / "file").write_text("of it")
    held = HeldFolder(place)
    assert held.path == place
    place.rename(tmp_path / "second")
    assert held.path == tmp_path / "second"
    place.mkdir()  # another one takes its place
    assert held.path == tmp_path / "second"
    (tmp_path / "above").mkdir()
    (tmp_path / "second").rename(tmp_path / "above/third")
    (tmp_path / "above").rename(tmp_path / "moved, too")
    assert (held.path / "file").read_text() == "of it"
    shutil.rmtree(held.path)
    assert held.path == tmp_path / "moved, too/third"
    assert not held.path.exists()
    (tmp_path / "moved, too/third").mkdir()  # another one, where it was last
    assert not held.path.exists()
    assert not held.path.parent.samefile(tmp_path / "moved, too/third")


def test_a_folder_behind_a_link_that_is_changed_is_the_one_that_was_held(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "first")
    held = HeldFolder(link)
    assert held.path == link
    link.unlink()
    link.symlink_to(tmp_path / "second")
    assert held.path == (tmp_path / "first").resolve()


def test_what_writers_left_behind_is_removed_but_what_others_may_be_writing(tmp_path: Path) -> None:
    for name in (".checkpoint.tar.tmp", ".meta.json.tmp", "mine.tmp", ".hidden", "checkpoint.tar"):
        (tmp_path / name).touch()
    (tmp_path / ".folder.tmp").mkdir()
    (tmp_path / ".link.tmp").symlink_to(tmp_path / "mine.tmp")
    clear_unfinished(tmp_path, but=("meta.json",), seconds=3600)
    assert (tmp_path / ".checkpoint.tar.tmp").exists()
    os.utime(tmp_path / ".checkpoint.tar.tmp", (0, 0))
    clear_unfinished(tmp_path, but=("meta.json",), seconds=3600)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".meta.json.tmp", "mine.tmp", ".hidden", "checkpoint.tar", ".folder.tmp", ".link.tmp"]
    )
    clear_unfinished(tmp_path / "nowhere")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user, too")
@pytest.mark.parametrize("opened", [open_to_append, open_to_lock])
def test_a_file_of_one_user_in_the_folder_of_another_is_not_written_by_a_second_name(
    opened: Callable[[Path], int], tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    precious.chmod(0o644)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").hardlink_to(precious)
    os.close(opened(theirs / "file"))  # a backup made of links: whose folder it is, that user's is the file
    precious.chmod(0o644)
    os.chown(theirs, 65534, 65534)
    theirs.chmod(0o777)
    with pytest.raises(OSError, match="has several names"):
        opened(theirs / "file")
    assert precious.stat().st_mode & 0o777 == 0o644
    os.close(opened(theirs / "new"))  # what is there alone is
    os.close(opened(theirs / "new"))


def test_a_text_that_a_full_disk_has_no_room_for_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, room, pwrite = tmp_path / "state.json", 12, os.pwrite
    path.write_text("the old one")

    def full(descriptor: int, content: bytes, at: int) -> int:
        return pwrite(descriptor, content[: max(0, room - at)], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        overwrite(path, "a new one that is longer")
    assert path.read_text() == "the old one"
    overwrite(path, "the new one!")
    assert path.read_text() == "the new one!"
