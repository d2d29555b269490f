"""Where published sets are looked for, and what lies there in their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_files import idx, idx_files
from small_idx import NAMES, in_members, load, pack, put

from eqprop_core import catalogue, published_files
from eqprop_core.catalogue import DataError, describe, status
from eqprop_core.config import RunConfig
from eqprop_core.data.datasets import fetch, verify
from eqprop_tui.cli.data import check_data
from eqprop_tui.library import data_in_words


def test_other_images_in_the_place_of_mnist_are_told(small_mnist, capsys):
    found = status("MNIST", small_mnist)
    assert (found.state, found.foreign, found.train_size) == ("subset", True, 30)
    data = load(small_mnist, "MNIST")
    (said,) = data.remarks
    assert said.startswith("these are not the images of MNIST: ") and "train-images-idx3-ubyte" in said
    assert data_in_words(RunConfig(lrs=[0.1, 0.1]), "foreign") == "MNIST (other images in its place)"
    check_data("MNIST", small_mnist)
    assert f"warning: {said}" in capsys.readouterr().err


def published(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], task: str = "MNIST") -> None:
    """Have these files be what was published."""
    from dataclasses import replace
    from hashlib import md5, sha256

    info = catalogue.PUBLISHED[task]
    specs = []
    for spec in info.files:
        content = files[Path(spec.path).name]
        records = int.from_bytes(content[4:8], "big")
        head = content[spec.header_bytes :][: spec.head_records * spec.record_bytes]
        specs.append(
            replace(spec, records=records, sha256=sha256(content).hexdigest(), head_md5=md5(head).hexdigest())
        )
    info = replace(info, files=tuple(specs), train_size=specs[0].records, test_size=specs[2].records)
    monkeypatch.setitem(catalogue.PUBLISHED, task, info)


def write_all(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def first_image(files):
    files[NAMES[0]] = files[NAMES[0]][:20] + b"\1\2\3" + files[NAMES[0]][23:]


def last_label(files):
    files[NAMES[3]] = files[NAMES[3]][:-1] + b"\0"


def other_order(files):
    content = files[NAMES[1]]
    files[NAMES[1]] = content[:8] + content[:7:-1]


@pytest.mark.parametrize("change", [first_image, last_label, other_order])
def test_a_complete_set_with_another_image_label_or_order_is_told(tmp_path, monkeypatch, change):
    files = idx_files(40, 12)
    published(monkeypatch, files)
    write_all(tmp_path / "MNIST/raw", files)
    assert (load(tmp_path, "MNIST").remarks, verify("MNIST", tmp_path)) == ((), [])
    change(files)
    write_all(tmp_path / "MNIST/raw", files)
    (said,) = load(tmp_path, "MNIST").remarks
    assert said.startswith("these are not the images of MNIST: ")
    assert any("is not the published file" in problem for problem in verify("MNIST", tmp_path))


def test_a_beginning_of_the_published_images_is_a_subset_and_no_other_set(tmp_path, monkeypatch):
    files = idx_files(40, 12)
    published(monkeypatch, files)
    parts = {
        name: content[:4] + bytes([0, 0, 0, 11]) + content[8 : 8 + (8 + 11 * 784 if "images" in name else 11)]
        for name, content in files.items()
    }
    write_all(tmp_path / "MNIST/raw", parts)
    assert not status("MNIST", tmp_path).foreign
    assert load(tmp_path, "MNIST").remarks == (
        "MNIST is a subset: 11 of 40 training and 11 of 12 test images",
    )


def test_more_images_than_published_are_taken_with_a_warning(tmp_path, monkeypatch):
    published(monkeypatch, idx_files(20, 10))
    write_all(tmp_path / "MNIST/raw", idx_files(45, 15))
    data = load(tmp_path, "MNIST")
    assert (len(data.train), len(data.test)) == (45, 15)
    assert "45 of 20 training" in data.remarks[0]


def test_the_heads_of_published_files_are_known():
    heads = {spec.path: spec.head_md5 for task in ("MNIST", "FashionMNIST") for spec in describe(task).files}
    assert sum(head is not None for head in heads.values()) == 6  # all but the images of FashionMNIST
    assert len(set(heads.values())) == 7


@pytest.mark.parametrize("inside", ["", "MNIST", "MNIST/raw"])
def test_mnist_is_found_from_its_own_folders(small_mnist, inside):
    assert len(load(small_mnist / inside, "MNIST").train) == 30
    assert status("MNIST", small_mnist / inside).state == "subset"
    assert verify("MNIST", small_mnist / inside) == []


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_cifar10_is_found_from_its_own_folder(small_cifar10, inside):
    assert len(load(small_cifar10 / inside, "CIFAR10").train) == 20


@pytest.mark.parametrize("task", ["MNIST", "CIFAR10"])
def test_a_folder_one_level_too_high_is_a_hint_and_no_download(small_mnist, small_cifar10, tmp_path, task):
    inner = tmp_path / "sets"
    inner.mkdir()
    for name in ("MNIST", "cifar-10-batches-bin"):
        (tmp_path / name).rename(inner / name)
    for ask in (lambda: fetch(task, tmp_path, progress=False), lambda: load(tmp_path, task)):
        with pytest.raises(
            DataError, match=f"{task} is not in {tmp_path}, but in {inner}: --data-dir {inner}"
        ):
            ask()
    assert f"--data-dir {inner}" in status(task, tmp_path).note
    assert verify(task, tmp_path) == [f"{task} is not in {tmp_path}, but in {inner}: --data-dir {inner}"]


@pytest.mark.parametrize(
    "called",
    [NAMES, tuple(n.replace("-idx", ".idx") for n in NAMES), tuple(f"{n.upper()}.GZ" for n in NAMES)],
)
@pytest.mark.parametrize("task", ["MNIST", "FashionMNIST"])
def test_images_of_ones_own_in_the_folder_itself_are_a_hint_and_no_download(tmp_path, called, task):
    arrays = put(tmp_path, shape=(28, 28))
    for name, other, array in zip(NAMES, called, arrays, strict=True):
        (tmp_path / name).unlink()
        (tmp_path / other).write_bytes(pack(idx(array)) if other.endswith("GZ") else idx(array))
    hint = (
        f"{tmp_path / called[0]} is not of {task}; for images of your own: --task idx --data-dir {tmp_path}"
    )
    with pytest.raises(DataError) as caught:
        fetch(task, tmp_path, progress=False)
    assert str(caught.value) == f"{task} is not in {tmp_path}: {hint}"
    assert verify(task, tmp_path)[-1] == hint and hint in status(task, tmp_path).note
    assert describe("idx", tmp_path).train_size == 12 and not verify("idx", tmp_path)


@pytest.mark.parametrize("task", ["MNIST", "idx"])
@pytest.mark.parametrize("other", ["donne\u0301es", "d\u043ennées", "données ", "données\u200b"])
def test_a_folder_whose_name_looks_the_same_is_a_hint_and_no_download(tmp_path, task, other):
    (tmp_path / other).mkdir()
    with pytest.raises(DataError, match=r"asked for was données .*, and there is "):
        load(tmp_path / "données", task)
    assert [path.name for path in tmp_path.iterdir()] == [other]


def test_mnist_as_kaggle_keeps_it_is_taken_where_it_is_mnist(tmp_path, monkeypatch):
    files = idx_files(20, 10)
    write_all(tmp_path, {name.replace("-idx", ".idx"): content for name, content in files.items()})
    assert status("MNIST", tmp_path).state == "absent"  # some files, which need not be
    published(monkeypatch, files)
    assert status("MNIST", tmp_path).state == "present"
    assert len(load(tmp_path, "MNIST").train) == 20
    assert status("FashionMNIST", tmp_path).state == "absent"


def test_images_of_another_size_in_the_place_of_mnist_are_refused_with_what_takes_them(small_mnist):
    folder = small_mnist / "MNIST" / "raw"
    for path in folder.iterdir():
        path.unlink()
    put(folder, shape=(20, 20))
    with pytest.raises(DataError, match=rf"of another data set.*--task idx --data-dir {folder}"):
        load(small_mnist, "MNIST")
    assert len(load(folder).train) == 12


def test_a_repacked_file_whose_content_has_no_known_checksum_is_not_called_damaged(tmp_path, sparse_file):
    folder = tmp_path / "FashionMNIST" / "raw"
    write_all(folder, idx_files(30, 10))
    labels = idx(np.arange(10_000, dtype=np.uint16).astype(np.uint8) % 10)
    (folder / NAMES[3]).unlink()
    (folder / f"{NAMES[3]}.gz").write_bytes(in_members(500)(labels))
    (folder / NAMES[2]).write_bytes(idx(np.zeros((10_000, 28, 28), np.uint8)))
    assert verify("FashionMNIST", tmp_path) == []


def test_published_places_are_looked_for_with_few_questions(tmp_path):
    assert published_files.root_above("MNIST", tmp_path) == tmp_path
    assert published_files.root_inside(describe("MNIST"), tmp_path / "nowhere") is None
