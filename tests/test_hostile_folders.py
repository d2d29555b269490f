"""A run's folder with links, pipes, bombs and gigabytes in it: nothing outside is touched, nothing waits for ever."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from hostile import ESCAPES, repacked, snapshot
from matplotlib.figure import Figure
from typer.testing import CliRunner, Result

from eqprop_core.config import read_toml
from eqprop_core.estimate import measured_file, recall
from eqprop_core.presets import PresetError, read_preset
from eqprop_core.problems import ConfigError
from eqprop_core.runs.control import ask, take
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import find_run, summarize
from eqprop_core.runs.log import follow_events, read_events
from eqprop_core.runs.names import CONTROL
from eqprop_core.runs.roots import known_roots, roots_folder
from eqprop_core.worker import checkpoint
from eqprop_tui.cli.main import app

Run = Callable[..., Result]
WORDS = ["--task", "digits", "--archi", "64", "4", "10", "--lrs", "0.1", "0.1", "--T1", "3", "--T2", "2", "--betas", "0", "0.5", "--train-samples", "20", "--test-samples", "10", "--seed", "1"]  # fmt: skip
FILES = ["checkpoint.tar", "checkpoint.prev.tar", ".checkpoint.tar.tmp", ".checkpoint.prev.tar", "model.pt", ".model.pt.tmp", "final_model.pt", "final_checkpoint.tar", "config.toml", "state.json", ".state.json.tmp", "meta.json", "events.jsonl", "console.log", "lock", "hyperparameters.txt", "train-test_acc.png", ".train-test_acc.png.tmp", "neural_activity.png"]  # fmt: skip
FOLDERS = ["control", "gdu", "checks"]
COMMANDS = [
    ("train", "--epochs", "1", "--load-path"),
    ("evaluate", "--save", "--load-path"),
    ("gducheck", "--save", "--load-path"),
    ("runs", "show"),
    ("runs", "tail"),
    ("runs", "stop"),
    ("runs", "list"),
]


@pytest.fixture(autouse=True)
def _not_for_ever() -> Iterator[None]:
    """Fail what waits for ever, as reading a pipe does."""

    def wake(number: int, frame: FrameType | None) -> None:
        raise AssertionError("this waits for ever")

    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are written as ever, and not drawn, which is what takes time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"a picture"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is complete, to be copied."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(root))
        words = ["train", *WORDS, "--epochs", "2", "--check-thm", "--results", str(root / "results")]
        done = CliRunner().invoke(app, words, prog_name="eqprop")
    assert done.exit_code == 0, done.output
    (run,) = (root / "results").glob("*/*/*/*")
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, in a tree with something precious beside it."""
    path = tmp_path / "results/EP/mse/2026-11-23/10-00-00"
    shutil.copytree(finished, path)
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "precious").write_text('{"request": "stop"}\n')
    (outside / "folder" / "1.json").write_text('{"request": "stop"}\n')
    (outside / "folder" / "distances.png").write_text("not a picture")
    return path


def tried(words: tuple[str, ...], path: Path) -> str:
    """What a command says of a run; it may fail, in words."""
    rest = () if words[-1] == "list" else (str(path),)
    done = CliRunner().invoke(app, [*words, *rest], prog_name="eqprop")
    if isinstance(done.exception, OSError):  # as `main` has it
        return f"error: {done.exception.filename}: {done.exception.strerror}"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in (0, 1, 2)
    return done.output


# --- links ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a file", "nothing"])
@pytest.mark.parametrize("name", FILES)
def test_nothing_is_written_through_a_link_in_place_of_a_file(
    name: str, kind: str, run: Path, tmp_path: Path, eqprop: Run
) -> None:
    target = tmp_path / "outside" / ("precious" if kind == "a file" else "absent")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(target)
    before = snapshot(tmp_path / "outside")
    for words in COMMANDS[:2]:
        tried(words, run)
    assert snapshot(tmp_path / "outside") == before
    if name != "lock" and (run / "config.toml").exists():
        tried(("runs", "delete", "--yes"), run)
        assert run.exists() == (name == "meta.json")  # then it may be anybody's folder
    assert snapshot(tmp_path / "outside") == before


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_is_written_through_a_link_in_place_of_a_folder(
    name: str, run: Path, tmp_path: Path, eqprop: Run
) -> None:
    if (run / name).exists():
        shutil.rmtree(run / name)
    (run / name).symlink_to(tmp_path / "outside" / "folder")
    before = snapshot(tmp_path / "outside")
    for words in COMMANDS:
        tried(words, run)
    tried(("train", "--epochs", "1", "--check-thm", "--load-path"), run)
    assert take(run) == []
    if name == "control":
        with pytest.raises(OSError, match="is a link"):
            ask(run, "stop")
    assert snapshot(tmp_path / "outside") == before
    eqprop("runs", "delete", run, "--yes")
    assert not run.exists()
    assert snapshot(tmp_path / "outside") == before


def test_a_link_to_a_run_is_not_deleted(run: Path, tmp_path: Path, eqprop: Run) -> None:
    link = tmp_path / "link"
    link.symlink_to(run)
    before = snapshot(run, without=run / "lock")
    assert "is a link" in eqprop("runs", "delete", link, "--yes", code=1).stderr
    assert link.is_symlink()
    after = snapshot(run, without=run / "lock")
    assert {name for name in before if before[name] != after.get(name)} <= {str(run / "lock")}


def test_a_folder_that_may_not_be_a_run_is_not_deleted(tmp_path: Path, eqprop: Run) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "config.toml").write_text("title = 'somebody else'")
    (project / "thesis.tex").write_text("years")
    before = snapshot(project)
    said = eqprop("runs", "delete", project, "--yes", code=1).stderr
    assert "has no meta.json of a run" in " ".join(said.split())
    assert snapshot(project) == before


# --- pipes and folders in place of files ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a pipe", "a folder"])
@pytest.mark.parametrize("name", FILES)
def test_a_pipe_or_a_folder_in_place_of_a_file_is_not_waited_for(
    name: str, kind: str, run: Path, eqprop: Run
) -> None:
    (run / name).unlink(missing_ok=True)
    if kind == "a pipe":
        os.mkfifo(run / name)
    else:
        (run / name).mkdir()
    for words in (COMMANDS[0], *COMMANDS[3:]):
        tried(words, run)


def test_odd_things_among_requests_are_removed_or_left_alone(run: Path, tmp_path: Path) -> None:
    folder = run / CONTROL
    folder.mkdir(exist_ok=True)
    (folder / "1.json").symlink_to(tmp_path / "outside" / "precious")
    os.mkfifo(folder / "2.json")
    (folder / "3.json").mkdir()
    (folder / "4.json").symlink_to("/dev/zero")
    ask(run, "pause")
    before = snapshot(tmp_path / "outside")
    assert [asked.request for asked in take(run)] == ["pause"]
    assert [path.name for path in folder.iterdir()] == ["3.json"]
    assert snapshot(tmp_path / "outside") == before


@pytest.mark.parametrize("wanted", ["x" * 5000, "~nobody-at-all/run", "\x00", ESCAPES, "a/" * 3000])
def test_names_that_no_run_can_have_are_refused(wanted: str, tmp_path: Path, eqprop: Run) -> None:
    with pytest.raises(RunError, match="is no run"):
        find_run(wanted)
    said = tried(("runs", "show"), Path(wanted)) if "\x00" not in wanted else ""
    assert "\x1b" not in said and "\x9b" not in said


# --- what reaches a terminal ------------------------------------------------------------------------------


def test_no_escape_sequence_of_a_file_reaches_the_terminal(run: Path, eqprop: Run) -> None:
    state = json.loads((run / "state.json").read_text())
    odd = {name: f"{value}{ESCAPES}" for name, value in state.items()}
    for changes in (odd, *({**state, name: value} for name, value in odd.items()), {**state, "message": ESCAPES}):  # fmt: skip
        (run / "state.json").write_text(json.dumps(changes))
        for words in (("runs", "show"), ("runs", "list"), ("runs", "stop")):
            said = tried(words, run)
            assert not {"\x1b", "\x9b", "\x07"} & set(said)
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    for line in lines:
        line.update({name: ESCAPES for name, value in line.items() if isinstance(value, str) and name != "kind"})  # fmt: skip
    lines.append({"v": 1, "seq": 10**6, "t": 1.0, "kind": "warning", "message": ESCAPES})
    lines.append({"v": 1, "seq": 10**6, "t": 1e300, "kind": "warning", "message": "late"})
    (run / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = tried(("runs", "tail"), run)
    assert "warning" in said and not {"\x1b", "\x9b", "\x07"} & set(said)
    content = checkpoint.load(run / "checkpoint.tar")
    content["model_state_dict"][ESCAPES] = torch.zeros(1)
    content["model"] = {ESCAPES: ESCAPES}
    torch.save(content, run / "checkpoint.tar")
    (run / "model.pt").unlink()
    for words in COMMANDS:
        assert not {"\x1b", "\x9b", "\x07"} & set(tried(words, run))


# --- gigabytes, and what would become gigabytes --------------------------------------------------------------


def sparse(path: Path, size: int, head: bytes = b"", tail: bytes = b"") -> None:
    """A file of any size that takes no space."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
        file.seek(0, io.SEEK_END)
        file.write(tail)


def peak_of(work: Callable[[], Any]) -> int:
    """Bytes that Python holds at most while it works."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_gigabytes_in_a_small_file_are_not_read(run: Path) -> None:
    folder = RunFolder(run)

    def refused(read: Callable[[], Any]) -> Callable[[], Any]:
        def work() -> None:
            with pytest.raises((ConfigError, PresetError, RunError)):
                read()

        return work

    reads: dict[Path, Callable[[], Any]] = {
        run / "config.toml": refused(folder.config),
        run / "state.json": lambda: summarize(run),
        run / "meta.json": folder.identity,
        run / "preset.toml": refused(lambda: read_preset(run / "preset.toml")),
        run / "other.toml": refused(lambda: read_toml(run / "other.toml")),
        roots_folder().with_suffix(".json"): known_roots,
        roots_folder() / "0.json": known_roots,
        measured_file(): lambda: recall("name"),
    }
    (run / CONTROL).mkdir(exist_ok=True)
    reads[run / CONTROL / "1.json"] = lambda: take(folder.path)
    roots_folder().mkdir(parents=True, exist_ok=True)
    for path, read in reads.items():
        sparse(path, 4 * 2**30, b'"')
        assert peak_of(read) < 10 * 2**20, path
        path.unlink(missing_ok=True)


def test_a_line_of_gigabytes_among_events_is_passed_over(run: Path) -> None:
    path = run / "events.jsonl"
    line = b'{"v":1,"seq":%d,"t":1.0,"kind":"warning","message":"m"}\n'
    hidden = line % 3
    sparse(path, 2**30, line % 1, hidden + line % 2)
    found: list[int] = []
    assert peak_of(lambda: found.extend(record.seq for record in read_events(path))) < 40 * 2**20
    assert found == [1, 2]
    found.clear()
    followed = follow_events(path, ended=lambda: True)
    assert peak_of(lambda: found.extend(record.seq for record in followed)) < 60 * 2**20
    assert found == [1, 2]


def resident_peak(work: Callable[[], Any]) -> int:
    """Bytes by which the memory of this process grows at most; counts what torch takes, too."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"the largest memory of a process cannot be measured here: {error.strerror}")

    def now(what: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))

    before = now("VmRSS")
    work()
    return now("VmHWM") - before


def bombs(whole: bytes) -> Iterator[tuple[str, bytes | None]]:
    """Files that are small and would become large, or lead elsewhere."""
    yield "compressed", repacked(whole, bytes, zipfile.ZIP_DEFLATED)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("checkpoint/data.pkl", b"\x80\x02}q\x00.")
        with file.open("checkpoint/data/0", "w") as part:
            for _ in range(300):
                part.write(bytes(2**20))
    yield "300 MB of zeros", buffer.getvalue()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("checkpoint/data.pkl", bytes(100_000))
        for number in range(3000):
            file.filelist.append(file.filelist[0])
            file.NameToInfo[str(number)] = file.filelist[0]
    yield "the same part 3000 times", buffer.getvalue()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("../../outside/precious", b"overwritten")
        file.writestr("/tmp/eqprop-precious", b"overwritten")
    yield "names that lead elsewhere", buffer.getvalue()
    sizes = {b"K\x04K@\x86": b"J\xff\xff\xff\x7fK@\x86"}  # 4×64 → 2147483647×64
    for before, after in sizes.items():
        changed = repacked(whole, lambda pickled, a=before, b=after: pickled.replace(a, b))  # type: ignore[misc]
        assert changed != whole
        yield "a tensor of 2 billion rows", changed
    yield (
        "a storage of 10^12 numbers",
        repacked(whole, lambda pickled: pickled.replace(b"M\x00\x01t", b"\x8a\x06\x00\x10\xa5\xd4\xe8\x00t")),
    )
    yield "4 GB of nothing", None
    yield "4 GB of nothing in a zip", None


def test_what_would_fill_memory_or_disk_is_refused(run: Path, tmp_path: Path) -> None:
    path = run / "checkpoint.tar"
    whole = path.read_bytes()
    before = snapshot(tmp_path / "outside")
    refused: list[str] = []

    def load() -> None:
        with pytest.raises(RunError) as caught:
            checkpoint.load(path)
        refused.append(str(caught.value).removeprefix(str(path)))

    for what, content in bombs(whole):
        if content is None:
            sparse(path, 4 * 2**30, b"PK\x03\x04" if what.endswith("zip") else b"")
        else:
            path.write_bytes(content)
        begun = time.process_time()
        assert resident_peak(load) < 100 * 2**20, what
        assert time.process_time() - begun < 5, what
        print(f"{what}{refused[-1]}")
    assert snapshot(tmp_path / "outside") == before
    assert not Path("/tmp/eqprop-precious").exists()


class Payload:
    """Would make a file, if it were unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("name", ["checkpoint.tar", "model.pt"])
@pytest.mark.parametrize("place", ["instead", "among the weights", "in the optimizer", "in the histories", "old format"])  # fmt: skip
def test_code_in_a_checkpoint_is_never_run(
    name: str, place: str, run: Path, tmp_path: Path, eqprop: Run
) -> None:
    marker = tmp_path / "code-was-run"
    content: Any = checkpoint.load(run / "checkpoint.tar")
    payload = Payload(marker)
    if place == "among the weights":
        content["model_state_dict"]["synapses.0.weight"] = payload
    elif place == "in the optimizer":
        content["optimizer_state_dict"]["state"] = payload
    elif place == "in the histories":
        content["histories"] = {"train": [payload]}
    else:
        content = payload
    (run / "checkpoint.prev.tar").unlink()
    torch.save(content, run / name, _use_new_zipfile_serialization=place != "old format")
    said = [tried(words, run) for words in COMMANDS[:3]]
    assert sum("could run code" in text for text in said) == (1 if name == "checkpoint.tar" else 2)
    assert not marker.exists()


def test_tensors_with_hooks_are_refused_before_they_fail_a_save(run: Path) -> None:
    path = run / "checkpoint.tar"
    whole = path.read_bytes()
    hooked = repacked(whole, lambda pickled: pickled.replace(b"\x89h\x03)R", b"\x89h\x03"))  # {} → its class
    assert hooked != whole
    (run / "checkpoint.prev.tar").unlink()
    path.write_bytes(hooked)
    assert "synapses.0.weight is not a tensor of numbers" in tried(COMMANDS[0], run)


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 49_000 + " = 1",
        "[" + '"a" . ' * 30_000 + "a]",
        "[config]\n" + "".join(f"a{n} = 1\n" for n in range(20_000)),
        "a" * 240_000,
        '"' * 240_000,
        "x = [" * 20_000,
        "x = 0x" + "f" * 200_000,
        "x = " + "9" * 200_000,
    ],
    ids=["dotted key", "quoted parts", "many keys", "a word", "quotes", "nested", "hexadecimal", "decimal"],
)
def test_no_text_of_settings_keeps_one_waiting(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    begun = time.process_time()
    for read in (read_toml, read_preset, lambda _: RunFolder(tmp_path).config()):
        (tmp_path / "config.toml").write_text(text)
        with suppress(ConfigError):
            assert resident_peak(lambda read=read: read(path)) < 100 * 2**20  # type: ignore[misc]
    assert time.process_time() - begun < 15
