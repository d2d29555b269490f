"""`python on_small_disk.py DISK SCENARIO`: trains on a small disk on which something goes wrong on the way.

What `eqprop train` says and its exit status are this script's; what was found on the way goes to
`DISK.json`, beside the disk, as the disk may be gone when the script has ended.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from small_disk import fill

from eqprop_core.events import EpochFinished, Record, Warned
from eqprop_core.runs.log import read_events
from eqprop_core.worker import checkpoint, session
from eqprop_core.worker.session import Session
from eqprop_tui.cli import main

EPOCHS = 6
WORDS = ["--task", "digits", "--archi", "64", "40", "10", "--lrs", "0.1", "0.1", "--T1", "4", "--T2", "2", "--betas", "0", "0.5", "--train-samples", "60", "--test-samples", "20", "--seed", "1"]  # fmt: skip


def main_with(disk: Path, scenario: str) -> int:
    """Train, and let it happen after the second epoch; returns the exit status."""
    filler = disk / "filler"
    found: dict[str, Any] = {"kept": [], "warned": []}
    run: list[Path] = []
    usual_after, usual_emit = Session.after, Session.emit

    def after(self: Session, event: Any, trainer: Any) -> Iterator[Record]:
        yield from usual_after(self, event, trainer)
        if isinstance(event, EpochFinished):
            assert self.path is not None
            run[:] = [self.path]
            happen(event.epoch, self.path)

    def emit(self: Session, event: Any) -> Record:
        if isinstance(event, Warned):
            found["warned"].append(event.message)
            if "is kept in memory and tried again" in event.message:
                os.kill(os.getpid(), signal.SIGINT)  # who watches gives it up
        return usual_emit(self, event)

    def happen(epoch: int, path: Path) -> None:
        if epoch == 2:
            if scenario in ("full", "full for a while"):
                fill(filler)
            elif scenario == "gone":
                shutil.rmtree(path)
            elif scenario in ("read-only", "read-only for a while"):
                path.chmod(0o555)
        if epoch == 4 and scenario.endswith("for a while"):
            filler.unlink(missing_ok=True)
            path.chmod(0o755)
        if path.exists():
            content = checkpoint.load(path / "checkpoint.tar")
            found["kept"].append(content["position"]["epoch"])

    Session.after, Session.emit = after, emit  # type: ignore[method-assign]
    session.SECONDS_TO_NEXT_TRY = 0.0 if scenario.endswith("for a while") else 60.0
    sys.argv = ["eqprop", "train", *WORDS, "--epochs", str(EPOCHS), "--results", str(disk / "results")]
    status = ended()
    path = run[0]
    found["exists"] = path.exists()
    if path.exists():
        found["files"] = sorted(item.name for item in path.iterdir())
        found["events"] = [[record.seq, record.event.kind, getattr(record.event, "message", "")] for record in read_events(path / "events.jsonl")]  # fmt: skip
        found["checkpoint"] = checkpoint.load(path / "checkpoint.tar")["position"]["epoch"]
        filler.unlink(missing_ok=True)
        path.chmod(0o755)
        sys.argv = ["eqprop", "train", "--load-path", str(path), "--epochs", "1"]
        sys.stderr.write("--- resumed\n")
        found["resumed"] = ended()
        found["resumed to"] = checkpoint.load(path / "checkpoint.tar")["position"]["epoch"]
        found["state"] = json.loads((path / "state.json").read_text())["state"]
    Path(f"{disk}.json").write_text(json.dumps(found))
    return status


def ended() -> int:
    """The exit status of the command."""
    try:
        main.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main_with(Path(sys.argv[1]), sys.argv[2]))
