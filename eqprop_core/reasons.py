"""What an exception says, in words for people: no objects of Python, no numbers of errors."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

# `<_io.BufferedReader name='x.png'>`, `<PIL.Image.Image … at 0x7f…>`, `<urlopen error …>` and the like.
_URL_ERROR = re.compile(r"<urlopen error (.*?)>(?=\s|$|[.,;:)])", re.DOTALL)
_OBJECT = re.compile(r"<(?:class |function |module |built-in |bound method )?'?[A-Za-z_][\w.]*[^<>]*>")
_NUMBERED = re.compile(r"\[Errno -?\d+\] ")
_BYTES = re.compile(r""" ?\(?\bb(?:'[^']*'|"[^"]*")\)?""")


def reason(error: BaseException, named: Path | str | None = None) -> str:
    """Why something failed, on one line: the system's words, or what the exception says in plain text.

    A file that the exception names is named too, unless it is `named` already by who asks.
    """
    if isinstance(error, UnicodeError):
        start = getattr(error, "start", None)
        return "is not text in UTF-8" + ("" if start is None else f" (byte {start})")
    if isinstance(error, subprocess.TimeoutExpired):
        return f"has not answered in {error.timeout:g} s"
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        file = error.filename
        where = "" if file is None or str(file) == str(named) else f": {_name(file)}"
        return f"{error.strerror}{where}"
    if isinstance(inner := getattr(error, "reason", None), Exception):  # as of urllib
        return reason(inner, named)
    if isinstance(error, KeyError):
        return f"{error.args[0] if error.args else 'something'} is not in it"
    said = plain(str(error))
    return said or _in_words(type(error).__name__)


def plain(text: str) -> str:
    """A text of some library on one line, without objects of Python and numbers of errors."""
    text = _BYTES.sub("", _OBJECT.sub("", _NUMBERED.sub("", _URL_ERROR.sub(r"\1", text))))
    return " ".join(text.split())


def _name(file: object) -> str:
    return file.decode("utf-8", "surrogateescape") if isinstance(file, bytes) else str(file)


def _in_words(kind: str) -> str:
    """The name of a kind of exception as words: `MemoryError` -> `memory error`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()
