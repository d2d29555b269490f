"""What a job asks Slurm for: itself again, and of an array no other task."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from eqprop_core.worker import scheduler


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({"SLURM_JOB_ID": "77"}, "77"),
        ({"SLURM_JOB_ID": "80", "SLURM_ARRAY_JOB_ID": "78", "SLURM_ARRAY_TASK_ID": "1"}, "78_1"),
        ({"SLURM_JOB_ID": "78", "SLURM_ARRAY_JOB_ID": "78", "SLURM_ARRAY_TASK_ID": "2"}, "78_2"),
        ({"SLURM_JOB_ID": "79", "SLURM_ARRAY_JOB_ID": "78", "SLURM_ARRAY_TASK_ID": "0"}, "78_0"),
        ({"SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "", "SLURM_ARRAY_TASK_ID": ""}, "77"),
    ],
)
def test_a_job_has_itself_queued_again_and_no_other(
    environment: dict[str, str], job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        asked.append(words)
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SUBMITIT_EXECUTOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = scheduler.requeue()
    assert found is not None and found.done and f"job {job} is requeued" in found.message
    assert asked == [["scontrol", "requeue", job]]
