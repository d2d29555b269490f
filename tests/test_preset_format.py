"""A preset file that is wrong says what is wrong, on which line, and what would be accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from eqprop_core.preset_format import TITLE_LIMIT
from eqprop_core.presets import SIZE_LIMIT, PresetError, read_preset

OWN = 'title = "mine"\n[config]\ntask = "digits"\nlrs = [0.1, 0.1]\n'


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


WRONG: dict[str, tuple[str | bytes, str]] = {
    "no TOML": ("[config]\nT1 == 3\n", r"is not TOML: .*line 2"),
    "a key twice": ("[config]\nT1 = 3\nT1 = 4\n", r"is not TOML: .*line 3"),
    "no text": (b"title = '\xff'\n", r"is not text in UTF-8 \(byte 9\)"),
    "too deep": ("x = " + "[" * 100_000, "is not TOML"),
    "too large": ("#" * (SIZE_LIMIT + 1), "is too large for a preset: 250,001 bytes, 250,000 at most"),
    "empty": ("", r"config: is missing: the settings of the run, in a table \[config\]"),
    "no table": ("config = 3\n", r"line 1: config 3: must be a table \[config\] of settings"),
    "setting outside": ("T1 = 3\n" + OWN, r"line 1: T1: is not a key .*settings of the run .* \[config\]"),
    "unknown key": ("titel = 'x'\n" + OWN, "line 1: titel: is not a key of a preset; did you mean title"),
    "unknown table": (OWN + "[colour]\n", "colour: is not a key of a preset; accepted are title, "),
    "title no text": (OWN.replace('"mine"', "3"), "line 1: title 3: must be text on one line"),
    "title empty": (OWN.replace("mine", " "), "line 1: title .*: must be text on one line"),
    "title too long": (OWN.replace("mine", "m" * (TITLE_LIMIT + 1)), "line 1: title m.*must be text on"),
    "escape codes": (OWN.replace("mine", "\\u001b[2J"), r"line 1: title \\x1b\[2J: must be text on one line"),
    "escapes within": ("description = '''\na\n\u009b2J'''\n" + OWN, "line 1: description .*must be text"),
    "tags no list": ("tags = 'a'\n" + OWN, "line 1: tags a: must be a list of at most"),
    "tag no text": ("tags = ['a', 3]\n" + OWN, "line 1: tags 3: must be text"),
    "expected no table": ("expected = 3\n" + OWN, r"line 1: expected 3: must be a table \[expected\]"),
    "expected empty": (OWN + "[expected]\n", "(?s)expected.test_error: must.*expected.source: must"),
    "expected high": (OWN + "[expected]\ntest_error = 101\n", "line 6: expected.test_error 101: .*0 to 100"),
    "expected nan": (OWN + "[expected]\ntest_error = nan\nsource='x'\n", "line 6: expected.test_error nan"),
    "expected bool": (OWN + "[expected]\ntest_error = true\nsource='x'\n", "line 6: expected.test_error on"),
    "expected key": (OWN + "[expected]\nerror = 1\n", "line 6: expected.error: .*did you mean test_error"),
    "unknown setting": (OWN + "T3 = 3\n", "line 5: config.T3: is not a setting; did you mean T"),
    "dashes": (OWN + "check-thm = true\n", "line 5: config.check-thm: .*did you mean check_thm"),
    "wrong type": (OWN + "epochs = 'many'\n", "line 5: config.epochs many: is not a whole number"),
    "wrong word": (OWN + "model = 'RNN'\n", "line 5: config.model RNN: is not one of MLP, VFMLP, CNN, VFCNN"),
    "date": (OWN + "T1 = 1979-05-27\n", "line 5: config.T1 .*: is not a whole number"),
    "not finite": (OWN + "mmt = inf\n", "line 5: config.mmt inf: must be"),
    "table as value": (OWN + "[config.T1]\nx = 1\n", "config.T1 .*: is not a whole number"),
    "too short": (OWN.replace(", 0.1", ""), "line 4: config.lrs 0.1: 1 value, but 2 are needed"),
    "not there": (OWN.replace("lrs", "#"), "config.lrs: is required to train"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_says_what_is_wrong_and_where(case: str, tmp_path: Path) -> None:
    text, expected = WRONG[case]
    path = write(tmp_path / "wrong.toml", text)
    with pytest.raises(PresetError, match=expected) as caught:
        read_preset(path)
    message = str(caught.value)
    assert all(line.startswith(str(path)) and line.isprintable() for line in message.split("\n"))
    assert len(message) < 2000 and caught.value.path == path


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "wrong.toml", "title = 3\n[config]\nT1 = 0\nT4 = 1\nmodel = 'RNN'\n")
    with pytest.raises(PresetError) as caught:
        read_preset(path)
    assert [problem.setting for problem in caught.value.problems] == [
        "title",
        "config.T4",
        "config.model",
        "config.T1",
    ]


def test_a_line_number_is_not_fooled_by_text_that_looks_like_a_key(tmp_path: Path) -> None:
    text = 'description = """\n[config]\nT1 = 0\n"""\n[config]\nlrs = [1, 1]\nT1 = 0\n'
    with pytest.raises(PresetError, match=r"line 7: config\.T1 0: must be 1 or more"):
        read_preset(write(tmp_path / "wrong.toml", text))


@pytest.mark.parametrize("name", ["Upper.toml", "two words.toml", "-dash.toml", "quick.ini", "ä.toml"])
def test_a_file_is_named_like_a_preset(name: str, tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="is not named like a preset: small letters"):
        read_preset(write(tmp_path / name, OWN))


def test_a_folder_is_no_preset(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(PresetError, match=r"folder\.toml: is not a file"):
        read_preset(tmp_path / "folder.toml")
