from __future__ import annotations

import os

os.environ.pop(
    "MPLBACKEND", None
)  # of a notebook, say: matplotlib refuses to be loaded where it lacks that one
