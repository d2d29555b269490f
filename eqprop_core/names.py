"""Which characters may stand in what a person gives a name to, and which names are the same.

Joiners are letters to those who write Persian or put emoji together; marks that combine and variants of a
character belong to it. What turns the direction of a line, or is nothing that could be seen, is not kept.
"""

from __future__ import annotations

from unicodedata import category, name, normalize

JOINERS = "\u200c\u200d"
BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols that look like a space
_WITHOUT_JOINERS = dict.fromkeys(map(ord, JOINERS))


def can_be_shown(text: str) -> bool:
    """Whether a text stands on a line as it is, doing nothing to a terminal."""
    return text.isprintable() or text.translate(_WITHOUT_JOINERS).isprintable()


def same(text: str) -> str:
    """The text as any other that is written of the same letters: é of one character or of two."""
    return text if text.isascii() else normalize("NFC", text)


def wrong_with(text: str, longest: int) -> str | None:
    """Why a text is no name, tag or note; `None` where it may be one. `longest` is a number of characters."""
    rule = f"must be text on one line, 1 to {longest} printable characters"
    if not text.strip() or len(text) > longest:
        return rule
    if not can_be_shown(text):
        return f"{rule}; {called(next(one for one in text if not can_be_shown(one)))} is none"
    if not any(category(one)[0] in "LNPS" and one not in BLANK for one in text):
        return f"{rule}; there is nothing in it that could be seen"
    for end in (text[0], text[-1]):
        if end in JOINERS:
            return f"{rule}; {called(end)} joins nothing at its beginning or end"
    return None


def called(character: str) -> str:
    """A character by its number and name: `U+202E RIGHT-TO-LEFT OVERRIDE`."""
    if category(character) == "Cs":
        return "a byte that is not UTF-8"
    return f"U+{ord(character):04X} {name(character, '')}".rstrip()
