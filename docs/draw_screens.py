"""Draws the pictures of the application in this folder: a real run, seen through the application itself.

    python docs/draw_screens.py

Trains on the built-in digits in a temporary folder (about a minute on two cores), opens the application on it
without a terminal, presses keys, and saves what it shows as SVG.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
SIZE = (120, 36)


def train(*words: str) -> None:
    """Train in this process."""
    from typer.testing import CliRunner

    from eqprop_tui.cli.main import app

    result = CliRunner().invoke(app, ["train", "--foreground", *words])
    if result.exit_code:
        raise SystemExit(result.output)


async def draw() -> None:
    """Open the application on the last run, and save its screens."""
    from eqprop_core.runs.listing import find_run
    from eqprop_tui.app import EqpropApp, Options

    for name, size, keys in (
        ("screen-library", SIZE, ("d", "down", "down")),
        ("screen-monitor", SIZE, ()),
        ("screen-gdu-check", SIZE, ("3", "down", "down")),
        ("screen-configure", SIZE, ("n",)),
        ("screen-compare", SIZE, ("d", "tab", "space", "down", "space", "v")),
    ):
        app = EqpropApp(Options(run=find_run("digits-cnn-ep").path))
        async with app.run_test(size=size) as pilot:
            await pilot.pause(1.5)
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.5)
            await pilot.pause(1.5)
            app.save_screenshot(f"{name}.svg", path=str(FOLDER))


def main() -> None:
    """Train, then draw."""
    with tempfile.TemporaryDirectory(prefix="eqprop-screens-") as folder:
        os.environ |= {"EQPROP_RESULTS": str(Path(folder) / "results"), "XDG_CONFIG_HOME": folder}
        os.environ |= {"XDG_STATE_HOME": folder}
        train("--preset", "digits-mlp-ep", "--seed", "1")
        train("--preset", "digits-cnn-ep", "--seed", "1", "--epochs", "12", "--check-thm")
        asyncio.run(draw())


if __name__ == "__main__":
    main()
