"""Data sets in memory: what is read, how it is divided, and what is said when it cannot be."""

from __future__ import annotations

import gzip
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image
from small_files import cifar10_records, idx, idx_files

from eqprop_core.catalogue import CIFAR10_PYTHON_FILES, DataError
from eqprop_core.data.datasets import Dataset, Images, load_dataset, verify


def load(task: str, root: Path | None = None, **settings):
    return load_dataset(task, root=root, download=False, progress=False, **settings)


def assert_well_formed(images: Images, n: int, shape: tuple[int, ...]) -> None:
    assert len(images) == n
    assert images.images.shape == (n, *shape)
    assert images.labels.shape == (n,)
    assert images.images.dtype == torch.uint8
    assert images.labels.dtype == torch.int64


# Digits


def test_digits_are_those_of_the_source_in_its_order():
    digits = load("digits")
    assert_well_formed(digits.train, 1438, (1, 8, 8))
    assert_well_formed(digits.test, 359, (1, 8, 8))
    everything = torch.cat([digits.train.labels, digits.test.labels])
    assert everything.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digits.train.images.max() == 16
    first = [[0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0]]
    assert digits.train.images[0, 0, :2].tolist() == first
    # Every fifth image of the original order tests: 0 1 2 3 (4) 5 6 7 8 (9) …
    assert digits.train.labels[:8].tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert digits.test.labels[:2].tolist() == [4, 9]
    assert digits.validation is None
    assert verify("digits") == []


# MNIST


@pytest.mark.parametrize("task", ["MNIST", "FashionMNIST"])
def test_mnist_files_are_read_plain_or_compressed(small_mnist, task):
    (small_mnist / "MNIST").rename(small_mnist / task)
    data = load(task, small_mnist)
    assert_well_formed(data.train, 30, (1, 28, 28))
    assert_well_formed(data.test, 10, (1, 28, 28))
    files = idx_files(30, 10)
    assert data.train.images.numpy().tobytes() == files["train-images-idx3-ubyte"][16:]
    assert data.test.images.numpy().tobytes() == files["t10k-images-idx3-ubyte"][16:]
    assert data.train.labels.tolist() == [n % 10 for n in range(30)]
    assert verify(task, small_mnist) == []


def test_leftovers_of_old_torchvision_versions_are_not_read(small_mnist):
    processed = small_mnist / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(1, 28, 28), torch.zeros(1)), processed / name)
    assert len(load("MNIST", small_mnist).train) == 30


def test_a_label_beyond_the_classes_is_damage(small_mnist):
    path = small_mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.full(30, 17, dtype=np.uint8)))
    with pytest.raises(DataError, match="label 17, expected 0 to 9"):
        load("MNIST", small_mnist)
    assert [str(path) in problem for problem in verify("MNIST", small_mnist)] == [True]


def test_a_truncated_file_is_named_with_its_size_and_what_is_expected(small_mnist):
    path = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte is damaged: 1,000 bytes.*47,040,016"):
        load("MNIST", small_mnist)
    assert len(verify("MNIST", small_mnist)) == 1


def test_a_compressed_file_that_is_broken_inside_is_named(small_mnist):
    path = small_mnist / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[4000:4100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path.name} cannot be read"):
        load("MNIST", small_mnist)
    assert len(verify("MNIST", small_mnist)) == 1


def test_labels_that_do_not_match_the_images_in_number_are_a_problem(small_mnist):
    path = small_mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(idx_files(20, 1)[path.name])
    with pytest.raises(DataError, match="30 train images but 20 labels"):
        load("MNIST", small_mnist)
    assert len(verify("MNIST", small_mnist)) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_full_file_with_other_content_fails_its_checksum(small_mnist, packed):
    path = small_mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    content = idx(np.zeros(10_000, dtype=np.uint8))
    path.unlink()
    path = path.with_name(path.name + ".gz") if packed else path
    path.write_bytes(gzip.compress(content) if packed else content)
    problems = verify("MNIST", small_mnist)
    assert any(f"{path} is not the published file" in problem for problem in problems)


def test_without_download_the_missing_files_their_place_and_their_source_are_named(tmp_path):
    with pytest.raises(DataError) as caught:
        load("MNIST", tmp_path)
    message = str(caught.value)
    for name in idx_files(1, 1):
        assert str(tmp_path / "MNIST" / "raw" / name) in message
        assert f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz" in message
    assert "--data-dir or EQPROP_DATA" in message
    assert len(verify("MNIST", tmp_path)) == 4


# CIFAR-10


def test_cifar10_is_read_from_a_subset_of_its_binary_files(small_cifar10):
    data = load("CIFAR10", small_cifar10)
    assert_well_formed(data.train, 20, (3, 32, 32))
    assert_well_formed(data.test, 4, (3, 32, 32))
    second_file = torch.from_numpy(cifar10_records(4, 1))
    assert torch.equal(data.train.images[4:8].flatten(1), second_file[:, 1:])
    assert torch.equal(data.train.labels[4:8], second_file[:, 0].long())
    assert verify("CIFAR10", small_cifar10) == []


def test_a_cifar10_label_beyond_the_classes_is_damage(small_cifar10):
    path = small_cifar10 / "cifar-10-batches-bin" / "data_batch_2.bin"
    path.write_bytes(bytes([10]) + path.read_bytes()[1:])
    with pytest.raises(DataError, match=r"data_batch_2.bin is damaged: it has a label 10"):
        load("CIFAR10", small_cifar10)
    assert len(verify("CIFAR10", small_cifar10)) == 1


@pytest.fixture
def pickled_cifar10(tmp_path, monkeypatch) -> Path:
    """A data root with torchvision's layout of CIFAR-10, four records a file, whose checksums are right."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    md5s = {}
    for seed, name in enumerate(CIFAR10_PYTHON_FILES):
        records = cifar10_records(4, seed)
        content = {
            "data": records[:, 1:],
            "labels": records[:, 0].tolist(),
            "label_names": [*"abcdefghij"],
        }
        (folder / name).write_bytes(pickle.dumps(content))
        md5s[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    *train, test, meta = md5s.items()
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "train_list", train)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "test_list", [test])
    monkeypatch.setitem(torchvision.datasets.CIFAR10.meta, "md5", meta[1])
    return tmp_path


def test_cifar10_is_read_as_torchvision_keeps_it(pickled_cifar10):
    data = load("CIFAR10", pickled_cifar10)
    assert_well_formed(data.train, 20, (3, 32, 32))
    assert_well_formed(data.test, 4, (3, 32, 32))
    second_file = torch.from_numpy(cifar10_records(4, 1))
    assert torch.equal(data.train.images[4:8].flatten(1), second_file[:, 1:])
    assert torch.equal(data.train.labels[4:8], second_file[:, 0].long())
    assert verify("CIFAR10", pickled_cifar10) == []


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", CIFAR10_PYTHON_FILES)
def test_a_pickle_with_a_wrong_checksum_is_never_unpickled(pickled_cifar10, tmp_path, name):
    sprung = tmp_path / "sprung"
    path = pickled_cifar10 / "cifar-10-batches-py" / name
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(DataError, match=r"cifar-10-batches-py is not read, as its MD5 checksums are wrong"):
        load("CIFAR10", pickled_cifar10)
    assert verify("CIFAR10", pickled_cifar10) == [f"{path}: not the published file (MD5 differs)"]
    assert not sprung.exists()
    pickle.loads(path.read_bytes())
    assert sprung.exists(), "the trap does not work"


# Samples and validation


@pytest.mark.parametrize("task", ["digits", "imagefolder"])
def test_the_first_images_are_kept(image_folder, task):
    whole = load(task, image_folder)
    part = load(task, image_folder, train_samples=4, test_samples=1)
    assert (len(part.train), len(part.test)) == (4, 1)
    assert torch.equal(part.train.images, whole.train.images[:4])
    assert torch.equal(part.train.labels, whole.train.labels[:4])


@pytest.mark.parametrize("task", ["digits", "imagefolder"])
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("samples", [0, 2000])
def test_more_images_than_there_are_is_an_error_that_names_the_flag(image_folder, task, split, samples):
    with pytest.raises(DataError, match=rf"--{split}-samples {samples}: there are .* accepted: 1 to \d+"):
        load(task, image_folder, **{f"{split}_samples": samples})


@pytest.mark.parametrize("task", ["digits", "imagefolder"])
def test_a_drawn_part_is_a_function_of_the_seed(task: str, image_folder: Path) -> None:
    def part(**settings: object) -> Dataset:
        return load(task, image_folder, train_samples=4, test_samples=1, **settings)

    whole, first = load(task, image_folder).train, part()
    assert torch.equal(first.train.images, whole.images[:4])
    drawn = [part(samples="drawn", seed=seed).train for seed in (1, 1, 2, 3, 4)]
    assert torch.equal(drawn[0].images, drawn[1].images) and torch.equal(drawn[0].labels, drawn[1].labels)
    assert any(not torch.equal(drawn[0].images, other.images) for other in drawn[2:])
    for images in drawn:  # each once, in their order
        places = [int((whole.images == image).flatten(1).all(1).nonzero()[0]) for image in images.images]
        assert places == sorted(set(places))
        assert torch.equal(images.labels, whole.labels[places])
    assert len(load(task, image_folder, train_samples=len(whole), samples="drawn").train) == len(whole)


def test_images_of_each_class_in_the_files_are_counted(image_folder: Path) -> None:
    part = load("imagefolder", image_folder, train_samples=1, samples="drawn", seed=2)
    assert part.available == {"train": [3, 3], "test": [1, 1]}


def test_validation_images_are_taken_out_of_the_training_images():
    whole = load("digits", train_samples=100)
    parts = load("digits", train_samples=100, val_split=0.25, seed=3)
    assert parts.validation is not None
    assert (len(parts.train), len(parts.validation)) == (75, 25)
    together = torch.cat([parts.train.images, parts.validation.images]).flatten(1)
    assert torch.equal(together.unique(dim=0), whole.train.images.flatten(1).unique(dim=0))
    assert torch.equal(parts.test.images, whole.test.images)


def test_validation_images_depend_on_the_seed_alone():
    first, again, other = (load("digits", val_split=0.1, seed=seed).validation for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("share", [0.01, 0.99, 1.0, 1.5, -0.1, float("nan")])
def test_a_share_that_leaves_a_side_empty_is_an_error_that_names_the_flag(share):
    with pytest.raises(DataError, match=rf"--val-split {share}: of 10 .*; accepted: 0, or .* 1 to 9 of them"):
        load("digits", train_samples=10, val_split=share)


def test_one_image_cannot_be_divided():
    with pytest.raises(DataError, match=r"accepted: 0$"):
        load("digits", train_samples=1, val_split=0.5)


# Image folders


def test_images_come_class_by_turns_and_within_a_class_by_name(image_folder):
    (image_folder / "train" / "dog" / "c.png").unlink()
    data = load("imagefolder", image_folder, image_size=8)
    assert_well_formed(data.train, 5, (3, 8, 8))
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0]
    assert data.train.images[:, :, 4, 4].tolist() == [
        [0, 0, 255],
        [100, 0, 255],
        [0, 10, 255],
        [100, 10, 255],
        [0, 20, 255],
    ]
    assert verify("imagefolder", image_folder) == []


def test_the_centre_of_an_image_is_kept(image_folder):
    stripes = np.zeros((20, 60, 3), dtype=np.uint8)
    stripes[:, :20, 0] = stripes[:, 20:40, 1] = stripes[:, 40:, 2] = 200
    for turned in (stripes, stripes.transpose(1, 0, 2)):
        Image.fromarray(turned).save(image_folder / "test" / "cat" / "a.png")
        pixels = load("imagefolder", image_folder, image_size=10).test.images[0]
        inner = pixels[:, 1:-1, 1:-1]  # the border is smoothed with what is beyond it
        assert inner.amax((1, 2)).tolist() == [0, 200, 0]
        assert inner[1].min() == 200


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_every_kind_of_image_becomes_rgb(image_folder, mode):
    white = Image.new("RGB", (9, 9), (255, 255, 255)).convert(mode)
    white.save(image_folder / "test" / "cat" / "a.png" if mode != "CMYK" else image_folder / "test/cat/A.tif")
    pixels = load("imagefolder", image_folder, image_size=4).test.images[0]
    assert pixels.shape == (3, 4, 4)
    assert pixels.min() == 255


def test_an_unreadable_image_is_named(image_folder):
    good = (image_folder / "train" / "dog" / "b.png").read_bytes()
    for content in (b"", b"no image", good[:60]):
        (image_folder / "train" / "dog" / "b.png").write_bytes(content)
        with pytest.raises(DataError, match=r"dog/b\.png cannot be read as an image"):
            load("imagefolder", image_folder)
        assert len(verify("imagefolder", image_folder)) == 1


def test_images_of_more_than_8_bits_are_refused_rather_than_clipped(image_folder):
    Image.fromarray(np.full((9, 9), 30_000, dtype=np.uint16)).save(image_folder / "train" / "dog" / "b.png")
    with pytest.raises(DataError, match=r"dog/b\.png has pixels of mode I;16; expected 8 bits a channel"):
        load("imagefolder", image_folder)


def test_a_missing_image_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="train/<class>/"):
        load("imagefolder", tmp_path)
    assert len(verify("imagefolder", tmp_path)) == 1


# All


def test_progress_goes_to_standard_error_and_can_be_left_out(image_folder, capsys):
    load_dataset("imagefolder", root=image_folder)
    shown = capsys.readouterr()
    assert (shown.out, "8 images" in shown.err) == ("", True)
    load_dataset("imagefolder", root=image_folder, progress=False)
    assert capsys.readouterr() == ("", "")


def test_images_move_to_a_device():
    moved = load("digits", train_samples=2, device="meta")
    assert moved.train.images.device.type == moved.test.labels.device.type == "meta"
    assert len(moved.train) == 2


def test_an_unknown_task_is_a_data_error(tmp_path):
    for ask in (load, verify):
        with pytest.raises(DataError, match="accepted: digits"):
            ask("ImageNet", tmp_path)


def test_a_place_that_cannot_be_read_is_a_data_error():
    for task in ("MNIST", "CIFAR10", "imagefolder"):
        with pytest.raises(DataError, match="cannot be read"):
            load(task, Path("x" * 5000))
