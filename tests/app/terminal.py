"""The installed application in a pseudo-terminal, its screen read by a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

KEYS = {"enter": "\r", "escape": "\x1b", "tab": "\t", "down": "\x1b[B", "up": "\x1b[A", "f2": "\x1bOQ"}
MODES = {"mouse": 1000, "any mouse": 1003, "alternate screen": 1049, "focus": 1004, "paste": 2004}
PATIENCE = 120.0  # seconds, on a busy machine


def installed() -> str:
    """The `eqprop` program beside this Python."""
    beside = Path(sys.executable).parent / "eqprop"
    found = str(beside) if beside.exists() else shutil.which("eqprop")
    assert found, "eqprop is not installed: pip install -e ."
    return found


class Terminal:
    """A program in a terminal of its own; `screen` is what it shows now."""

    def __init__(self, *words: str, environment: dict[str, str], size: tuple[int, int] = (120, 36)) -> None:
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (size[1], size[0]))
        self.process = subprocess.Popen(
            words,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    @property
    def screen(self) -> str:
        """What it shows now, row by row."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def press(self, *keys: str) -> None:
        """Press keys; characters, `ctrl+x`, or names."""
        for key in keys:
            text = chr(ord(key[-1]) - 96) if key.startswith("ctrl+") else KEYS.get(key, key)
            os.write(self.master, text.encode())

    def until(self, true: Callable[[str], object] | str) -> str:
        """Read until a text is on the screen, or something holds of it; the screen then."""
        holds = (lambda screen: true in screen) if isinstance(true, str) else true
        deadline = time.monotonic() + PATIENCE
        while not holds(self.screen):
            assert time.monotonic() < deadline, f"{true} does not come to hold; shown is\n{self.screen}"
            self._read(0.1)
        return self.screen

    def exit_status(self) -> int:
        """Read to the end of the program; its exit status."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"does not end; shown is\n{self.screen}"
            self._read(0.1)
        self._read(0.0)
        return self.process.returncode

    def pass_time(self, seconds: float) -> None:
        """Read what there is, or wait that long for something."""
        self._read(seconds)

    @property
    def attributes(self) -> list[object]:
        """How the terminal treats what is typed and written."""
        return termios.tcgetattr(self.master)[:4]

    @property
    def modes(self) -> set[str]:
        """What is on of a full-screen program's modes."""
        on = {name for name, number in MODES.items() if number << 5 in self._screen.mode}
        return on | ({"cursor hidden"} if self._screen.cursor.hidden else set())

    def clear(self) -> None:
        """Forget what is shown."""
        self._screen.reset()

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        self._screen.resize(rows, columns)
        termios.tcsetwinsize(self.master, (rows, columns))

    def close(self) -> None:
        """Hang up; nothing is left of the program."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        self.process.kill()
        self.process.wait()

    def _read(self, seconds: float) -> None:
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            try:
                self._stream.feed(os.read(self.master, 65536))
            except OSError:  # the program has ended
                return
