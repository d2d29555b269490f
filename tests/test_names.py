"""What a person gives a name to: letters of all scripts are kept and found again, the rest is refused at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import make_run
from typer.testing import Result

from eqprop_core.names import can_be_shown, same, wrong_with
from eqprop_core.problems import printable
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import summarize
from eqprop_core.sweeps.file import read_sweep

Run = Callable[..., Result]
TINY = ["--task", "digits", "--archi", "64", "8", "10", "--lrs", "0.1", "0.1", "--T1", "4", "--T2", "2"]
KEPT = [
    "plain", "two words", "نیم\u200cفاصله", "क्\u200dष", "👩🏽\u200d🔬", "❤\ufe0f", "👍🏿", "e\u0301te\u0301", "é 2", "ไทย", "名前",
]  # fmt: skip
REFUSED = [
    ("a\u202eb", "U+202E RIGHT-TO-LEFT OVERRIDE is none"),
    ("\u2066x\u2069", "U+2066 LEFT-TO-RIGHT ISOLATE is none"),
    ("x\ufeff", "U+FEFF ZERO WIDTH NO-BREAK SPACE is none"),
    ("x\u200fy", "U+200F RIGHT-TO-LEFT MARK is none"),
    ("a\u2060b", "U+2060 WORD JOINER is none"),
    ("a\x1b[31m", "U+001B is none"),
    ("two\nlines", "U+000A is none"),
    (os.fsdecode(b"caf\xe9"), "a byte that is not UTF-8 is none"),
    ("x\u200d", "U+200D ZERO WIDTH JOINER joins nothing"),
    ("\u200cx", "U+200C ZERO WIDTH NON-JOINER joins nothing"),
    ("\u200d\ufe0f", "nothing in it that could be seen"),
    ("\u3164\u2800", "nothing in it that could be seen"),
    ("   ", "1 to 120 printable characters"),
    ("n" * 121, "1 to 120 printable characters"),
]


@pytest.mark.parametrize("name", KEPT)
def test_letters_of_all_scripts_are_kept_as_they_are(name: str) -> None:
    assert wrong_with(name, 120) is None
    assert can_be_shown(name) and printable(name) == name


@pytest.mark.parametrize(("name", "why"), REFUSED)
def test_what_could_not_be_seen_or_would_turn_a_line_is_refused_by_its_number(
    name: str, why: str, eqprop: Run, tmp_path: Path
) -> None:
    assert why in (wrong_with(name, 120) or "")
    said = " ".join(eqprop("train", *TINY, "--name", name, code=2).stderr.split())
    assert "error: --name" in said
    if len(name) <= 120 and not any(one < " " or "\ud800" <= one <= "\udfff" for one in name):
        assert why in said  # others are refused as no text
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", KEPT)
def test_a_run_is_found_by_the_name_and_the_tags_that_it_was_given(
    name: str, eqprop: Run, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "results", state={"state": "finished"})
    make_run(tmp_path / "results", number=1, state={"state": "finished"})
    eqprop("runs", "note", run.path, "--name", name, "--tag", name, "--note", name)
    assert summarize(run.path).name == name and summarize(run.path).tags == (name,)
    assert RunFolder(run.path).meta()["note"] == name
    for words in (["show", name], ["list", "--tag", name], ["list", f'name="{name}"'], ["list", name]):
        assert name in eqprop("runs", *words).stdout
    assert len(eqprop("runs", "list", "--tag", name).stdout.splitlines()) == 2  # a heading, and this run


def test_a_name_is_found_however_its_letters_are_composed(eqprop: Run, tmp_path: Path) -> None:
    composed, apart = "\u00e9t\u00e9", "e\u0301te\u0301"
    assert same(composed) == same(apart)
    run = make_run(tmp_path / "results", state={"state": "finished"})
    eqprop("runs", "note", run.path, "--name", composed, "--tag", composed)
    assert "finished" in eqprop("runs", "show", apart).stdout
    assert composed in eqprop("runs", "list", "--tag", apart).stdout
    assert composed in eqprop("runs", "list", f"name={apart}").stdout
    eqprop("runs", "note", apart, "--tag", apart)
    assert summarize(run.path).tags == (composed,) or summarize(run.path).tags == (apart,)
    eqprop("runs", "note", apart, "--untag", apart)
    assert summarize(run.path).tags == ()


@pytest.mark.parametrize(("name", "why"), [("a\u202eb", "U+202E"), ("x\u200d", "U+200D"), ("", "printable")])
def test_a_cell_of_a_sweep_is_named_by_the_same_rules(name: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    cells = 'title = "ب\u200cپ"\ndescription = "d"\npreset = "digits-mlp-ep"\n[[cells]]\nname = "{}"\n'
    file.write_text(cells.format("ک\u200cل"), encoding="utf-8")
    assert read_sweep(file).title == "ب\u200cپ"
    file.write_text(cells.format(name), encoding="utf-8")
    with pytest.raises(ValueError, match=f"name of cell 1 must be text.*{why.replace('+', '.')}"):
        read_sweep(file)


@pytest.mark.parametrize("name", ["net:x:2", ":car:", "lr:100:a"])
def test_words_between_colons_are_no_pictures(name: str, eqprop: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "results", name=name)
    for words in (["list"], ["show", run.path]):
        assert name in eqprop("runs", *words).stdout
    assert f"cuda{name}: " in eqprop("train", "--device", f"cuda{name}", code=2).stderr
    assert f"error: {name}:x: is no run" in eqprop("runs", "show", f"{name}:x", code=2).stderr
