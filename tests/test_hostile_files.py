"""Files of a run that are damaged, foreign or malicious are read as far as they make sense, or refused in words.

Each kind of file is changed at random, seeded, mostly so that it still parses; `-s` shows what came of it,
and `-m slow` tries ten times as many.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hostile import (
    checkpoint_mutation,
    json_mutation,
    lines_mutation,
    snapshot,
    toml_mutation,
)

from eqprop_core.config import RunConfig, combine
from eqprop_core.events import Event, Warned
from eqprop_core.learning.finite import TrainingError
from eqprop_core.learning.trainer import Trainer
from eqprop_core.presets import PresetError, load_preset, read_preset
from eqprop_core.problems import ConfigError
from eqprop_core.runs.control import REQUESTS, take
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import list_runs, summarize
from eqprop_core.runs.log import EventLog, follow_events, read_events
from eqprop_core.runs.names import CONTROL
from eqprop_core.runs.settings import Plan, make_plan
from eqprop_core.runs.words import in_words
from eqprop_core.worker import checkpoint, preparing, process, training
from eqprop_tui.cli.listing import as_document
from eqprop_tui.words import started

REFUSALS = (ConfigError, RunError)  # a PresetError is a ConfigError
CONFIG = {"task": "digits", "archi": [64, 4, 10], "lrs": [0.1, 0.1], "mmt": 0.5, "T1": 3, "T2": 2, "betas": [0.0, 0.5], "train_samples": 20, "test_samples": 10, "epochs": 2, "seed": 1}  # fmt: skip


@dataclass
class Place:
    """A run in a tree with other things in it, and a trainer of its network."""

    tree: Path
    run: RunFolder
    plan: Plan
    trainer: Trainer
    whole: bytes
    content: dict[str, Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        tree = tmp_path_factory.mktemp("tree")
        patch.setenv("HOME", str(tree / "home"))
        patch.setenv("XDG_STATE_HOME", str(tree / "home"))
        (tree / "outside").mkdir()
        (tree / "outside" / "precious.json").write_text('{"request": "stop"}')
        config = RunConfig(**CONFIG)
        work = process.begin(Plan(config), root=tree / "results")
        list(work.records)
        assert work.path is not None
        ready = preparing.prepare(Plan(config))
        path = work.path / "checkpoint.tar"
        (work.path / "final_checkpoint.tar").unlink()  # which would take the place of a damaged one
        yield Place(
            tree,
            RunFolder(work.path),
            Plan(config, more_epochs=1),
            Trainer(config, ready.net, ready.dataset),
            path.read_bytes(),
            checkpoint.load(path),
        )


def said(error: BaseException) -> str:
    """The first words of a complaint, which has to be printable."""
    lines = str(error).split("\n")
    assert lines and all(line and line.isprintable() for line in lines), repr(str(error))
    return type(error).__name__


def refused(error: ConfigError | RunError, path: Path) -> str:
    """That a file was refused, and why, without the values that differ from one file to the next."""
    kind = said(error)
    reason = (
        error.problems[0].message if isinstance(error, ConfigError) else str(error).removeprefix(f"{path}: ")
    )
    return f"refused: {kind}: {re.split(r'[:;,(]', re.sub(r'[0-9]+', 'N', reason))[0].strip()[:50]}"


# --- what is done with each kind of file: returns what came of it -----------------------------------------


@contextmanager
def holding(path: Path, content: bytes) -> Iterator[bytes]:
    """A file with other content meanwhile; yields what it holds before and after."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield before
    finally:
        path.write_bytes(before)


def use_preset(place: Place, content: bytes) -> str:
    path = place.tree / "results" / "odd.toml"
    path.write_bytes(content)
    try:
        read_preset(path).run_config()
    except PresetError as error:
        return refused(error, path)
    finally:
        path.unlink()
    return "accepted"


def use_config(place: Place, content: bytes) -> str:
    path = place.run.path / "config.toml"
    with holding(path, content):
        try:
            place.run.identity()
            combine(place.run.config() or {}, {"todo": "train"})
            make_plan("train", {"load_path": str(place.run.path)})
        except REFUSALS as error:
            return refused(error, path)
    return "accepted"


def said_instead(event: Event) -> bool:
    """Whether this stands in the place of an event that cannot be read."""
    return isinstance(event, Warned) and "is not as a run writes them" in event.message


def use_events(place: Place, content: bytes) -> str:
    path = place.run.path / "events.jsonl"
    with holding(path, content) as before:
        try:
            records = list(read_events(path))
            followed = [r for r in follow_events(path, ended=lambda: True) if not said_instead(r.event)]
            assert [r.seq for r in followed] == [r.seq for r in records if r.seq > 0] or not content.endswith(
                b"\n"
            )
            for record in records:
                assert in_words(record.event).isprintable()
            log = EventLog(path)
            written = log.write(Warned(message="after all that"))
            log.close()
            assert list(read_events(path))[-1] == written
            make_plan("train", {"load_path": str(place.run.path)})
        except REFUSALS as error:
            return refused(error, path)
    lines = before.count(b"\n")
    return "accepted" if len(records) >= lines else "accepted in part" if records else "refused: no events"


def use_state(place: Place, content: bytes) -> str:
    with holding(place.run.path / "state.json", content):
        good = summarize(place.run.path)
        shown = json.dumps(as_document(good), allow_nan=False)
        assert "\\u001b" not in shown and "\\u009b" not in shown
        started(good.created)
        (listed,) = list_runs([place.tree / "results"])
        assert listed == good or listed.seconds_left is None
        state = place.run.read_state()
        place.run.fail("failed")
        complete = "finished" in (state.get("state"), state.get("before"))
        assert place.run.read_state()["state"] in (("finished", "failed") if complete else ("failed",))
    return "accepted" if state else "refused: empty"


def use_meta(place: Place, content: bytes) -> str:
    state = place.run.path / "state.json"
    with holding(place.run.path / "meta.json", content), holding(state, state.read_bytes()):
        found = place.run.identity()
        place.run.write_state(found)
        assert summarize(place.run.path).name.isprintable()
        return "accepted" if place.run.meta() else "refused: empty"


def use_request(place: Place, content: bytes) -> str:
    folder = place.run.path / CONTROL
    folder.mkdir(exist_ok=True)
    (folder / "1.json").write_bytes(content)
    taken = take(place.run.path)
    assert {asked.request for asked in taken} <= set(REQUESTS)
    assert list(folder.iterdir()) == []
    return "accepted" if taken else "refused: no request"


def use_checkpoint(place: Place, content: bytes) -> str:
    path = place.run.path / "checkpoint.tar"
    before = path.with_name("checkpoint.prev.tar")
    kept = before.read_bytes()
    before.unlink()
    path.write_bytes(content)
    trainer = Trainer(place.plan.config, place.trainer.net, place.trainer.dataset)
    try:
        for event in training.resume(trainer, place.plan, place.run):
            assert in_words(event).isprintable()
        if trainer.epochs - trainer.epoch < 10:
            for event, _ in zip(trainer.run(), range(12), strict=False):
                event.model_dump_json()
            checkpoint.packed(trainer.state())
    except REFUSALS as error:
        return refused(error, path)
    except TrainingError as error:
        return f"accepted, then {said(error)}"
    finally:
        path.write_bytes(place.whole)
        before.write_bytes(kept)
    return "accepted"


# --- how each kind is changed, and whether it still parses -------------------------------------------------


def parses_json(content: bytes) -> bool:
    with suppress(ValueError, RecursionError):
        json.loads(content)
        return True
    return False


def parses_lines(content: bytes) -> bool:
    return all(parses_json(line) for line in content.split(b"\n") if line)


def parses_toml(content: bytes) -> bool:
    with suppress(ValueError, RecursionError):
        tomllib.loads(content.decode())
        return True
    return False


def parses_zip(place: Place, content: bytes) -> bool:
    path = place.run.path / "try.zip"
    path.write_bytes(content)
    with suppress(Exception), zipfile.ZipFile(path) as file:
        return file.testzip() is None
    return False


PRESET = {"title": "T", "description": "D", "tags": ["a"], "expected": {"test_error": 1.0, "source": "S"}}
Change = Callable[[Place, random.Random], bytes]
Use = Callable[[Place, bytes], str]
KINDS: dict[str, tuple[Change, Use]] = {
    "preset": (lambda place, chance: toml_mutation({**PRESET, "config": CONFIG}, chance), use_preset),
    "config.toml": (lambda place, chance: toml_mutation(place.plan.config.stored(), chance), use_config),
    "events.jsonl": (
        lambda place, chance: lines_mutation(original(place, "events.jsonl"), chance),
        use_events,
    ),
    "state.json": (lambda place, chance: json_mutation(original(place, "state.json"), chance), use_state),
    "meta.json": (lambda place, chance: json_mutation(original(place, "meta.json"), chance), use_meta),
    "control": (lambda place, chance: json_mutation(b'{"request": "stop"}', chance), use_request),
    "checkpoint.tar": (
        lambda place, chance: checkpoint_mutation(place.whole, place.content, chance),
        use_checkpoint,
    ),
}


def original(place: Place, name: str) -> bytes:
    return (place.run.path / name).read_bytes()


def attack(place: Place, kind: str, count: int, seed: int) -> None:
    """Change a kind of file so many times, and use each; every exception but a refusal fails."""
    change, use = KINDS[kind]
    chance = random.Random(f"{seed} {kind}")
    surroundings = snapshot(place.tree, without=place.run.path)
    inside = {path.name for path in place.run.path.iterdir()}
    came: Counter[str] = Counter()
    parsed = 0
    for number in range(count):
        content = change(place, chance)
        if kind == "checkpoint.tar":
            parsed += parses_zip(place, content)
        elif kind == "events.jsonl":
            parsed += parses_lines(content)
        else:
            parsed += (parses_toml if kind in ("preset", "config.toml") else parses_json)(content)
        try:
            came[use(place, content)] += 1
        except Exception as error:
            raise AssertionError(f"number {number} of {kind}, {content[:3000]!r}") from error
    after = {path.name for path in place.run.path.iterdir()} - {"try.zip", CONTROL}
    assert after <= inside
    now = snapshot(place.tree, without=place.run.path)
    changed = {name for name in surroundings.keys() | now.keys() if surroundings.get(name) != now.get(name)}
    assert changed <= {str(place.tree / "results")}  # odd.toml came and went
    print(f"\n{kind}: {count} files, {parsed} still parse")
    for what, times in came.most_common():
        print(f"  {times:6d}  {what}")
    accepted = sum(times for what, times in came.items() if what.startswith("accepted"))
    assert parsed >= count / 2
    assert accepted >= count / 50 and count - accepted >= count / 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_used_or_refused_in_words(kind: str, place: Place) -> None:
    attack(place, kind, 1000, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("kind", KINDS)
def test_many_changed_files_are_used_or_refused_in_words(kind: str, seed: int, place: Place) -> None:
    attack(place, kind, 1000, seed)


def test_names_of_presets_lead_nowhere_else(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.tree)
    for name in ("../outside/precious", "/etc/passwd", "..", "a/b", "", "a\x00", "\x1b[2J", "x" * 5000, "~root/x.toml", "x" * 5000 + ".toml", "\x00.toml"):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            load_preset(name)
        said(caught.value)
