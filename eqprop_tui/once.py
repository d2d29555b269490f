"""What is begun by a key is begun once, also where the key was pressed twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

SAME_PRESS = 1.0  # seconds after it was begun in which the key is not meant anew


class Once:
    """Things that are under way, or have only just been begun."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way: set[Hashable] = set()
        self._begun: dict[Hashable, float] = {}

    def begin(self, thing: Hashable) -> bool:
        """Whether a thing is to be begun now; it is then under way until `end`."""
        now = self._clock()
        if thing in self._under_way or now - self._begun.get(thing, now - SAME_PRESS) < SAME_PRESS:
            return False
        self._under_way.add(thing)
        self._begun[thing] = now
        return True

    def end(self, thing: Hashable) -> None:
        """It is done; it can be begun again a moment later."""
        self._under_way.discard(thing)
