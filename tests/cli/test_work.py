"""A run from its start to its evaluation, and everything that a person may do wrong on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from eqprop_core.events import EpochFinished, RunFinished
from eqprop_core.learning.trainer import Trainer
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.log import read_events
from eqprop_core.worker import checkpoint
from eqprop_core.worker.requests import Requests

Run = Callable[..., Result]
TINY = ["--task", "digits", "--archi", "64", "8", "10", "--lrs", "0.1", "0.1", "--T1", "6", "--T2", "3", "--betas", "0", "0.3", "--train-samples", "60", "--test-samples", "20", "--seed", "1"]  # fmt: skip


@pytest.fixture
def run(eqprop: Run, tmp_path: Path) -> Path:
    """A run of one epoch."""
    eqprop("train", *TINY)
    (folder,) = tmp_path.glob("results/EP/mse/*/*")
    return folder


def kinds(folder: Path) -> list[str]:
    return [record.event.kind for record in read_events(folder / "events.jsonl")]


def state(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "state.json").read_text()))


def test_a_run_is_a_folder_that_tells_all_about_it(run: Path) -> None:
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["archi"] == [64, 8, 10]
    assert config["seed"] == 1
    meta = json.loads((run / "meta.json").read_text())
    assert meta["device"] == "cpu"
    assert meta["torch"] == torch.__version__
    assert state(run)["state"] == "finished"
    assert state(run)["epoch"] == 1
    records = list(read_events(run / "events.jsonl"))
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert (kinds(run)[0], kinds(run)[-1]) == ("run_started", "run_finished")
    assert "--archi" in (run / "hyperparameters.txt").read_text()
    assert "epoch 1" in (run / "console.log").read_text()


@pytest.mark.parametrize("more", [0, 1, 2])
def test_times_are_the_same_wherever_they_are_told(eqprop: Run, run: Path, more: int) -> None:
    facts = state(run)  # it stood in line for ever, and was gone on with long after
    (run / "state.json").write_text(json.dumps({**facts, "created": "2020-01-01T00:00:00+00:00"}))
    said = json.loads(eqprop("train", "--load-path", run, "--epochs", more, "--json").stdout) if more else {}
    events = [record.event for record in read_events(run / "events.jsonl")]
    trained = sum(event.seconds for event in events if isinstance(event, EpochFinished))
    *_, finished = (event for event in events if isinstance(event, RunFinished))
    assert finished.trained == pytest.approx(trained)
    assert trained < finished.seconds < 100
    listed = json.loads(eqprop("runs", "show", run, "--json").stdout)
    for document in (state(run), listed, said or listed):
        assert document["trained"] == pytest.approx(trained)
        assert document["took"] == pytest.approx(finished.seconds, abs=0.001)
    assert f"trained {trained:.1f} s, took {finished.seconds:.1f} s" in (run / "console.log").read_text()
    assert f"trained {trained:.1f} s, took {finished.seconds:.1f} s" in eqprop("runs", "show", run).stdout


def test_a_run_that_has_ended_is_checked_where_it_is_asked_for(eqprop: Run, run: Path) -> None:
    said = eqprop("runs", "check", run).stdout
    assert "synapses.0.weight" in said and "EP follows BPTT in" in said
    for line in ("weights of the best epoch, ", "20 images, β ", "neurons_* contain the slope of σ"):
        assert line in said
    assert "weights of the best epoch, " in eqprop("evaluate", "--load-path", run).stdout
    assert "weights of final_model.pt\n" in eqprop("evaluate", "--load-path", run / "final_model.pt").stdout
    assert len(list(run.glob("checks/*/events.jsonl"))) == 1


def test_a_seed_that_was_not_given_is_drawn_and_recorded(eqprop: Run, tmp_path: Path) -> None:
    words = TINY[:-2]
    eqprop("train", *words)
    (folder,) = tmp_path.glob("results/EP/mse/*/*")
    seed = tomllib.loads((folder / "config.toml").read_text())["seed"]
    eqprop("train", *words, "--seed", seed, "--results", "again")
    (again,) = tmp_path.glob("again/EP/mse/*/*")
    weights = [checkpoint.load(path / "final_model.pt")["model_state_dict"] for path in (folder, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(run: Path, eqprop: Run, tmp_path: Path) -> None:
    eqprop("train", *TINY, "--epochs", "3", "--results", "whole")
    (whole,) = tmp_path.glob("whole/EP/mse/*/*")
    eqprop("train", "--load-path", run, "--epochs", "1")
    eqprop("train", "--load-path", run, "--epochs", "1")
    ends = [checkpoint.load(folder / "checkpoint.tar") for folder in (whole, run)]
    assert ends[0]["histories"] == ends[1]["histories"]
    for name, value in ends[0]["model_state_dict"].items():
        assert torch.equal(value, ends[1]["model_state_dict"][name])
    assert kinds(run).count("run_resumed") == 2
    assert (run / "checkpoint.prev.tar").exists()


def test_a_run_that_was_cut_off_keeps_the_plan_it_had(
    run: Path, eqprop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = Trainer._epoch

    def cut_off(self: Trainer) -> Any:
        if self.epoch == 2:
            raise KeyboardInterrupt
        return epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", cut_off)
        said = eqprop("train", "--load-path", run, "--epochs", "3", code=130).stderr
    assert "stopped" in said
    assert state(run)["state"] == "stopped"
    eqprop("train", "--load-path", run)
    assert checkpoint.load(run / "checkpoint.tar")["position"]["epoch"] == 4
    assert state(run)["state"] == "finished"


def test_flags_win_over_the_stored_run_and_are_told(run: Path, eqprop: Run) -> None:
    said = eqprop(
        "train", "--load-path", run, "--epochs", "1", "--lrs", "0.01", "0.02", "--mmt", "0.5"
    ).stderr
    assert "resumed with other settings: --lrs 0.1 0.1 → 0.01 0.02, --mmt 0.0 → 0.5" in said
    groups = checkpoint.load(run / "checkpoint.tar")["optimizer_state_dict"]["param_groups"]
    assert [group["lr"] for group in groups] == [0.01, 0.02]
    assert {group["momentum"] for group in groups} == {0.5}
    assert tomllib.loads((run / "config.toml").read_text())["lrs"] == [0.1, 0.1]


def test_a_new_run_begins_with_the_settings_of_another(run: Path, eqprop: Run, tmp_path: Path) -> None:
    eqprop("train", "--from-run", run, "--mbs", "7", "--seed", "3")
    (new,) = set(tmp_path.glob("results/*/*/*/*")) - {run}
    before, now = (RunFolder(path).config() for path in (run, new))
    assert before is not None and now is not None
    assert now == {**before, "mbs": 7, "seed": 3}
    assert RunFolder(new).meta()["id"] != RunFolder(run).meta()["id"]
    for words in (["--preset", "digits-mlp-ep"], ["--load-path", run]):
        assert f"cannot go with {words[0]}" in eqprop("train", "--from-run", run, *words, code=2).stderr


def test_a_run_is_repeated_with_its_seed_and_its_choices(run: Path, eqprop: Run, tmp_path: Path) -> None:
    eqprop("train", "--like", run, "--name", "again")
    (new,) = set(tmp_path.glob("results/*/*/*/*")) - {run}
    before, now = (checkpoint.load(path / "final_checkpoint.tar") for path in (run, new))
    assert now["numerics"] == before["numerics"]
    assert all(
        torch.equal(value, before["model_state_dict"][name])
        for name, value in now["model_state_dict"].items()
    )
    for words in (["--preset", "digits-mlp-ep"], ["--load-path", run], ["--from-run", run]):
        assert f"cannot go with {words[0]}" in eqprop("train", "--like", run, *words, code=2).stderr
    assert "is no run" in eqprop("train", "--like", "nothing", code=2).stderr


def test_settings_that_were_changed_on_resuming_hold_from_then_on(run: Path, eqprop: Run) -> None:
    eqprop("train", "--load-path", run, "--epochs", "1", "--lrs", "0.01", "0.02")
    said = eqprop("train", "--load-path", run, "--epochs", "1").stderr
    assert "resumed with other settings" not in said
    groups = checkpoint.load(run / "checkpoint.tar")["optimizer_state_dict"]["param_groups"]
    assert [group["lr"] for group in groups] == [0.01, 0.02]
    said = eqprop("train", "--load-path", run, "--epochs", "1", "--lrs", "0.1", "0.1").stderr
    assert "--lrs 0.01 0.02 → 0.1 0.1" in said


@pytest.mark.parametrize("flags", [["--seed", "9"], ["--val-split", "0.5"], ["--train-samples", "50"]])
@pytest.mark.parametrize("todo", ["evaluate", "train"])
def test_validation_images_stay_apart_from_those_that_were_trained_on(
    flags: list[str], todo: str, eqprop: Run, tmp_path: Path
) -> None:
    eqprop("train", *TINY, "--val-split", "0.2")
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    said = eqprop(todo, "--load-path", run, *flags, code=2).stderr
    assert f"{flags[0]} {flags[1]}: would validate on images that were trained on" in said


@pytest.mark.parametrize("words", [["--device", "foo"], ["--train-samples", "99999"]], ids=str)
def test_a_detached_run_that_cannot_start_is_refused(words: list[str], eqprop: Run, tmp_path: Path) -> None:
    eqprop("train", "--preset", "digits-mlp-ep", *words, "--detach", code=2)
    assert list(tmp_path.iterdir()) == []


def test_output_without_letters_or_without_a_place_is_still_printed(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "eqprop_tui.cli.main", "presets", "show", "digits-mlp-ep"]
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(program, env=plain, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for closed in (">&-", "2>&-"):
        line = f"{' '.join(program)} {closed}"
        assert subprocess.run(["bash", "-c", line], capture_output=True, check=False).returncode == 0


def test_a_run_whose_model_could_not_be_saved_ends_with_1(
    eqprop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eqprop_core.worker.session.checkpoint.write", full)
    monkeypatch.setattr(Requests, "given_up", lambda *_: True)  # nobody waits for room
    done = eqprop("train", *TINY, code=1)
    said = " ".join(done.stderr.split())
    assert said.count("error: not everything was saved: model.pt, final_model.pt, checkpoint.tar, final") == 1
    assert said.count("not everything was saved") == 1
    assert "\nsaved in" not in done.stdout and "the rest is saved in" in done.stdout


def test_a_run_goes_on_with_another_optimizer(run: Path, eqprop: Run) -> None:
    said = eqprop("train", "--load-path", run, "--epochs", "1", "--optim", "adam").stderr
    assert "--optim adam starts afresh" in said
    assert "starts afresh" not in eqprop("train", "--load-path", run, "--epochs", "1").stderr
    said = eqprop("train", "--load-path", run, "--epochs", "1", "--optim", "sgd").stderr
    assert "--optim sgd starts afresh" in said
    assert state(run)["state"] == "finished"


def test_a_run_goes_on_with_the_threads_it_had(run: Path, eqprop: Run) -> None:
    content = checkpoint.load(run / "checkpoint.tar")
    assert content["numerics"]["threads"] == 1
    content["numerics"] = {**content["numerics"], "torch": "1.0", "threads": 2}
    checkpoint.save(run / "checkpoint.tar", content)
    said = eqprop("train", "--load-path", run, "--epochs", "1").stderr
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert "the run had torch 1.0" in said


def test_a_complete_run_says_how_to_go_on(run: Path, eqprop: Run) -> None:
    assert "--epochs N trains N more" in eqprop("train", "--load-path", run, code=1).stderr


def test_an_evaluation_is_appended_and_kept_in_the_run(run: Path, eqprop: Run) -> None:
    document = json.loads(eqprop("evaluate", "--load-path", run, "--save", "--json").stdout)
    assert document["parts"]["train"]["images"] == 60
    last = [r.event for r in read_events(run / "events.jsonl") if r.event.kind == "epoch_finished"][-1]
    assert document["parts"]["test"]["accuracy"] == last.test_accuracy
    assert f"test accuracy {last.test_accuracy:.2f} %" in (run / "hyperparameters.txt").read_text()
    assert Path(document["folder"]).resolve().parent == run / "checks"
    before = (run / "hyperparameters.txt").read_text()
    eqprop("evaluate", "--load-path", run)
    assert (run / "hyperparameters.txt").read_text() == before


@pytest.mark.parametrize("todo", ["evaluate", "gducheck", "train"])
def test_a_flag_that_contradicts_the_stored_network_is_refused(todo: str, run: Path, eqprop: Run) -> None:
    said = eqprop(todo, "--load-path", run, "--act", "tanh", code=2).stderr
    assert "--act tanh: contradicts the stored run, whose network has --act mysig" in said
    eqprop(todo, "--load-path", run, "--act", "mysig", "--archi", "64", "9", "10", code=2)


def test_a_preset_does_not_contradict_the_stored_network(run: Path, eqprop: Run) -> None:
    eqprop("gducheck", "--preset", "digits-gducheck", "--load-path", run)


@pytest.mark.parametrize("name", ["model.pt", "checkpoint.tar"])
def test_a_run_with_weights_of_another_network_is_refused(name: str, run: Path, eqprop: Run) -> None:
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace("8,", "9,"))
    if name == "checkpoint.tar":
        (run / "model.pt").unlink()
    said = eqprop("evaluate", "--load-path", run, code=1).stderr
    assert f"{name}: is of another network: synapses.0.weight is 8×64, this network has 9×64" in said


def test_the_references_checkpoint_is_evaluated_and_trained_on_with_its_network_as_flags(
    run: Path, eqprop: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    weights = checkpoint.load(run / "model.pt")["model_state_dict"]
    torch.save({"model_state_dict": weights, "epoch": 3, "opt": {}}, folder / "checkpoint.tar")
    flags = ["--task", "digits", "--archi", "64", "8", "10", "--test-samples", "20", "--T1", "6"]
    eqprop("evaluate", "--load-path", folder, *flags)
    eqprop("train", "--load-path", folder, *flags, "--lrs", "1e-9", "1e-9", "--results", "from-theirs")
    (begun,) = Path("from-theirs").glob("*/*/*/*")
    after = checkpoint.load(begun / "final_model.pt")["model_state_dict"]
    assert all(torch.allclose(after[name], weights[name], atol=1e-5) for name in weights)
    flags[4] = "9"
    said = eqprop("train", "--load-path", folder, *flags, "--lrs", "1", "1", "--results", "no", code=1).stderr
    assert "synapses.0.weight is 8×64, this network has 9×64" in said
    assert not Path("no").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--load-path", "."], 2, "holds no run"),
        (["--load-path", "file"], 1, "file: is not a checkpoint"),
        (["--load-path", "./none"], 2, "no such folder"),
        (["--task", "imagefolder", "--data-dir", "none"], 2, "none/train"),
        (["--device", "quantum"], 2, "--device quantum"),
        (["--train-samples", "99999"], 2, "--train-samples 99999"),
        (["--val-split", "0.001"], 1, "--val-split"),
        (["--results", "file/in/it"], 1, "--results file/in/it: cannot make a run there"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_and_leaves_nothing_behind(
    words: list[str], code: int, said: str, eqprop: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    base = [*TINY, "--task", "digits"]
    if "imagefolder" in words:
        base = ["--archi", "3072", "10", "--lrs", "0.1", "--seed", "1"]
    message = eqprop("train", *base, *words, code=code).stderr
    assert said in message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_save_nothing_is_kept(eqprop: Run, tmp_path: Path) -> None:
    eqprop("train", *TINY, "--no-save")
    eqprop("gducheck", "--preset", "digits-gducheck", "--T1", "6", "--T2", "3")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "images"), [([], 20), (["--mbs", "3"], 3), (["--mbs", "33"], 33)], ids=str)
def test_a_check_takes_as_many_images_as_were_typed(
    run: Path, eqprop: Run, words: list[str], images: int
) -> None:
    found = [
        json.loads(eqprop("gducheck", *start, *words, "--json").stdout)["images"]
        for start in (
            ["--load-path", run],
            ["--preset", "digits-mlp-ep", "--T1", "6", "--T2", "3", "--mbs", "20"],
        )
        if not words or "--mbs" not in start
    ]
    assert set(found) == {images}


def test_an_evaluation_needs_a_run(eqprop: Run) -> None:
    for words in (
        ["evaluate"],
        ["evaluate", "--preset", "digits-cnn-ep"],
        ["reference", "--todo", "evaluate"],
    ):
        assert "--load-path: is required: the run whose network" in eqprop(*words, code=2).stderr


@pytest.mark.parametrize("more", [[], ["--detach"], ["--nproc", "2"], ["--foreground"]], ids=str)
def test_a_dry_run_as_json_is_a_document(eqprop: Run, more: list[str]) -> None:
    document = json.loads(eqprop("train", *TINY, "--dry-run", "--json", *more).stdout)
    assert document["settings"]["archi"] == [64, 8, 10] and document["parameters"] == 610
    assert [layer["shape"] for layer in document["layers"]] == [[8], [10]]


@pytest.mark.parametrize("words", [["evaluate", "--load-path"], ["gducheck", "--load-path"], ["train", "--load-path"]], ids=str)  # fmt: skip
def test_a_dry_run_on_a_run_as_json_is_a_document(run: Path, eqprop: Run, words: list[str]) -> None:
    more = ["--epochs", "2"] if words[0] == "train" else []
    document = json.loads(eqprop(*words, run, *more, "--dry-run", "--json").stdout)
    assert (document["todo"], document["more_epochs"]) == (words[0], 2 if more else None)


def test_a_disk_that_is_full_is_a_warning_and_training_goes_on(
    eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("eqprop_core.worker.session.checkpoint.save", full)
        patch.setattr("eqprop_core.worker.pictures.draw_accuracy", full)
        patch.setattr(Requests, "given_up", lambda *_: True)  # nobody waits for room
        said = eqprop("train", *TINY, "--epochs", "2", code=1).stderr
    assert "checkpoint.tar could not be written: No space left on device" in said
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    assert state(run)["epoch"] == 2
    assert "run_finished" not in kinds(run)
    assert state(run)["state"] == "stopped"
    eqprop("train", "--load-path", run)
    assert kinds(run)[-1] == "run_finished"


def test_a_configuration_that_was_edited_by_hand_holds_and_is_told(run: Path, eqprop: Run) -> None:
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace("mmt = 0.0", "mmt = 0.5"))
    said = eqprop("train", "--load-path", run, "--epochs", "1").stderr
    assert "resumed with other settings: --mmt 0.0 → 0.5" in said
    (run / "config.toml").write_text(text.replace("mmt = 0.0", "mmt = 'much'"))
    assert (
        "--mmt much: is not a number (in "
        in eqprop("train", "--load-path", run, "--epochs", "1", code=2).stderr
    )


def test_a_failure_is_written_down(eqprop: Run, tmp_path: Path) -> None:
    words = [*TINY, "--loss", "cel", "--lrs", "1e6", "1e6", "--wds", "1e6", "1e6", "--epochs", "9"]
    message = eqprop("train", *words, code=1).stderr
    assert "Smaller learning rates (--lrs)" in message
    (run,) = tmp_path.glob("results/EP/cel/*/*")
    assert state(run)["state"] == "failed"
    assert kinds(run)[-1] == "run_failed"


def test_the_demo_trains_and_checks_in_one_go(eqprop: Run, tmp_path: Path) -> None:
    result = eqprop("demo")
    accuracy = float(result.stdout.split("best test ")[1].split(" %")[0])
    assert accuracy > 95
    row = next(line for line in result.stdout.splitlines() if line.startswith("synapses.0.weight"))
    assert float(row.split()[1]) < 0.1
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    assert list(run.glob("checks/*/gdu/distances.png"))


def test_output_that_cannot_be_written_ends_in_words(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "eqprop_tui.cli.main", "presets", "list", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    gone = subprocess.run(["bash", "-c", f"{' '.join(program)} | head -1"], capture_output=True, text=True, check=False)  # fmt: skip
    assert (gone.returncode, gone.stderr) == (0, "")


@pytest.mark.parametrize(
    "words", ["--help", "presets list", "train --help", "presets show digits-mlp-ep --json"]
)
def test_a_reader_that_has_gone_ends_a_command_quietly(words: str) -> None:
    read, written = os.pipe()
    os.close(read)
    program = [sys.executable, "-m", "eqprop_tui.cli.main", *words.split()]
    done = subprocess.run(program, stdout=written, stderr=subprocess.PIPE, text=True, check=False)
    os.close(written)
    assert (done.returncode, done.stderr) == (0, "")
