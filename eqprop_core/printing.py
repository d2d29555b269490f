"""Printing that neither blocks nor fails: who reads, or does not, has no say in how the work goes on.

What is printed is handed to a thread, which writes it. Where the reader stands still, or the disk is full, it
is kept until that is over, as much as a bounded memory holds; what is more, or cannot be written at all, is
dropped. The standard library only.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import threading
from collections import deque
from typing import Any, TextIO

MOST_WAITING = 2**20  # bytes
SECONDS_TO_WRITE = 0.2  # after which a reader counts as one that stands still
SECONDS_TO_END = 2.0  # for what is left to be written at the end
FULL = (errno.ENOSPC, errno.EDQUOT)


class Unhindered(io.RawIOBase):
    """Writes to an open descriptor as far as that is possible; whoever prints is held up for moments only.

    While the reader keeps up, what was printed has been written once `write` returns. With `closefd` the
    descriptor is closed once this is, and nothing is left to be written.
    """

    def __init__(self, descriptor: int, *, closefd: bool = False) -> None:
        self._descriptor = descriptor
        self._closefd = closefd
        self._waiting: deque[bytes] = deque()  # the first one is being written
        self._size = 0
        self._stands_still = self._is_full = self._is_over = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, content: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Take all of it; raises nothing."""
        content = bytes(content)
        with self._changed:
            if not self._has_thread():
                self._put(content)
                return len(content)
            if content and self._size + len(content) <= MOST_WAITING:
                self._waiting.append(content)
                self._size += len(content)
            self._changed.notify_all()
            if not self._stands_still:
                self._stands_still = not self._changed.wait_for(self._is_done, SECONDS_TO_WRITE)
        return len(content)

    def end(self, seconds: float = SECONDS_TO_END) -> bool:
        """Wait for what is left to be written, so long at most; whether nothing is left."""
        with self._changed:
            self._is_full = False
            self._changed.notify_all()
            return (
                self._changed.wait_for(lambda: self._is_done() or self._is_full, seconds) and self._is_done()
            )

    def close(self) -> None:
        """Wait, for moments, for what is left to be written; what finds no room then is dropped."""
        if self.closed:
            return
        super().close()
        self.end()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
            if self._thread is None and self._closefd:
                os.close(self._descriptor)

    def _has_thread(self) -> bool:
        """Whether there is a thread to write, which is started where that can be done."""
        if self._thread is None:
            thread = threading.Thread(target=self._write_out, name="printing", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more are allowed, or the program is at its end
                return False
            self._thread = thread
        return True

    def _is_done(self) -> bool:
        return not self._waiting

    def _write_out(self) -> None:
        with self._changed:
            while True:
                while not self._waiting:
                    if self._is_over:
                        if self._closefd:
                            os.close(self._descriptor)
                        return
                    self._changed.wait()
                content = self._waiting[0]
                self._changed.release()
                try:
                    written, error = self._put(content)
                finally:
                    self._changed.acquire()
                if error in FULL and not self._is_over:
                    self._waiting[0] = content[written:]
                    self._size -= written
                    self._is_full = self._stands_still = True
                    self._changed.notify_all()
                    self._changed.wait()  # until more is printed: there may be room then
                else:
                    self._waiting.popleft()
                    self._size -= len(content)
                    self._stands_still &= bool(self._waiting)
                    self._changed.notify_all()

    def _put(self, content: bytes) -> tuple[int, int | None]:
        """Write as much as can be; how much that was, and the number of the error where it is not all."""
        written = 0
        while written < len(content):
            try:
                count = os.write(self._descriptor, content[written:])
                if count == 0:
                    return written, errno.ENOSPC
                written += count
            except BlockingIOError:  # others have made the terminal one that does not wait
                select.select([], [self._descriptor], [])
            except OSError as error:
                return written, error.errno
        return written, None


def unhindered(
    descriptor: int,
    *,
    encoding: str = "utf-8",
    errors: str | None = "backslashreplace",
    closefd: bool = False,
) -> TextIO:
    """A text stream on `Unhindered`, in place of one that was opened on the descriptor."""
    raw: Any = Unhindered(descriptor, closefd=closefd)
    return io.TextIOWrapper(raw, encoding=encoding, errors=errors, write_through=True)


def open_standard_streams() -> None:
    """Open standard input, output and error on the null device where they are closed.

    What is opened next would otherwise be taken for them: a run's lock, its events.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free: this one
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def print_unhindered(*names: str) -> None:
    """Let the standard streams of these names, `stdout` and `stderr`, neither block nor fail from now on."""
    for name in names:
        stream = getattr(sys, name)
        try:
            own = stream.fileno() == {"stdout": 1, "stderr": 2}[name]
        except (OSError, ValueError):  # something that a test has put in its place
            continue
        if own and not isinstance(stream.buffer, Unhindered):
            stream.flush()
            setattr(sys, name, unhindered(stream.fileno(), encoding=stream.encoding, errors=stream.errors))


def end_printing() -> None:
    """Wait, for moments, for what is left to be printed."""
    for stream in (sys.stdout, sys.stderr):
        raw = getattr(stream, "buffer", None)
        if isinstance(raw, Unhindered):
            raw.end()
