"""Whatever bytes a terminal sends: none raises, nothing grows without end, and the next key is read."""

from __future__ import annotations

import random

import pytest
from storm_keys import ODD
from textual import events
from textual.message import Message

from eqprop_tui.keyboard import LARGEST, LONGEST_PASTE, SILENCE, Keyboard


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def heard(keyboard: Keyboard, *pieces: bytes) -> list[Message]:
    return [message for piece in pieces for message in (*keyboard.take(piece), *keyboard.tick())]


def keys(messages: list[Message]) -> str:
    return " ".join(message.key for message in messages if isinstance(message, events.Key))


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd[:24])[2:-1])
def test_after_any_bytes_keys_are_read_again(odd: bytes) -> None:
    clock = Clock()
    keyboard = Keyboard(clock)
    heard(keyboard, odd)
    clock.now += SILENCE + 1
    heard(keyboard, b"")
    assert keys(heard(keyboard, b" " * 40, b"xy\r")).endswith("x y enter")


def test_a_letter_that_comes_in_pieces_is_one_and_a_byte_that_is_none_is_shown_as_such() -> None:
    pressed = heard(Keyboard(), b"\xc3", b"\xa9", b"\xff", b"\xc3", b"a")
    assert [key.character for key in pressed if isinstance(key, events.Key)] == ["é", "�", "�", "a"]


def test_seeded_bytes_of_any_kind_raise_nothing() -> None:
    dice, clock = random.Random(1), Clock()
    keyboard = Keyboard(clock)
    for _ in range(1500):
        piece = b"\x1b[" * dice.randint(0, 1) + dice.randbytes(dice.randint(0, 12))
        for message in heard(keyboard, piece, dice.choice(ODD[:-2])):
            if isinstance(message, events.Resize):
                assert 0 < message.size.width <= LARGEST.width and 0 < message.size.height <= LARGEST.height
            elif isinstance(message, events.MouseEvent):
                assert max(message.screen_x, message.screen_y) < max(LARGEST)
        clock.now += dice.choice((0, 0.2, SILENCE))


@pytest.mark.parametrize("piece", [1, 7, 4096], ids=lambda size: f"{size} at once")
def test_a_paste_is_one_message_of_bounded_length_and_never_keys(piece: int) -> None:
    text = b"ab\x1b[31mcd\x1b[A\x07" + b"x" * (2 * LONGEST_PASTE)
    sent = b"\x1b[200~" + text + b"\x1b[201~q"
    found = heard(Keyboard(), *(sent[at : at + piece] for at in range(0, len(sent), piece)))
    [paste, key] = found
    assert isinstance(paste, events.Paste) and paste.text.startswith("ab[31mcd[Axxx")
    assert LONGEST_PASTE - 10 < len(paste.text) <= LONGEST_PASTE
    assert isinstance(key, events.Key) and key.key == "q"


def test_a_paste_keeps_the_spaces_and_joiners_that_names_of_files_have() -> None:
    name = "/Screenshot 1.00\u202fPM/a\u00a0b/\u5199\u771f\u3000x/\u0645\u06cc\u200c\u062e/e\u0301\ue000"
    [paste] = heard(Keyboard(), f"\x1b[200~{name}\u202e\u200b\x9b\x07\x1b[201~".encode())
    assert isinstance(paste, events.Paste) and paste.text == name


def test_a_paste_whose_end_is_lost_is_over_after_a_silence() -> None:
    clock = Clock()
    keyboard = Keyboard(clock)
    assert heard(keyboard, b"\x1b[200~one", b" two") == []
    clock.now = SILENCE + 0.1
    [paste] = heard(keyboard, b"")
    assert isinstance(paste, events.Paste) and paste.text == "one two"
    assert keys(heard(keyboard, b"q")) == "q"


@pytest.mark.parametrize(
    ("report", "size"),
    [
        (b"\x1b[48;24;80;480;800t", (80, 24)),
        (b"\x1b[48;9999999;9999999;1;1t", tuple(LARGEST)),
        (b"\x1b[48;0;0;0;0t", None),
        (b"\x1b[48;24;0;480;0t", None),
    ],
)
def test_a_size_is_bounded_and_the_mouse_is_understood_after_it(
    report: bytes, size: tuple[int, int] | None
) -> None:
    keyboard = Keyboard()
    assert [tuple(message.size) for message in heard(keyboard, report)] == ([size] if size else [])  # type: ignore[attr-defined]
    [pressed] = heard(keyboard, b"\x1b[<0;11;21M")
    assert isinstance(pressed, events.MouseDown)
    assert (int(pressed.x), int(pressed.y)) == ((1, 1) if size == (80, 24) else (10, 20))
