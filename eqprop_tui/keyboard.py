"""What a terminal sends, as Textual's messages: of any bytes at all none raises, and none has no end.

Textual's reader ends the application at a byte that is no UTF-8 and at some escape sequences, takes sizes and
places of any magnitude, keeps a paste of any length, and gives parts of a paste that holds an escape as keys.
"""

from __future__ import annotations

import logging
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from unicodedata import category

from textual import events
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.geometry import Size
from textual.message import Message

from eqprop_core.names import JOINERS

LOG = logging.getLogger(__name__)
LARGEST = Size(600, 250)  # cells of a terminal that are drawn on
LONGEST_PASTE = 10_000  # characters of a paste that are taken
STEERING = ("Cc", "Cf", "Cs")  # kinds of characters that are left out of a paste, but for some
KEPT = JOINERS + "\r\n\t"
SILENCE = 5.0  # seconds without a character after which a paste is over, though its end has not come


class Keyboard:
    """Takes bytes as they come, in pieces of any size."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._parser = XTermParser()
        self._last = ""  # characters, as many as the mark of a paste has
        self._pasted: list[str] | None = None  # None outside of a paste
        self._heard = clock()

    def take(self, data: bytes) -> Iterator[Message]:
        """What these bytes mean, with those before them."""
        if data:
            self._heard = self._clock()
        for character in self._decode(data):
            self._last = (self._last + character)[-len(BRACKETED_PASTE_START) :]
            if self._pasted is not None:
                yield from self._in_paste(character)
            elif self._last == BRACKETED_PASTE_START:
                self._pasted = []
                self._renew()
            else:
                yield from self._sound(partial(self._parser.feed, character))

    def tick(self) -> Iterator[Message]:
        """What is meant by nothing having come for a while: the escape key, or the end of a paste."""
        if self._pasted is None:
            yield from self._sound(self._parser.tick)
        elif self._clock() - self._heard > SILENCE:
            yield self._paste()

    def _in_paste(self, character: str) -> Iterator[Message]:
        assert self._pasted is not None
        if len(self._pasted) < LONGEST_PASTE + len(BRACKETED_PASTE_END):
            self._pasted.append(character)
        if self._last == BRACKETED_PASTE_END:
            yield self._paste()

    def _paste(self) -> events.Paste:
        text = "".join(self._pasted or ()).removesuffix(BRACKETED_PASTE_END)[:LONGEST_PASTE]
        self._pasted = None
        return events.Paste("".join(c for c in text if category(c) not in STEERING or c in KEPT))

    def _sound(self, read: Callable[[], Iterable[Message]]) -> Iterator[Message]:
        """The messages of a piece that make sense; one that cannot be read is dropped."""
        try:
            found = list(read())
        except Exception as error:
            LOG.debug("an escape sequence that cannot be read: %r", error)
            self._renew()
            return
        for message in found:
            sound = self._resized(message) if isinstance(message, events.Resize) else message
            if sound is not None and not _is_nonsense(sound):
                yield sound

    def _resized(self, message: events.Resize) -> events.Resize | None:
        """The size that a terminal reports, as far as it is one."""
        size, pixels = message.size, message.pixel_size
        if not size:
            self._parser.mouse_pixels = False
            return None
        if pixels is None or pixels.width < size.width or pixels.height < size.height:
            self._parser.mouse_pixels = False  # places in pixels could not be told in cells
        return bounded(size, pixels)

    def _renew(self) -> None:
        """Begin to read anew, in the middle of a sequence or after a fault in one."""
        before, self._parser = self._parser, XTermParser()
        for name in ("last_x", "last_y", "mouse_pixels", "terminal_size", "terminal_pixel_size"):
            setattr(self._parser, name, getattr(before, name))


def bounded(size: Size, pixels: Size | None = None) -> events.Resize:
    """That a terminal has this size, as far as it is drawn on."""
    drawn = Size(*(min(max(1, has), most) for has, most in zip(size, LARGEST, strict=True)))
    return events.Resize(drawn, drawn, pixel_size=pixels)


def _is_nonsense(message: Message) -> bool:
    if isinstance(message, events.MouseEvent):
        return message.screen_x >= LARGEST.width or message.screen_y >= LARGEST.height
    character = message.character if isinstance(message, events.Key) else None
    return character is not None and any("\ud800" <= c <= "\udfff" for c in character)
