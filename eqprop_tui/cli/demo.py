"""`eqprop demo`: EP at work on the built-in digits, in under a minute."""

from __future__ import annotations

import os
import sys

from eqprop_core.presets import load_preset
from eqprop_core.runs.settings import make_plan
from eqprop_core.runs.starting import start_new
from eqprop_core.shell import command
from eqprop_tui.cli import report
from eqprop_tui.cli.application import open_application
from eqprop_tui.cli.watch import tell_launch
from eqprop_tui.cli.work import carry_out
from eqprop_tui.library import DEMO

CHECK = ("--thirdphase", "--betas", "0", "0.01")  # a small β: how near EP comes to the gradient


def demo() -> None:
    """Train a network on handwritten digits with EP, then hold its gradients against BPTT.

    On a terminal it opens the application on the run, and shows the check there once the run is complete.
    """
    preset = load_preset(DEMO)
    plan = make_plan("train", {}, preset, ("eqprop", "train", "--preset", DEMO))
    if sys.stdin.isatty() and sys.stdout.isatty() and not os.environ.get("EQPROP_FOREGROUND"):
        started, launched = start_new(plan)
        tell_launch(launched)
        open_application(started.path, check_at_end=CHECK)
        return
    report.say(f"1  training: {preset.title}")
    trained = carry_out(plan)
    assert trained is not None and trained.path is not None
    report.say("2  GDU check of the trained network: EP updates against BPTT gradients, step by step")
    run = str(trained.path)
    flags = {"load_path": run, "save": True, "betas": "0 0.01", "thirdphase": True}
    words = ("eqprop", "gducheck", "--load-path", run, "--save", *CHECK)
    carry_out(make_plan("gducheck", flags, None, words))
    report.say(
        "Neurons agree less where σ is not the identity: EP's updates of them contain its slope. Next:"
    )
    report.say(f"  {command('evaluate', '--load-path', trained.path)}")
    report.say("  eqprop presets list")
