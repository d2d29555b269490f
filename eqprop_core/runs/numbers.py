"""The numbers in files that other programs pickled, read without running anything of them.

A pickle names the functions that are to make its objects. Here every name stands for something of this
module: NumPy's numbers and arrays are decoded from their bytes, tensors are left out, and a name that is
neither is refused. Knows nothing of torch, which reads the tensors themselves (`worker/checkpoint.py`) and
takes NumPy's names from here.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from eqprop_core.files import open_to_read

LIMIT = 2**20  # bytes of a pickle: what a file holds beside its tensors
# Kinds of numbers by NumPy's codes, with the letters by which `struct` unpacks them.
CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
KINDS = dict(zip(CODES, "?bhiqBHIQefd", strict=True))


class NumberType:
    """Stands for `numpy.dtype`: the code of a plain kind of numbers, such as f8, and their byte order."""

    def __init__(self, code: object = "", *_: object) -> None:
        text = code.decode("ascii", "replace") if isinstance(code, bytes) else code
        if not isinstance(text, str) or text not in KINDS:
            raise pickle.UnpicklingError(f"NumPy data that is no plain number ({str(text)[:20]!r})")
        self.code, self.order = text, "<"

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order in (">", b">"):
            self.order = ">"

    @property
    def size(self) -> int:
        """Bytes of a number."""
        return struct.calcsize(f"={KINDS[self.code]}")

    def unpack(self, raw: bytes) -> list[Any]:
        """The numbers in some bytes."""
        return list(struct.unpack(f"{self.order}{len(raw) // self.size}{KINDS[self.code]}", raw))


class NumberArray:
    """Stands for `numpy.ndarray`: kind, shape and bytes of an array of plain numbers."""

    kind = NumberType("f8")
    shape: tuple[int, ...] = (0,)
    fortran = False
    raw = b""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("a NumPy array that is damaged")
        _, shape, kind, fortran, raw = state
        fits = (
            isinstance(kind, NumberType)
            and isinstance(raw, bytes)
            and isinstance(shape, tuple)
            and all(isinstance(size, int) and size >= 0 for size in shape)
            and math.prod(shape) * kind.size == len(raw)
        )
        if not fits:
            raise pickle.UnpicklingError("a NumPy array that is not of plain numbers")
        self.kind, self.shape, self.fortran, self.raw = kind, shape, bool(fortran), raw


def number_of(kind: object, raw: object = None) -> Any:
    """Stands for NumPy's `scalar`: the Python number that its bytes hold."""
    if not isinstance(kind, NumberType) or not isinstance(raw, bytes) or len(raw) != kind.size:
        raise pickle.UnpicklingError("a NumPy number that is damaged")
    return kind.unpack(raw)[0]


def empty_array(*_: object) -> NumberArray:
    """Stands for NumPy's `_reconstruct`: an array that is filled afterwards."""
    return NumberArray()


def no_bytes(*given: object) -> bytes:
    """Stands for `bytes`, by which protocol 2 writes the content of an empty array."""
    if given:
        raise pickle.UnpicklingError("a NumPy array that is damaged")
    return b""


NUMPY: dict[str, Callable[..., Any]] = {
    "numpy.dtype": NumberType,
    "numpy.ndarray": NumberArray,
    "__builtin__.bytes": no_bytes,
    "builtins.bytes": no_bytes,
    **{
        f"numpy.{core}.multiarray.{name}": stand_in
        for core in ("core", "_core")  # before and since NumPy 2
        for name, stand_in in (("scalar", number_of), ("_reconstruct", empty_array))
    },
}


class LeftOut:
    """Stands for a tensor, and for whatever torch makes one of."""

    def __init__(self, *_: object) -> None:
        pass


class _Dictionary(dict[Any, Any]):
    """Stands for `OrderedDict`, to which torch gives attributes."""


def _encoded(text: object, *_: object) -> bytes:
    """Stands for `codecs.encode`, as which old protocols write bytes."""
    if not isinstance(text, str):
        raise pickle.UnpicklingError("bytes that are damaged")
    return text.encode("latin-1")


class _Reader(pickle._Unpickler):
    """The unpickler in Python: that in C makes room for as many objects as a file says it has."""

    dispatch: ClassVar[dict[int, Any]] = {
        key: load for key, load in pickle._Unpickler.dispatch.items() if key != pickle.BYTEARRAY8[0]
    }

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name in this module."""
        if module.split(".")[0] == "torch":
            return LeftOut
        others = {"collections.OrderedDict": _Dictionary, "_codecs.encode": _encoded, **NUMPY}
        if (found := others.get(f"{module}.{name}")) is None:
            raise pickle.UnpicklingError(f"{module}.{name} is no number")
        return found

    def persistent_load(self, pid: object) -> LeftOut:
        """A tensor's values lie elsewhere in the file."""
        return LeftOut()


def read_numbers(path: Path) -> dict[str, Any]:
    """The dictionary that torch saved in a file, its tensors left out; empty where it cannot be read."""
    try:
        with open_to_read(path) as file:
            if file.read(2) == b"PK":
                with zipfile.ZipFile(file) as archive:
                    part = next(part for part in archive.infolist() if part.filename.endswith("/data.pkl"))
                    stored = part.compress_type == zipfile.ZIP_STORED and part.compress_size == part.file_size
                    if part.file_size > LIMIT or not stored:
                        return {}
                    content = _Reader(io.BytesIO(archive.read(part))).load()
            else:  # before torch 1.6: a number, a version and facts of the machine come first
                file.seek(0)
                begin = io.BytesIO(file.read(LIMIT))
                content = [_Reader(begin).load() for _ in range(4)][-1]
    except Exception:  # a pickle can be wrong in any way
        return {}
    return content if isinstance(content, dict) else {}
