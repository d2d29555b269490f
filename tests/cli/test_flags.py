"""Lists separated by spaces, and every other way in which a command line is written."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from eqprop_core.command_line import command_line
from eqprop_core.config import COMMANDS, NOT_FOR, SECTIONS, RunConfig, settings_of
from eqprop_core.presets import all_presets
from eqprop_core.problems import flag
from eqprop_tui.cli.flags import LIST_FLAGS, join_lists
from eqprop_tui.cli.main import app

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("typed", "joined"),
    [
        ("--lrs 0.25 0.15 --mbs 5", ["--lrs=0.25 0.15", "--mbs", "5"]),
        ("--betas 0.0 -0.5", ["--betas=0.0 -0.5"]),
        ("--betas -.5 -1e-3 --T1 3", ["--betas=-.5 -1e-3", "--T1", "3"]),
        ("--lrs=1 2", ["--lrs=1 2"]),
        ("--lrs=1 --wds 2", ["--lrs=1", "--wds=2"]),
        ("--lrs 3e-4 3E-4", ["--lrs=3e-4 3E-4"]),
        ("--lrs", ["--lrs"]),
        ("--lrs --mbs 5", ["--lrs", "--mbs", "5"]),
        ("--lrs 1 --lrs 2", ["--lrs=1", "--lrs=2"]),
        (
            "--name x --channels 32 64 -- --lrs 1 2",
            ["--name", "x", "--channels=32 64", "--", "--lrs", "1", "2"],
        ),
    ],
)
def test_the_words_after_a_list_flag_are_its_values(typed: str, joined: list[str]) -> None:
    assert join_lists(shlex.split(typed)) == joined


def test_all_settings_with_several_values_are_list_flags() -> None:
    assert sorted(LIST_FLAGS) == [
        "--archi", "--betas", "--channels", "--dropouts", "--fc", "--kernels", "--lrs", "--paddings", "--strides", "--wds",
    ]  # fmt: skip


def dry(eqprop: Run, *words: str) -> dict[str, str]:
    """The settings that a dry run of a training resolves to, as it prints them."""
    lines = eqprop("train", "--dry-run", *words).stdout.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("setting"))
    return dict(line.split(maxsplit=1) for line in lines[start + 1 :] if line.strip())


def test_a_later_flag_replaces_an_earlier_one(eqprop: Run) -> None:
    found = dry(eqprop, "--lrs", "1", "2", "--lrs", "3", "4", "--mbs", "5", "--mbs", "6")
    assert (found["--lrs"].split(), found["--mbs"].strip()) == (["3.0", "4.0"], "6")


def test_flags_win_over_a_preset_and_presets_over_defaults(eqprop: Run) -> None:
    found = dry(eqprop, "--preset", "digits-mlp-ep", "--mbs", "7", "--no-thirdphase", "--betas", "0", "-0.5")
    assert found["--mbs"].strip() == "7"
    assert found["--thirdphase"].strip() == "off"
    assert found["--betas"].split() == ["0.0", "-0.5"]
    assert found["--task"].strip() == "digits"
    assert found["--act"].strip() == "mysig"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--lrs 1 2 --lr-decai", "No such option"),
        ("--lrs 1 2 stray", "--lrs stray: is not a number"),
        ("--lrs 1 2 --mbs 5 stray", "unexpected extra argument"),
        ("--mbs 5 6 --lrs 1 2", "unexpected extra argument"),
        ("--lrs", "requires an argument"),
        ("--lrs 1 2 --mbs five", "--mbs five: is not a whole number"),
        ("--lrs 1 2 --mbs 0", "--mbs 0: must be 1 or more"),
        ("--lrs 1 2 --mbs -3", "--mbs -3: must be 1 or more"),
        ("--lrs 1 2 --act relu", "--act relu: is not one of mysig, sigmoid, tanh"),
        ("--lrs 1 2 --seed 1.5", "--seed 1.5: is not a whole number"),
        ("--lrs 1 2 --channels 3 4", "--channels: does not apply: MLP takes --archi"),
        ("--lrs 1 2 --optim adam --mmt 0.9", "--mmt: does not apply"),
        ("--lrs 1 nan", "--lrs nan: must be a finite number"),
        ("--preset nothing-like-it", "nothing-like-it"),
        ("--preset digits-mpl-ep", "digits-mlp-ep"),
        ("--load-path nowhere", "nowhere: is no run"),
        ("--lrs 1 2 --epocs 3", "No such option: --epocs (Possible options: --epochs)"),
        ("--lrs 1 2 --chanels 3", "(Possible options: --channels)"),
        ("--lrs 1 2 --todo evaluate", "--todo: means nothing to train, but to reference"),
        ("--lrs 1 2 --all-elements", "--all-elements: means nothing to train, but to gducheck"),
    ],
)
def test_what_is_typed_wrong_is_said_and_ends_with_2(eqprop: Run, words: str, said: str) -> None:
    message = " ".join(eqprop("train", *shlex.split(words), code=2).stderr.replace("│", " ").split())
    assert said in message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("gducheck --preset digits-gducheck --lrs 1 2", "--lrs: means nothing to gducheck, but to train, bench"),
        ("gducheck --preset digits-gducheck --epochs 3", "--epochs: means nothing to gducheck"),
        ("gducheck --preset digits-gducheck --no-lr-decay", "--no-lr-decay: means nothing to gducheck"),
        ("evaluate --load-path last --mbs 3", "--mbs: means nothing to evaluate, but to train, gducheck"),
        ("evaluate --load-path last --T2=3", "--T2: means nothing to evaluate"),
        ("bench --preset digits-mlp-ep --dry-run", "--dry-run: means nothing to bench"),
        ("sweep digits-mlp-ep --seed 3", "--seed: means nothing to sweep, but to train, evaluate, gducheck, bench; did you mean --seeds?"),
        ("runs resume last --epocs 3", "(Possible options: --epochs)"),
        ("runs list --resultz x", "(Possible options: --results)"),
        ("--resultz x", "(Possible options: --results)"),
    ],
)  # fmt: skip
def test_a_flag_that_means_nothing_to_a_command_is_refused(eqprop: Run, words: str, said: str) -> None:
    message = " ".join(eqprop(*shlex.split(words), code=2).stderr.replace("│", " ").split())
    assert said in message


def test_every_setting_means_something_to_a_command() -> None:
    offered = {command: set(settings_of(command)) for command in COMMANDS}
    assert set(RunConfig.model_fields) - set().union(*offered.values()) == {"todo"}
    known = {*RunConfig.model_fields, *SECTIONS}
    assert all(set(words.split()) <= known for words in NOT_FOR.values())


@pytest.mark.parametrize("command", ["train", "evaluate", "gducheck"])
def test_a_preset_may_hold_what_means_nothing_to_a_command(command: str) -> None:
    preset = all_presets().presets["digits-cnn-ep"]
    flags = {"load_path": "x"} if command == "evaluate" else {}
    line = command_line(RunConfig(**{**preset.config, **flags, "todo": command}))
    typed = {word.removeprefix("--").removeprefix("no-").replace("-", "_") for word in line.split() if word[:2] == "--"}  # fmt: skip
    assert typed <= set(settings_of(command))  # type: ignore[arg-type]
    assert ("lrs" in typed) == (command == "train")


def test_a_training_is_measured_with_flags_that_bench_takes() -> None:
    config = (
        all_presets().presets["digits-cnn-ep"].run_config().changed(check_thm=True, name="mine", tol=1e-4)
    )
    line = command_line(config, command="bench")
    typed = {word.removeprefix("--").replace("-", "_") for word in line.split() if word[:2] == "--"}
    assert "lrs" in typed and typed <= set(settings_of("bench"))


PRESETS = {name: preset for name, preset in all_presets().presets.items() if "load_path" not in preset.config}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_command_line_of_a_preset_makes_the_same_configuration(eqprop: Run, name: str) -> None:
    config = PRESETS[name].run_config()
    by_flags = eqprop(config.todo, "--dry-run", *shlex.split(command_line(config))).stdout
    assert by_flags == eqprop(config.todo, "--dry-run", "--preset", name).stdout


def test_results_are_json_on_standard_output_alone(eqprop: Run) -> None:
    result = eqprop("gducheck", "--preset", "digits-gducheck", "--json")
    document = json.loads(result.stdout)
    assert document["todo"] == "gducheck"
    assert {"synapses.0.weight", "neurons_1"} <= {row["name"] for row in document["rows"]}
    assert "gducheck on cpu" in result.stderr


WORDS = st.one_of(
    st.sampled_from([flag(name) for name in RunConfig.model_fields]),
    st.sampled_from(["--no-" + name.replace("_", "-") for name in RunConfig.model_fields]),
    st.sampled_from(
        ["MLP", "CNN", "VFCNN", "MNIST", "digits", "cel", "mse", "EP", "mm", "0", "1", "-1", "0.5", "1e9"]
    ),
    st.text(max_size=12),
    st.floats().map(str),
    st.integers().map(str),
)


@settings(max_examples=1500, deadline=None)
@given(words=st.lists(WORDS, max_size=14))
def test_any_command_line_works_or_is_refused_in_words(words: list[str]) -> None:
    words = [word for word in words if word not in ("--help", "--load-path", "--results")]
    result = CliRunner().invoke(app, ["train", "--dry-run", *words, "--dry-run"])
    assert result.exception is None or isinstance(result.exception, SystemExit), words
    assert result.exit_code in (0, 2), (words, result.stderr)
    assert result.exit_code == 0 or result.stderr.strip()
    assert "Traceback" not in result.stderr
