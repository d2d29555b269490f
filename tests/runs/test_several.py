"""Runs that several processes train: how they are asked for, started, held together, ended and gone on with."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from small_runs import make_run
from test_launcher import SMALL, stands
from test_places import GPUS
from typer.testing import Result
from waiting import give_way

from eqprop_core.problems import ConfigError
from eqprop_core.runs import queue
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.launcher import Start, as_before
from eqprop_core.runs.listing import ALIVE, list_runs, summarize
from eqprop_core.runs.places import Place, choose_places, environment_of
from eqprop_core.worker.ranks import Rank

Run = Callable[..., Result]
CONTEXT = multiprocessing.get_context("fork")
LONG = [*SMALL[:-4], "--mbs", "3", "--epochs", "40000", "--checkpoint-every", "0.01"]


@pytest.fixture(autouse=True)
def _processes_end(tmp_path: Path) -> Iterator[None]:
    yield
    for run in list_runs([tmp_path / "results"]):
        with suppress(psutil.Error, KeyError, TypeError):
            pid = RunFolder(run.path).read_state()["pid"]
            if run.state in ALIVE and pid != os.getpid():
                psutil.Process(pid).kill()


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EQPROP_FOREGROUND")


def places(
    nproc: int | None = None, devices: str | None = None, wanted: str = "auto", images: int = 8
) -> Any:
    return choose_places(wanted, nproc, devices, images, lambda _: 0, GPUS)[0]


def test_each_process_has_its_place() -> None:
    both = (Place("cuda:1", "GPU-bb"), Place("cuda:0", "GPU-aa"))
    assert places(devices="1,0") == places(devices="cuda:1, cuda:0") == both
    assert environment_of(both) == {
        "CUDA_VISIBLE_DEVICES": "GPU-bb,GPU-aa",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    assert places(nproc=3) == (Place("cpu"),) * 3
    assert environment_of(places(nproc=3)) == {"CUDA_VISIBLE_DEVICES": ""}
    assert places(nproc=1) == places() == (Place("cuda:1", "GPU-bb"),)  # as without: one, on the device
    assert places(devices="0") == (Place("cuda:0", "GPU-aa"),)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"devices": "0,2"}, "--devices 0,2: there is no GPU 2; there are cuda:0, cuda:1"),
        ({"devices": "0,0"}, "--devices 0,0: has cuda:0 twice; a process needs its own"),
        ({"devices": "cpu"}, "--devices cpu: must be GPUs with commas between them, as in 0,1"),
        ({"devices": ""}, "must be GPUs with commas between them"),
        ({"nproc": 0}, "--nproc 0: must be from 1 to 4,096"),
        ({"nproc": -2}, "--nproc -2: must be from 1 to 4,096"),
        ({"nproc": 10**12, "images": 10**13}, "--nproc 1000000000000: must be from 1 to 4,096"),
        ({"nproc": 10**400}, "--nproc (a number of 401 digits): must be from 1 to 4,096"),
        ({"devices": "0," * 10**6}, "--devices 0,0,0,"),
        ({"nproc": 2, "devices": "0,1"}, "--nproc 2: cannot go with --devices"),
        ({"nproc": 9}, "--nproc 9: a batch (--mbs) has 8 images for 9 processes; each needs one"),
        ({"devices": "0,1", "images": 1}, "--devices 0,1: a batch (--mbs) has 1 images for 2 processes"),
        ({"nproc": 2, "wanted": "cuda:1"}, "--nproc 2: is processes on the CPU; GPUs are named by --devices"),
    ],
)
def test_what_cannot_be_is_refused_in_words(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        places(**asked)


@pytest.mark.parametrize(("wanted", "devices"), [("auto", "cuda:0,cuda:1"), ("cuda", None)])
def test_gpus_that_torch_cannot_use_are_not_replaced_by_the_cpu(
    wanted: str, devices: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="there are none that torch can use"):
        Rank(0, 2, 0, 2).place(wanted, devices)
    assert Rank(0, 2, 0, 2).place("auto", None).key == "cpu"


def test_processes_are_for_trainings_alone_and_refusals_leave_no_folder(eqprop: Run, tmp_path: Path) -> None:
    assert "--devices 0,1: there is no GPU 0" in eqprop("train", *SMALL, "--devices", "0,1", code=2).stderr
    assert "--nproc 0" in eqprop("train", *SMALL, "--nproc", "0", "--dry-run", code=2).stderr
    for command in ("evaluate", "gducheck"):
        assert "No such option" in eqprop(command, "--nproc", "2", code=2).stderr
    assert not (tmp_path / "results").exists()


def go_to_lines(lines: list[Path], pipe: Any) -> None:
    tickets = queue.take_tickets(lines, Path(str(os.getpid())))
    pipe.send({ticket.path.parent.name: ticket.path.name for ticket in tickets})
    signal.pause()


def test_who_is_first_in_one_line_is_first_in_every_other() -> None:
    """Or two runs would wait for each other."""
    lines = [queue.line_of(name) for name in ("GPU-a", "GPU-b", "GPU-c")]
    pipes = []
    processes = []
    for n in range(12):
        ours, theirs = CONTEXT.Pipe()
        turned = lines[n % 3 :] + lines[: n % 3]
        process = CONTEXT.Process(target=go_to_lines, args=(turned, theirs), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    assert all(pipe.poll(30) for pipe in pipes)
    taken = [pipe.recv() for pipe in pipes]
    orders = [sorted(range(12), key=lambda n: taken[n][line.name]) for line in lines]
    assert orders[0] == orders[1] == orders[2]
    assert [len(queue.in_line(line)) for line in lines] == [12, 12, 12]
    for process in processes:
        process.kill()
        process.join()


def test_a_run_that_needs_several_devices_waits_for_all(tmp_path: Path) -> None:
    lines = [queue.line_of(name) for name in ("GPU-a", "GPU-b")]
    first = [queue.take_ticket(line, Path(line.name)) for line in lines]
    tickets = queue.take_tickets([*lines, lines[0]], tmp_path)
    assert len(tickets) == 2  # a place in each line
    assert queue.before_all(tickets) == [Path("GPU-a"), Path("GPU-b")]
    first[0].give_back()
    assert queue.before_all(tickets) == [Path("GPU-b")]
    first[1].give_back()
    assert queue.before_all(tickets) == []


def test_a_run_goes_on_with_the_processes_that_it_was_started_with(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert as_before(run, Start()) == Start()
    for written, expected in (
        ({"nproc": 3, "devices": None}, Start(nproc=3)),
        ({"nproc": None, "devices": "0,1"}, Start(devices="0,1")),
        ({"nproc": "many", "devices": 7}, Start()),
        ({"nproc": 10**12, "devices": None}, Start()),
        ({"nproc": 0, "devices": None}, Start()),
        (["nproc"], Start()),
    ):
        (tmp_path / "meta.json").write_text(json.dumps({"started_with": written}))
        assert as_before(run, Start()) == expected
        assert as_before(run, Start(nproc=1)) == Start(nproc=1)


def test_a_device_that_is_named_wins_over_those_of_before(eqprop: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "results")
    run.describe({"started_with": {"nproc": None, "devices": "0,1"}})
    further = ["train", "--load-path", str(run.path), "--epochs", "1", "--dry-run"]
    assert "--devices 0,1: there is no GPU 0" in eqprop(*further, code=2).stderr
    eqprop(*further, "--device", "cpu")


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
def test_a_killed_process_ends_the_others_and_resuming_goes_on(eqprop: Run, tmp_path: Path) -> None:
    folder = Path(eqprop("train", *LONG, "--nproc", "2", "--detach").stdout.strip())
    state = stands(folder, "running")
    assert (state["processes"], state["device"]) == (2, "2 × cpu")
    wait_until(lambda: (folder / "checkpoint.tar").exists())
    owner = psutil.Process(state["pid"])
    engine = owner.parent()
    assert engine is not None
    assert "in use" in eqprop("train", "--load-path", folder, code=1).stderr
    (other,) = (process for process in engine.children() if process.pid != owner.pid)
    other.kill()
    _, left = psutil.wait_procs([owner, other, engine], timeout=60)
    assert not left
    assert summarize(folder).state == "failed"
    shown = eqprop("runs", "show", folder).stdout
    assert "process 1 of 2 (from 0) is gone" in " ".join(shown.split())
    assert f"eqprop runs resume {folder.name}" in shown or "eqprop runs resume" in shown
    owner = again(eqprop, folder, 2)
    assert engine_of(owner) != engine.pid
    wait_until(lambda: resumed(folder) == 1)  # it says that it is running before it writes its first event
    owner.kill()  # who owns it: the engine says what became of it
    assert stands_still(folder) == ("failed", "process 0 of 2 (from 0) was ended by SIGKILL")
    again(eqprop, folder, 3, "--nproc", "3")
    eqprop("runs", "stop", folder)
    stands(folder, "stopped")
    assert RunFolder(folder).meta()["started_with"] == {"nproc": 3, "devices": None}
    # As they were written: a reader drops the first one where no checkpoint came before the second.
    assert resumed(folder) == 2


def resumed(folder: Path) -> int:
    return (folder / "events.jsonl").read_text().count('"kind": "run_resumed"')


def again(eqprop: Run, folder: Path, processes: int, *words: str) -> psutil.Process:
    """Go on with a run; returns the process that owns it once it trains."""
    wait_until(lambda: not RunFolder(folder).is_owned())
    eqprop("runs", "resume", folder, *words)
    state = stands(folder, "running")
    assert state["processes"] == processes
    return psutil.Process(state["pid"])


def engine_of(owner: psutil.Process) -> int:
    return int(owner.ppid())


def stands_still(folder: Path) -> tuple[str, Any]:
    """How a run stands once no process owns it."""
    wait_until(lambda: not RunFolder(folder).is_owned())
    state = RunFolder(folder).read_state()
    return str(state["state"]), state.get("message")


def wait_until(so: Callable[[], bool]) -> None:
    for _ in range(60_000):
        if so():
            return
        give_way()
    raise AssertionError("is not so after a long time")


@pytest.mark.slow
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize(("at", "ends"), [(0, "failed"), (1, "stopped")])
def test_nothing_listens_and_a_stop_ends_a_run_one_of_whose_processes_is_stopped(
    at: int, ends: str, eqprop: Run
) -> None:
    folder = Path(eqprop("train", *LONG, "--nproc", "2", "--detach").stdout.strip())
    owner = psutil.Process(stands(folder, "running")["pid"])
    wait_until(lambda: (folder / "checkpoint.tar").exists())
    engine = owner.parent()
    assert engine is not None
    processes = sorted(engine.children(), key=lambda process: process.pid != owner.pid)
    assert not any(process.net_connections("inet") for process in (engine, *processes))
    processes[at].suspend()
    ask(folder, "stop")
    _, left = psutil.wait_procs([engine, *processes], timeout=120)
    assert not left
    assert stands_still(folder)[0] == ends
    shown = " ".join(eqprop("runs", "show", folder).stdout.split())
    assert f"process {at} of 2 (from 0), pid {processes[at].pid}, is stopped" in shown


@pytest.mark.slow
def test_in_the_foreground_a_signal_stops_all_with_a_checkpoint(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "eqprop_tui.cli.main", "train", *LONG, "--nproc", "2", "--foreground"]
    program = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any(tmp_path.glob("results/*/*/*/*/checkpoint.tar")))
    (folder,) = tmp_path.glob("results/*/*/*/*")
    program.send_signal(signal.SIGUSR2)
    program.terminate()
    assert program.wait(60) == 143
    assert program.stderr is not None
    program.stderr.close()
    assert stands_still(folder)[0] == "stopped"


@pytest.mark.slow
def test_the_engine_hands_signals_on(tmp_path: Path, eqprop: Run) -> None:
    folder = Path(
        eqprop("train", *SMALL, "--foreground", "--json").stdout
        and next(iter(tmp_path.glob("results/*/*/*/*")))
    )
    more = ["--nproc", "2", "--more-epochs", "400000"]
    words = [sys.executable, "-m", "eqprop_core.worker", str(folder), *more]
    program = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    wait_until(lambda: summarize(folder).epoch >= 3 and summarize(folder).state == "running")
    program.terminate()
    assert program.wait(60) == 143
    assert stands_still(folder)[0] == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["c10d", "static"])
def test_two_launches_of_torchrun_train_one_run(way: str, eqprop: Run, tmp_path: Path) -> None:
    """As on two machines that share the folder."""
    eqprop("train", *SMALL, "--epochs", "2", "--foreground", "--name", "alone")
    (alone,) = tmp_path.glob("results/*/*/*/*")
    eqprop("train", *SMALL, "--epochs", "1", "--foreground", "--name", "two", "--results", "other")
    (folder,) = tmp_path.glob("other/*/*/*/*")
    rendezvous = {
        "c10d": ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:29917"],
        "static": ["--master-addr", "127.0.0.1", "--master-port", "29918"],
    }[way]
    launches = [
        subprocess.Popen(
            [
                *[sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"],
                *["--node-rank", str(node), *rendezvous, "-m", "eqprop_core.worker", str(folder)],
                *["--more-epochs", "1"],
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in range(2)
    ]
    said = [launch.communicate(timeout=200)[1] for launch in launches]
    assert [launch.returncode for launch in launches] == [0, 0], said
    state = RunFolder(folder).read_state()
    assert (state["state"], state["epoch"], state["processes"]) == ("finished", 2, 2)
    assert state["last"] == RunFolder(alone).read_state()["last"]
