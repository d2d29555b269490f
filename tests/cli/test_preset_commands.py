"""`eqprop presets`: a person's own presets next to the shipped ones, on the command line."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from rich.console import Console
from typer.testing import CliRunner, Result

from eqprop_core.devices import Device
from eqprop_core.presets import all_presets, load_preset, read_preset, shipped_folder, user_folders
from eqprop_core.runs.settings import Plan
from eqprop_tui.cli import presets, work
from eqprop_tui.cli.main import app

Run = Callable[..., Result]
OWN = '# a comment\ntitle = "mine"\n[config]\ntask = "digits"\nlrs = [0.1, 0.1]\n'
SHIPPED = sorted(all_presets().presets)


def own(name: str, text: str = OWN, *, here: bool = False) -> Path:
    path = user_folders()[0 if here else -1] / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- list and show ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120, 160])
def test_the_list_fits_a_terminal_and_cuts_no_name(
    width: int, monkeypatch: pytest.MonkeyPatch, eqprop: Run
) -> None:
    own("mine")
    screen = io.StringIO()
    console = Console(file=screen, width=width, highlight=False)
    monkeypatch.setattr(presets.report, "console", lambda **_: console)
    eqprop("presets", "list")
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    first_words = [line.split()[0] for line in lines if line.strip()]
    assert all(name in first_words for name in SHIPPED)
    assert sum(line.startswith("* mine") for line in lines) == 1 and lines[-1] == "* your own"
    assert sum("CIFAR-10, vector field: BPTT" in line for line in lines) == 1
    beside = [line for line in lines if "cifar10-vfcnn-cel-bptt" in line and "vector field: BPTT" in line]
    assert bool(beside) == (width >= 120)


def test_a_list_that_a_program_reads_is_whole(eqprop: Run) -> None:
    listed = eqprop("presets", "list").stdout
    assert all(preset.name in listed and preset.title in listed for preset in all_presets().presets.values())
    assert "…" not in listed and "your own" not in listed


def test_a_list_says_whether_the_data_is_here(
    eqprop: Run, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def states() -> dict[str, str]:
        return {item["name"]: item["data"] for item in json.loads(eqprop("presets", "list", "--json").stdout)}

    assert (states()["mnist-mlp-ep"], states()["digits-mlp-ep"]) == ("absent", "present")
    monkeypatch.setenv("EQPROP_DATA", str(data_root))
    assert states()["mnist-mlp-ep"] == "subset"


def test_a_data_folder_that_cannot_be_is_absent(eqprop: Run) -> None:
    for name, task in (("mine", "MNIST"), ("images", "imagefolder")):
        own(name, f'[config]\ntask = "{task}"\nlrs = [0.1, 0.1]\ndata_dir = "~nobody-here/x"\n')
        (item,) = [
            item
            for item in json.loads(eqprop("presets", "list", "--json", name).stdout)
            if not item["shipped"]
        ]
        assert item["data"] == "absent"
        assert f"{task} (absent)" in eqprop("presets", "show", name).stdout


def test_a_list_holds_what_mentions_all_of_the_words(eqprop: Run) -> None:
    own("mine")
    found = json.loads(eqprop("presets", "list", "--json", "Digits", "bptt").stdout)
    assert "digits-mlp-bptt" in [item["name"] for item in found] and len(found) < len(SHIPPED)
    assert "no preset mentions" in eqprop("presets", "list", "nothing like it").stderr
    (mine,) = json.loads(eqprop("presets", "list", "--json", "mine").stdout)
    assert not mine["shipped"] and Path(mine["path"]) == user_folders()[-1] / "mine.toml"


def test_what_needs_more_memory_than_there_is_is_marked(eqprop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Device("cpu", "a small computer", memory_total=2**31, memory_used=2**30)
    monkeypatch.setattr(presets, "list_devices", lambda: [small])
    lines = eqprop("presets", "list").stdout.splitlines()
    marked = {line.split()[0] for line in lines if " !" in line and not line.startswith("!")}
    assert "cifar10-cnn-cel-bptt" in marked and "digits-mlp-ep" not in marked
    assert lines[-1].startswith("! more than the 1.0 GB that are free on cpu; ")
    (item,) = json.loads(eqprop("presets", "list", "--json", "cifar10-cnn-cel-bptt").stdout)
    assert (item["fits"], item["device"]) == (False, "cpu") and item["memory"] > 2**30
    shown = " ".join(eqprop("presets", "show", "cifar10-cnn-cel-bptt").stdout.split())
    fitting = re.search(r"1.0 GB free on cpu: too little; --mbs (\d+) would fit", shown)
    assert fitting and 1 <= int(fitting[1]) < 128
    assert "too little" not in eqprop("presets", "show", "digits-mlp-ep").stdout


@pytest.mark.parametrize("name", SHIPPED)
def test_the_printed_command_makes_the_configuration_of_the_preset(
    name: str, eqprop: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = load_preset(name).run_config()
    if config.load_path:
        stored = tmp_path / config.load_path
        stored.mkdir(parents=True)
        (stored / "config.toml").write_text(tomli_w.dumps({**config.stored(), "lrs": [0.1] * 3}))
    plans: list[Plan] = []
    monkeypatch.setattr(work, "carry_out", lambda plan, **_: plans.append(plan))
    command = shlex.split(eqprop("presets", "show", name, "--command").stdout)
    assert command[:2] == ["eqprop", config.todo]
    eqprop(*command[1:])
    expected = config.changed(lrs=[0.1] * 3) if config.load_path else config
    assert plans[0].config == expected


def test_show_says_where_ones_own_preset_is(eqprop: Run) -> None:
    path = own("mine")
    assert f"file      {path}" in eqprop("presets", "show", "mine").stdout


# --- new and copy -------------------------------------------------------------------------------------


def test_a_preset_is_made_from_another_one_and_runs(eqprop: Run) -> None:
    made = eqprop(
        "presets", "new", "mine", "--from", "digits-mlp-ep", "--set", "lrs=0.1 0.05", "--set", "no-lr-decay",
        "--unset", "mmt", "--archi", "64", "8", "10", "--title", "Mine", "--tag", "a", "--tag", "b",
    )  # fmt: skip
    path = user_folders()[-1] / "mine.toml"
    assert made.stdout == f"{path}\n"
    preset = load_preset("mine")
    base = {
        **load_preset("digits-mlp-ep").config,
        "lrs": [0.1, 0.05],
        "lr_decay": False,
        "archi": [64, 8, 10],
    }
    del base["mmt"]
    assert preset.config == base
    assert (preset.title, preset.tags, preset.group, preset.expected) == ("Mine", ("a", "b"), "a", None)
    assert preset.description == (
        "Made from digits-mlp-ep, with --archi 64 8 10 --lrs 0.1 0.05 --no-lr-decay, without --mmt."
    )
    eqprop("train", "--preset", "mine", "--dry-run")


def test_a_preset_is_made_of_settings_alone(eqprop: Run) -> None:
    words = ["--task", "digits", "--lrs", "0.1", "0.1", "--here", "--description", "why", "--json"]
    made = json.loads(eqprop("presets", "new", "mine", *words).stdout)
    assert made == {"name": "mine", "path": str(Path("eqprop-presets/mine.toml").absolute())}
    assert load_preset("mine").config == {"task": "digits", "lrs": [0.1, 0.1]}
    assert load_preset("mine").description == "why"


def test_a_preset_is_made_from_a_run(eqprop: Run, tmp_path: Path) -> None:
    tiny = ["--archi", "64", "8", "10", "--T1", "6", "--T2", "3", "--train-samples", "60"]
    eqprop("train", "--preset", "digits-mlp-ep", *tiny, "--epochs", "1", "--seed", "3", "--device", "cpu")
    eqprop("presets", "new", "mine", "--from-run", "last", "--epochs", "2")
    eqprop("presets", "new", "again", "--from-run", "last", "--keep-seed")
    (run,) = tmp_path.glob("results/EP/mse/*/*")
    mine, again = load_preset("mine"), load_preset("again")
    assert mine.config["archi"] == [64, 8, 10] and mine.config["epochs"] == 2 and mine.config["T1"] == 6
    assert not {"seed", "name", "device", "data_dir"} & set(mine.config)
    assert again.config["seed"] == 3
    assert (
        mine.description.startswith("Made from the run digits-mlp-ep (") and "--epochs 2" in mine.description
    )
    assert "is no run" in eqprop("presets", "new", "more", "--from-run", "nothing", code=2).stderr
    assert run.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("digits-mlp-ep", "digits-mlp-ep.toml: has the name digits-mlp-ep already; choose another one"),
        ("taken", "taken.toml: has the name taken already; choose another one"),
        ("Bad/Name", "is not the name of a preset: small letters, digits and"),
        ("x --from nothing-like-it", "--preset nothing-like-it: there is no preset of this name"),
        ("x --from digits-mlp-ep --from-run last", "either --from or --from-run, not both"),
        ("x --from digits-mlp-ep --keep-seed", "--keep-seed: goes with --from-run"),
        ("x --from digits-mlp-ep --set lr=3", "--set lr=3: lr is not a setting of a preset; did you mean lrs?"),
        ("x --from digits-mlp-ep --set epochs=many", "--epochs many: is not a whole number"),
        ("x --from digits-mlp-ep --set act=relu", "--act relu: is not one of mysig, sigmoid, tanh"),
        ("x --from digits-mlp-ep --set 'lrs=1'", "--lrs 1.0: 1 value, but 2 are needed"),
        ("x --from digits-mlp-ep --set channels=3", "--channels: does not apply: MLP takes --archi"),
        ("x --from digits-mlp-ep --set T1=3 --T1 4", "--set T1: is given by --T1 as well"),
        ("x --from digits-mlp-ep --unset lrs", "--lrs: is required to train"),
        ("x --from digits-mlp-ep --unset what", "--unset what: what is not a setting"),
        ("x --from digits-mlp-ep --unset lrs --lrs 1 2", "--unset lrs: is set as well"),
        ("x", "--lrs: is required to train"),
        ("x --from digits-mlp-ep --title '\x1b[2J'", "title"),
        ("x --from digits-mlp-ep --tag ''", "tags (empty): must be text on one line"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_preset_is_refused_and_nothing_is_written(
    words: str, said: str, eqprop: Run
) -> None:
    taken = own("taken")
    result = eqprop("presets", "new", *shlex.split(words), code=2)
    assert said in " ".join(result.stderr.split())
    assert result.stdout == "" and taken.read_text() == OWN
    assert [path.name for path in taken.parent.iterdir()] == ["taken.toml"]
    assert not user_folders()[0].exists()


def test_a_copy_is_ones_own(eqprop: Run) -> None:
    eqprop("presets", "copy", "mnist-mlp-ep", "mine", "--here")
    assert (
        Path("eqprop-presets/mine.toml").read_text() == (shipped_folder() / "mnist-mlp-ep.toml").read_text()
    )
    assert not load_preset("mine").shipped
    assert "has the name mine already" in eqprop("presets", "copy", "mnist-mlp-ep", "mine", code=2).stderr


# --- delete, path, check ------------------------------------------------------------------------------


def test_deleting_asks_first(eqprop: Run) -> None:
    path = own("mine")
    for answer, there in (("n\n", True), ("", True), ("y\n", False)):
        result = CliRunner().invoke(app, ["presets", "delete", "mine"], input=answer)
        assert f"delete {path}?" in result.stderr and path.exists() == there
    assert "there is no preset of this name" in eqprop("presets", "delete", "mine", code=2).stderr


def test_deleting_spares_shipped_presets_and_takes_broken_ones(eqprop: Run) -> None:
    path = own("mine", "broken")
    assert "is a shipped preset" in eqprop("presets", "delete", "digits-mlp-ep", "--yes", code=2).stderr
    assert (shipped_folder() / "digits-mlp-ep.toml").exists()
    eqprop("presets", "delete", "mine", "--yes")
    assert not path.exists()


def test_path_prints_files_and_folders(eqprop: Run) -> None:
    path = own("mine")
    assert eqprop("presets", "path", "mine").stdout == f"{path}\n"
    assert eqprop("presets", "path").stdout.splitlines() == [
        str(folder) for folder in (shipped_folder(), *user_folders())
    ]
    assert json.loads(eqprop("presets", "path", "mine", "--json").stdout) == {"path": str(path)}
    assert json.loads(eqprop("presets", "path", "--json").stdout)["own"][1] == str(user_folders()[1])


def test_check_says_that_all_is_well(eqprop: Run) -> None:
    assert eqprop("presets", "check").stdout == f"{len(SHIPPED)} presets are valid\n"
    assert eqprop("presets", "check", "digits-mlp-ep").stdout == "digits-mlp-ep is valid\n"


def test_check_gives_file_line_and_key_of_all_that_is_wrong(eqprop: Run) -> None:
    own("good")
    bad = own("bad", OWN + "T1 = 0\nT9 = 1\n")
    torn = own("torn", "title = \n", here=True)
    hidden = own("mnist-mlp-ep")
    errors = eqprop("presets", "check", code=2).stderr.splitlines()
    assert len(errors) == 4
    assert f"error: {bad}, line 7: config.T9: is not a setting; did you mean" in "\n".join(errors)
    assert f"error: {bad}, line 6: config.T1 0: must be 1 or more" in errors
    assert any(line.startswith(f"error: {torn}: is not TOML") for line in errors)
    assert any(line.startswith(f"error: {hidden}: is not used: a shipped preset") for line in errors)
    found = json.loads(
        eqprop("presets", "check", "--json", "bad", "good", "gone", "mnist-mlp-ep", code=2).stdout
    )
    assert found["right"] == ["good", "mnist-mlp-ep"]
    assert [(item["file"], item["line"], item["key"]) for item in found["errors"]] == [
        (str(bad), 7, "config.T9"),
        (str(bad), 6, "config.T1"),
        (None, None, "preset"),
        (str(hidden), None, None),
    ]
    assert "bad.toml, line 7" in eqprop("presets", "check", str(bad), code=2).stderr


@pytest.mark.parametrize("words", [("train", "--dry-run", "--preset"), ("presets", "show")])
def test_a_file_with_the_name_of_a_shipped_preset_is_pointed_out(words: tuple[str, ...], eqprop: Run) -> None:
    path = own("digits-mlp-ep", here=True)
    said = eqprop(*words, "digits-mlp-ep").stderr
    assert said == (
        f"warning: {path}: is not used: a shipped preset has the name digits-mlp-ep already; rename the file\n"
    )
    assert eqprop(*words, "digits-cnn-ep").stderr == ""
    assert eqprop(*words, str(path)).stderr == ""


# --- edit ---------------------------------------------------------------------------------------------


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make $EDITOR write these texts, one each time it is opened."""

    def make(*texts: str | None) -> None:
        turns = tmp_path / "turns.json"
        turns.write_text(json.dumps(texts))
        program = tmp_path / "an editor.py"
        program.write_text(
            "import json, pathlib, sys\n"
            f"turns = pathlib.Path({str(turns)!r})\n"
            "texts = json.loads(turns.read_text())\n"
            "if texts[0] is not None: pathlib.Path(sys.argv[-1]).write_text(texts[0])\n"
            "turns.write_text(json.dumps(texts[1:]))\n"
        )
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setenv("EDITOR", shlex.join([sys.executable, str(program), "--wait"]))

    return make


def edit(name: str, answers: str = "") -> Any:
    return CliRunner().invoke(app, ["presets", "edit", name], input=answers)


CHANGED = OWN + "epochs = 3\n"


def test_an_edited_preset_is_saved(editor: Any, eqprop: Run) -> None:
    path = own("mine")
    editor(CHANGED)
    result = eqprop("presets", "edit", "mine")
    assert result.stderr == f"saved {path}\n" and path.read_text() == CHANGED


def test_visual_wins_over_editor(editor: Any, eqprop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own("mine")
    editor(CHANGED)
    monkeypatch.setenv("VISUAL", "false")
    assert "the editor 'false' ended with status 1" in eqprop("presets", "edit", "mine", code=1).stderr
    assert path.read_text() == OWN


def test_a_preset_that_was_left_alone_is_left_alone(editor: Any, eqprop: Run) -> None:
    path = own("mine")
    editor(None)
    before = path.stat()
    assert eqprop("presets", "edit", "mine").stderr == f"{path} is as it was\n"
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_wrong_edit_is_said_with_line_and_key_and_may_be_mended(editor: Any, eqprop: Run) -> None:
    path = own("mine")
    editor(OWN + "epochs = 0\n", "no = \n", CHANGED)
    result = edit("mine", "y\ny\n")
    assert result.exit_code == 0, result.stderr
    assert f"error: {path}, line 6: config.epochs 0: must be 1 or more" in result.stderr
    assert "mine.toml: is not TOML" in result.stderr
    assert path.read_text() == CHANGED


def test_a_wrong_edit_may_be_discarded(editor: Any, eqprop: Run) -> None:
    path = own("mine")
    editor(OWN + "epochs = 0\n")
    result = edit("mine", "n\n")
    assert result.exit_code == 0 and f"{path} is as it was" in result.stderr
    assert path.read_text() == OWN


def test_what_was_written_is_kept_where_nobody_answers(editor: Any, eqprop: Run) -> None:
    path = own("mine")
    wrong = OWN + "epochs = 0\n"
    editor(wrong)
    result = edit("mine", "")
    assert result.exit_code == 1 and path.read_text() == OWN
    kept = next(line for line in result.stderr.splitlines() if "what you wrote is in " in line)
    draft = Path(kept.split("what you wrote is in ")[1].split(";")[0])
    assert draft.read_text() == wrong


def test_a_broken_preset_can_be_mended(editor: Any, eqprop: Run) -> None:
    path = own("mine", "broken")
    editor(CHANGED)
    eqprop("presets", "edit", "mine")
    assert read_preset(path).config["epochs"] == 3


def test_editing_a_shipped_preset_is_refused_with_what_to_do(editor: Any, eqprop: Run) -> None:
    editor(CHANGED)
    said = eqprop("presets", "edit", "digits-mlp-ep", code=2).stderr
    assert "make one of your own: eqprop presets copy digits-mlp-ep NEW-NAME" in said


@pytest.mark.parametrize("command", ["/no/such/editor", "'", "false"])
def test_an_editor_that_does_not_work_is_said(
    command: str, eqprop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own("mine")
    monkeypatch.setenv("VISUAL", command)
    assert "the editor" in eqprop("presets", "edit", "mine", code=1).stderr
    assert path.read_text() == OWN
