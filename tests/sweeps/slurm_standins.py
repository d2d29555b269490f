"""Stand-ins for Slurm's commands: each job is run by a process in the background, which signals it as Slurm does.

One program, called by the names of the commands. Its memory is the folder `STANDIN_SLURM`: `slots` has how many
jobs run at a time, and a folder a job has its script, `state` and what it is asked for (`signal`, `cancel`,
`requeue`), a file each. A job's processes are signalled with all that they have started, except the script itself.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sacct", "srun")
LOOK = 0.05
KILL_WAIT = 5.0  # seconds between SIGTERM and SIGKILL


def install(folder: Path, slots: int = 2) -> None:
    """Put the commands into a folder, which is to stand first on the PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "slots").write_text(str(slots))
    for name in COMMANDS:
        program = folder / name
        program.write_text(f"#!{sys.executable}\n" + Path(__file__).read_text())
        program.chmod(0o755)


def jobs(home: Path) -> list[Path]:
    """Folders of all jobs, by number."""
    return sorted((path for path in home.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def state(job: Path) -> str:
    return (job / "state").read_text()


def submit(home: Path, words: list[str]) -> int:
    if (home / "refuses").exists():
        print("sbatch: error: " + (home / "refuses").read_text(), file=sys.stderr)
        return 1
    job = home / str(101 + len(jobs(home)))
    job.mkdir()
    (job / "script").write_text(Path(words[-1]).read_text())
    (job / "state").write_text("PENDING")
    keeper = subprocess.Popen(
        [sys.executable, __file__, "keep", str(job)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(job / "keeper").open("w"),
        start_new_session=True,
    )
    (job / "pid").write_text(str(keeper.pid))
    print(f"Submitted batch job {job.name}")
    return 0


def keep(job: Path) -> int:
    """Run a job when there is a place for it, and again when it is asked to be queued again."""
    script = (job / "script").read_text()
    limit = 60.0 * int(re.search(r"^#SBATCH --time=(\d+)$", script, re.MULTILINE)[1])  # type: ignore[index]
    grace = float(re.search(r"^#SBATCH --signal=USR2@(\d+)$", script, re.MULTILINE)[1])  # type: ignore[index]
    while True:
        place = _place(job)
        if place is None:
            (job / "state").write_text("CANCELLED")
            return 0
        ended = _run(job, limit, grace)
        (job / "state").write_text(ended)
        os.close(place)
        if ended != "PENDING":
            return 0


def _place(job: Path) -> int | None:
    """Wait for one of the places; None for a job that is cancelled before there was one."""
    slots = int((job.parent / "slots").read_text())
    while not (job / "cancel").exists():
        for number in range(slots):
            place = os.open(job.parent / f"slot-{number}", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return place
            except BlockingIOError:
                os.close(place)
        time.sleep(LOOK)
    return None


def _run(job: Path, limit: float, grace: float) -> str:
    """Run the script once; its state afterwards, PENDING if it is to be run again."""
    (job / "state").write_text("RUNNING")
    with (job / "runs").open("a") as runs:
        runs.write("run\n")
    environment = {**os.environ, "SLURM_JOB_ID": job.name, "SLURM_JOB_NUM_NODES": "1"}
    shell = subprocess.Popen(
        ["bash", job / "script"], env=environment, stderr=(job / "said").open("a"), start_new_session=True
    )
    began = time.monotonic()
    signalled = False
    while shell.poll() is None:
        time.sleep(LOOK)
        spent = time.monotonic() - began
        if not signalled and ((job / "signal").exists() or spent > limit - grace):
            (job / "signal").unlink(missing_ok=True)
            signalled = True
            _signal(shell.pid, signal.SIGUSR2)
        if (job / "cancel").exists():
            _end(shell)
            return "CANCELLED"
        if (job / "requeue").exists():
            (job / "requeue").unlink()
            _end(shell)
            return "PENDING"
        if spent > limit:
            _end(shell)
            return "TIMEOUT"
    if (job / "requeue").exists():
        (job / "requeue").unlink()
        return "PENDING"
    return "COMPLETED" if shell.returncode == 0 else "FAILED"


def _signal(pid: int, number: int) -> list[psutil.Process]:
    processes = psutil.Process(pid).children(recursive=True)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    return processes


def _end(shell: subprocess.Popen[bytes]) -> None:
    """As Slurm ends a job: all its processes are told, and killed if they have not ended soon."""
    processes = _signal(shell.pid, signal.SIGTERM) if shell.poll() is None else []
    _, alive = psutil.wait_procs(processes, timeout=KILL_WAIT)
    for process in alive:
        process.kill()
    shell.kill()
    shell.wait()


def queue(home: Path) -> int:
    for job in jobs(home):
        if state(job) in ("PENDING", "RUNNING"):
            print(f"{job.name} {state(job)}")
    return 0


def cancel(home: Path, words: list[str]) -> int:
    pending = "--state=PENDING" in words
    for number in (word for word in words if word.isdecimal()):
        job = home / number
        if not pending or state(job) == "PENDING":
            (job / "cancel").touch()
            while pending and state(job) == "PENDING":
                time.sleep(LOOK)
    return 0


def step(words: list[str]) -> int:
    """`srun`: the task of a job, whose output goes where it is told."""
    place = 0
    while words[place].startswith("-"):
        name = words[place]
        if name in ("--output", "--error"):
            stands_for = {"%": "%", "j": os.environ["SLURM_JOB_ID"], "t": "0"}
            path = re.sub("%([a-zA-Z%])", lambda found, to=stands_for: to[found[1]], words[place + 1])
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, 1 if name == "--output" else 2)
        place += 2 if name in ("--output", "--error") else 1
    os.environ.update(SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_NTASKS="1", SLURM_NODEID="0")
    # A task is a child of the step, not the step itself.
    hears = {"preexec_fn": lambda: signal.signal(signal.SIGUSR2, signal.SIG_DFL)}
    return subprocess.run(words[place:], check=False, **hears).returncode & 0xFF


def main(command: str, words: list[str]) -> int:
    if words[:1] == ["keep"]:
        return keep(Path(words[1]))
    home = Path(os.environ["STANDIN_SLURM"])
    match command:
        case "sbatch":
            return submit(home, words)
        case "squeue":
            return queue(home)
        case "scancel":
            return cancel(home, words)
        case "scontrol" if words[0] == "requeue":
            (home / words[1] / "requeue").touch()
            return 0
        case "srun":
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # it is the tasks that are signalled
            return step(words)
        case "sacct":
            print("JobID|State|NodeList")
            print("\n".join(f"{job.name}|{state(job)}|here" for job in jobs(home)))
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
