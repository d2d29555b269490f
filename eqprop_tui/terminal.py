"""The terminal that the application draws on, given back as it was found however it is put aside."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from textual.drivers.linux_driver import LinuxDriver


class Terminal(LinuxDriver):
    """Textual's driver, which takes SIGCONT for the end of a pause that it has made itself.

    A scheduler also sends it to a process that goes on anyhow, and SIGSTOP makes a pause that nobody is told
    of. Beginning anew would then take the changed modes of the terminal for those that it was found in.
    """

    def _sigtstp_application(self, *_: object) -> None:
        if self._auto_restart:
            self._loop.call_soon_threadsafe(self._put_aside)  # what the signal interrupted may be writing
        else:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _sigcont_application(self, *_: object) -> None:
        if self._auto_restart:
            self._loop.call_soon_threadsafe(self._take_again)

    def _put_aside(self) -> None:
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _take_again(self) -> None:
        with suppress(OSError):
            if (
                os.tcgetpgrp(self.fileno) != os.getpgrp()
            ):  # in the background: waits to be called to the front
                os.kill(os.getpid(), signal.SIGSTOP)
                return
        self._give_back()
        self._must_signal_resume = True  # and everything is drawn again
        self.resume_application_mode()

    def _give_back(self) -> None:
        if self._writer_thread is not None:
            self.suspend_application_mode()

    def close(self) -> None:
        """Write what is left to be written; what comes later is not shown."""
        super().close()
        self._writer_thread = None

    def write(self, data: str) -> None:
        """Write to the terminal, where this has it."""
        if self._writer_thread is not None:
            super().write(data)

    def _disable_mouse_support(self) -> None:
        super()._disable_mouse_support()
        if self._mouse_pixels:
            self.write("\x1b[?1016l")
            self.flush()
