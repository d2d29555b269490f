"""`python -m eqprop_core.worker RUN`: the process that owns a run, started with nobody watching.

RUN is a folder with a `config.toml`. A run that has a checkpoint goes on from there, `--more-epochs N`
further where given. Exit status: 0 done, 1 failed, 2 wrong configuration, 143 and 130 stopped by a signal.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from eqprop_core.catalogue import DataError
from eqprop_core.config import combine
from eqprop_core.events import Warned
from eqprop_core.problems import ConfigError, printable
from eqprop_core.runs.folder import CHECKPOINT, CHECKPOINT_BEFORE, RunError, RunFolder
from eqprop_core.runs.settings import Plan, make_plan
from eqprop_core.runs.words import NOT_SAVED, in_words
from eqprop_core.worker import process
from eqprop_core.worker.signals import StopWish, stop_wishes


def main(arguments: list[str]) -> int:
    """Train the run that the arguments name; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m eqprop_core.worker", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--more-epochs", type=int)
    words = parser.parse_args(arguments)
    run = RunFolder(words.run)
    wish = StopWish()
    unsaved = False
    try:
        if any((run.path / name).exists() for name in (CHECKPOINT, CHECKPOINT_BEFORE)):
            more = {} if words.more_epochs is None else {"epochs": words.more_epochs}
            plan = make_plan("train", {"load_path": str(run.path), **more})
        else:
            plan = Plan(combine(run.config() or {}, {"todo": "train"}))
        with stop_wishes(wish):
            work = process.begin(plan, run=run, stop=wish)
            for record in work.records:
                if record.event.kind == "run_failed":
                    print(in_words(record.event), file=sys.stderr)
                unsaved |= isinstance(record.event, Warned) and record.event.message.startswith(NOT_SAVED)
    except (ConfigError, RunError, DataError) as error:
        run.fail(str(error))
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 128 + (wish.signal or 2)
    if unsaved:
        return 1
    return 0 if wish.signal is None else 128 + wish.signal


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
