"""Commands as a person pastes them: every word quoted for a shell, on one printable line."""

from __future__ import annotations

import os
import shlex

from eqprop_core.names import can_be_shown


def command(*words: object) -> str:
    """The command line of `eqprop` and these words: `eqprop runs show 'my run'`."""
    return joined(("eqprop", *map(str, words)))


def joined(words: tuple[str, ...] | list[str]) -> str:
    """Words as a shell takes them for these very words."""
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """A word as a shell takes it.

    What would steer a terminal, or is not UTF-8, is spelled for `printf`, which every shell knows.
    """
    if can_be_shown(word):
        return shlex.quote(word)
    if word.endswith("\n"):  # which a shell drops there; only a folder may end so, and stays the same
        word += "/."
    return f"\"$(printf %b '{''.join(map(_spelled, os.fsencode(word)))}')\""


def _spelled(byte: int) -> str:
    plain = chr(byte)
    return plain if plain.isascii() and (plain.isalnum() or plain in "/._=+,:@-") else f"\\0{byte:03o}"
