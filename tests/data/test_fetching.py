"""Downloads, from a server on this machine: whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from small_files import cifar10_files, idx_files

from eqprop_core import catalogue
from eqprop_core.catalogue import DataError, status
from eqprop_core.data import downloading, fetching
from eqprop_core.data.datasets import fetch, load_dataset
from eqprop_core.locks import take
from eqprop_core.published import PUBLISHED, Download

MNIST_FILES = {f"{name}.gz": gzip.compress(content) for name, content in idx_files(30, 10).items()}
ARCHIVE = "cifar-10-binary.tar.gz"
TASKS = ["MNIST", "CIFAR10"]


def packed_cifar10() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in {**cifar10_files(4), "batches.meta.txt": b"airplane\n"}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class Held:
    """A file that a server does not send to its end: some of it and no more, or nothing, or not even an answer."""

    def __init__(self) -> None:
        self.fault, self.name, self.free = "", "", threading.Event()

    def set_to(self, fault: str, name: str) -> None:
        self.fault, self.name = fault, name

    def wait(self) -> None:
        self.free.wait()


class Server:
    """Serves `files` by name; of those in `cut` it sends only half, as if the connection broke."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = dict(MNIST_FILES) | {ARCHIVE: packed_cifar10()}
        self.cut: set[str] = set()
        self.asked: list[str] = []
        self.elsewhere: dict[str, str] = {}
        self.sent = 0  # bytes of an answer without end
        self.held = Held()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                outer.asked.append(name)
                content = outer.files.get(name)
                if content is None:
                    self.send_error(404)
                    return
                held = outer.held.fault if name == outer.held.name else ""
                if held == "unanswered":
                    outer.held.wait()
                    return
                if elsewhere := outer.elsewhere.get(name):
                    self.send_response(302)
                    self.send_header("Location", elsewhere)
                    self.end_headers()
                    return
                self.send_response(200)
                if held != "endless":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(OSError):  # until the other side has heard enough
                    while held == "endless":
                        self.wfile.write(bytes(2**20))
                        outer.sent += 2**20
                if held:
                    self.wfile.write(content[: 10 if held == "slow" else 0])
                    self.wfile.flush()
                    outer.held.wait()
                    return
                self.wfile.write(content[: len(content) // 2] if name in outer.cut else content)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self.held.free.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def point_at(url: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have MNIST and CIFAR-10 come from `url`, with the checksums of `files`."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloading, "SCHEMES", ("http",))
    served = {
        name: Download(url + name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    }
    for task in TASKS:
        info = catalogue.describe(task)
        names = [ARCHIVE if task == "CIFAR10" else f"{Path(spec.path).name}.gz" for spec in info.files]
        specs = tuple(
            replace(spec, download=served[name]) for spec, name in zip(info.files, names, strict=True)
        )
        monkeypatch.setitem(catalogue.PUBLISHED, task, replace(info, files=specs))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    point_at(server.url, server.files, monkeypatch)
    yield server
    server.close()


FIRST_FILE = {"MNIST": "train-images-idx3-ubyte.gz", "CIFAR10": ARCHIVE}
LAST_FILE = {"MNIST": "t10k-labels-idx1-ubyte.gz", "CIFAR10": ARCHIVE}


def everything_in(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() or path.name.startswith("."))


@pytest.mark.parametrize("task", TASKS)
def test_a_data_set_that_is_absent_is_downloaded_and_read(server, tmp_path, task, capsys):
    root = tmp_path / "not" / "there"
    data = load_dataset(task, root=root)
    assert (len(data.train), len(data.test)) == ((30, 10) if task == "MNIST" else (20, 4))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Downloading" in shown.err
    assert everything_in(root) == sorted(root / spec.path for spec in data.info.files)


@pytest.mark.parametrize("task", TASKS)
def test_what_is_there_is_not_downloaded_again(server, tmp_path, task):
    fetch(task, tmp_path, progress=False)
    asked = len(server.asked)
    fetch(task, tmp_path, progress=False)
    load_dataset(task, root=tmp_path, progress=False)
    assert len(server.asked) == asked


def test_progress_can_be_left_out(server, tmp_path, capfd):
    fetch("MNIST", tmp_path, progress=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("task", TASKS)
def test_a_missing_file_is_added_and_the_others_are_left_alone(server, tmp_path, task):
    fetch(task, tmp_path, progress=False)
    first, *others = (tmp_path / spec.path for spec in catalogue.describe(task).files)
    first.unlink()
    before = [path.stat().st_mtime_ns for path in others]
    fetch(task, tmp_path, progress=False)
    assert first.is_file()
    assert [path.stat().st_mtime_ns for path in others] == before


@pytest.mark.parametrize("fault", ["cut", "changed", "not found"])
@pytest.mark.parametrize("task", TASKS)
def test_a_download_that_fails_leaves_nothing_and_says_what_to_do(server, tmp_path, task, fault):
    name = LAST_FILE[task]
    if fault == "cut":
        server.cut.add(name)
    elif fault == "changed":
        server.files[name] = server.files[name][:-1] + b"\xff"
    else:
        del server.files[name]
    with pytest.raises(DataError) as caught:
        load_dataset(task, root=tmp_path, progress=False)
    assert f"{task} could not be downloaded" in str(caught.value)
    assert f"eqprop data get {task} --data-dir {tmp_path}" in str(caught.value)
    for spec in catalogue.describe(task).files:
        assert str(tmp_path / spec.path) in str(caught.value)
    assert everything_in(tmp_path) == []
    assert status(task, tmp_path).state == "absent"


@pytest.mark.parametrize("task", TASKS)
def test_an_interrupted_download_leaves_nothing(server, tmp_path, task):
    def interrupted(what: str, done: int, of: int | None) -> None:
        if server.asked and server.asked[-1] == LAST_FILE[task]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(task, tmp_path, interrupted)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("fault", ["slow", "silent", "unanswered"])
def test_a_download_from_which_nothing_comes_is_given_up_and_can_be_left(
    server, tmp_path, fault, monkeypatch
):
    monkeypatch.setattr(downloading, "STALLED_SECONDS", 0.3)
    monkeypatch.setattr(downloading, "SECONDS_BETWEEN_LOOKS", 0.05)
    server.held.set_to(fault, FIRST_FILE["MNIST"])
    told: list[tuple[int, int | None]] = []
    with pytest.raises(DataError, match=r"(nothing|hardly anything) has come from http://127"):
        fetch("MNIST", tmp_path, lambda _, done, of: told.append((done, of)))
    assert everything_in(tmp_path) == []
    assert told[0][0] == 0 and (told[-1][0] > 0) == (fault == "slow")

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("MNIST", tmp_path, leave)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("task", TASKS)
def test_an_answer_without_end_is_left_at_the_published_size(server, tmp_path, task):
    server.held.set_to("endless", FIRST_FILE[task])
    with pytest.raises(DataError, match=r"serves more than the [\d,]+ bytes of the published file"):
        fetch(task, tmp_path, progress=False)
    assert everything_in(tmp_path) == []
    assert server.sent < 100 * 2**20  # what lay on its way, but not 1.4 GB


def test_what_unpacks_to_more_than_was_published_is_left_there(server, tmp_path, monkeypatch):
    """Even where somebody had published its checksum."""
    bomb = {**server.files, FIRST_FILE["MNIST"]: gzip.compress(bytes(200 * 2**20), 1)}
    server.files = bomb
    point_at(server.url, bomb, monkeypatch)
    with pytest.raises(
        DataError, match="train-images-idx3-ubyte unpacks to more than the 47,040,016 published bytes"
    ):
        fetch("MNIST", tmp_path, progress=False)
    assert everything_in(tmp_path) == []


def test_an_archive_is_taken_no_more_from_than_the_published_files(server, tmp_path, monkeypatch):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for name, content in {
            **{f"cifar-10-batches-bin/{name}": content for name, content in cifar10_files(4).items()},
            "../outside": b"!",
            "cifar-10-batches-bin/more": bytes(50 * 2**20),
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, kind in (("link", tarfile.SYMTYPE), ("pipe", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    server.files[ARCHIVE] = packed.getvalue()
    point_at(server.url, server.files, monkeypatch)
    fetch("CIFAR10", tmp_path / "data", progress=False)
    assert everything_in(tmp_path) == sorted(
        tmp_path / "data" / spec.path for spec in PUBLISHED["CIFAR10"].files
    )


@pytest.mark.parametrize("name", ["file:///etc/passwd", "ftp://127.0.0.1/x", "https://127.0.0.1:1/x"])
def test_a_download_follows_to_nothing_less_safe(server, tmp_path, name):
    server.elsewhere[FIRST_FILE["MNIST"]] = name  # in these tests http is what is safe, and https is not
    with pytest.raises(
        DataError, match=f"leads to {name}, which is not http|Redirection to url '{name}' is not allowed"
    ):
        fetch("MNIST", tmp_path, progress=False)
    assert everything_in(tmp_path) == []


def test_a_download_follows_to_what_is_as_safe(server, tmp_path):
    first = FIRST_FILE["MNIST"]
    server.files["moved"], server.elsewhere[first] = server.files[first], f"{server.url}moved"
    fetch("MNIST", tmp_path, progress=False)
    assert server.asked[:2] == [first, "moved"]


def test_nothing_comes_without_encryption(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "SCHEMES", ("https",))
    with pytest.raises(
        DataError, match=r"http://127.0.0.1:\d+/train-images-idx3-ubyte.gz, which is not https"
    ):
        fetch("MNIST", tmp_path, progress=False)
    assert server.asked == []


def test_every_published_file_has_an_https_address_its_size_and_its_sha256():
    downloads = {spec.download for info in PUBLISHED.values() for spec in info.files}
    assert len(downloads) == 9  # four of each MNIST, one archive
    for download in downloads:
        assert download is not None and download.url.startswith("https://")
        assert download.size > 4000 and len(bytes.fromhex(download.sha256)) == 32
    assert len({download.sha256 for download in downloads}) == 9


def test_how_far_a_download_is_is_told_file_by_file(server, tmp_path, capsys):
    told: list[tuple[str, int, int | None]] = []
    fetch("MNIST", tmp_path / "one", lambda *said: told.append(said))
    whole = {what: (done, of) for what, done, of in told}
    assert list(whole) == [f"MNIST, file {number} of 4" for number in range(1, 5)]
    assert list(whole.values()) == [(len(content), len(content)) for content in MNIST_FILES.values()]
    fetch("CIFAR10", tmp_path / "two")
    assert "fetches CIFAR10: 0.0" in capsys.readouterr().err


def test_lines_about_a_download_are_some_seconds_apart_also_where_nothing_comes(monkeypatch):
    now, lines = [0.0], list[tuple[float, str, int]]()
    monkeypatch.setattr(fetching.time, "monotonic", lambda: now[0])
    told = fetching.now_and_then(lambda what, done, of: lines.append((now[0], what, done)), 5.0)
    for second in range(40):
        now[0] = second / 2
        told("a", min(second, 10), 11)
    now[0] = 20
    for done in (11, 11):
        told("a", done, 11)
    told("b", 0, 5)
    assert lines == [(0, "a", 0), (5, "a", 10), (10, "a", 10), (15, "a", 10), (20, "a", 11), (20, "b", 0)]
    assert fetching.in_words("MNIST", 3_210_000, 9_912_422) == "MNIST: 3.2 of 9.9 MB"
    assert fetching.in_words("MNIST", 3_210_000, None) == "MNIST: 3.2 MB"


@pytest.mark.parametrize("task", TASKS)
def test_a_killed_installation_is_completed_by_the_next(server, tmp_path, task, monkeypatch):
    moved = []
    original = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(target)
        return original(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(task, tmp_path, progress=False)
    assert status(task, tmp_path).state == "absent"
    assert everything_in(tmp_path) == sorted(moved)
    fetch(task, tmp_path, progress=False)
    assert status(task, tmp_path).state == "subset"


def test_a_damaged_file_is_reported_and_kept(server, tmp_path):
    fetch("CIFAR10", tmp_path, progress=False)
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_4.bin"
    path.write_bytes(b"mine")
    for ask in (fetch, lambda task, root: load_dataset(task, root=root)):
        with pytest.raises(DataError, match=r"data_batch_4.bin is damaged: 4 bytes, expected 30,730,000"):
            ask("CIFAR10", tmp_path)
    assert path.read_bytes() == b"mine"


def test_pickles_with_wrong_checksums_are_passed_over_for_a_download(server, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in catalogue.CIFAR10_PYTHON_FILES:
        (folder / name).write_bytes(b"not the published file")
    assert len(load_dataset("CIFAR10", root=tmp_path, progress=False).train) == 20


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address at which nobody answers."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    point_at(url, {**MNIST_FILES, ARCHIVE: b""}, monkeypatch)
    return url


@pytest.mark.parametrize("task", TASKS)
def test_without_a_network_the_files_their_places_and_sources_are_named(offline, tmp_path, task):
    with pytest.raises(DataError) as caught:
        load_dataset(task, root=tmp_path, progress=False)
    message = str(caught.value)
    assert "refused" in message
    for spec in catalogue.describe(task).files:
        assert str(tmp_path / spec.path) in message
        assert spec.download is not None and spec.download.url in message
    assert "--data-dir or EQPROP_DATA" in message
    assert everything_in(tmp_path) == []


def test_a_place_that_cannot_be_written_is_a_data_error(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch("MNIST", tmp_path / "file", progress=False)


def test_remains_of_a_download_killed_long_ago_are_removed_and_newer_ones_left(server, tmp_path, monkeypatch):
    old, new = tmp_path / ".download-old", tmp_path / ".download-new"
    for folder in (old, new):
        folder.mkdir()
    moment = old.stat().st_mtime + fetching.FORGOTTEN_SECONDS
    monkeypatch.setattr(fetching.time, "time", lambda: moment + 100)
    os.utime(new, (moment, moment))
    fetch("MNIST", tmp_path, progress=False)
    assert (old.exists(), new.exists()) == (False, True)


def test_remains_of_a_download_that_was_killed_are_removed_and_those_of_one_that_goes_on_left(
    server, tmp_path, monkeypatch
):
    killed, going_on, begun = (tmp_path / f".download-{name}" for name in ("killed", "going-on", "begun"))
    for folder in (killed, going_on, begun):
        folder.mkdir()
        take(folder / "lock").close()
    moment = killed.stat().st_mtime + 2 * fetching.SECONDS_TO_BEGIN
    monkeypatch.setattr(fetching.time, "time", lambda: moment)
    os.utime(begun, (moment, moment))  # has not come so far as to take it
    with take(going_on / "lock"):
        fetch("MNIST", tmp_path, progress=False)
    assert [folder.exists() for folder in (killed, going_on, begun)] == [False, True, True]


def test_nothing_is_fetched_for_digits_and_image_folders(tmp_path, image_folder):
    fetch("digits", tmp_path)
    fetch("imagefolder", image_folder)
    with pytest.raises(DataError, match="train/<class>/"):
        fetch("imagefolder", tmp_path / "elsewhere")
