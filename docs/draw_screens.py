"""Draws the pictures of the application in this folder: real runs, seen through the application itself.

    python docs/draw_screens.py

Trains on the built-in digits in a temporary folder (a minute on two cores), opens the application on the
runs without a terminal, one of them still going on, presses keys, and saves what it shows as SVG.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from eqprop_core.runs.listing import find_run, summarize
from eqprop_tui.app import EqpropApp, Options

FOLDER = Path(__file__).parent
SIZE = (120, 36)
SECONDS_TO_LOOK = 2.5  # at a run, before its picture is taken


def eqprop(*words: str) -> str:
    """Run a command; what it prints."""
    command = [sys.executable, "-m", "eqprop_tui.cli.main", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


async def draw(name: str, run: str, *keys: str) -> None:
    """Open the application on a run, press keys, save the screen."""
    app = EqpropApp(Options(run=find_run(run).path))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SECONDS_TO_LOOK)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(1)
        app.save_screenshot(f"{name}.svg", path=str(FOLDER))


async def draw_all() -> None:
    """Train, and draw each screen."""
    eqprop("train", "--preset", "digits-mlp-ep", "--seed", "1", "--foreground")
    eqprop("train", "--preset", "digits-mlp-bptt", "--seed", "1", "--foreground")
    eqprop(
        "train", "--preset", "digits-cnn-ep", "--epochs", "40", "--check-thm", "--name", "live", "--detach"
    )
    while summarize(find_run("live").path).epoch < 2:
        await asyncio.sleep(0.1)
    await draw("screen-gdu-check", "live", "3", "down", "down")
    while summarize(find_run("live").path).epoch < 9:
        await asyncio.sleep(0.1)
    await draw("screen-monitor", "live")
    await draw("screen-library", "live", "d")
    await draw("screen-configure", "live", "n")
    await draw("screen-compare", "live", "d", "tab", "down", "space", "down", "space", "v")
    eqprop("runs", "stop", "live", "--kill")


def main() -> None:
    """Draw in a home of its own."""
    with tempfile.TemporaryDirectory(prefix="eqprop-screens-") as folder:
        os.environ["EQPROP_RESULTS"] = str(Path(folder) / "results")
        os.environ["EQPROP_LINES"] = str(Path(folder) / "lines")
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            os.environ[name] = folder
        os.environ.pop("EQPROP_FOREGROUND", None)
        asyncio.run(draw_all())


if __name__ == "__main__":
    main()
