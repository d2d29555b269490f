"""A file of numbers in which anything has changed is refused, or gives the numbers that were written.

Files of ours end with a digest of all their bytes, so that any change is seen. Files of older versions and of
other programs have checksums of their parts only; where a bit that is not theirs has changed, the numbers are
the same.
"""

from __future__ import annotations

import io
import random
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interruptions import same
from small_trainers import CASES, trainer

from eqprop_core import ModelConfig, build_network
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.numbers import read_numbers
from eqprop_core.worker import checkpoint
from eqprop_core.worker.figures import GduArrays, save_gdu
from eqprop_core.worker.sealed import DamagedError, sealed, unsealed

IMAGES = (1, 8, 8)
NETWORKS: dict[str, dict[str, Any]] = {
    "MLP": {"archi": [64, 4, 10]},
    "VFMLP": {"model": "VFMLP", "archi": [64, 12, 10]},
    "CNN": {"model": "CNN", "channels": [3], "kernels": [3], "paddings": [1], "pools": "m", "fc": [10]},
    "VFCNN, softmax": {
        "model": "VFCNN", "channels": [3, 4], "kernels": [3, 3], "paddings": [1, 1], "pools": "mm", "fc": [10],
        "loss": "cel", "softmax": True,
    },
}  # fmt: skip


def content_of(name: str) -> dict[str, Any]:
    """What a model's file holds, or a checkpoint's."""
    if name in NETWORKS:
        net = build_network(ModelConfig(input_shape=IMAGES, **NETWORKS[name]))
        return {"model": net.config.model_dump(mode="json"), "model_state_dict": net.state_dict()}
    made = trainer(**CASES["random sign, adam" if "adam" in name else "one-sided"])
    list(made.run())
    return {**made.state(), "seq": 7, "numerics": {"torch": "2"}}


FILES = (*NETWORKS, "checkpoint, adam", "checkpoint, momentum")


def written(content: dict[str, Any], *, old: bool) -> bytes:
    """The bytes of a file, as they were before there was a digest, or as they are."""
    if not old:
        return bytes(checkpoint.packed(content))
    buffer = io.BytesIO()
    torch.save({"format": 1, **content}, buffer)
    return buffer.getvalue()


def flips(whole: bytes, places: Iterator[int]) -> Iterator[tuple[int, bytes]]:
    for place in places:
        content = bytearray(whole)
        content[place >> 3] ^= 1 << (place & 7)
        yield place, bytes(content)


def outcome(path: Path, content: bytes, expected: dict[str, Any]) -> str:
    """What comes of loading some bytes: refused, the same or other numbers."""
    path.write_bytes(content)
    try:
        found = checkpoint.load(path)
    except RunError as error:
        assert str(error).startswith(f"{path}: "), error
        return "refused"
    return "same" if same(found, expected) else "other"


def beside_numbers(whole: bytes) -> Iterator[int]:
    """The bits of headers, directory and end: all that is not the content of a part."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        inside = set()
        for part in archive.infolist():
            header = whole[part.header_offset :]
            start = part.header_offset + 30 + int.from_bytes(header[26:28], "little")
            start += int.from_bytes(header[28:30], "little")
            inside |= set(range(start, start + part.file_size))
    return (8 * byte + bit for byte in range(len(whole)) if byte not in inside for bit in range(8))


def try_all(path: Path, name: str, places: Any, *, old: bool) -> Counter[str]:
    content = {"format": 1, **content_of(name)}
    whole = written(content, old=old)
    assert outcome(path, whole, content) == "same"
    return Counter(outcome(path, damaged, content) for _, damaged in flips(whole, places(whole)))


def at_random(count: int, seed: object) -> Any:
    chance = random.Random(f"{seed}")
    return lambda whole: (chance.randrange(8 * len(whole)) for _ in range(count))


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_refused(name: str, tmp_path: Path) -> None:
    found = try_all(tmp_path / "checkpoint.tar", name, at_random(150, name), old=False)
    assert found == {"refused": 150}


@pytest.mark.parametrize("name", ["MLP", "checkpoint, adam"])
def test_a_flipped_bit_in_a_file_without_a_digest_gives_no_other_numbers(name: str, tmp_path: Path) -> None:
    chance = random.Random(name)
    some = lambda whole: chance.sample(list(beside_numbers(whole)), 200)  # noqa: E731
    found = try_all(tmp_path / "model.pt", name, some, old=True)
    found += try_all(tmp_path / "model.pt", name, at_random(100, name), old=True)
    assert not found["other"] and found["refused"] > 50


def test_the_bit_of_a_folder_does_not_make_numbers_of_memory(tmp_path: Path) -> None:
    content = content_of("MLP")
    whole = bytearray(written(content, old=True))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        place, parts = archive.start_dir, archive.infolist()
    for part in parts:  # external attributes in each entry of the directory: torch takes 16 for a folder
        whole[place + 38] ^= 16
        place += 46 + len(part.filename) + len(part.extra)
    assert outcome(tmp_path / "model.pt", bytes(whole), {"format": 1, **content}) == "same"


CHANGED: dict[str, Any] = {
    "cut by a byte": lambda a, b: a[:-1],
    "cut by its digest": lambda a, b: a[:-64],
    "cut by its comment": lambda a, b: a[:-78],
    "cut in the middle": lambda a, b: a[: len(a) // 2],
    "a byte more": lambda a, b: a + b"\0",
    "more before": lambda a, b: b"PK" + a,
    "two of them": lambda a, b: a + b,
    "the end of another": lambda a, b: a[: len(a) // 2] + b[len(a) // 2 :],
    "the middle of another": lambda a, b: a[:300] + b[300:-300] + a[-300:],
    "a block of zeros": lambda a, b: a[:512] + bytes(512) + a[1024:],
    "two blocks exchanged": lambda a, b: a[:512] + a[1024:1536] + a[512:1024] + a[1536:],
}  # fmt: skip


@pytest.mark.parametrize("old", [False, True], ids=["with a digest", "without"])
@pytest.mark.parametrize("change", CHANGED)
def test_what_was_cut_added_or_mixed_is_refused(change: str, old: bool, tmp_path: Path) -> None:
    contents = [content_of("MLP") for _ in "ab"]
    a, b = (written(content, old=old) for content in contents)
    assert outcome(tmp_path / "model.pt", CHANGED[change](a, b), {}) == "refused"


def test_what_was_read_is_what_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, content = tmp_path / "model.pt", content_of("MLP")
    path.write_bytes(written(content, old=False))
    load = torch.load

    def changed_meanwhile(*words: Any, **named: Any) -> Any:
        path.write_bytes(b"another")
        return load(*words, **named)

    monkeypatch.setattr(torch, "load", changed_meanwhile)
    assert same(checkpoint.load(path), {"format": 1, **content})


def test_other_programs_read_what_has_a_digest(tmp_path: Path) -> None:
    path, content = tmp_path / "model.pt", content_of("CNN")
    checkpoint.save(path, {**content, "train_acc": [10.0, 55.5]})
    assert same(torch.load(path, weights_only=True)["model_state_dict"], content["model_state_dict"])
    assert same(torch.load(path, weights_only=True, mmap=True)["model"], content["model"])
    assert zipfile.ZipFile(path).testzip() is None
    assert read_numbers(path)["train_acc"] == [10.0, 55.5]


def test_what_another_program_packed_again_is_read(tmp_path: Path) -> None:
    content = content_of("MLP")
    path = tmp_path / "model.pt"
    with (
        zipfile.ZipFile(io.BytesIO(written(content, old=True))) as whole,
        zipfile.ZipFile(path, "w") as again,
    ):
        for part in whole.namelist():
            again.writestr(part, whole.read(part))
    assert same(checkpoint.load(path)["model_state_dict"], content["model_state_dict"])


def test_the_arrays_of_a_check_have_a_digest(tmp_path: Path) -> None:
    rows = {"synapses.0.weight": np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)}
    save_gdu(tmp_path, GduArrays(rows, rows, {}, {}, beta=0.5, symmetric=False), seed=1)
    path = tmp_path / "synapses.0.weight.npz"
    whole = path.read_bytes()
    for file in (path, unsealed(whole)):
        with np.load(file, allow_pickle=False) as arrays:
            assert np.array_equal(arrays["ep"], rows["synapses.0.weight"].reshape(3, 20))
    for _, damaged in flips(whole, at_random(300, 0)(whole)):
        with pytest.raises(DamagedError):
            unsealed(damaged)


def test_a_file_is_in_memory_twice_at_most_while_it_is_verified() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weights", random.Random(0).randbytes(8_000_000))
    content = bytes(sealed(buffer))
    tracemalloc.start()
    try:
        unsealed(content)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(content) < most < 1.5 * len(content)


def test_a_file_that_does_not_fit_into_memory_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: Any) -> None:
        raise MemoryError

    checkpoint.save(tmp_path / "model.pt", content_of("MLP"))
    monkeypatch.setattr(zipfile.ZipFile, "open", no_room)
    with pytest.raises(RunError, match="is larger than the memory that there is"):
        checkpoint.load(tmp_path / "model.pt")


def test_an_empty_archive_can_be_sealed() -> None:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    assert zipfile.ZipFile(unsealed(bytes(sealed(buffer)))).namelist() == []


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True], ids=["with a digest", "without"])
@pytest.mark.parametrize("name", FILES)
def test_of_a_hundred_thousand_flipped_bits_none_gives_other_numbers(
    name: str, old: bool, tmp_path: Path
) -> None:
    count = 100_000 // (2 * len(FILES)) + 1
    found = try_all(tmp_path / "model.pt", name, at_random(count, name), old=old)
    print(f"\n{name}: {dict(found)}")
    assert not found["other"] and sum(found.values()) == count


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MLP", "checkpoint, adam"])
def test_every_bit_beside_the_numbers_of_a_file_without_a_digest_can_flip(name: str, tmp_path: Path) -> None:
    found = try_all(tmp_path / "model.pt", name, beside_numbers, old=True)
    print(f"\n{name}: {dict(found)}")
    assert not found["other"] and sum(found.values()) > 10_000
