"""A sweep on a disk that is full ends with words, and goes on where there is room again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from small_disk import fill, on_disk

from eqprop_core.sweeps.__main__ import main
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.making import Wanted, make_sweep
from eqprop_core.sweeps.process import is_launched

SETTINGS = {"epochs": 1, "train_samples": 8, "test_samples": 8}


def test_a_sweep_on_a_full_disk_says_so(tmp_path: Path) -> None:
    words = [*on_disk(tmp_path), sys.executable, __file__, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 1 and " error: " in said[0] and said[0].endswith(": No space left on device")


def on_full_disk(disk: Path) -> int:
    """The exit status of what starts the runs of a sweep, on a disk that is full by then."""
    plan = make_sweep(Wanted(["digits-mlp-ep"], SETTINGS))
    sweep = SweepFolder.create(disk / "results", plan, command=("eqprop",), launcher={})
    fill(disk / "filler")
    status = main([str(sweep.path)])
    assert not is_launched(sweep)
    return status


if __name__ == "__main__":
    status = on_full_disk(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(status)
