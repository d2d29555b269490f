"""Commands that are shown for pasting arrive as they were meant, whatever a folder or a run is called."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from small_runs import make_run
from sweeps.made import cell, make_sweep
from typer.testing import Result

import eqprop_core
from eqprop_core.names import can_be_shown
from eqprop_core.runs.folder import RunFolder, id_of
from eqprop_core.runs.listing import called, summarize
from eqprop_core.runs.roots import forget_root
from eqprop_core.shell import command, joined

Run = Callable[..., Result]
WORDS = ["plain", "", "two words", "it's", '"', "$(touch x)", "`id`", "a;b&c|d>e", "-x", "--", "~", "~root", "*", "!!", "a\\b", "a\nb", "a\tb", "\x1b]0;x\x07", "%s %n", "caf\udce9", "\u202e", "سلام", "👩\u200d🔬", "#x", "a=b", "{a,b}", "\\0101"]  # fmt: skip
IDS = ["$(touch x)", "; ls", "../../x", "1a2b3c4", "1A2B3C4D", "1a2b3c4d5", "-1a2b3c4", "1a2b3c4d\n", "١٢٣٤٥٦٧٨", 12345678, None, ["1a2b3c4d"]]  # fmt: skip


def pasted(line: str, folder: Path) -> list[list[str]]:
    """The words that a command `eqprop` is given, each time that it is, where a line is pasted into a shell."""
    stand_in = folder / "bin" / "eqprop"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done >>"$SAID"; printf "\\n\\0" >>"$SAID"\n')  # fmt: skip
    stand_in.chmod(0o755)
    said = folder / "said"
    said.unlink(missing_ok=True)
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    where = {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "SAID": str(said), "HOME": str(empty)}
    subprocess.run(["sh", "-c", os.fsencode(line)], env=where, cwd=empty, check=True, capture_output=True)
    assert not list(empty.iterdir())
    parts = said.read_bytes().split(b"\n\0")[:-1]
    return [[os.fsdecode(word) for word in part.split(b"\0")[:-1]] for part in parts]


def test_every_word_arrives(tmp_path: Path) -> None:
    line = command(*WORDS)
    assert can_be_shown(line) and "\n" not in line
    assert pasted(line, tmp_path) == [WORDS]
    shown = [word for word in WORDS if can_be_shown(word)]
    assert shlex.split(joined(shown)) == shown
    assert pasted(command("/a\n"), tmp_path) == [["/a\n/."]]  # the same folder


@pytest.mark.parametrize("id", IDS, ids=repr)
def test_an_id_is_hexadecimal_or_none(id: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "results", state={"id": id})
    meta = {**run.meta(), "id": id}
    (run.path / "meta.json").write_text(json.dumps(meta))
    assert id_of(id) is None and summarize(run.path).id == ""
    assert called(run) == str(run.path) and run.identity()["id"] is None


def hints(text: str) -> list[str]:
    """The lines that begin with a command."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith("eqprop ")]


@pytest.mark.parametrize(
    "name", ["two words", "it's $(touch x)", "-x; y", "a\nb", "caf\udce9", "~"], ids=ascii
)
def test_what_a_command_shows_can_be_pasted(name: str, tmp_path: Path, eqprop: Run) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path / name)))
    run, sweep = make_run(root, state={"state": "stopped"}), make_sweep(root, cell("a"))
    forget_root(root)  # no folder is remembered, so that they are called by their folders
    for step in json.loads(eqprop("runs", "show", run.path, "--json").stdout)["next"]:
        ((*_, last),) = pasted(step, tmp_path)
        assert last == str(run.path)
    shown = hints(eqprop("runs", "show", run.path).stdout)
    assert len(shown) == 3
    for step in shown:
        assert pasted(step, tmp_path)[0][-1] == str(run.path)
    said = eqprop("sweep", "status", sweep.path).stdout
    step = said[said.index("eqprop sweep resume") :].rstrip("\n")
    assert pasted(step, tmp_path) == [["sweep", "resume", str(sweep.path)]]


def test_a_sweep_is_called_by_its_name_where_that_finds_it(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "results", cell("a"))
    assert sweep.called == sweep.name
    moved = sweep.path.rename(sweep.path.with_name("$(touch x)"))
    assert type(sweep).open(moved).called == str(moved)


def test_a_run_is_called_by_its_id_where_that_finds_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "results")
    assert called(run) == run.meta()["id"] == id_of(run.meta()["id"])
    assert called(RunFolder(run.path.rename(tmp_path / "elsewhere"))) == str(tmp_path / "elsewhere")


def test_no_command_is_put_together_otherwise() -> None:
    """A text such as f"eqprop runs show {name}" would forget to quote the name."""
    home = Path(eqprop_core.__file__).parents[1]
    begun = re.compile(r"\beqprop (--)?[a-z]+[^;,.:`]*(?<!with status )$")
    found = [
        f"{path.relative_to(home)}:{text.lineno}"
        for package in ("eqprop_core", "eqprop_tui")
        for path in (home / package).rglob("*.py")
        for text in ast.walk(ast.parse(path.read_text()))
        if isinstance(text, ast.JoinedStr)
        for one, after in pairwise(text.values)
        if isinstance(after, ast.FormattedValue)
        and isinstance(one, ast.Constant)
        and begun.search(str(one.value))
    ]
    assert found == []
