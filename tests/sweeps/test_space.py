"""What a search may choose, as it is typed and as it becomes settings; what is wrong says what is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from eqprop_core.problems import ConfigError
from eqprop_core.sweeps.making import Wanted, make_sweep
from eqprop_core.sweeps.plan import SweepPlan
from eqprop_core.sweeps.searching import plan_of_search
from eqprop_core.sweeps.space import (
    Choice,
    SearchSettings,
    check_space,
    first_choice,
    settings_of,
    space_of,
    trial_cell,
)


def plan(**flags: Any) -> SweepPlan:
    return make_sweep(Wanted(["digits-mlp-ep"], flags))


def one(word: str) -> Choice:
    (choice,) = space_of([word])
    return choice


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("lrs=loguniform:1e-4,1e-1", {"kind": "loguniform", "low": 1e-4, "high": 0.1}),
        ("betas=uniform:-0.5,0.5", {"kind": "uniform", "low": -0.5, "high": 0.5}),
        ("--T1=int:10,60", {"name": "T1", "kind": "int", "low": 10, "high": 60, "step": 1}),
        ("T1=int:10,65,10", {"kind": "int", "low": 10, "high": 60, "step": 10}),
        ("mbs=logint:8,256", {"kind": "logint", "low": 8, "high": 256}),
        ("act=mysig, tanh", {"kind": "values", "values": ("mysig", "tanh")}),
        ("betas=0 0.1,0 0.5", {"kind": "values", "values": ("0 0.1", "0 0.5")}),
        ("lr-decay=on,off", {"name": "lr_decay", "kind": "values", "values": ("on", "off")}),
    ],
)
def test_what_is_typed_is_understood(word: str, expected: dict[str, Any]) -> None:
    assert one(word).model_dump(include=set(expected)) == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lrs", "write SETTING=KIND:LOW,HIGH or SETTING=VALUE,VALUE"),
        ("lrx=uniform:0,1", "lrx is not a setting; did you mean lrs?"),
        ("seed=int:0,5", "seed cannot be swept: seeds are given by"),
        ("lrs=logunifrom:1e-4,1", "logunifrom is not one of uniform, loguniform, int, logint; did you mean"),
        ("lrs=loguniform:0,1", "loguniform begins above 0"),
        ("lrs=uniform:1,0.1", "LOW must be less than HIGH, and 1 is not less than 0.1"),
        ("lrs=uniform:1", "uniform takes LOW,HIGH"),
        ("lrs=uniform:a,b", "a is not a number"),
        ("T1=uniform:1,9", "T1 takes whole numbers: T1=int:LOW,HIGH or logint:LOW,HIGH"),
        ("T1=int:1.5,9", "1.5 is not a whole number"),
        ("T1=int:1,9,20", "the step must be from 1 to 8"),
        ("act=int:1,2", "act has no range of numbers; give values, such as act=mysig,sigmoid"),
        ("act=tanh", "is one value: nothing to choose from; give it as --act"),
        ("act=tanh,,mysig", "has a value that is empty, or one twice"),
    ],
)
def test_what_is_wrong_says_what_is_accepted(word: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        space_of([word])
    assert message in str(raised.value)
    assert str(raised.value).startswith("--search ")


def test_a_setting_is_given_once() -> None:
    with pytest.raises(ConfigError, match="lrs is given twice"):
        space_of(["lrs=uniform:0.1,1", "lrs=uniform:0.1,1"])


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("lrs", 0.25, (0.25, 0.25)),
        ("wds", 0.1, (0.1, 0.1)),
        ("betas", 0.3, (0.0, 0.3)),
        ("betas", "0.3", (0.0, "0.3")),
        ("betas", "0 0.3", "0 0.3"),
        ("archi", 32, (64, 32, 10)),
        ("dropouts", 0.5, (0.5, 0.5, 0.5)),
        ("T1", 12, 12),
        ("act", "tanh", "tanh"),
    ],
)
def test_one_number_for_a_list_is_that_of_all_layers(name: str, value: Any, setting: Any) -> None:
    made = plan()
    kind = Choice(name=name, kind="values", values=("x",))
    settings, config = settings_of(made, made.cells[0], [kind], {name: value})
    assert settings[name] == setting
    assert config is not None


def test_the_first_trial_is_the_preset_itself_where_it_may_be_chosen() -> None:
    made = plan()
    config = made.config(made.cells[0], 0)
    assert config.lrs is not None and config.lrs[0] != config.lrs[1]
    space = space_of(["T1=int:1,100", "act=tanh,mysig", "betas=uniform:0.01,1", "lrs=loguniform:0.01,1"])
    assert first_choice(made, space) == {
        "T1": config.T1,
        "act": config.act,
        "betas": config.betas[1],
        "lrs": pytest.approx(0.1),  # there are two in the preset: the middle
    }
    assert first_choice(made, space_of(["T1=int:200,300,40"])) == {"T1": 240}


def test_a_trial_is_a_cell_with_what_was_chosen() -> None:
    made = plan(epochs=2)
    space = space_of(["lrs=loguniform:0.001,1", "act=tanh,mysig"])
    cell = trial_cell(made, space, 7, {"lrs": 0.0123456, "act": "tanh"})
    assert cell.name == "trial 7 lrs=0.01235 act=tanh"
    assert cell.settings == {"epochs": 2, "lrs": [0.0123456, 0.0123456], "act": "tanh"}
    config = made.config(cell, 3)
    assert (config.lrs, config.act, config.epochs, config.seed) == ((0.0123456, 0.0123456), "tanh", 2, 3)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lrs=uniform:-1,1", "lrs -1: must be 0 or more"),
        ("act=tanh,nosig", "act nosig: is not one of mysig, sigmoid"),
        ("mmt=uniform:0,2", "mmt 2: must be less than 1"),
        ("betas=uniform:0,1", "betas 0: the two must differ"),
        ("channels=16 16,32 32", ""),
    ],
)
def test_both_ends_of_what_may_be_chosen_are_judged(word: str, message: str) -> None:
    if not message:
        check_space(plan(), space_of([word]))  # does not apply to an MLP, and is dropped
        return
    with pytest.raises(ConfigError) as raised:
        check_space(plan(), space_of([word]))
    assert message in str(raised.value)


def test_a_search_goes_with_one_cell() -> None:
    many = make_sweep(Wanted(["digits-mlp-ep"], {}, {"act": ["tanh", "mysig"]}))
    with pytest.raises(ConfigError, match="goes with one preset or cell, and there are 2"):
        plan_of_search(many, SearchSettings(space=space_of(["T1=int:1,9"]), trials=3))


def test_the_words_of_a_choice_are_those_it_was_typed_by() -> None:
    for word in ("lrs=loguniform:0.0001,0.1", "T1=int:10,60,10", "act=mysig,tanh"):
        assert str(one(word)) == word
