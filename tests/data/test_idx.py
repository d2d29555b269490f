"""IDX files of your own: which are found, what they hold, and what is said of those that do not fit."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from small_files import idx
from small_idx import NAMES, load, pack, put

from eqprop_core.catalogue import DataError, describe, shape_and_classes, status
from eqprop_core.config import RunConfig
from eqprop_core.data.datasets import fetch, remarks, verify
from eqprop_core.memory import memory_need
from eqprop_tui.library import data_in_words, data_state


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((6, 4), (1, 6, 4)),
        ((1, 1), (1, 1, 1)),
        ((40, 3), (1, 40, 3)),
        ((3, 6, 4), (3, 6, 4)),
        ((6, 4, 3), (3, 6, 4)),
        ((6, 4, 1), (1, 6, 4)),
        ((1, 6, 9), (1, 6, 9)),
        ((4, 8, 8), (4, 8, 8)),
        ((4, 4, 3), (3, 4, 4)),
    ],
)
def test_images_of_any_size_and_colour_are_read(tmp_path, shape, seen, packed):
    images, labels, *_ = put(tmp_path, shape=shape, packed=packed)
    info = describe("idx", tmp_path)
    assert (info.shape, info.classes, info.train_size, info.test_size) == (seen, ("0", "1", "2"), 12, 3)
    assert shape_and_classes("idx", tmp_path) == (seen, 3)
    assert status("idx", tmp_path).state == "present"
    data = load(tmp_path)
    assert data.train.images.shape == (12, *seen)
    expected = torch.from_numpy(images).view(12, *shape)
    if len(shape) == 3 and shape != seen:
        expected = expected.permute(0, 3, 1, 2)
    assert torch.equal(data.train.images, expected.reshape(12, *seen))
    assert data.train.labels.tolist() == labels.tolist()
    assert (data.test.labels.tolist(), data.remarks, verify("idx", tmp_path)) == ([2, 1, 0], (), [])


def emnist(name: str) -> tuple[str, ...]:
    return tuple(
        f"emnist-{name}-{kind}"
        for kind in (NAMES[0], NAMES[1], *(n.replace("t10k", "test") for n in NAMES[2:]))
    )


CALLED = {
    "as published": NAMES,
    "with dots": tuple(name.replace("-idx", ".idx") for name in NAMES),
    "each in a folder": tuple(f"{name}/{name}" for name in NAMES),
    "each in a folder, with dots": tuple(f"{name}/{name.replace('-idx', '.idx')}" for name in NAMES),
    "EMNIST": emnist("letters"),
    "in raw": tuple(f"raw/{name}" for name in NAMES),
    "as torchvision keeps it": tuple(f"KMNIST/raw/{name}" for name in NAMES),
    "two folders deeper": tuple(f"data/KMNIST/raw/{name}" for name in NAMES),
    "of colour": tuple(name.replace("idx3", "idx4") for name in NAMES),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("called", CALLED)
def test_files_are_found_by_the_names_that_people_have(tmp_path, called, packed):
    put(tmp_path, names=CALLED[called], packed=packed)
    place = (tmp_path / CALLED[called][0]).parent
    for root in dict.fromkeys((tmp_path, place if "in a folder" not in called else tmp_path)):
        assert len(load(root).train) == 12
        assert verify("idx", root) == []


def test_of_several_sets_one_is_chosen(tmp_path):
    put(tmp_path, names=emnist("letters"))
    put(tmp_path, names=emnist("digits"), labels=([0, 1] * 3, [1, 0]))
    with pytest.raises(
        DataError, match=r"holds 2 sets of IDX files; choose one by --data-dir: .*/emnist-letters"
    ):
        load(tmp_path)
    assert status("idx", tmp_path).state == "absent"
    assert len(load(tmp_path / "emnist-digits").train) == 6
    assert len(load(tmp_path / "emnist-letters").train) == 12


def test_an_unpacked_file_goes_before_a_compressed_one(tmp_path):
    put(tmp_path, packed=True, labels=([0, 1], [1, 0]))
    put(tmp_path)
    assert len(load(tmp_path).train) == 12


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ([1, 2, 3], ("1", "2", "3"), "the labels are 1 to 3: taken as the classes 0 to 2, in this order"),
        ([0, 1, 5, 9], ("0", "1", "5", "9"), "the labels are 0 to 1, 5 and 9: taken as the classes 0 to 3"),
        ([7], ("7",), "the labels are 7: taken as the classes 0 to 0"),
        ([0, 255], ("0", "255"), "the labels are 0 and 255: taken as the classes 0 to 1"),
    ],
)
def test_labels_that_do_not_count_from_0_are_told(tmp_path, labels, classes, said):
    put(tmp_path, labels=(labels * 3, labels[::-1]))
    data = load(tmp_path)
    assert data.info.classes == classes
    assert data.train.labels.tolist() == [*range(len(labels))] * 3
    assert data.test.labels.tolist() == [*range(len(labels))][::-1]
    assert data.remarks[0].startswith(said)
    assert remarks("idx", tmp_path) == data.remarks


def change_header(name: str, *numbers: int):
    def change(folder: Path) -> None:
        path = folder / name
        content = path.read_bytes()
        head = struct.pack(f">{len(numbers)}I", *numbers)
        path.write_bytes(head + content[len(head) :])

    return change


def smaller(folder: Path) -> None:
    put(folder / "other", shape=(5, 5))
    (folder / "other" / NAMES[2]).replace(folder / NAMES[2])
    for path in (folder / "other").iterdir():
        path.unlink()


WRONG = {
    "fewer labels": (
        lambda f: (f / NAMES[1]).write_bytes(idx(np.arange(11, dtype=np.uint8) % 3)),
        "12 train images but 11",
    ),
    "a new test label": (
        lambda f: (f / NAMES[3]).write_bytes(idx(np.array([1, 8, 9], np.uint8))),
        "no training image",
    ),
    "integers": (change_header(NAMES[1], 0x0C01), "holds integers: expected unsigned bytes"),
    "floats": (change_header(NAMES[0], 0x0D03), "holds floating-point numbers: expected unsigned"),
    "no magic": (change_header(NAMES[0], 0xDEADBEEF), "is no IDX file: it begins with deadbeef"),
    "compressed": (
        lambda f: (f / NAMES[0]).write_bytes(pack(b"x")),
        "it is compressed, as files are whose names",
    ),
    "images for labels": (
        lambda f: (f / NAMES[1]).write_bytes((f / NAMES[0]).read_bytes()),
        "labels have one",
    ),
    "labels for images": (
        lambda f: (f / NAMES[0]).write_bytes((f / NAMES[1]).read_bytes()),
        "has 1 dimension:",
    ),
    "sizes that differ": (smaller, "differ in size: 6 x 4 in .*, 5 x 5 in"),
    "no height": (
        lambda f: (f / NAMES[0]).write_bytes(idx(np.zeros((12, 0, 4), np.uint8))),
        "images of 0 x 4",
    ),
    "no images": (
        lambda f: (f / NAMES[0]).write_bytes(idx(np.zeros((0, 6, 4), np.uint8))),
        "holds no images",
    ),
    "one byte less": (
        lambda f: (f / NAMES[0]).write_bytes((f / NAMES[0]).read_bytes()[:-1]),
        "303 bytes, but",
    ),
    "one byte more": (
        lambda f: (f / NAMES[3]).write_bytes((f / NAMES[3]).read_bytes() + b"\0"),
        "12 bytes, but",
    ),
    "a cut header": (
        lambda f: (f / NAMES[0]).write_bytes((f / NAMES[0]).read_bytes()[:9]),
        "within its header",
    ),
    "five dimensions": (
        lambda f: (f / NAMES[0]).write_bytes(idx(np.zeros((12, 1, 1, 6, 4), np.uint8))),
        "has 5 dimensions: gray images have 3",
    ),
    "many channels": (
        lambda f: [
            (f / n).write_bytes(idx(np.zeros((k, 9, 6, 7), np.uint8)))
            for n, k in ((NAMES[0], 12), (NAMES[2], 3))
        ],
        "1 to 4 channels",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_files_that_do_not_fit_are_told_in_words(tmp_path, fault):
    put(tmp_path)
    change, said = WRONG[fault]
    change(tmp_path)
    assert status("idx", tmp_path).state == "damaged"
    with pytest.raises(DataError, match=said):
        load(tmp_path)
    assert len(verify("idx", tmp_path)) == 1


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(
        DataError, match=r"no IDX files in .*: expected are train-images-idx3-ubyte, .*EQPROP_DATA"
    ):
        load(tmp_path)
    with pytest.raises(DataError, match="is no folder of IDX files"):
        fetch("idx", tmp_path / "nowhere")
    put(tmp_path)
    (tmp_path / NAMES[1]).unlink()
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(
        DataError, match=r"holds t10k-labels-idx1-ubyte, .*; missing are the training labels, the test images"
    ):
        load(tmp_path)
    found = status("idx", tmp_path)
    assert (found.state, len(found.missing)) == ("absent", 4)


def test_settings_take_shape_and_classes_of_the_files(tmp_path):
    put(tmp_path, shape=(6, 5, 3))
    config = RunConfig(task="idx", data_dir=str(tmp_path), lrs=[0.1, 0.1])
    assert config.archi == (90, 512, 3)
    assert memory_need(config).data >= 15 * 90
    assert data_in_words(config, data_state(config)) == "idx (here)"
    config = RunConfig(
        task="idx", data_dir=str(tmp_path), model="CNN", channels=[4], kernels=[3], pools="i", lrs=[0.1, 0.1]
    )
    assert [shape.post for shape in config.connections()] == [(4, 4, 3), (3,)]
    with pytest.raises(ValueError, match="must end with 3, the number of classes"):
        RunConfig(task="idx", data_dir=str(tmp_path), archi=[90, 10], lrs=[0.1])


def test_a_stored_network_is_read_where_its_images_are_not(tmp_path):
    config = RunConfig(task="idx", data_dir=str(tmp_path / "gone"), archi=[77, 20, 5], lrs=[0.1, 0.1])
    assert [shape.pre for shape in config.connections()][1:] == [(20,)]
    assert "not here: data-dir chooses" in data_in_words(config, data_state(config))
