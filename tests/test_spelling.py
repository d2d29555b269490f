"""Names that look alike are shown so that one sees how they differ; what Python says is put into words."""

from __future__ import annotations

import gzip
import io
import subprocess
import urllib.error
import zlib

import pytest
from PIL import Image

from eqprop_core.config import RunConfig
from eqprop_core.preset_files import unknown_setting
from eqprop_core.problems import ConfigError
from eqprop_core.reasons import reason
from eqprop_core.spelling import alike, beside, did_you_mean, pairs_alike, spelled

ALIKE = [
    ("Zürich", "Zu\u0308rich", r"Zu\u0308rich, U+0308 COMBINING DIAERESIS: NFD"),
    ("dog", "dog ", r"dog\u0020"),
    ("dog", " dog", r"\u0020dog"),
    ("sea bass", "sea\u00a0bass", "U+00A0 NO-BREAK SPACE"),
    ("sea bass", "sea  bass", r"sea \u0020bass"),
    ("horse", "ho\u200brse", "U+200B ZERO WIDTH SPACE"),
    ("horse", "horse\ufeff", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
    ("horse", "h\u043erse", "U+043E CYRILLIC SMALL LETTER O"),
    ("Apple", "\u0391pple", "U+0391 GREEK CAPITAL LETTER ALPHA"),
    ("fish", "\ufb01sh", "U+FB01 LATIN SMALL LIGATURE FI"),
    ("100Å", "100\u212b", "U+212B ANGSTROM SIGN"),
    ("heart", "heart\ufe0f", "U+FE0F VARIATION SELECTOR-16"),
    ("\u304c", "\u304b\u3099", "NFD"),
]


@pytest.mark.parametrize(("plain", "other", "said"), ALIKE)
def test_what_an_eye_cannot_tell_is_spelled_out(plain, other, said):
    assert alike(plain, other) and alike(other, plain)
    assert said in spelled(other)
    assert spelled(plain) != spelled(other)
    assert beside(other, ["else", plain]) == spelled(other)
    assert pairs_alike(["else", plain, other]) == [(plain, other)]
    assert spelled(other).isprintable()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dog", "cat"),
        ("dog", "dogs"),
        ("Dog", "dog"),
        ("a", "á"),
        ("\u732b", "\u72ac"),
        ("да", "no"),
        ("o", "ö"),
    ],
)
def test_names_that_can_be_told_apart_are_left_as_they_are(one, other):
    assert not alike(one, other)
    assert (beside(one, [other]), beside(other, [one])) == (one, other)
    assert pairs_alike([one, other]) == []


def test_a_plain_name_is_not_spelled():
    assert spelled("golden retriever-2") == "golden retriever-2"
    assert beside("dog", ["dog"]) == "dog"


def test_a_question_for_what_was_meant_says_how_names_that_look_alike_differ():
    assert did_you_mean("hors", ["horse", "house", "cat"]) == "did you mean horse or house?"
    assert did_you_mean("zebra", ["horse"]) == ""
    said = did_you_mean("\u0441\u043e\u0440", ["cop", "fire"])  # in no letter the same
    assert (
        said.startswith("did you mean cop? What was given is ") and "U+0441 CYRILLIC SMALL LETTER ES" in said
    )


@pytest.mark.parametrize("task", ["digit\u0455", "digits\u00a0", "dig\u200bits"])
def test_a_value_that_looks_like_one_that_is_accepted_is_spelled_out(task):
    with pytest.raises(ConfigError, match=r"is not one of digits, .*what was given is .*U\+"):
        RunConfig(task=task, lrs=[0.1, 0.1])
    with pytest.raises(ConfigError) as caught:
        RunConfig(task="digit", lrs=[0.1, 0.1])
    assert "given" not in str(caught.value)


def test_a_setting_that_looks_like_one_is_spelled_out():
    assert "did you mean epochs or decay_epochs? What was given is" in unknown_setting("e\u0440ochs")


@pytest.mark.parametrize(
    "words",
    [
        ["tr\u0430in"],
        ["train", "--ep\u043echs", "2"],
        ["runs", "l\u0456st"],
        ["presets", "show", "digits-mlp-\u0435p"],
    ],
)
def test_a_command_or_flag_that_looks_like_one_is_spelled_out(eqprop, words):
    said = " ".join(eqprop(*words, code=2).stderr.replace("│", " ").split())
    assert "hat was given is" in said and "CYRILLIC SMALL LETTER" in said


def caught(act) -> Exception:
    with pytest.raises(Exception) as raised:
        act()
    return raised.value


REASONS = [
    (lambda: Image.open(io.BytesIO(b"")), "cannot identify image file"),
    (lambda: open("/no/such/file"), "No such file or directory: /no/such/file"),  # noqa: PTH123, SIM115
    (lambda: gzip.decompress(b"\xff\x00no"), "Not a gzipped file"),
    (lambda: zlib.decompress(b"no"), "incorrect header check"),
    (lambda: b"caf\xe9".decode(), "is not text in UTF-8 (byte 3)"),
    (lambda: {}["weights"], "weights is not in it"),
]


@pytest.mark.parametrize(("act", "said"), REASONS)
def test_what_python_says_is_put_into_words(act, said):
    words = reason(caught(act))
    assert said in words
    assert not set("<>") & set(words) and "Errno" not in words and "0x7f" not in words and "b'" not in words


def test_errors_inside_errors_are_put_into_words():
    refused = urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))
    assert reason(refused) == "Connection refused"
    assert (
        reason(RuntimeError(f"Tried http://x, got:\n{refused}")) == "Tried http://x, got: Connection refused"
    )
    assert reason(subprocess.TimeoutExpired(["squeue", "--me"], 10)) == "has not answered in 10 s"
    assert reason(PermissionError(13, "Permission denied", "/a/b"), "/a/b") == "Permission denied"
    assert reason(MemoryError()) == "memory error"
    assert (
        reason(ValueError("loop <function f at 0x7f0011> of\n<PIL.Image.Image mode=L at 0x7f>")) == "loop of"
    )
