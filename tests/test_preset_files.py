"""A person's own presets: written whole and valid or not at all, in their own folders only."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_config_properties import right

from eqprop_core import preset_files
from eqprop_core.config import RunConfig
from eqprop_core.presets import (
    Preset,
    PresetError,
    load_preset,
    parse_preset,
    read_preset,
    shipped_folder,
    user_folders,
)
from eqprop_core.problems import ConfigError
from eqprop_core.runs.folder import RunError, RunFolder

TINY = {"task": "digits", "lrs": [0.1, 0.1]}
many = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(name: str, *, here: bool = False, **config: Any) -> Preset:
    text = preset_files.preset_text({**TINY, **config})
    return preset_files.write_preset(preset_files.free_place(name, here=here), text)


def everything(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []


# --- writing ------------------------------------------------------------------------------------------


def test_new_presets_go_to_the_configuration_folder_unless_they_are_to_be_here() -> None:
    here, configuration = user_folders()
    assert made("slow").path == configuration / "slow.toml"
    assert made("quick", here=True).path == here / "quick.toml"
    assert {load_preset(name).path for name in ("slow", "quick")} == {
        configuration / "slow.toml",
        here / "quick.toml",
    }


printable = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "))


@many
@given(
    config=right(),
    title=printable.filter(lambda text: len(text) <= 200),
    description=st.text(st.sampled_from("ab\"'\\ \n\t#=[]β🙂")),
    tags=st.lists(printable.filter(lambda text: text.strip() and len(text) <= 200), max_size=20),
)
def test_what_is_written_is_what_is_read(
    config: dict[str, Any], title: str, description: str, tags: list[str], tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("presets") / "some-name.toml"
    stored = RunConfig(**config).stored()
    text = preset_files.preset_text(stored, title=title, description=description, tags=tags)
    written = preset_files.write_preset(path, text)
    assert read_preset(path) == written
    assert written.config == stored
    assert written.run_config() == RunConfig(**config)
    assert written.title == (title.strip() or "some-name")
    assert written.description == " ".join(description.split())
    assert written.tags == tuple(tags)
    assert everything(path.parent) == ["some-name.toml"]


@many
@given(text=st.text() | st.text("[]=config.lrs \n'\"01"))
def test_a_text_that_is_no_preset_never_replaces_one(text: str, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("presets") / "some-name.toml"
    before = preset_files.write_preset(path, preset_files.preset_text(TINY))
    with pytest.raises(PresetError, match="some-name"):
        preset_files.write_preset(path, text)
    assert read_preset(path) == before
    assert everything(path.parent) == ["some-name.toml"]


def test_no_folder_is_made_for_a_text_that_is_no_preset() -> None:
    with pytest.raises(PresetError, match=r"line 2: config\.T1 0: must be 1 or more"):
        preset_files.write_preset(user_folders()[0] / "x.toml", "[config]\nT1 = 0\n")
    assert not user_folders()[0].exists()


def test_a_disk_that_is_full_leaves_the_preset_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    path = made("quick").path
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"quick\.toml: cannot be written: No space left on device"):
        preset_files.write_preset(path, preset_files.preset_text({**TINY, "T1": 3}), before=before.decode())
    assert path.read_bytes() == before
    assert everything(path.parent) == ["quick.toml"]


def test_what_a_writer_that_was_killed_left_behind_is_removed() -> None:
    folder = made("quick").path.parent
    for name in (".old.toml.tmp", ".new.toml.tmp"):
        (folder / name).touch()
    os.utime(folder / ".old.toml.tmp", (0, 0))
    made("other")
    assert everything(folder) == [".new.toml.tmp", "other.toml", "quick.toml"]


def test_what_another_program_has_written_meanwhile_is_not_replaced() -> None:
    path = made("quick").path
    before, other = path.read_text(), preset_files.preset_text({**TINY, "T1": 3})
    with pytest.raises(RunError, match=r"quick\.toml: was written by another program meanwhile"):
        preset_files.write_preset(path, other)  # as where two make one of a name at once
    preset_files.write_preset(path, other, before=before)
    with pytest.raises(RunError, match=r"quick\.toml: was written by another program meanwhile"):
        preset_files.write_preset(path, preset_files.preset_text({**TINY, "T1": 4}), before=before)
    assert path.read_text() == other
    assert everything(path.parent) == ["quick.toml"]


def test_a_file_where_the_folder_should_be_is_said() -> None:
    user_folders()[0].write_text("")
    with pytest.raises(
        RunError, match=r"eqprop-presets/quick\.toml: cannot be written: .*(exists|directory)"
    ):
        made("quick", here=True)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(preset_files.preset_text(TINY))
    link = user_folders()[0] / "linked.toml"
    link.parent.mkdir()
    link.symlink_to(elsewhere)
    text = preset_files.preset_text({**TINY, "T1": 3})
    preset_files.write_preset(link, text, before=elsewhere.read_text())
    assert link.is_symlink() and read_preset(elsewhere).config["T1"] == 3


# --- names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("here", [True, False])
def test_a_name_that_is_taken_is_refused_with_the_file_that_has_it(here: bool) -> None:
    path = made("quick", here=not here).path
    with pytest.raises(PresetError) as caught:
        preset_files.free_place("quick", here=here)
    assert str(caught.value) == f"{path}: has the name quick already; choose another one"
    shipped = shipped_folder() / "digits-mlp-ep.toml"
    with pytest.raises(PresetError, match=f"^{shipped}: has the name digits-mlp-ep already"):
        preset_files.free_place("digits-mlp-ep", here=here)


def test_a_broken_file_keeps_its_name() -> None:
    path = made("quick").path
    path.write_text("broken")
    with pytest.raises(PresetError, match=r"quick\.toml: has the name quick already"):
        preset_files.free_place("quick", here=True)
    assert preset_files.required_own_file("quick", instead="") == path


@pytest.mark.parametrize("name", ["", "../up", "Big", ".hidden", "a/b", "x" * 101, "a b", "é", "x\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of a preset: small letters, digits and"):
        preset_files.free_place(name, here=True)
    assert preset_files.own_file(name) is None


def test_shipped_presets_are_not_ones_own() -> None:
    with pytest.raises(PresetError, match=r"digits-mlp-ep\.toml: is a shipped preset and stays as it is; so"):
        preset_files.required_own_file("digits-mlp-ep", instead="; so")
    with pytest.raises(ConfigError, match="there is no preset of this name"):
        preset_files.required_own_file("nothing-like-it", instead="")


def test_a_copy_keeps_comments() -> None:
    source = made("quick")
    source.path.write_text("# why\n" + source.path.read_text())
    copied = preset_files.copy_preset(load_preset("quick"), "again", here=True)
    assert copied.path.read_text() == source.path.read_text()


# --- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "setting", "value"),
    [
        ("lrs=0.1 0.05", "lrs", "0.1 0.05"),
        ("--lrs=0.1 0.05", "lrs", "0.1 0.05"),
        ("lr-decay=true", "lr_decay", "true"),
        ("--lr-decay", "lr_decay", "true"),
        ("lr_decay", "lr_decay", "true"),
        ("--no-lr-decay", "lr_decay", "false"),
        ("no_lr_decay", "lr_decay", "false"),
        ("T1 = 3", "T1", "3"),
        ("data-dir=/a=b", "data_dir", "/a=b"),
    ],
)
def test_a_setting_is_written_as_a_key_or_as_a_flag(word: str, setting: str, value: str) -> None:
    assert preset_files.parse_settings([word]) == {setting: value}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("lr=3", "--set lr=3: lr is not a setting of a preset; did you mean lrs?"),
        ("zzzzzz=3", "zzzzzz is not a setting of a preset; `eqprop train --help` lists them"),
        ("dry-run=true", "dry-run is not a setting of a preset"),
        ("lrs", "--set lrs: has no value: write lrs=VALUE"),
        ("no-lrs", "no-lrs is not a setting"),
        ("", "(empty) is not a setting of a preset"),
        ("=3", "(empty) is not a setting of a preset"),
    ],
)
def test_what_is_no_setting_is_refused(word: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        preset_files.parse_settings(["T1=3", word])
    assert said in str(caught.value) and len(caught.value.problems) == 1


def test_changed_settings_have_the_types_of_toml_and_the_rest_stays() -> None:
    base = load_preset("digits-mlp-ep").config
    found = preset_files.changed(
        base, {"lrs": "0.1 2", "epochs": "7", "lr_decay": "off", "mbs": 9}, drop=["mmt"]
    )
    expected = {**base, "lrs": [0.1, 2.0], "epochs": 7, "lr_decay": False, "mbs": 9}
    del expected["mmt"]
    assert found == expected


def test_settings_that_no_longer_apply_go() -> None:
    base = load_preset("digits-mlp-ep").config
    found = preset_files.changed(base, {"model": "CNN", "channels": "8", "kernels": "3", "optim": "adam"})
    assert "archi" not in found and "mmt" not in found and found["channels"] == [8]


def test_changes_that_do_not_apply_are_refused() -> None:
    with pytest.raises(ConfigError, match="--channels: does not apply: MLP takes --archi"):
        preset_files.changed(TINY, {"channels": "8"})
    with pytest.raises(ConfigError, match=r"--lrs 1\.0 2\.0 3\.0: 3 values, but 2 are needed"):
        preset_files.changed(TINY, {"lrs": "1 2 3"})


def run_folder(root: Path, **config: Any) -> RunFolder:
    full = RunConfig(**{**TINY, "name": "mine", "seed": 5, "device": "cpu", **config})
    return RunFolder.create(root, full, command=["eqprop", "train"])


def test_a_runs_settings_are_all_but_what_is_its_own(tmp_path: Path) -> None:
    run = run_folder(tmp_path, data_dir="/somewhere", T1=7)
    found = preset_files.settings_of_run(run)
    assert not {"name", "seed", "device", "data_dir"} & set(found)
    assert (found["T1"], found["lrs"]) == (7, [0.1, 0.1])
    assert preset_files.settings_of_run(run, keep_seed=True)["seed"] == 5


def test_the_folder_of_an_imagefolder_is_kept(tmp_path: Path) -> None:
    run = run_folder(tmp_path, task="imagefolder", data_dir="/somewhere")
    assert preset_files.settings_of_run(run)["data_dir"] == "/somewhere"


def test_settings_that_a_run_was_resumed_with_win(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    amended = {"v": 1, "seq": 1, "t": 0.0, "kind": "amended", "settings": {"mbs": 9}}
    (run.path / "events.jsonl").write_text(json.dumps(amended) + "\n")
    assert preset_files.settings_of_run(run)["mbs"] == 9


def test_a_run_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no config\.toml"):
        preset_files.settings_of_run(RunFolder(tmp_path))


@many
@given(config=right(), keep_seed=st.booleans())
def test_a_preset_of_a_run_is_the_same_run(
    config: dict[str, Any], keep_seed: bool, tmp_path_factory: Any
) -> None:
    full = RunConfig(**config)
    run = RunFolder(tmp_path_factory.mktemp("run"))
    (run.path / "config.toml").write_text(preset_files.tomli_w.dumps(full.stored()), encoding="utf-8")
    settings_ = preset_files.changed(preset_files.settings_of_run(run, keep_seed=keep_seed), {})
    preset = parse_preset(preset_files.preset_text(settings_), Path("x.toml"))
    assert preset.run_config() == full.changed(name=None, seed=full.seed if keep_seed else None)
