"""Copying from a terminal: what can be done where the application runs, and what can be known of it.

A program asks its terminal for the clipboard by an escape sequence (OSC 52) and is given no answer. tmux
takes that sequence for its own and, with its default settings, drops it; told by its command it keeps the
text in a buffer of its own, and asks the terminal itself.
"""

from __future__ import annotations

import os
import subprocess

SECONDS = 3.0  # for tmux to answer


def inside_tmux() -> bool:
    """Whether a tmux of this machine draws the terminal."""
    return bool(os.environ.get("TMUX"))


def give_to_tmux(text: str) -> bool:
    """Put the text into tmux's buffer, and let it ask the terminal; whether it has the text."""
    for words in (["-w"], []):  # before 3.2 it cannot ask
        try:
            done = subprocess.run(
                ["tmux", "load-buffer", *words, "-"],
                input=text.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        if done.returncode == 0:
            return True
    return False


def in_words(*, by_tmux: bool) -> str:
    """Where a text that was copied went, as far as that can be known."""
    if by_tmux:
        return "In tmux: its prefix and ] paste this. The terminal's clipboard has it too, if it takes it."
    if os.environ.get("TERM", "").startswith(("tmux", "screen")):
        return "Sent to the terminal. tmux passes this on to the clipboard only with set-clipboard on."
    return "Sent to the terminal, whose clipboard has this if it takes it."
