"""The form over the settings of a run: text until it is judged, and what it comes to."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import pytest

from eqprop_core.presets import all_presets, load_preset
from eqprop_core.problems import ConfigError
from eqprop_core.runs.settings import make_plan
from eqprop_tui.forms import FIELDS, Form, choices, same_text

PRESETS = all_presets().presets.values()


def form(typed: Mapping[str, str], preset_name: str = "digits-mlp-ep") -> Form:
    preset = load_preset(preset_name)
    made = Form(preset.config, preset)
    for setting, text in typed.items():
        made.type(setting, text)
    return made


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_an_untouched_form_is_the_preset(preset: Any) -> None:
    untouched = Form(preset.config, preset)
    assert untouched.config == preset.run_config()
    assert untouched.changed == [] and untouched.problems == {}
    assert untouched.command() == f"eqprop {preset.run_config().todo} --preset {preset.name}"
    assert untouched.stated() == {
        name: value for name, value in preset.config.items() if name not in untouched.hidden
    }


def test_what_is_wrong_is_found_at_its_setting_and_nothing_can_be_started() -> None:
    wrong = form({"epochs": "many", "lrs": "0.1", "act": "mysig"})
    assert set(wrong.problems) == {"epochs"}  # types come first
    wrong.type("epochs", "2")
    assert set(wrong.problems) == {"lrs"} and "2 are needed" in wrong.problems["lrs"].message
    with pytest.raises(ConfigError, match="--lrs"):
        wrong.plan()


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("text", ["-", "0", "[bold]", "1e999", "\x1b[2J", "9" * 300, "'", "1 2 3"])
def test_whatever_is_typed_is_judged_and_never_an_error_of_the_program(name: str, text: str) -> None:
    if choices(name):
        return
    judged = form({name: text}, "digits-cnn-ep")
    assert (judged.config is None) == bool(judged.problems)
    assert judged.command()


def test_settings_that_do_not_apply_are_hidden_and_left_out() -> None:
    other = form({"archi": "nonsense"})
    assert "archi" in other.problems
    other.type("model", "CNN")
    other.type("kernels", "3 3")
    other.type("paddings", "1 1")
    other.type("lrs", "0.1 0.1 0.1")
    assert "archi" in other.hidden and "channels" not in other.hidden
    assert other.config is not None and other.config.model == "CNN"


def test_an_emptied_setting_goes_back_to_its_default() -> None:
    emptied = form({"mmt": "", "seed": ""})
    assert emptied.config is not None
    assert emptied.config.mmt == 0.0 and emptied.config.seed is None
    assert {"mmt", "seed"} == set(emptied.changed)
    assert "--preset" not in emptied.command()  # a flag cannot say that


@pytest.mark.parametrize(
    "typed",
    [
        {"epochs": "3"},
        {"lr_decay": "off", "name": "-a 'quoted' name"},
        {"random_sign": "on", "thirdphase": "off", "betas": "0 -0.5"},
        {"mmt": ""},
        {"model": "VFMLP", "same_update": "on"},
        {"results": "some where"},
    ],
    ids=str,
)
def test_the_command_line_means_what_the_form_says(typed: dict[str, str]) -> None:
    from typer.testing import CliRunner

    from eqprop_tui.cli.main import app
    from eqprop_tui.describing import dry_run_text

    changed = form(typed)
    if "name" in typed:
        assert "name" in changed.problems  # a name that begins like a flag
        changed.type("name", typed["name"][1:])
    assert changed.config is not None
    words = shlex.split(changed.command())
    done = CliRunner().invoke(app, [*words[1:], "--dry-run"])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split() == dry_run_text(changed.config, 120).split()
    assert changed.plan().config == changed.config


def test_the_plan_is_that_of_the_command() -> None:
    changed = form({"epochs": "3"})
    expected = make_plan("train", {"epochs": "3"}, changed.preset)
    assert changed.plan().config == expected.config and changed.plan().preset is changed.preset


def test_the_command_tells_how_a_run_differs_from_its_preset() -> None:
    preset = load_preset("digits-mlp-ep")
    made = Form({**preset.config, "epochs": 7, "check_thm": True}, preset)
    assert not made.changed
    assert made.command() == "eqprop train --preset digits-mlp-ep --check-thm --epochs 7"
    made.type("lrs", "0.2 0.1")
    assert "--check-thm" in made.command() and "--lrs 0.2 0.1" in made.command()
    made.type("epochs", "20")
    assert made.changed == ["lrs", "epochs"] and "--epochs" not in made.command()


def test_a_way_back() -> None:
    changed = form({"lrs": "1", "epochs": "9"})
    assert changed.changed == ["lrs", "epochs"]
    assert changed.undo("lrs") == "0.1 0.05"
    assert changed.changed == ["epochs"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("0.1  0.05", "0.10 5e-2", True), ("1 2", "1", False), ("mm", "mm ", True), ("", "0", False)],
)
def test_the_same_values_are_no_change(one: str, other: str, same: bool) -> None:
    assert same_text(one, other) is same
