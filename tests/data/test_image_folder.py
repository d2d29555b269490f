"""Image folders as people have them: what is read, in which order, and what is said of the rest."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from torchvision.datasets import ImageFolder
from typer import Exit

from eqprop_core import image_folder as module
from eqprop_core.catalogue import DataError, describe, status
from eqprop_core.data import reading
from eqprop_core.data.datasets import load_dataset, remarks, verify
from eqprop_core.image_folder import survey
from eqprop_tui.cli.data import check_data


def image(path: Path, level: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 6), (level, level, level)).save(path, "PNG")


def load(root: Path):
    return load_dataset("imagefolder", root=root, image_size=4, progress=False)


def paths_of(root: Path, split: str = "train") -> list[tuple[str, int]]:
    images = survey(root).images[split]
    return [(path, label) for label, paths in enumerate(images.values()) for path in paths]


def move_deeper(root: Path) -> None:
    """As tiny-imagenet has it."""
    for folder in (*root.glob("train/*"), *root.glob("test/*")):
        folder.rename(folder.with_name("aside"))
        (folder / "images").parent.mkdir()
        folder.with_name("aside").rename(folder / "images")


def add_some_deeper(root: Path) -> None:
    image(root / "train/dog/x/y/z/1.png")
    image(root / "train/dog/a.d/2.PNG")
    image(root / "train/dog/0/9.jpeg")


def add_links(root: Path) -> None:
    image(root / "elsewhere/1.png")
    image(root / "elsewhere/in/2.png")
    (root / "train/dog/there").symlink_to(root / "elsewhere")
    (root / "train/cat/one.png").symlink_to(root / "elsewhere/1.png")


def add_class_by_link(root: Path) -> None:
    image(root / "elsewhere/1.png")
    for split in ("train", "test"):
        (root / split / "bird").symlink_to(root / "elsewhere")


def odd_class_names(root: Path) -> None:
    for name in ("Zebra", "ant", "10", "9", "é", "b c"):
        for split in ("train", "test"):
            image(root / split / name / "1.png")


@pytest.mark.parametrize(
    "change", [move_deeper, add_some_deeper, add_links, add_class_by_link, odd_class_names, lambda root: None]
)
def test_classes_and_images_are_those_of_torchvision_in_its_order(image_folder, change):
    change(image_folder)
    theirs = ImageFolder(str(image_folder / "train"))
    assert list(survey(image_folder).counts.classes) == theirs.classes
    assert paths_of(image_folder) == theirs.samples
    data = load(image_folder)
    assert len(data.train) == len(theirs.samples)
    assert data.remarks == ()
    assert verify("imagefolder", image_folder) == []


def loop_to_itself(root: Path) -> None:
    (root / "train/dog/again").symlink_to(root / "train/dog")


def loop_to_all(root: Path) -> None:
    (root / "train/dog/again").symlink_to("../..")


def loop_of_two(root: Path) -> None:
    for one, other in (("one", "two"), ("two", "one")):
        (root / "side" / one).mkdir(parents=True)
        (root / "side" / one / other).symlink_to(root / "side" / other)
    (root / "train/dog/side").symlink_to(root / "side/one")


def twice_the_same(root: Path) -> None:
    (root / "side").mkdir()
    for name in ("one", "two"):
        (root / "train/dog" / name).symlink_to(root / "side")


def loop_beside_classes(root: Path) -> None:
    (root / "train/again").symlink_to("..")


@pytest.mark.parametrize(
    "change", [loop_beside_classes, loop_to_itself, loop_to_all, loop_of_two, twice_the_same]
)
def test_links_that_lead_back_are_followed_once_and_named(image_folder, change):
    change(image_folder)
    assert len(load(image_folder).train) == 6
    (said,) = remarks("imagefolder", image_folder)
    assert "link to a folder read already" in said and ("train/dog/" in said or "train/again" in said)


def test_an_image_behind_many_links_is_read_once_a_class(image_folder):
    folder = image_folder / "train/dog"
    for n in range(30):  # two ways at each of thirty crossings
        (folder / str(n)).mkdir()
        for way in ("left", "right"):
            (folder / str(n) / way).symlink_to(folder / str(n + 1))
    (folder / "30").mkdir()
    assert survey(image_folder).counts.train == 6


LEFT_OUT = [
    (["train/dog/x.gif", "train/dog/y.GIF"], "2 files of other kinds (2 .gif), such as train/dog/x.gif"),
    (["train/dog/x.jfif"], "1 file of another kind (1 .jfif): train/dog/x.jfif; a .jfif is read once it is"),
    (["train/cat/Thumbs.db", "test/dog/notes.txt"], "2 files of other kinds (1 .db, 1 .txt), such as"),
    (["train/cat/README"], "1 file of another kind (1 without a suffix): train/cat/README"),
    (
        ["train/.DS_Store", "train/cat/._a.png", "test/dog/deep/.hidden.png"],
        "3 hidden files, such as test/dog/deep",
    ),
    (["train/x.png", "test/y.jpg"], "2 images in no class folder, such as test/y.jpg"),
    (["train/labels.csv"], "1 file of another kind (1 .csv): train/labels.csv"),
]


@pytest.mark.parametrize(("names", "said"), LEFT_OUT)
def test_files_that_are_not_used_are_counted_and_named_by_reason(image_folder, names, said):
    for name in names:
        (image_folder / name).parent.mkdir(exist_ok=True)
        (image_folder / name).write_bytes(b"something")
    (line,) = load(image_folder).remarks
    count = len(names)
    assert line.startswith(f"{count} {'files are' if count > 1 else 'file is'} left out: {said}")
    assert any(said in line for line in remarks("imagefolder", image_folder))
    assert len(load(image_folder).train) == 6
    assert verify("imagefolder", image_folder) == []


def test_links_that_lead_nowhere_and_what_is_no_file_are_named(image_folder):
    (image_folder / "train/dog/gone.png").symlink_to(image_folder / "gone")
    (image_folder / "train/dog/gone").symlink_to("/no/such/folder")
    (image_folder / "train/dog/self.png").symlink_to("self.png")
    os.mkfifo(image_folder / "train/cat/pipe.png")
    (line,) = load(image_folder).remarks
    assert "3 links that lead nowhere, such as train/dog/gone" in line
    assert "1 name of what is no file: train/cat/pipe.png" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(image_folder):
    locked = image_folder / "train/dog/locked"
    locked.mkdir(mode=0)
    try:
        assert "1 folder that may not be read: train/dog/locked" in load(image_folder).remarks[0]
    finally:
        locked.chmod(0o700)


def test_a_check_says_what_is_not_used(image_folder, capsys):
    (image_folder / "train/dog/x.gif").touch()
    (image_folder / "train/dog/.x.png").touch()
    check_data("imagefolder", image_folder)
    shown = capsys.readouterr()
    assert shown.out == "imagefolder: present, 6 training and 2 test images\n"
    assert "note: left out: 1 file of another kind (1 .gif)" in shown.err
    assert "note: left out: 1 hidden file: train/dog/.x.png" in shown.err


def test_a_check_that_finds_a_broken_image_says_all_the_same_what_is_not_used(image_folder, capsys):
    (image_folder / "train/dog/x.gif").touch()
    (image_folder / "train/dog/b.png").write_bytes(b"broken")
    with pytest.raises(Exit):
        check_data("imagefolder", image_folder)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "error: " in shown.err and "note: left out: 1 file of another kind (1 .gif)" in shown.err


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Test", "VAL"])
def test_test_images_may_lie_in_a_folder_of_another_name(image_folder, name):
    (image_folder / "test").rename(image_folder / name)
    data = load(image_folder)
    assert len(data.test) == 2
    said = [f"the images in {name}/ are taken as the test images"] if name != "Test" else []
    assert list(data.remarks) == said
    assert status("imagefolder", image_folder).state == "present"


def test_of_test_and_val_the_one_with_the_classes_is_taken(image_folder):
    shutil.copytree(image_folder / "test", image_folder / "val")
    assert survey(image_folder).folders["test"].name == "test"
    assert load(image_folder).remarks == ("val/ is not used",)
    shutil.rmtree(image_folder / "test")
    image(image_folder / "test/images/1.png")  # as of a competition, without labels
    assert survey(image_folder).folders["test"].name == "val"
    assert load(image_folder).remarks == (
        "the images in val/ are taken as the test images",
        "test/ is not used",
    )


def test_a_class_without_images_says_what_lies_there(image_folder):
    for path in (image_folder / "train/cat").iterdir():
        path.rename(path.with_suffix(".gif"))
    with pytest.raises(
        DataError, match=r"no images in .*train/cat: .*there are 3 files of other kinds \(3 \.gif\)"
    ):
        describe("imagefolder", image_folder)


def test_images_without_class_folders_are_told(image_folder):
    for path in list((image_folder / "train").glob("*/*.png")):
        path.rename(image_folder / "train" / f"{path.parent.name}{path.name}")
    shutil.rmtree(image_folder / "train/cat")
    shutil.rmtree(image_folder / "train/dog")
    with pytest.raises(DataError, match=r"train is empty.*the images that lie there belong to no class"):
        describe("imagefolder", image_folder)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("Zürich", "Zu\u0308rich", r"Zürich \(Z\\u00fcrich, .*: NFC\); only in test: .*: NFD\)"),
        ("owl", "owl ", r"only in train: owl; only in test: owl  \(owl\\u0020\)"),
        ("h\u043erse", "horse", r"U\+043E CYRILLIC SMALL LETTER O\); only in test: horse\."),
        ("sea bass", "sea\u00a0bass", r"only in train: sea bass; only in test: .*U\+00A0"),
        ("ho\u200brse", "horse", r"U\+200B ZERO WIDTH SPACE"),
        ("owl", "eagle", r"only in train: owl; only in test: eagle\."),
    ],
)
def test_classes_that_look_alike_are_told_apart(image_folder, one, other, said):
    image(image_folder / "train" / one / "1.png")
    image(image_folder / "test" / other / "1.png")
    with pytest.raises(DataError, match=said):
        describe("imagefolder", image_folder)


def test_two_classes_that_look_alike_are_remarked(image_folder):
    for split in ("train", "test"):
        image(image_folder / split / "dog " / "1.png")
    assert remarks("imagefolder", image_folder) == (r"two classes look alike: dog and dog  (dog\u0020)",)


def test_many_classes_that_differ_are_not_all_listed(image_folder):
    for n in range(40):
        image(image_folder / "train" / f"n{n:02}" / "1.png")
    with pytest.raises(
        DataError, match=r"only in train: n00, n01, n02, n03, n04 and 35 more; only in test: none"
    ):
        describe("imagefolder", image_folder)


def test_a_folder_one_level_off_is_a_hint(image_folder):
    for root in (image_folder / "train", image_folder / "test"):
        with pytest.raises(DataError, match=f"--data-dir {image_folder} is one"):
            describe("imagefolder", root)
    inner = image_folder / "photos"
    inner.mkdir()
    for split in ("train", "test"):
        (image_folder / split).rename(inner / split)
    with pytest.raises(DataError, match=f"--data-dir {inner} is one"):
        describe("imagefolder", image_folder)


def test_a_folder_whose_name_looks_the_same_is_a_hint(tmp_path, image_folder):
    place = tmp_path / "bilder-gru\u0308n"
    place.mkdir()
    with pytest.raises(DataError, match=r"asked for was .*NFC\), and there is .*NFD\)"):
        describe("imagefolder", tmp_path / "bilder-grün")


def saved(form: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (40, 90, 7)).save(file, form)
    return file.getvalue()


def enlarged(png: bytes) -> bytes:
    """A PNG that says it has 30,000 by 30,000 pixels, with the right checksum of that."""
    head = png[12:16] + struct.pack(">2I", 30_000, 30_000) + png[24:29]
    return png[:12] + head + struct.pack(">I", zlib.crc32(head)) + png[33:]


BROKEN = [
    (saved("webp")[:30], "it is damaged"),
    (saved("png")[:45] + b"\xff\xff" + saved("png")[47:], "it is damaged"),
    (saved("bmp")[:100], "image file is truncated"),
    (b"", r"it is empty \(0 bytes\)"),
    (b"GIF89a", "cannot be read as an image"),
    (b"<html>404</html>", "in none of the formats that are known"),
    (b"\x89PNG\r\n\x1a\n" + bytes(40), "cannot be read as an image"),
    (b"BM" + bytes(60), "cannot be read as an image"),
    (b"II*\x00" + b"\xff" * 30, "cannot be read as an image"),
    (b"\xff\xd8\xff\xe0" + bytes(30), "cannot be read as an image"),
    (b"P6 4 3z 255 " + bytes(36), "it is damaged"),
    (b"P6 4 " + b"3" * 90 + b" 255 ", "it is damaged"),
    (b"P5 60000 60000 255 ", r"it is larger than [\d,]+ pixels"),
    (enlarged(saved("png")), r"it is larger than [\d,]+ pixels"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "in none of the formats"),
    (b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0\4\0\0\0\4\0\0\0\1\0\x63\0" + bytes(40), "pixel depth"),
]


@pytest.mark.parametrize("name", ["b.png", "b.JPG", "b.tif"])
@pytest.mark.parametrize(("content", "said"), BROKEN)
def test_a_broken_image_is_told_in_words(image_folder, name, content, said):
    (image_folder / "train/dog" / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as raised:
        load(image_folder)
    (problem,) = verify("imagefolder", image_folder)
    for words in (str(raised.value), problem):
        assert f"train/dog/{name} cannot be read as an image: " in words
        assert not any(odd in words for odd in ("_io.", "<", "0x", "Errno", "object at", "b'", "int()"))


def test_large_images_are_unpacked_one_at_a_time(image_folder, monkeypatch):
    monkeypatch.setattr(reading, "LARGE", 1)
    monkeypatch.setattr(reading, "cores_of_a_run", lambda: 4)
    at_once, most, fit = [], [0], ImageOps.fit

    def watched(*given):
        at_once.append(None)
        most[0] = max(most[0], len(at_once))
        try:
            return fit(*given)
        finally:
            at_once.pop()

    monkeypatch.setattr(reading.ImageOps, "fit", watched)
    load(image_folder)
    assert most == [1]


def test_every_broken_image_is_listed(image_folder):
    for path in image_folder.glob("train/*/*.png"):
        path.write_bytes(b"broken")
    assert len(verify("imagefolder", image_folder)) == 6


def test_counts_are_remembered_while_no_folder_has_changed(image_folder, monkeypatch):
    (image_folder / "train/dog/deep").mkdir()
    folders = [image_folder, *(path for path in image_folder.rglob("*") if path.is_dir())]
    for folder in folders:
        os.utime(folder, (1_000_000_000, 1_000_000_000))
    assert describe("imagefolder", image_folder).train_size == 6
    surveys = []
    monkeypatch.setattr(module, "survey", lambda root: surveys.append(root) or survey(root))
    assert describe("imagefolder", image_folder).train_size == 6
    assert not surveys
    for n, folder in enumerate(("train/dog", "train/dog/deep", "test/cat")):
        image(image_folder / folder / "new.png")
        info = describe("imagefolder", image_folder)
        assert (info.train_size, info.test_size) == ((7, 2), (8, 2), (8, 3))[n]
    for split in ("train", "test"):
        image(image_folder / split / "bird/1.png")
    assert len(describe("imagefolder", image_folder).classes) == 3  # just changed: looked at every time
    image(image_folder / "train/bird/2.png")
    assert describe("imagefolder", image_folder).train_size == 10


def test_a_survey_asks_for_folders_and_no_file(image_folder, monkeypatch):
    asked = []
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **settings: asked.append(path) or stat(path, **settings))
    assert survey(image_folder).counts.train == 6
    assert not [path for path in asked if path.suffix]
