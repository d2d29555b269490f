"""A sweep through Slurm: its commands are stand-ins, which run and signal what they are given as Slurm does."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import slurm_standins
from small_sweeps import Run, ends_like_an_undisturbed_run, kinds, started, states, trains, wait_for

from eqprop_core.sweeps import submitting
from eqprop_core.sweeps.folder import Job, list_sweeps
from eqprop_core.sweeps.job import RunJob
from eqprop_core.sweeps.plan import Cell
from eqprop_core.sweeps.standing import Standing, to_do
from eqprop_core.sweeps.submitted import jobs_of, numbers_of

ON_SLURM = ["--launcher", "slurm"]


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The stand-ins on the PATH; nothing that they started is left afterwards."""
    home = tmp_path_factory.mktemp("slurm")
    slurm_standins.install(home)
    monkeypatch.setenv("STANDIN_SLURM", str(home))
    monkeypatch.setenv("PATH", f"{home}{os.pathsep}{os.environ['PATH']}")
    yield home
    for job in slurm_standins.jobs(home):
        (job / "cancel").touch()
    for job in slurm_standins.jobs(home):
        keeper = int((job / "pid").read_text())
        wait_for(lambda keeper=keeper: not _runs(keeper))


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_job_that_is_signalled_is_queued_again_and_its_run_goes_on_bit_for_bit(
    slurm: Path, eqprop: Run
) -> None:
    words = ["--partition", "long", "--gpus", "1", "--cpus", "2", "--mem", "4G", "--account", "lab"]
    more = ["--constraint", "a100", "--sbatch", "exclusive", "--sbatch", "nice=5", "--time", "1:30:00"]
    sweep = started(eqprop, *ON_SLURM, *words, *more, "--epochs", "8", "--results", 'it\'s 50%j & "more"')
    (job,) = sweep.jobs()
    (at_slurm,) = slurm_standins.jobs(slurm)
    script = (at_slurm / "script").read_text()
    for line in (
        "partition=long", "gpus-per-node=1", "cpus-per-task=2", "mem=4G", "account=lab", "constraint=a100",
        "exclusive", "nice=5", "time=90", "signal=USR2@90", "requeue",
    ):  # fmt: skip
        assert f"#SBATCH --{line}\n" in script
    wait_for(lambda: slurm_standins.state(at_slurm) == "RUNNING")
    assert f"{at_slurm.name} running" in eqprop("sweep", "status").stdout
    wait_for(lambda: trains(job))
    (at_slurm / "signal").touch()
    wait_for(lambda: slurm_standins.state(at_slurm) == "COMPLETED")
    assert (at_slurm / "runs").read_text().count("run") == 2
    assert states(sweep) == {"finished": 1}
    assert (kinds(job)["run_resumed"], kinds(job)["run_finished"]) == (1, 1)
    ends_like_an_undisturbed_run(eqprop, sweep, job)
    assert eqprop("sweep", "resume").stdout.startswith("1 finished")
    assert len(slurm_standins.jobs(slurm)) == 1


@pytest.mark.slow
def test_jobs_that_run_out_of_time_do_every_run_once(slurm: Path, eqprop: Run) -> None:
    """Each is signalled twice, once it trains: by what it has done, not by a clock."""
    words = ["--grid", "alg=EP,BPTT", "--seeds", "0-1", "--epochs", "15"]
    sweep = started(eqprop, *ON_SLURM, *words)
    left = {number: list(range(2)) for number in range(4)}

    def signal_those_that_train() -> bool:
        for number, again in left.items():
            if again and trains(sweep.jobs()[number], again[0]):
                again.pop(0)
                (slurm_standins.jobs(slurm)[number] / "signal").touch()
        return not any(left.values())

    wait_for(signal_those_that_train)
    wait_for(lambda: states(sweep) == {"finished": 4})
    for job in sweep.jobs():
        assert (kinds(job)["run_resumed"], kinds(job)["run_finished"]) == (2, 1)
        ends_like_an_undisturbed_run(eqprop, sweep, job)
    assert [(job / "runs").read_text().count("run") for job in slurm_standins.jobs(slurm)] == [3] * 4


def test_what_waits_in_slurms_queue_is_shown_left_alone_and_cancelled(slurm: Path, eqprop: Run) -> None:
    (slurm / "slots").write_text("0")
    sweep = started(eqprop, *ON_SLURM, "--seeds", "0-1")
    said = eqprop("sweep", "status").stdout
    assert "101 pending" in said and "102 pending" in said and "2 in Slurm's queue" in said
    assert eqprop("sweep", "resume", "--detach").stderr.count("is pending") == 2
    assert len(slurm_standins.jobs(slurm)) == 2
    assert "2 waiting jobs cancelled" in eqprop("sweep", "stop").stderr
    assert {slurm_standins.state(job) for job in slurm_standins.jobs(slurm)} == {"CANCELLED"}
    assert states(sweep) == {"waiting": 2}
    assert eqprop("sweep", "resume", "--detach").stderr.count("submitted as job") == 2


@pytest.mark.slow
def test_a_sweep_on_slurm_is_stopped_and_submitted_again(slurm: Path, eqprop: Run) -> None:
    (slurm / "slots").write_text("1")
    sweep = started(eqprop, *ON_SLURM, "--seeds", "0-1", "--epochs", "5000")
    first, second = sweep.jobs()
    wait_for(lambda: trains(first))
    said = eqprop("sweep", "status").stdout
    assert "102 pending" in said and "2 in Slurm's queue" in said
    told = eqprop("sweep", "resume", "--detach").stderr
    assert "job 101 is running" in told and "job 102 is pending" in told
    assert len(slurm_standins.jobs(slurm)) == 2
    eqprop("sweep", "stop")
    assert states(sweep) == {"stopped": 1, "waiting": 1}
    wait_for(
        lambda: not {"PENDING", "RUNNING"} & {slurm_standins.state(job) for job in slurm_standins.jobs(slurm)}
    )
    assert slurm_standins.state(slurm / "102") == "CANCELLED"
    assert not second.path.exists()
    told = eqprop("sweep", "resume", "--detach").stderr
    assert "submitted as job 103" in told and "submitted as job 104" in told
    wait_for(lambda: kinds(first)["run_resumed"] == 1)
    eqprop("sweep", "stop", "--kill")
    wait_for(lambda: slurm_standins.state(slurm / "103") == "CANCELLED")
    assert states(sweep) == {"stopped": 1, "waiting": 1}
    assert numbers_of(sweep, first) == ["101", "103"]


@pytest.mark.parametrize("name", ["net%j", "%A_%a of %N", "100%", "%%t", 'it\'s "$HOME" #1', "ümlaut %u"])
def test_a_script_has_the_folder_of_its_logs_whatever_that_is_called(
    name: str, slurm: Path, eqprop: Run, tmp_path: Path
) -> None:
    (slurm / "slots").write_text("0")
    sweep = started(eqprop, *ON_SLURM, "--results", name)
    (job,) = sweep.jobs()
    assert numbers_of(sweep, job) == ["101"]
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing beside it
    script = (slurm / "101" / "script").read_text()
    place = str(jobs_of(sweep, job)["101"])
    logs = place.replace("%", "%%")
    step = shlex.split(next(line for line in script.splitlines() if line.startswith("srun ")))
    for option, log in (("output", "log.out"), ("error", "log.err")):
        (line,) = (line for line in script.splitlines() if line.startswith(f"#SBATCH --{option}="))
        assert shlex.split(line.partition("=")[2]) == [f"{logs}/%j_0_{log}"]
        assert step[step.index(f"--{option}") + 1] == f"{logs}/%j_%t_{log}"
    assert step[-2] == place and RunJob.from_text(step[-1]).path == job.path.absolute()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("back\\slash", "has a backslash in its path"),
        ("two\nlines", "has a control character in its path"),
        (os.fsdecode(b"caf\xe9"), "has bytes that are not UTF-8 in its path"),
    ],
)
def test_a_folder_where_slurm_can_write_no_log_is_refused_before_there_is_a_sweep(
    name: str, why: str, slurm: Path, eqprop: Run, tmp_path: Path
) -> None:
    said = eqprop("sweep", "digits-sweep", *ON_SLURM, "--results", name, "--detach", code=2).stderr
    assert said.startswith("error: --results ") and why in said
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "there", "absent"),
    [
        ([], ["requeue"], "wckey"),
        (["--sbatch", "wckey="], ["requeue"], "wckey"),
        (["--sbatch", "wckey=lab", "--sbatch", "gres="], ["wckey=lab"], "gres"),
        (["--cpus", "8"], ["cpus-per-task=8"], "wckey"),
        (["--sbatch", "cpus-per-task=3"], ["cpus-per-task=3"], "wckey"),
    ],
)
def test_a_script_asks_for_what_was_wished_alone_and_tells_its_step_of_the_cores(
    words: list[str], there: list[str], absent: str, slurm: Path, eqprop: Run
) -> None:
    (slurm / "slots").write_text("0")
    started(eqprop, *ON_SLURM, *words)
    lines = (slurm / "101" / "script").read_text().splitlines()
    assert {f"#SBATCH --{one}" for one in there} <= set(lines)
    assert not any(line.startswith(f"#SBATCH --{absent}") for line in lines)
    told = next(number for number, line in enumerate(lines) if "export SRUN_CPUS_PER_TASK=" in line)
    assert lines[told + 1 :] and any(line.startswith("srun ") for line in lines[told + 1 :])


@pytest.mark.parametrize(
    ("name", "parameters", "passes"),
    [
        ("SLURM_CONF", (), True),
        ("SLURM_CLUSTERS", (), True),
        ("SLURM_JWT", (), True),
        ("SLURM_SITE_SCRATCH", (), True),
        ("SLURM_HOME", (), True),
        ("PATH", (), True),
        ("EQPROP_DATA", (), True),
        ("SBATCH_ACCOUNT", (), True),
        ("SBATCH_ACCOUNT", ("account",), False),
        ("SBATCH_MEM_PER_CPU", ("mem",), False),
        ("SBATCH_OUTPUT", (), False),
        ("SBATCH_WAIT", (), False),
        ("SBATCH_CPU_BIND_LIST", (), False),
        ("SLURM_JOB_ID", (), False),
        ("SLURM_CPUS_PER_TASK", (), False),
        ("SRUN_CPUS_PER_TASK", (), False),
        ("SUBMITIT_EXECUTOR", (), False),
        ("RANK", (), False),
    ],
)
def test_sbatch_hears_of_the_cluster_and_of_nothing_that_misleads_it(
    name: str, parameters: tuple[str, ...], passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "said")
    with submitting.environment(parameters):
        assert (name in os.environ) is passes
    assert os.environ[name] == "said"


def test_without_slurm_nothing_is_made(eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing here"))
    said = eqprop("sweep", "digits-sweep", *ON_SLURM, code=1).stderr
    assert said == "error: --launcher slurm needs Slurm, and there is no sbatch, srun, squeue here\n"
    assert not (tmp_path / "results").exists()


def test_a_job_that_slurm_refuses_is_submitted_by_resume(slurm: Path, eqprop: Run) -> None:
    (slurm / "refuses").write_text("Invalid account or account/partition combination specified")
    said = eqprop("sweep", "digits-sweep", *ON_SLURM, "--detach", code=1).stderr
    assert "Slurm does not take it: " in said and "Invalid account" in said
    (sweep,) = list_sweeps()
    assert states(sweep) == {"waiting": 8}
    (slurm / "refuses").unlink()
    (slurm / "slots").write_text("0")
    told = eqprop("sweep", "resume", "--account", "other", "--detach").stderr
    assert told.count("submitted as job") == 8
    assert "account=other" in (slurm / "101" / "script").read_text()


def test_a_run_that_fell_silent_is_begun_again_where_the_scheduler_has_no_job_for_it(tmp_path: Path) -> None:
    job = Job(Cell(name="one", preset=None, settings={}), 0, tmp_path)
    silent = Standing(job, "unreachable")
    assert to_do(silent, retry_failed=False, has_no_job=True)
    assert not to_do(silent, retry_failed=True)
