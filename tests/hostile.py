"""Damage done to files on purpose: to their bytes, and to what they hold, so that they still parse."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import random
import stat
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import tomli_w
import torch

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m"
TEXTS = ["", " ", ESCAPES, "../../outside", "/etc/passwd", "~nobody/x", "a\nb", "\u202e", "\u2028", "x" * 5000, "nan", "9" * 30, "😀" * 50, "\x00", "stop", "running", "2026-01-01", "__class__"]  # fmt: skip
NUMBERS = [0, -1, 1, 2, 7, 10**6, 2**31, 2**63, 2**64, -(2**63), 10**20, 10**400, 0.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"), float("-inf")]  # fmt: skip
NOWHERE = torch.zeros(2, 0, dtype=torch.int64)
EMPTY_SPARSE = torch.sparse_coo_tensor(NOWHERE, torch.zeros(0), (4, 64), check_invariants=False)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def any_value(chance: random.Random, deepest: int = 300) -> Any:
    """Something that JSON and Python can hold."""
    plain = [*TEXTS, *NUMBERS, True, False, None]
    kind = chance.randrange(10)
    if kind < 7:
        return chance.choice(plain)
    if kind == 7:
        return [chance.choice(plain) for _ in range(chance.randrange(4))]
    if kind == 8:
        return {chance.choice(TEXTS): chance.choice(plain) for _ in range(chance.randrange(3))}
    return deep(chance.choice([3, 60, deepest]))


def mutated(document: Any, chance: random.Random, value: Callable[[random.Random], Any]) -> Any:
    """A copy with one to three places changed: replaced, taken out, renamed, doubled."""
    document = copy.deepcopy(document)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        here = document
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(here[key], (dict, list)) and here[key] and chance.random() < 0.7:
                here = here[key]
                continue
            action = chance.randrange(6)
            if action < 4:
                here[key] = value(chance)
            elif action == 4:
                del here[key]
            elif isinstance(here, dict):
                here[chance.choice([*TEXTS, str(key) + "x", key])] = here[key]
            else:
                here.extend([here[key]] * chance.choice([1, 40]))
            break
    return document


def damaged_bytes(content: bytes, chance: random.Random) -> bytes:
    """Cut, altered, doubled, or nothing of it left."""
    place, length = chance.randrange(len(content) + 1), chance.choice([1, 2, 8, 100])
    noise = chance.randbytes(length)
    return chance.choice(
        [
            content[:place],
            content[place:],
            content[:place] + noise + content[place + length :],
            content[:place] + noise + content[place:],
            content[:place] + content[place + length :],
            content + content,
            content[place:] + content[:place],
            chance.randbytes(chance.choice([0, 1, 50, 3000])),
            content[:place] + chance.choice(TEXTS).encode() + content[place:],
        ]
    )


def json_mutation(content: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.35:
        return damaged_bytes(content, chance)
    return json.dumps(mutated(json.loads(content), chance, any_value)).encode()


def toml_value(chance: random.Random) -> Any:
    """Something that TOML can hold."""
    while True:
        value = any_value(chance, 100) if chance.random() < 0.9 else date(2026, 1, 1)
        if not has_none(value):
            return value


def has_none(value: Any) -> bool:
    if isinstance(value, (list, dict)):
        return any(map(has_none, value.values() if isinstance(value, dict) else value))
    return value is None or value == 10**400


def toml_mutation(document: dict[str, Any], chance: random.Random) -> bytes:
    if chance.random() < 0.35:
        return damaged_bytes(tomli_w.dumps(document).encode(), chance)
    return tomli_w.dumps(mutated(document, chance, toml_value)).encode()


def lines_mutation(content: bytes, chance: random.Random) -> bytes:
    """Some lines of a file of JSON changed, doubled, swapped or cut."""
    if chance.random() < 0.3:
        return damaged_bytes(content, chance)
    lines = content.splitlines()
    for _ in range(chance.choice([1, 2, 5])):
        at = chance.randrange(len(lines))
        action = chance.randrange(5)
        if action < 3:
            lines[at] = json.dumps(mutated(json.loads(lines[at]), chance, any_value)).encode()
        elif action == 3:
            lines.insert(chance.randrange(len(lines)), lines[at])
        else:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
    return b"\n".join(lines) + b"\n"


def tensor_value(chance: random.Random) -> Any:
    """Something that a checkpoint can hold."""
    if chance.random() < 0.6:
        return any_value(chance)
    return chance.choice(
        [
            torch.zeros(3),
            torch.zeros(4, 64),
            torch.full((4, 64), float("nan")),
            torch.zeros(1).expand(10**12),
            torch.zeros(1).expand(4, 64),
            torch.zeros(4, 64, dtype=torch.int64),
            torch.zeros(4, 64, dtype=torch.complex64),
            torch.zeros(4, 64, dtype=torch.float16),
            torch.zeros(4, 64, device="meta"),
            EMPTY_SPARSE,
            torch.tensor(float("nan")),
            torch.tensor(-1.0),
            torch.nn.Parameter(torch.ones(4)),
        ]
    )


def checkpoint_mutation(whole: bytes, content: dict[str, Any], chance: random.Random) -> bytes:
    """A checkpoint whose bytes, whose pickle or whose content is not what it was."""
    kind = chance.random()
    if kind < 0.25:
        return damaged_bytes(whole, chance)
    if kind < 0.45:
        return repacked(whole, lambda pickled: damaged_bytes(pickled, chance))
    buffer = io.BytesIO()
    torch.save(mutated(content, chance, tensor_value), buffer)
    return buffer.getvalue()


def repacked(whole: bytes, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A checkpoint with another pickle, and checksums that fit it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as before, zipfile.ZipFile(buffer, "w", compression) as after:
        for part in before.infolist():
            data = before.read(part)
            after.writestr(part.filename, change(data) if part.filename.endswith("data.pkl") else data)
    return buffer.getvalue()


def snapshot(folder: Path, *, without: Path | None = None) -> dict[str, tuple[Any, ...]]:
    """Everything below a folder: kind, rights, time of change, content; links are not followed."""
    found: dict[str, tuple[Any, ...]] = {}
    for root, folders, files in os.walk(folder):
        if without is not None:
            folders[:] = [name for name in folders if Path(root, name) != without]
        for name in [*folders, *files]:
            path = Path(root, name)
            status = path.lstat()
            kind = stat.S_IFMT(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                content: Any = path.readlink()
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                content = None
            changed = None if content is None and without is not None and without.is_relative_to(path) else status.st_mtime_ns  # fmt: skip
            found[str(path)] = (kind, status.st_mode, changed, content)
    return found
