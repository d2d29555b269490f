"""A disk of two megabytes for one command, in a mount namespace of its own, and filling it to the last byte."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MOUNTED = 'mount -t tmpfs -o size=2m,nr_inodes=400 tmpfs "$0" && exec "$@"'


def on_disk(disk: Path) -> list[str]:
    """The words before a command that runs it with a small file system at `disk`, an empty folder.

    Skips the test where none can be made.
    """
    if shutil.which("unshare") is None:
        pytest.skip("no file system can be made here: there is no `unshare`")
    words = ["unshare", "-Urm", "sh", "-c", MOUNTED]
    made = subprocess.run([*words, "/mnt", "true"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be made here: {made.stderr.strip()}")
    return [*words, str(disk)]


def fill(filler: Path) -> None:
    """Write until not one byte more can be written."""
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (65536, 4096, 1):
        try:
            while os.write(descriptor, b"x" * size):
                pass
        except OSError:
            continue
    os.close(descriptor)
