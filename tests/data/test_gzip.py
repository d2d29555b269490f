"""IDX files that are compressed: gzip by RFC 1952, and no more of it than is announced."""

from __future__ import annotations

import os
import resource
import struct
import tracemalloc

import pytest
from small_files import idx_files
from small_idx import NAMES, in_members, load, pack, put

from eqprop_core import idx as idx_format
from eqprop_core.catalogue import DataError, status
from eqprop_core.data.datasets import verify

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
