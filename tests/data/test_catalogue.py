"""The catalogue: facts about data sets, and what of their files is in place, without reading them."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from small_files import idx_files

from eqprop_core import catalogue
from eqprop_core.catalogue import DataError, data_root, describe, shape_and_classes, status

PUBLISHED = ("digits", "MNIST", "FashionMNIST", "CIFAR10")
IDX_SIZES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


def test_the_catalogue_needs_no_torch():
    code = "import sys, eqprop_core.catalogue; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Facts


@pytest.mark.parametrize("task", PUBLISHED)
def test_published_data_sets_are_described_without_files(task, tmp_path):
    info = describe(task, tmp_path)
    assert info.name == task
    assert len(info.classes) == len(set(info.classes)) == 10
    assert len(info.mean) == len(info.std) == info.shape[0]
    assert info.train_size and info.test_size and info.source and info.licence
    assert shape_and_classes(task, tmp_path) == (info.shape, 10)


def test_file_sizes_are_those_published():
    assert [spec.size for spec in describe("MNIST").files] == [47_040_016, 60_008, 7_840_016, 10_008]
    assert [spec.size for spec in describe("CIFAR10").files] == [30_730_000] * 6


def test_an_unknown_task_is_refused_with_the_known_ones():
    for ask in (describe, status):
        with pytest.raises(DataError, match="'ImageNet'; accepted: digits, MNIST, FashionMNIST, CIFAR10"):
            ask("ImageNet")
    assert shape_and_classes("ImageNet") is None


def test_the_place_of_data_is_chosen_by_argument_then_variable_then_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EQPROP_DATA", "~/there")
    assert data_root(Path("~/here")) == tmp_path / "here"
    assert data_root() == tmp_path / "there"
    monkeypatch.setenv("EQPROP_DATA", "")
    assert data_root().parts[-2:] == ("eqprop", "datasets")
    monkeypatch.delenv("EQPROP_DATA")
    assert data_root().is_absolute()


# What is in place


def test_digits_are_always_present(tmp_path):
    found = status("digits", tmp_path)
    assert (found.state, found.train_size, found.test_size) == ("present", 1438, 359)


@pytest.mark.parametrize("task", ["MNIST", "FashionMNIST", "CIFAR10", "imagefolder"])
def test_an_empty_place_has_nothing_and_names_what_is_missing(task, tmp_path):
    for root in (tmp_path, tmp_path / "not there"):
        found = status(task, root)
        assert (found.state, found.found, found.train_size) == ("absent", (), None)
        assert found.missing
        assert all(path.is_relative_to(root) for path in found.missing)


def test_complete_mnist_is_present(tmp_path, sparse_file):
    for name, shape in IDX_SIZES.items():
        header = (0x0800 + len(shape)).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in shape)
        size = 16 + shape[0] * 784 if len(shape) == 3 else 8 + shape[0]
        sparse_file(tmp_path / "MNIST" / "raw" / name, size, header)
    found = status("MNIST", tmp_path)
    assert (found.state, found.train_size, found.test_size) == ("present", 60_000, 10_000)
    assert len(found.found) == 4


def test_complete_cifar10_is_present(tmp_path, sparse_file):
    for name in (*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"):
        sparse_file(tmp_path / "cifar-10-batches-bin" / name, 30_730_000)
    found = status("CIFAR10", tmp_path)
    assert (found.state, found.train_size, found.test_size, found.note) == ("present", 50_000, 10_000, "")


def test_small_mnist_is_a_subset_also_when_compressed(small_mnist):
    found = status("MNIST", small_mnist)
    assert (found.state, found.train_size, found.test_size) == ("subset", 30, 10)
    assert [path.suffix for path in found.found] == ["", "", ".gz", ""]
    assert "30 of 60,000 training" in found.note


def test_small_cifar10_is_a_subset(small_cifar10):
    found = status("CIFAR10", small_cifar10)
    assert (found.state, found.train_size, found.test_size) == ("subset", 20, 4)


def test_cifar10_as_torchvision_keeps_it_is_found_unless_the_binary_version_is_complete(
    small_cifar10, sparse_file
):
    for name in catalogue.CIFAR10_PYTHON_FILES:
        sparse_file(small_cifar10 / "cifar-10-batches-py" / name, 10)
    assert status("CIFAR10", small_cifar10).state == "subset"
    (small_cifar10 / "cifar-10-batches-bin" / "test_batch.bin").unlink()
    found = status("CIFAR10", small_cifar10)
    assert (found.state, found.train_size) == ("present", 50_000)
    assert "pickles" in found.note


def test_a_missing_file_makes_a_data_set_absent_and_is_named(small_mnist):
    missing = small_mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    missing.unlink()
    found = status("MNIST", small_mnist)
    assert (found.state, found.missing, len(found.found)) == ("absent", (missing,), 3)
    assert "1 of 4" in found.note


LABELS = idx_files(30, 10)["train-labels-idx1-ubyte"]
MORE_LABELS = idx_files(31, 10)["train-labels-idx1-ubyte"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("train-images-idx3-ubyte", b"", "0 bytes, expected 47,040,016"),
        ("train-images-idx3-ubyte", idx_files(30, 1)["train-images-idx3-ubyte"][:-1], "announces 30 records"),
        ("train-labels-idx1-ubyte", LABELS + b"\0", "announces 30 records, which take 38 bytes"),
        (
            "train-labels-idx1-ubyte",
            idx_files(31, 1)["train-labels-idx1-ubyte"],
            "30 train images but 31 labels",
        ),
        ("train-labels-idx1-ubyte", b"<!doctype html><html>not found</html>", "its header is 3c21646f"),
        ("train-labels-idx1-ubyte", (0x0801).to_bytes(4, "big") + bytes(4), "expected 60,008 bytes"),
        ("train-labels-idx1-ubyte.gz", gzip.compress(LABELS, mtime=0)[:-6], "damaged|cannot be read"),
        ("train-labels-idx1-ubyte.gz", gzip.compress(LABELS, mtime=0)[:12], "cannot be read"),
        ("train-labels-idx1-ubyte.gz", LABELS, "cannot be read: it is not compressed by gzip"),
    ],
)
def test_a_damaged_idx_file_is_named_with_what_is_wrong(small_mnist, name, content, reason):
    folder = small_mnist / "MNIST" / "raw"
    (folder / name.removesuffix(".gz")).unlink()
    (folder / name).write_bytes(content)
    found = status("MNIST", small_mnist)
    assert found.state == "damaged"
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.note)
    if "labels;" not in found.note:
        assert str(folder / name) in found.note


@pytest.mark.parametrize("size", [0, 3072, 3074, 30_730_000 + 3073])
def test_a_damaged_cifar10_file_is_named_with_its_size(small_cifar10, sparse_file, size):
    path = small_cifar10 / "cifar-10-batches-bin" / "data_batch_3.bin"
    sparse_file(path, size)
    found = status("CIFAR10", small_cifar10)
    assert found.state == "damaged"
    assert f"{path} is damaged: {size:,} bytes, expected 30,730,000 bytes" in found.note
    assert "whole records of 3,073" in found.note


def test_a_place_that_cannot_be_read_is_reported_not_raised():
    impossible = Path("x" * 5000)
    for task in ("MNIST", "CIFAR10", "imagefolder"):
        assert status(task, impossible).state == "damaged"
    assert shape_and_classes("imagefolder", impossible) is None
    with pytest.raises(DataError, match="cannot be read"):
        describe("imagefolder", impossible)


# Image folders


def test_an_image_folder_is_described_by_its_folders(image_folder):
    info = describe("imagefolder", image_folder, 16)
    assert (info.shape, info.classes) == ((3, 16, 16), ("cat", "dog"))
    assert (info.train_size, info.test_size) == (6, 2)
    assert describe("imagefolder", image_folder).shape == (3, 32, 32)
    assert shape_and_classes("imagefolder", image_folder, 16) == ((3, 16, 16), 2)
    found = status("imagefolder", image_folder)
    assert (found.state, found.train_size, found.test_size) == ("present", 6, 2)


def test_an_image_folder_is_found_through_the_variable(image_folder, monkeypatch):
    monkeypatch.setenv("EQPROP_DATA", str(image_folder))
    assert describe("imagefolder").classes == ("cat", "dog")
    assert shape_and_classes("imagefolder") == ((3, 32, 32), 2)


def test_hidden_files_and_other_files_are_no_images(image_folder):
    (image_folder / "train" / ".cache").mkdir()
    (image_folder / "train" / "list.txt").touch()
    for name in (".a.png", "notes.txt", "a.png.bak"):
        (image_folder / "train" / "cat" / name).touch()
    (image_folder / "train" / "cat" / "folder.png").mkdir()
    (image_folder / "train" / "cat" / "Z.JPG").touch()
    info = describe("imagefolder", image_folder)
    assert (info.classes, info.train_size) == (("cat", "dog"), 7)
    names = [path.name for path in catalogue.image_files(image_folder, "train")["cat"]]
    assert names == ["Z.JPG", "a.png", "b.png", "c.png"]


def test_a_missing_image_folder_says_what_would_be_accepted(tmp_path):
    with pytest.raises(DataError, match=r"train/<class>/ and test/<class>/.*--data-dir or EQPROP_DATA"):
        describe("imagefolder", tmp_path)
    assert shape_and_classes("imagefolder", tmp_path) is None


def test_classes_that_differ_are_listed(image_folder):
    (image_folder / "train" / "horse").mkdir()
    (image_folder / "test" / "cat").rename(image_folder / "test" / "lion")
    with pytest.raises(DataError, match="only in train: cat, horse; only in test: lion"):
        describe("imagefolder", image_folder)
    assert status("imagefolder", image_folder).state == "damaged"
    assert shape_and_classes("imagefolder", image_folder) is None


def test_a_class_without_images_is_named(image_folder):
    (image_folder / "test" / "dog" / "a.png").unlink()
    with pytest.raises(DataError, match=r"no images in .*test/dog"):
        describe("imagefolder", image_folder)
    assert status("imagefolder", image_folder).state == "damaged"


def test_an_image_folder_without_classes_is_refused(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
    with pytest.raises(DataError, match="train is empty"):
        describe("imagefolder", tmp_path)


@pytest.mark.parametrize("size", [0, -3])
def test_an_impossible_image_size_is_refused_by_its_flag(image_folder, size):
    with pytest.raises(DataError, match=f"--image-size {size}"):
        describe("imagefolder", image_folder, size)
    assert shape_and_classes("imagefolder", image_folder, size) is None
