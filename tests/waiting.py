"""Waiting for what other processes do."""

from __future__ import annotations

import time


def give_way() -> None:
    """Leave the cores, of which there may be two, to what is waited for, before looking again."""
    time.sleep(0.01)
