"""A folder as the reference leaves it opens as it is: listed, shown, compared, evaluated, gone on from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import snapshot
from reference_folders import LINE, hyperparameters, reference_folder
from typer.testing import Result

from eqprop_core.config import RunConfig
from eqprop_core.problems import ConfigError
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.history import histories
from eqprop_core.runs.listing import find_run, list_runs, summarize
from eqprop_core.runs.reference import is_reference, settings_of
from eqprop_core.worker import checkpoint
from eqprop_tui.watching.comparer import Comparer, Side
from eqprop_tui.watching.feed import Feed
from eqprop_tui.watching.lister import Lister

Run = Callable[..., Result]
CNN = "main.py --model VFCNN --task CIFAR10 --data-aug --channels 8 16 --kernels 3 3 --pools mai --strides 1 1 1 --paddings 1 0 --fc 10 --optim adam --lrs 5e-5 1e-5 8e-6 1 --wds 3e-4 3e-4 3e-4 --lr-decay --epochs 120 --act my_hard_sig --T1 250 --T2 30 --mbs 128 --betas 0.0 1.0 --thirdphase --loss cel --softmax --same-update --seed 4 --save --device 2"


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A finished folder of the reference, below ./results."""
    folder = tmp_path / "results/EP/mse/2024-01-02/10-11-12_gpu0"
    reference_folder(folder)
    return folder


def test_its_settings_are_those_of_its_command_line(left: Path) -> None:
    settings = settings_of(left)
    assert RunConfig(**settings)
    expected = {"model": "MLP", "archi": [784, 8, 10], "lrs": [0.08, 0.04], "mmt": 0.9, "betas": [0.0, 0.1], "epochs": 6, "T1": 6, "mbs": 4, "device": "auto"}  # fmt: skip
    assert {name: settings[name] for name in expected} == expected


def test_every_flag_and_surplus_values_are_understood(tmp_path: Path) -> None:
    given = {"task": "CIFAR10", "data_aug": True, "lr_decay": True, "act": "my_hard_sig", "lrs": [5e-05, 1e-05, 8e-06, 1.0], "wds": [3e-4] * 3, "optim": "adam", "loss": "cel", "epochs": 120, "seed": 4, "thirdphase": True, "softmax": True, "same_update": True, "T1": 250, "T2": 30, "mbs": 128, "betas": [0.0, 1.0]}  # fmt: skip
    (tmp_path / "hyperparameters.txt").write_text(hyperparameters(CNN, **given) + "\nTrain accuracy : 0.9\n")
    settings = settings_of(tmp_path)
    expected = {"model": "VFCNN", "channels": [8, 16], "strides": [1, 1], "paddings": [1, 0], "pools": "ma", "lrs": [5e-5, 1e-5, 8e-6], "wds": [3e-4] * 3, "seed": 4}  # fmt: skip
    assert {name: settings[name] for name in expected} == expected
    assert all(settings[name] for name in ("data_aug", "lr_decay", "thirdphase", "softmax", "same_update"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not tell which network"),
        ("- task: MNIST\n- activation: mysig\n", "does not tell which network"),
        (hyperparameters(LINE).replace("- activation: mysig", "- activation: swish"), "--act swish: is not one of"),
        (hyperparameters(LINE).replace("784 8 10", "784 eight 10"), "--archi eight: is not a whole number"),
        (hyperparameters(LINE.replace("784", "99")), "begins with 99"),
        (LINE[: LINE.index(" 10")], "must end with 10"),
        (f"{LINE} --fivephase", "is of a branch"),
        ("\x00\x01", "does not tell which network"),
    ],
    ids=["empty", "no command line", "another activation", "no number", "another input", "cut", "a branch", "bytes"],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_told_with_flags_as_the_way_out(
    text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "hyperparameters.txt").write_text(text)
    with pytest.raises(ConfigError) as caught:
        settings_of(tmp_path)
    assert said in str(caught.value) and "hyperparameters.txt" in str(caught.value)
    assert "--model MLP --archi 784 512 10" in str(caught.value)


def test_a_command_line_that_was_written_with_quotes_is_read(tmp_path: Path) -> None:
    quoted = LINE.replace("main.py --model MLP", "python main.py --model 'MLP'").replace("mysig", "'tanh'")
    (tmp_path / "hyperparameters.txt").write_text(quoted)
    assert {name: settings_of(tmp_path)[name] for name in ("model", "act")} == {"model": "MLP", "act": "tanh"}


def test_an_older_file_without_a_command_line_is_read(tmp_path: Path) -> None:
    older = "- model: MLP\n- task: MNIST\n- pool (if CNN): max\n- archi (if MLP): [784, 32, 10]\n- activation: tanh\n- learning rates: [0.1, 0.2]\n- loss: mse\n"
    (tmp_path / "hyperparameters.txt").write_text(older)
    assert settings_of(tmp_path)["archi"] == [784, 32, 10]
    assert settings_of(tmp_path)["act"] == "tanh"


def test_it_is_listed_with_what_it_came_to(left: Path, tmp_path: Path) -> None:
    going = left.with_name("11-00-00_gpu1")
    reference_folder(going, finished=False)
    (tmp_path / "results/EP/mse/2024-01-02/no-run").mkdir()
    newer, older = list_runs([tmp_path / "results"])
    assert (older.path, older.state, older.epoch, older.best, older.last) == (left, "finished", 3, 60.0, 12.5)
    assert (newer.path, newer.state, newer.epoch, newer.epochs, newer.last) == (going, "stopped", 2, 6, 60.0)
    assert (older.model, older.task, older.alg, older.loss) == ("MLP", "MNIST", "EP", "mse")
    assert (older.created or "").startswith("2024-01-02T10:11:12")
    assert find_run(older.id, [tmp_path / "results"]).path == left


def test_its_epochs_are_those_of_its_checkpoint_without_the_invented_first(left: Path) -> None:
    epochs = histories(RunFolder(left))
    assert [(e.epoch, e.train_accuracy, e.test_accuracy, e.best) for e in epochs] == [
        (1, 56.0, 55.0, True),
        (2, 61.0, 60.0, True),
        (3, 13.5, 12.5, False),
    ]
    feed = Feed(left / "events.jsonl")  # as the application reads it
    assert [record.event.kind for record in feed.read()[0]] == ["epoch_finished"] * 3 + ["run_finished"]
    assert feed.read() == ([], False)


def test_the_application_lists_and_compares_it(left: Path, tmp_path: Path) -> None:
    lister = Lister([tmp_path / "results"], lambda found: None)
    (run,) = lister.runs()
    assert (run.path, run.epoch) == (left, 3)
    reference_folder(left.with_name("later"), epochs=5)
    (left / "final_checkpoint.tar").unlink()
    (left.with_name("later") / "checkpoint.tar").replace(left / "checkpoint.tar")
    assert {run.path: run.epoch for run in lister.runs()}[left] == 4  # one that the reference still trains
    told: list[Sequence[Side]] = []
    comparer = Comparer(told.append)
    comparer.compare([left, left.with_name("later")])
    comparer.once(anew=True)
    here, later = told[-1]
    assert [epoch.test_accuracy for epoch in here.compared.epochs] == [55.0, 60.0, 65.0, 70.0]
    assert (len(later.compared.epochs), here.compared.settings["archi"]) == (5, [784, 8, 10])


def test_a_checkpoint_that_is_damaged_leaves_the_rest_of_the_folder(left: Path) -> None:
    (left / "checkpoint.tar").write_bytes(b"no")
    assert summarize(left).epoch == 3
    (left / "final_checkpoint.tar").write_bytes(b"PK no")
    assert (summarize(left).epoch, summarize(left).model) == (0, "MLP")
    (left / "hyperparameters.txt").write_text("no")
    assert summarize(left).model is None


def test_commands_show_and_export_it_and_change_nothing(eqprop: Run, left: Path, tmp_path: Path) -> None:
    data = snapshot(left)
    shown = eqprop("runs", "show", left).stdout
    assert "--archi            784 8 10" in shown and "best test 60.00 %, test last 12.50 %" in shown
    assert f"eqprop train --load-path {left} --epochs 10" in shown and "runs resume" not in shown
    rows = list(csv.DictReader(io.StringIO(eqprop("runs", "export", left).stdout)))
    assert [row["test_accuracy"] for row in rows] == ["55.0", "60.0", "12.5"]
    going = left.with_name("11-00-00_gpu1")
    reference_folder(going, finished=False, epochs=4)
    compared = eqprop("runs", "compare", left, going, "--no-figure").stdout
    assert "best test % 60.00 65.00" in " ".join(compared.split())
    for words in (
        ["resume"],
        ["delete", "--yes"],
        ["note", "--name", "x"],
        ["set", "--epochs", "9"],
        ["stop"],
    ):
        eqprop("runs", words[0], left, *words[1:], code=1)
    eqprop("runs", "prune", "--checkpoints", "--models", "--figures", "--yes")
    assert snapshot(left) == data


def test_it_is_evaluated_and_checked_without_flags(eqprop: Run, left: Path, data_root: Path) -> None:
    data = snapshot(left)
    for command in ("evaluate", "gducheck"):
        result = eqprop(command, "--load-path", left, "--data-dir", data_root, "--json")
        said = json.loads(result.stdout)["warnings"][-1]
        assert "model.pt: refused" in said and said.endswith("checkpoint.tar is used instead")
    assert snapshot(left) == data
    settings = settings_of(left)
    eqprop("evaluate", "--load-path", left, "--data-dir", data_root, "--save")
    assert settings_of(left) == settings  # what an evaluation adds at the end does not change what it says
    assert (left / "hyperparameters.txt").read_text().startswith(LINE)


def test_flags_give_the_network_where_its_settings_cannot_be_used(
    eqprop: Run, left: Path, data_root: Path
) -> None:
    (left / "hyperparameters.txt").write_text("lost\n")
    words = ["evaluate", "--load-path", str(left), "--data-dir", str(data_root)]
    assert "give the network by flags" in eqprop(*words, code=2).stderr
    assert "test" in eqprop(*words, "--archi", "784", "8", "10").stdout
    assert "is 8×784, this network has 9×784" in eqprop(*words, "--archi", "784", "9", "10", code=1).stderr
    assert (
        "no such file"
        not in eqprop(*words[:2], left / "checkpoint.tar", *words[3:], "--archi", "784", "8", "10").stderr
    )


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, LINE),
        ({"optim": "adam", "mmt": 0.0, "lr_decay": True}, f"{LINE} --optim adam --mmt 0 --lr-decay"),
        ({"model": "VFMLP"}, LINE.replace("--model MLP", "--model VFMLP")),
    ],
    ids=["momentum", "adam and decay", "vector field"],
)
def test_training_goes_on_from_it_in_a_run_of_its_own(
    settings: dict[str, Any], line: str, eqprop: Run, data_root: Path, tmp_path: Path
) -> None:
    left = tmp_path / "theirs"
    net = reference_folder(left, line=line, **settings)
    theirs = checkpoint.load(left / "checkpoint.tar")
    data = snapshot(left)
    words = [
        "train",
        "--load-path",
        str(left),
        "--data-dir",
        str(data_root),
        "--seed",
        "1",
        "--epochs",
        "1",
        "--json",
    ]
    document = json.loads(eqprop(*words).stdout)
    said = document["warnings"][0]
    assert (
        f"begins with the weights of {left / 'checkpoint.tar'}, after its epoch 2, with the state of its"
        in said
    )
    run = RunFolder(Path(document["folder"]))
    assert [epoch.epoch for epoch in histories(run)] == [1, 2, 3]
    assert histories(run)[1].test_accuracy == 60.0
    saved = checkpoint.load(run.path / "checkpoint.tar")
    assert saved["position"]["epoch"] == saved["epochs"] == 3
    best = checkpoint.load(run.path / "model.pt")["model_state_dict"]
    assert torch.equal(best["synapses.0.weight"], net.state_dict()["synapses.0.weight"])
    assert snapshot(left) == data
    assert theirs["opt"]["state"]

    eqprop("train", "--load-path", run.path, "--epochs", "1")
    assert [epoch.epoch for epoch in histories(run)] == [1, 2, 3, 4]


def test_the_moments_of_its_optimizer_are_those_of_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_root: Path
) -> None:
    from eqprop_core.learning.trainer import Trainer
    from eqprop_core.runs.settings import Plan
    from eqprop_core.worker.beginning import begin_with
    from eqprop_core.worker.preparing import prepare

    left = tmp_path / "theirs"
    reference_folder(left, line=LINE.replace("MLP", "VFMLP"), model="VFMLP")
    ready = prepare(Plan(RunConfig(**settings_of(left), data_dir=str(data_root), seed=1)))
    trainer = Trainer(ready.config, ready.net, ready.dataset)
    begin_with(trainer, left, ready.data)
    for number, (name, parameter) in enumerate(ready.net.named_parameters(), 1):
        moment = trainer.optimizer.state[parameter]["momentum_buffer"]
        assert torch.equal(moment, torch.full_like(parameter, number / 100)), name
    assert trainer.epoch == 2 and trainer.epochs == 8


def test_our_own_runs_are_not_taken_for_the_references(eqprop: Run, tmp_path: Path) -> None:
    eqprop(
        "train",
        "--task",
        "digits",
        "--archi",
        "64",
        "4",
        "10",
        "--lrs",
        "0.1",
        "0.1",
        "--T1",
        "2",
        "--T2",
        "1",
        "--train-samples",
        "20",
        "--test-samples",
        "10",
    )
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    assert not is_reference(run)
    for name in ("state.json", "config.toml"):
        (run / name).unlink()
        assert not is_reference(run)
        assert summarize(run).state == "unknown"
