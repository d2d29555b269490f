"""Command lines that the reference takes are taken, and what it does not read of them is told."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from eqprop_core.config import RunConfig
from eqprop_core.problems import ConfigError
from eqprop_core.reference_line import read, spelled_out, understood

Run = Callable[..., Result]

CNN = "--model CNN --task MNIST --channels 8 16 --kernels 5 5 --pools aa --fc 10"
MLP = "--model MLP --task MNIST --archi 784 16 10"
SURPLUS: dict[str, tuple[str, dict[str, Any], str]] = {
    "strides": (f"{CNN} --strides 1 1 1 --lrs 1 2 3", {"strides": (1, 1)}, "--strides 1 1 1: 1 1 is used"),
    "kernels": (f"{CNN} --kernels 5 3 3 --lrs 1 2 3", {"kernels": (5, 3)}, "are 2 convolutions"),
    "paddings": (f"{CNN} --paddings 1 2 3 4 --lrs 1 2 3", {"paddings": (1, 2)}, "--paddings"),
    "pools": (f"{CNN} --pools mami --lrs 1 2 3", {"pools": "ma"}, "--pools mami: ma is used"),
    "letters of pools": (f"{CNN} --pools mxa --lrs 1 2 3", {"pools": "ma"}, "--pools mxa: ma is used"),
    "lrs": (f"{CNN} --lrs 1 2 3 4 5", {"lrs": (1, 2, 3)}, "are 3 connections"),
    "lrs of an MLP": (f"{MLP} --lrs .1 .2 .3", {"lrs": (0.1, 0.2)}, "--lrs .1 .2 .3: .1 .2 is used"),
    "wds": (f"{MLP} --lrs .1 .2 --wds 1e-4 2e-4 3e-4", {"wds": (1e-4, 2e-4)}, "--wds"),
    "betas": (f"{MLP} --lrs .1 .2 --betas 0 .5 .7", {"betas": (0, 0.5)}, "are two phases"),
    "dropouts": (f"{MLP} --lrs .1 .2 --dropouts 1 .9 1 .5", {"dropouts": (1, 0.9, 1)}, "3 layers with the input"),
    "the default network": ("--model CNN --strides 1 1 2 --lrs 1 2 3", {"strides": (1, 1)}, "are 2 convolutions"),
    "one convolution": (
        "--model CNN --channels 8 --kernels 5 5 --strides 1 1 --pools mm --fc 10 --lrs .1 .2 .3",
        {"kernels": (5,), "pools": "m", "lrs": (0.1, 0.2)},
        "is 1 convolution",
    ),
    "a convolution's flags for an MLP": (f"{MLP} --lrs .1 .2 --pools mm --fc 10", {"pools": None}, "--pools mm is left out"),
    "an MLP's flag for convolutions": (f"{CNN} --archi 784 10 --lrs 1 2 3", {"archi": None}, "takes --channels"),
    "momentum of Adam": (f"{MLP} --lrs .1 .2 --optim adam --mmt .9", {"mmt": 0.0}, "--mmt .9 is left out"),
    "augmentation of MNIST": (f"{MLP} --lrs .1 .2 --data-aug", {"data_aug": False}, "--data-aug is left out"),
    "softmax of an MLP": (f"{MLP} --lrs .1 .2 --loss cel --softmax", {"softmax": False}, "--softmax is left out"),
    "same update of an MLP": (f"{MLP} --lrs .1 .2 --same-update", {"same_update": False}, "--same-update"),
    "both signs": (f"{MLP} --lrs .1 .2 --random-sign --thirdphase", {"random_sign": False}, "nudges by both signs"),
    "a first beta": (f"{MLP} --lrs .1 .2 --random-sign --betas 0.1 0.5", {"random_sign": False}, "is not 0"),
    "rates of a check": (f"{CNN} --todo gducheck --lrs .1 .2", {"lrs": None}, "nothing is trained"),
    "no folder": (f"{MLP} --lrs .1 .2 --load-path=", {"load_path": None}, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", SURPLUS)
def test_what_the_reference_does_not_read_is_left_out_and_told(case: str) -> None:
    line, expected, said = SURPLUS[case]
    settings, notes = understood(read(shlex.split(line)))
    config = RunConfig(**settings)
    assert {name: getattr(config, name) for name in expected} == expected
    assert said in "\n".join(notes)
    assert bool(notes) == bool(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{CNN} --strides 1 --lrs 1 2 3", "--strides 1: 1 value for 2 convolutions"),
        (f"{CNN} --pools m --lrs 1 2 3", "--pools m: 1 letter for 2 convolutions"),
        (f"{CNN} --lrs 1 2", "--lrs 1.0 2.0: 2 values, but 3 are needed"),
        (f"{MLP} --lrs .1 .2 --wds 1e-4", "--wds 0.0001: 1 value, but 2 are needed"),
        (f"{MLP} --lrs .1 .2 --betas 0.5", "--betas 0.5: needs at least 2 values"),
        (f"{MLP} --lrs .1 x", "--lrs x: is not a number"),
        (f"{MLP} --lrs .1 .2 --device 'cpu '", "what was given is cpu  (cpu\\u0020)"),
    ],
)
def test_too_few_values_and_wrong_ones_are_refused(line: str, said: str, eqprop: Run) -> None:
    answer = eqprop("reference", *shlex.split(line), "--dry-run", code=2).stderr
    assert said in answer


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("--chan 8", "--channels 8"),
        ("--epoch=3", "--epochs=3"),
        ("--ep 3", "--epochs 3"),
        ("--lo-path x", "--lo-path x"),
        ("--load x", "--load-path x"),
        ("--third --sof", "--thirdphase --softmax"),
        ("--pool mm", "--pools mm"),
        ("--sav --sa 3", None),
        ("--sav", "--save"),
        ("--lr .1 --lr-d", None),
        ("--t train", None),
        ("--s 1 1", None),
        ("--lrs .1 -1", "--lrs .1 -1"),
        ("python main.py --arch 784 10", "--archi 784 10"),
        ("python3.6 ./eqprop/main.py --data --check", "--data-aug --check-thm"),
        ("--data-dir x --data y", "--data-dir x --data-aug y"),
        ("--dry-run -- --ep", "--dry-run -- --ep"),
    ],
)
def test_beginnings_of_flags_are_those_of_the_references_parser(short: str, whole: str | None) -> None:
    if whole is None:
        with pytest.raises(ConfigError, match="is the beginning of --"):
            spelled_out(shlex.split(short))
        return
    assert spelled_out(shlex.split(short), ["--data-dir", "--dry-run"]) == (shlex.split(whole), [])


@pytest.mark.parametrize(
    ("word", "said"),
    [("--cep-debug", "what it prints"), ("--cep", "what it prints"), ("--save-nrn", "always drawn")],
)
def test_flags_that_do_nothing_here_are_left_out(word: str, said: str, eqprop: Run) -> None:
    answer = eqprop("reference", *shlex.split(f"{MLP} --lrs .1 .2 --dry-run"), word)
    assert said in answer.stderr


@pytest.mark.parametrize(
    ("word", "instead"),
    [("--fivephase", "--thirdphase"), ("--five", "--thirdphase"), ("--local", "--model CNN")],
)
def test_flags_of_the_references_branches_are_refused_by_name(word: str, instead: str, eqprop: Run) -> None:
    answer = eqprop("reference", *shlex.split(f"{MLP} --lrs .1 .2 --dry-run"), word, code=2).stderr
    assert f"error: {word}" in answer and "of a branch of the reference" in answer
    assert instead in answer


def test_a_flag_that_the_reference_does_not_know_either_is_refused(eqprop: Run) -> None:
    assert "No such option: --fly" in eqprop("reference", "--fly", code=2).stderr
    assert "--chan" in eqprop("train", "--chan", "8", code=2).stderr  # elsewhere flags are given whole


def test_with_a_stored_network_flags_of_another_are_left_out(
    eqprop: Run, data_root: Path, tmp_path: Path
) -> None:
    data = ["--data-dir", str(data_root)]
    trained = shlex.split(f"{MLP} --lrs .1 .2 --T1 4 --T2 2 --epochs 1 --save")
    eqprop("reference", *trained, *data)
    (made,) = tmp_path.glob("results/EP/mse/*/*")
    answer = eqprop(
        "reference", "--todo", "evaluate", "--load-path", made, "--model", "CNN", "--channels", "8", *data
    )
    assert "--model CNN is left out: the network is the stored one" in answer.stderr
    assert "test" in answer.stdout
