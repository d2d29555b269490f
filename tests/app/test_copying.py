"""Copying reaches what can be reached, and nothing more is claimed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.world import World
from eqprop_tui import clipboard

TMUX = """#!/bin/sh
[ "$1" = load-buffer ] || exit 9
{refuses}
cat > '{buffer}'
"""
OLD = '[ "$2" = -w ] && exit 1'  # before 3.2
GONE = "exit 1"  # its server is another user's, or ended


def tmux_of(home: Path, refuses: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tmux that keeps what it is given in a file, which is returned."""
    program, buffer = home / "bin" / "tmux", home / "buffer"
    program.parent.mkdir()
    program.write_text(TMUX.format(refuses=refuses, buffer=buffer))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    return buffer


@pytest.mark.parametrize(
    ("refuses", "kept", "said"),
    [
        ("", True, "In tmux: its prefix and ] paste this"),
        (OLD, True, "In tmux: its prefix and ] paste this"),
        (GONE, False, "if it takes it"),
    ],
    ids=["new", "old", "gone"],
)
def test_in_tmux_its_buffer_has_what_is_copied_or_the_terminal_is_asked(
    refuses: str, kept: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    run = world.run()
    buffer = tmux_of(tmp_path, refuses, monkeypatch)

    async def act() -> None:
        async with world.open(run) as app:
            await world.press("y")
            await world.until(lambda: app._notifications)
            [note] = app._notifications
            assert said in note.message and str(run.path) in note.message
            assert "copied" not in note.message
            assert world.copied == ([] if kept else [str(run.path)])
            assert not kept or buffer.read_text() == str(run.path)

    asyncio.run(act())


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ("xterm-256color", "if it takes it"),
        ("tmux-256color", "only with set-clipboard on"),  # of another machine, through ssh
        ("screen.xterm-256color", "only with set-clipboard on"),
    ],
)
def test_what_a_terminal_does_with_it_is_not_claimed(
    term: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("TMUX", raising=False)
    assert not clipboard.inside_tmux()
    assert said in clipboard.in_words(by_tmux=False)
