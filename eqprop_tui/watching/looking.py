"""A thread that looks at files again and again: when to look, when to rest, how to stop."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

LOG = logging.getLogger("eqprop.application")
PAUSE = 2.0  # seconds between two looks
SHARE = 0.03  # of one core that looking may take; what takes longer to read is looked at less often


class Looking(ABC):
    """Calls `once` from a thread of its own, `pause` seconds apart or as `look` says, until it is stopped."""

    def __init__(self, name: str, pause: float = PAUSE, share: float = SHARE) -> None:
        self.pause, self.share = pause, share
        self.waits: Callable[[], bool] = lambda: False  # whether what was handed on is still to be taken in
        self.stopped = False  # for `once`, where it takes long
        self._anew, self._asked, self._held = True, False, False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._go_on, name=name, daemon=True)

    @abstractmethod
    def once(self, *, anew: bool) -> bool:
        """Look once; whether there is more to look at without a pause.

        `anew` says that files may have changed: not where only what is to be shown of them is another.
        """

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is being read may still be handed on."""
        with self._condition:
            self.stopped = True
            self._condition.notify()

    def look(self, *, anew: bool = True) -> None:
        """Look now, also after `hold`; not at the files where nothing of them is to be read `anew`."""
        with self._condition:
            self._asked, self._anew, self._held = True, self._anew or anew, False
            self._condition.notify()

    def hold(self) -> None:
        """Look no more until `look`, as while another screen is shown."""
        with self._condition:
            self._held = True

    def _go_on(self) -> None:
        while True:
            with self._condition:
                if self.stopped:
                    return
                anew, self._anew, self._asked = self._anew, False, False
            begun = time.thread_time()
            try:
                more = not self.waits() and self.once(anew=anew)
            except Exception:
                LOG.exception("in the thread that looks: %s", self._thread.name)
                more = False
            pause = max(self.pause, (time.thread_time() - begun) / self.share)
            with self._condition:
                asked = self.stopped or self._asked or more
                if not asked:
                    asked = self._condition.wait(None if self._held else pause)
                self._anew = self._anew or more or not asked
