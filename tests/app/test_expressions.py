"""Expressions that choose runs: what they mean, what is wrong with them, and that nothing breaks them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from app.world import World
from eqprop_core.problems import ConfigError
from eqprop_core.runs.filtering import NAMES, Filter, Term, filter_of, kind_of, parse
from eqprop_core.runs.listing import RunSummary

RUN = RunSummary(
    path=Path("/r/one"),
    id="7f3a0b1c",
    name="first sweep",
    state="running",
    preset="digits-mlp-ep",
    model="MLP",
    task="digits",
    alg="EP",
    loss="mse",
    epoch=3,
    epochs=10,
    best=95.5,
    last=None,
    device="cuda:1",
    created="2026-11-23T10:00:00+00:00",
    seconds_an_epoch=2.0,
    ahead=None,
    tags=("x", "long one"),
)
SETTINGS: dict[str, Any] = {
    "T1": 20,
    "lrs": [0.1, 0.05],
    "archi": [64, 16, 10],
    "check_thm": True,
    "act": "mysig",
}


def chosen(text: str) -> bool:
    return parse(text)[0].accepts(RUN, lambda: SETTINGS)


def help_on(text: str) -> str | None:
    return parse(text)[1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "digits cuda",
        "alg=EP best>95 epochs>=10 state=running T1<50 tag=x name=first*",
        "alg=ep",
        "t1=20",
        "T1=2e1",
        "check-thm=on",
        "check_thm=yes",
        "lrs<0.06",
        "lrs=0.10",
        "archi=64,16,10",
        "alg!=BPTT",
        "last=none",
        "scale=none",
        "scale!=3",
        'name="first sweep"',
        'tag="long one"',
        '"first sweep"',
        "preset=*mlp*",
        "device=cuda:?",
        "left>10",
        "id=7f*",
        "state!=finished",
        "best>=95.5 best<=95.5",
    ],
)
def test_what_holds_of_a_run(text: str) -> None:
    assert help_on(text) is None
    assert chosen(text)


@pytest.mark.parametrize(
    "text",
    [
        "mnist",
        "digits nothing",
        "alg=BPTT",
        "alg!=EP",
        "best>95.5",
        "last>0",
        "last<200",
        "T1>20",
        "tag=y",
        "name=first",
        "lrs>0.1",
        "lrs=0.2",
        "archi=64,16",
        "scale>0",
        "mmt=0.5",
        "check_thm=off",
        "best!=95.5",
        "name=[f]irst*",
    ],
)
def test_what_does_not_hold_of_a_run(text: str) -> None:
    assert help_on(text) is None
    assert not chosen(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrx=3", "lrx=3: is no setting or score; did you mean lrs?"),
        ("zzzzzz=3", "zzzzzz=3: is no setting or score; there are alg, test_last, T1 …"),
        ("alg=XX", "alg=XX: is not one of EP, BPTT, CEP"),
        ("state=run", "is not one of starting, queued, running"),
        ("best>", "best>: needs a value, such as best=10"),
        ("best>high", "best>high: needs a number, such as best=10"),
        ("best=nan", "needs a number"),
        ("alg<EP", "alg has no order; only = and !="),
        ("check_thm=maybe", "is on or off: check_thm=on"),
        ("check_thm>1", "check_thm has no order"),
        ('name="two', "a quote is not closed"),
        ("good alg=EP lrx=1", "lrx=1: is no setting"),
    ],
)
def test_what_is_wrong_and_what_is_accepted(text: str, message: str) -> None:
    assert message in (help_on(text) or "")
    if '"' not in text:
        with pytest.raises(ConfigError):
            filter_of(text.split())


def test_what_is_right_holds_while_the_rest_is_being_typed() -> None:
    assert not parse("best>99 alg=")[0].accepts(RUN, lambda: SETTINGS)
    assert parse("best>90 alg=")[0] == parse("best>90")[0]


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_a_line_that_says_what_is_wrong(text: str) -> None:
    wrong = help_on(text)
    if wrong is None:
        assert isinstance(parse(text)[0].accepts(RUN, lambda: SETTINGS), bool)
    else:
        assert wrong.isprintable() and len(wrong) < 500


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.one_of(st.integers(), st.text(max_size=3), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@given(
    st.sampled_from(NAMES), st.sampled_from(("=", "!=", "<", "<=", ">", ">=")), st.text(max_size=8), VALUES
)
def test_any_value_of_a_file_can_be_compared(name: str, sign: str, value: str, found: Any) -> None:
    held = Term(name, sign, value).holds(found)
    assert isinstance(held, bool)
    if sign in ("=", "!="):
        assert held != Term(name, "!=" if sign == "=" else "=", value).holds(found)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_ordered_as_numbers(found: float, wanted: float) -> None:
    for sign, holds in (("<", found < wanted), (">=", found >= wanted), ("=", found == wanted)):
        assert Term("best", sign, repr(wanted)).holds(found) is holds


def test_every_setting_has_a_kind_and_an_example() -> None:
    for name in NAMES:
        assert kind_of(name) in ("text", "number", "switch")
        assert f"needs a value, such as {name}=" in (help_on(f"{name}=") or "")


def test_an_empty_filter_takes_all_and_asks_for_no_settings() -> None:
    def settings() -> dict[str, Any]:
        raise AssertionError("asked for")

    assert Filter().accepts(RUN, settings)
    assert parse("alg=EP best>3")[0].accepts(RUN, settings)


def test_the_list_of_the_command_takes_expressions_too(
    eqprop: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch)
    world.run(name="short", T1=5)
    world.run(name="long", T1=60)
    said = eqprop("runs", "list", "T1<50", "best>90").stdout
    assert "short" in said and "long" not in said
    assert "lrx=1: is no setting or score" in eqprop("runs", "list", "lrx=1", code=2).stderr
