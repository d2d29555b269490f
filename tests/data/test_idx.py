"""IDX files: gzip by RFC 1952, sets of your own, and sets that are not what their place says."""

from __future__ import annotations

import gzip
import os
import resource
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from small_files import idx, idx_files

from eqprop_core import catalogue, published_files
from eqprop_core import idx as idx_format
from eqprop_core.catalogue import DataError, describe, shape_and_classes, status
from eqprop_core.config import RunConfig
from eqprop_core.data.datasets import fetch, load_dataset, remarks, verify
from eqprop_core.memory import memory_need
from eqprop_tui.cli.data import check_data
from eqprop_tui.library import data_in_words, data_state

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
pack = gzip.compress


def load(root: Path, task: str = "idx"):
    return load_dataset(task, root=root, download=False, progress=False)


def put(
    folder: Path,
    *,
    shape: tuple[int, ...] = (6, 4),
    labels: tuple[list[int], list[int]] = ([0, 1, 2] * 4, [2, 1, 0]),
    names: tuple[str, ...] = NAMES,
    packed: bool = False,
) -> list[np.ndarray]:
    """Write a set of random images; returns what is in its files."""
    draws = np.random.default_rng(3)
    arrays = []
    for split in labels:
        arrays += [
            draws.integers(0, 256, (len(split), *shape), dtype=np.uint8),
            np.array(split, dtype=np.uint8),
        ]
    for name, array in zip(names, arrays, strict=True):
        path = folder / (f"{name}.gz" if packed else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(idx(array)) if packed else idx(array))
    return arrays


# gzip


def in_members(*lengths: int):
    """Content as members of these lengths, and one of the rest."""

    def packed(content: bytes) -> bytes:
        parts = []
        for length in lengths:
            parts.append(pack(content[:length]))
            content = content[length:]
        return b"".join([*parts, pack(content)])

    return packed


GOOD = {
    "one member": pack,
    "within the header": in_members(3, 4, 2),
    "in the middle": in_members(100),
    "empty members everywhere": lambda content: pack(b"") + in_members(0, 1, 0)(content) + pack(b"") * 3,
    "an empty last member": lambda content: pack(content) + pack(b""),
    "a last member as large as all": lambda content: pack(content) + pack(b""),
    "zeros after it": lambda content: pack(content) + bytes(7),
    "many zeros after members": lambda content: in_members(50, 60)(content) + bytes(10_240),
    "zeros between members": lambda content: pack(content[:40]) + bytes(512) + pack(content[40:]),
    "stored": lambda content: pack(content, compresslevel=0),
    "with a name in its header": lambda content: pack(content)[:3] + b"\x08" + pack(content)[4:10] + b"t.idx\0"
    + pack(content)[10:],
}  # fmt: skip


@pytest.mark.parametrize("task", ["MNIST", "idx"])
@pytest.mark.parametrize("form", GOOD)
def test_gzip_is_read_as_it_is_defined(small_mnist, task, form):
    folder = small_mnist / "MNIST" / "raw"
    for name, content in idx_files(30, 10).items():
        (folder / name).unlink(missing_ok=True)
        (folder / f"{name}.gz").write_bytes(GOOD[form](content))
    found = status(task, small_mnist)
    assert (found.state, found.train_size, found.test_size) == (
        "present" if task == "idx" else "subset",
        30,
        10,
    )
    assert verify(task, small_mnist) == []
    data = load(small_mnist, task)
    assert data.train.images.numpy().tobytes() == idx_files(30, 10)["train-images-idx3-ubyte"][16:]
    assert data.test.labels.tolist() == [*range(10)]


def of_other_records(content: bytes) -> bytes:
    return pack(content[:4] + (4_000_000_000).to_bytes(4, "big") + content[8:])


BAD = {
    "cut in its checksum": (lambda content: pack(content)[:-6], "ends too early"),
    "cut in the middle": (lambda content: pack(content)[:900], "ends too early"),
    "cut in a second member": (lambda content: in_members(100)(content)[:-20], "ends too early"),
    "a wrong checksum": (lambda c: pack(c)[:-8] + b"\0\1\2\3" + pack(c)[-4:], "damaged inside"),
    "a wrong checksum of the first member": (
        lambda c: pack(c[:60])[:-8] + b"abcd" + pack(c[:60])[-4:] + pack(c[60:]),
        "damaged inside",
    ),
    "garbage after it": (lambda content: pack(content) + b"garbage", "something that is not gzip follows"),
    "garbage after zeros": (lambda c: pack(c) + bytes(20) + b"\1", "something that is not gzip follows"),
    "an error page": (lambda content: b"<html>404</html>" * 9, "it is not compressed by gzip"),
    "nothing": (lambda content: b"", "0 bytes"),
    "nothing, compressed": (lambda content: pack(b""), "header is"),
    "more than announced": (lambda content: pack(content + b"\0"), "more than"),
    "a further member": (lambda content: pack(content) + pack(content), "more than"),
    "less than announced": (lambda content: pack(content[:-1]), "announces 30 records"),
    "many records announced": (of_other_records, "announces 4,000,000,000 records"),
    "packed twice": (lambda content: pack(pack(content)), "compressed"),
}


@pytest.mark.parametrize("task", ["MNIST", "idx"])
@pytest.mark.parametrize("damage", BAD)
def test_damaged_gzip_is_told_in_words(small_mnist, task, damage, capsys):
    break_it, said = BAD[damage]
    path = small_mnist / "MNIST" / "raw" / NAMES[0]
    content = path.read_bytes()
    path.unlink()
    path = path.with_name(f"{path.name}.gz")
    path.write_bytes(break_it(content))
    if damage.startswith("nothing") and task == "idx":
        said = "begins with nothing"
    with pytest.raises(DataError) as raised:
        load(small_mnist, task)
    problems = verify(task, small_mnist)
    assert problems
    for words in (str(raised.value), problems[0]):
        assert str(path) in words and said in words
        assert "b'" not in words and "Errno" not in words


def test_of_a_file_that_holds_more_than_is_announced_no_more_is_read(tmp_path):
    put(tmp_path)
    path = tmp_path / NAMES[0]
    bomb = pack(path.read_bytes() + bytes(50_000_000))
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(bomb)
    tracemalloc.start()
    assert "more than 304 bytes" in verify("idx", tmp_path)[0]
    with pytest.raises(DataError, match="more than 304 bytes"):
        load(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_header_that_lies_takes_no_memory(tmp_path):
    put(tmp_path)
    path = tmp_path / NAMES[0]
    header = struct.pack(">4I", 0x0803, 4_000_000_000, 6, 4)
    path.unlink()
    path = path.with_name(f"{path.name}.gz")
    packed = bytearray(pack(header + bytes(500)))
    packed[-4:] = struct.pack("<I", (16 + 4_000_000_000 * 24) % 2**32)  # as the last four bytes ought to be
    path.write_bytes(packed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert status("idx", tmp_path).state == "damaged"
    with pytest.raises(DataError, match="damaged"):
        load(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("task", ["MNIST", "idx"])
def test_more_than_memory_holds_is_not_read(small_mnist, task, packed, monkeypatch):
    """Files that keep what they announce: sparse ones, and ones of a few megabytes that unpack to gigabytes."""
    records = 2**31  # of 784 bytes
    for name, header in (
        (NAMES[0], struct.pack(">4I", 0x0803, records, 28, 28)),
        (NAMES[1], struct.pack(">2I", 0x0801, records)),
    ):
        path = small_mnist / "MNIST" / "raw" / name
        path.unlink()
        if packed:
            path = path.with_name(f"{name}.gz")
            path.write_bytes(pack(header + bytes(2**22)))
            monkeypatch.setattr(idx_format, "memory_here", lambda: 2**20)
        else:
            path.write_bytes(header)
            os.truncate(path, len(header) + records * (784 if name == NAMES[0] else 1))
            monkeypatch.setattr(idx_format, "memory_here", lambda: 2**30)
    assert status(task, small_mnist).state == "damaged"
    with pytest.raises(DataError, match=r"announces [\d,]+ bytes, more than the [\d,]+ bytes of memory here"):
        load(small_mnist, task)
    assert verify(task, small_mnist)


def test_memory_is_that_of_the_machine_or_what_is_granted_of_it(monkeypatch):
    whole = idx_format.memory_here()
    assert whole > 2**20
    monkeypatch.setattr(idx_format.cgroups, "memory", lambda: idx_format.cgroups.Memory(2**20, None))
    assert idx_format.memory_here() == 2**20
    monkeypatch.setattr(idx_format.cgroups, "memory", lambda: idx_format.cgroups.Memory(None, None))
    assert idx_format.memory_here() >= whole


def test_what_was_counted_is_counted_anew_when_the_file_changes(small_mnist):
    path = small_mnist / "MNIST" / "raw" / f"{NAMES[2]}.gz"
    content = idx_files(30, 10)[NAMES[2]]
    path.write_bytes(in_members(9)(content))
    assert status("MNIST", small_mnist).state == "subset"
    path.write_bytes(in_members(9)(content[:-1]))
    assert status("MNIST", small_mnist).state == "damaged"


# Sets of your own


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


# Sets that are not what their place says


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
