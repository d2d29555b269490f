"""Names that look alike and are not the same, shown so that a reader sees how they differ.

A composed and a decomposed é, a space at the end, a character without width, a Cyrillic а in a Latin word:
printed as they are, a message that tells them apart says twice the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from eqprop_core.names import called, can_be_shown

MOST_NAMED = 3  # characters of a name that are called by their names
_CYRILLIC = str.maketrans("аеорсухіјѕһԁԛԝАВЕКМНОРСТХУІЈЅԌ", "aeopcyxijshdqwABEKMHOPCTXYIJSG")
_GREEK = str.maketrans("οανρυικΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "oavpuikABEZHIKMNOPTYX")
_VARIANTS = frozenset(map(chr, [0x34F, *range(0xFE00, 0xFE10)]))  # marks without a look of their own


def alike(name: str, other: str) -> bool:
    """Whether two different names look the same, or nearly so."""
    return name != other and look(name) == look(other)


def look(name: str) -> str:
    """What can be seen of a name, without spaces: the same for names that look alike."""
    if name.isascii():
        return "".join(name.split())
    seen = (c for c in unicodedata.normalize("NFKD", name) if unicodedata.category(c)[0] not in "ZC")
    return "".join(c for c in seen if c not in _VARIANTS).translate(_CYRILLIC).translate(_GREEK)


def spelled(name: str) -> str:
    """A name with what an eye cannot tell in it: `café (cafe\\u0301, U+0301 COMBINING ACUTE ACCENT: NFD)`.

    The name alone where all of it is plain.
    """
    escaped = _escaped(name)
    if escaped == name:
        return name
    odd = [c for c in dict.fromkeys(name) if not (c.isascii() and c.isprintable())]
    said = ", ".join([escaped, *(called(c) for c in odd[:MOST_NAMED])])
    forms = [form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, name)]
    form = f": {forms[0]}" if len(forms) == 1 else ""
    shown = "".join(c if c.isprintable() else _escape(c) for c in name)
    return f"{shown} ({said}{form})"


def beside(name: str, others: Iterable[str]) -> str:
    """A name as it is to be shown beside others: spelled out where it looks like one of them."""
    if any(alike(name, other) for other in others):
        return spelled(name)
    return name if can_be_shown(name) else _escaped(name)


def did_you_mean(typed: str, known: Iterable[str], *, most: int = 3, cutoff: float = 0.6) -> str:
    """A question for known names that are near to what was typed; nothing where none is.

    Says how they differ where they look alike.
    """
    known = list(known)
    same = [name for name in known if alike(typed, name)]
    near = list(dict.fromkeys([*same, *get_close_matches(typed, known, n=most, cutoff=cutoff)]))[:most]
    if not near:
        return ""
    *others, last = [beside(name, [typed]) for name in near]
    question = f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"
    given = spelled(typed)
    return question if not same or given == typed else f"{question} What was given is {given}"


def mistaken_for(path: Path) -> str:
    """Of a path that is not there: what lies in its place and looks the same, as a clause; mostly nothing."""
    with suppress(OSError):
        path = path.absolute()
        for name in sorted(one.name for one in path.parent.iterdir()):
            if alike(name, path.name):
                return f"; asked for was {spelled(path.name)}, and there is {spelled(name)}"
    return ""


def pairs_alike(names: Sequence[str]) -> list[tuple[str, str]]:
    """Those of these different names that look like an earlier one, each with it."""
    seen: dict[str, str] = {}
    return [(first, name) for name in names if (first := seen.setdefault(look(name), name)) != name]


def _escaped(name: str) -> str:
    """The name with everything escaped that is not ASCII, or a space where one does not see it."""
    inner = name.strip(" ")
    before, after = len(name) - len(name.lstrip(" ")), len(name) - len(name.rstrip(" "))
    if not inner:
        return "\\u0020" * len(name)
    escaped = "".join(c if c.isascii() and c.isprintable() else _escape(c) for c in inner)
    return "\\u0020" * before + escaped.replace("  ", " \\u0020") + "\\u0020" * after


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
