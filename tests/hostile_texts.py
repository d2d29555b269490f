"""A run, a sweep and presets whose every string is hostile, as a folder that was unpacked from anywhere may be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w
from small_runs import TINY, epoch, make_run
from sweeps.made import cell, make_sweep
from sweeps.made import make_run as make_run_of

from eqprop_core.events import (
    Activity,
    Amended,
    Angles,
    ControlApplied,
    ControlReceived,
    Evaluated,
    Event,
    Gdu,
    GduCurve,
    GduRow,
    LayerActivity,
    PhaseProgress,
    RunFailed,
    RunFinished,
    RunStarted,
    Settling,
    Warned,
)
from eqprop_core.names import can_be_shown
from eqprop_core.runs.folder import RunFolder
from eqprop_core.sweeps.folder import PLAN, SweepFolder

STEERS = "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x9b31m\x8d\r\b\u202eevil\u200b\u2028\ud800\x00\n"
MARKUP = "[/nope][link=file:///x]x[/link][bold]{0} %s $(touch x) '; touch x; ' $LR_$seed _"
HOSTILE = MARKUP + STEERS
ENCODED = HOSTILE.replace("\ud800", "")  # as text in UTF-8 can be
ORDINARY = "سلام\u200cها 👩\u200d🔬 中文 café"  # and goes through all of it as it is
KEPT = (
    "kind",
    "state",
    "host",
    "boot_id",
    "created",
    "task",
    "alg",
    "loss",
    "model",
    "act",
    "optim",
    "launcher",
)


def harmless(text: str) -> bool:
    """Whether a terminal that is shown this text shows it, line by line, and does nothing else."""
    return all(can_be_shown(line) for line in text.split("\n"))


def hostile(value: Any, text: str = HOSTILE, keep: tuple[str, ...] = KEPT) -> Any:
    """The same document with every text in it another one, but for what its reader looks things up by."""
    if isinstance(value, dict):
        return {key: one if key in keep else hostile(one, text, keep) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile(one, text, keep) for one in value]
    return text if isinstance(value, str) or value is None else value


def events(text: str = ENCODED) -> Iterator[Event]:
    """An event of every kind that has a text of its own."""
    yield RunStarted(todo=text, epochs=3, batches=9, train_images=10, test_images=10, parameters=7, device=text, weights=text)  # fmt: skip
    yield Warned(message=text)
    yield PhaseProgress(epoch=1, batch=1, phase=text, step=1, steps=5)
    yield Activity(epoch=1, batch=1, layers=[LayerActivity(name=text, edges=[0, 1, 2], counts=[1, 2])])
    yield Settling(epoch=1, batch=1, phases={text: [1.0, 0.5], "free": [1.0, 0.1]}, images=5, tol=0.1, mean_steps={text: 2.0}, unsettled={text: 1})  # fmt: skip
    row = GduRow(name=text, rmse=0.1, sign_error=0.1, cosine=0.9, norm_ratio=1.0, size=1.0)
    curve = GduCurve(name=text, element=0, ep=[0.1, 0.2], bptt=[0.1, 0.2], plus=[], minus=[])
    yield Gdu(epoch=1, batch=1, beta=0.1, images=5, rows=[row], curves=[curve], verdict=text, chosen=text)  # fmt: skip
    yield Angles(epoch=1, angles={text: 12.0})
    yield epoch(1, 60.0)
    yield epoch(2, 70.0)
    yield Amended(settings={"mmt": 0.5, "data_dir": text, text: text}, epoch=2, batch=1)
    yield ControlReceived(request=text)
    yield ControlApplied(request=text, epoch=2, batch=3)
    yield Evaluated(part=text, images=10, accuracy=50.0, loss=None)


def spoil(run: RunFolder, text: str = HOSTILE, *, settings: bool = False) -> RunFolder:
    """Make every text of a run's files hostile; with `settings`, those of its `config.toml` as well."""
    path = run.path
    state = {**json.loads((path / "state.json").read_text()), "message": "x", "device": "x", "fetching": "x", "preset": "x", "tags": ["x", "y"]}  # fmt: skip
    meta = {**run.meta(), "note": "x", "tags": ["x"], "preset": "x", "device": "x", "expected": {"test_error": 1.0, "source": "x"}, "data": {"images": {text: 5}, "classes": ["x"], "digest": "x"}, "sweep": "x", "cell": "x"}  # fmt: skip
    (path / "state.json").write_text(json.dumps(hostile(state, text)))
    (path / "meta.json").write_text(json.dumps(hostile(meta, text)))
    for name in ("console.log", "hyperparameters.txt"):
        (path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    if settings:
        writable = hostile(run.config(), text.replace("\ud800", ""))
        (path / "config.toml").write_text(tomli_w.dumps({**writable, "name": ENCODED}))
    return run


def hostile_run(
    root: Path, text: str = HOSTILE, *, number: int = 0, state: str = "finished", settings: bool = False
) -> RunFolder:
    """A run that stands so, with events of all kinds."""
    plain = text.replace("\ud800", "")
    ends: list[Event] = []
    if state == "failed":
        ends = [RunFailed(message=plain)]
    elif state == "finished":
        ends = [RunFinished(best_accuracy=70.0, last_accuracy=70.0, seconds=4.0)]
    happened = [*events(plain), *ends]
    run = make_run(root, number=number, events=happened, state={"state": state, "epoch": 2})
    return spoil(run, text, settings=settings)


def hostile_sweep(root: Path) -> SweepFolder:
    """A sweep of which a run is finished and one has failed, with hostile names of its cells and commands."""
    sweep = make_sweep(root, cell("a"), cell("b"), seeds=[0])
    for name, state in (("a", "finished"), ("b", "failed")):
        spoil(make_run_of(sweep, name, 0, 60.0, 70.0, state=state))
    document = json.loads((sweep.path / PLAN).read_text())
    plan = document["plan"]
    for one in plan["cells"]:
        one.update(source=HOSTILE, expected_error=3.0)
    plan.update(name=HOSTILE[:99], title=HOSTILE, description=HOSTILE)
    document.update(created=HOSTILE, command=[HOSTILE], host=HOSTILE)
    document["launcher"] = {"launcher": "slurm", "setup": [HOSTILE], "sbatch": {"comment": HOSTILE}}
    (sweep.path / PLAN).write_text(json.dumps(document))
    return SweepFolder.open(sweep.path)


def hostile_presets(folder: Path) -> None:
    """Presets and a sweep of a person's own: ones with texts that steer, one with markup that is allowed."""
    texts = ENCODED
    base = {name: list(value) if isinstance(value, tuple) else value for name, value in TINY.items()}
    (folder / "sweeps").mkdir(parents=True)
    documents = {
        "steers.toml": {"title": texts, "description": texts, "config": {**base, texts: texts}},
        "markup.toml": {
            "title": MARKUP[:60],
            "description": MARKUP,
            "config": base,
            "expected": {"test_error": 3.0, "source": MARKUP},
        },
        "sweeps/steers.toml": {"title": texts, "description": texts, "grid": {texts: [texts]}},
        "sweeps/markup.toml": {"title": MARKUP, "cells": [{"name": MARKUP[:90], "config": base}]},
    }
    for name, document in documents.items():
        (folder / name).write_text(tomli_w.dumps(document))
