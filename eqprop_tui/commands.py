"""Commands of `eqprop` that the application has carried out by processes, for what they print."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


class Commands:
    """The commands that are being carried out; they end with what has them."""

    def __init__(self) -> None:
        self.ended = False
        self._processes: list[subprocess.Popen[str]] = []

    def carry_out(self, words: Sequence[str]) -> tuple[int, str, str]:
        """Wait for `eqprop` with these words: its status, output and diagnostics. Raises `OSError`."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "eqprop_tui.cli.main", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C of this terminal is not meant for it
        )
        self._processes.append(process)
        if self.ended:
            process.terminate()
        try:
            out, diagnostics = process.communicate()
        finally:
            self._processes.remove(process)
        return process.returncode, out, diagnostics

    def end(self) -> None:
        """End those that still run, and any that is begun from now on."""
        self.ended = True
        for process in list(self._processes):
            process.terminate()
