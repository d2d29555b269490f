"""Control groups of Linux: what they grant, read from files that stand in for those of the kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eqprop_core import cgroups

FS = "/sys/fs/cgroup"


@pytest.fixture
def granted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stand in for the files of the kernel, this process's groups first; no others are there."""

    def stand_in(groups: str | None, files: dict[str, str], mounts: str = "") -> None:
        there = {**files, "/proc/self/mountinfo": mounts}
        if groups is not None:
            there["/proc/self/cgroup"] = groups

        def read_text(path: Path, *_: Any) -> str:
            if str(path) not in there:
                raise FileNotFoundError(path)
            return there[str(path)]

        monkeypatch.setattr(Path, "read_text", read_text)

    return stand_in


def v1(quota: int, period: int = 100_000, *, at: str) -> dict[str, str]:
    return {f"{at}/cpu.cfs_quota_us": f"{quota}\n", f"{at}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        # version 2: this group, those around it, the least of them; the outermost alone, as in a namespace
        ("0::/job/step\n", {f"{FS}/job/step/cpu.max": "400000 100000\n"}, 4),
        ("0::/job/step\n", {f"{FS}/job/cpu.max": "300000 100000\n", f"{FS}/job/step/cpu.max": "max 100000\n"}, 3),
        ("0::/a/b/c\n", {f"{FS}/a/cpu.max": "200000 50000", f"{FS}/a/b/c/cpu.max": "500000 100000"}, 4),
        ("0::/\n", {f"{FS}/cpu.max": "250000 100000"}, 3),
        ("0::/../..\n", {f"{FS}/cpu.max": "200000 100000"}, 2),
        ("0::/../../other\n", {f"{FS}/cpu.max": "max", f"{FS}/other/cpu.max": "100000 100000"}, 1),
        (None, {f"{FS}/cpu.max": "600000 100000"}, 6),
        # parts of a core are rounded up
        ("0::/\n", {f"{FS}/cpu.max": "150000 100000"}, 2),
        ("0::/\n", {f"{FS}/cpu.max": "1000 100000"}, 1),
        # version 1, whose folders go by several names
        ("4:cpuacct,cpu:/user\n", v1(300_000, at=f"{FS}/cpuacct,cpu/user"), 3),
        ("4:cpu,cpuacct:/user\n", v1(700_000, at=f"{FS}/cpuacct,cpu/user"), 7),
        ("4:cpu:/slurm/uid_1/job_5\n", v1(-1, at=f"{FS}/cpu/slurm/uid_1/job_5") | v1(250_000, 125_000, at=f"{FS}/cpu/slurm"), 2),
        ("4:cpu:/docker/abc\n", v1(150_000, at=f"{FS}/cpu"), 2),
        ("4:cpu:/x\n", v1(-1, at=f"{FS}/cpu/x"), None),
        # both at once
        ("4:cpu:/x\n0::/y\n", v1(500_000, at=f"{FS}/cpu/x") | {f"{FS}/unified/y/cpu.max": "200000 100000"}, 2),
        # numbered cores
        ("0::/j\n", {f"{FS}/j/cpuset.cpus.effective": "0-2,8\n", f"{FS}/j/cpu.max": "max 100000"}, 4),
        ("6:cpuset:/j\n", {f"{FS}/cpuset/j/cpuset.cpus": "5\n", f"{FS}/cpuset/cpuset.cpus": "0-15\n"}, 1),
        ("0::/j\n", {f"{FS}/j/cpuset.cpus": "\n"}, None),
        # nothing that can be read
        ("0::/\n", {f"{FS}/cpu.max": "nonsense"}, None),
        ("0::/\n", {f"{FS}/cpu.max": "100000 0"}, None),
        ("what is this?\n\n:\n0:::\n", {}, None),
        (None, {}, None),
    ],
)  # fmt: skip
def test_cores_are_those_of_the_group_and_of_all_around_it(
    groups: str | None, files: dict[str, str], cores: int | None, granted: Any
) -> None:
    granted(groups, files)
    assert cgroups.cores() == cores


@pytest.mark.parametrize(
    ("groups", "mount", "file"),
    [
        (
            "0::/system/unit/inner",
            r"31 23 0:28 /system/unit /odd\040place rw - cgroup2 none rw",
            "/odd place/inner",
        ),
        ("0::/deep/er", "31 23 0:28 / /cgroup2 rw shared:9 - cgroup2 cgroup2 rw", "/cgroup2/deep"),
        ("0::/../../x/y", "31 23 0:28 /../../x /mnt rw - cgroup2 none rw", "/mnt/y"),
        ("0::/docker/abc/x", "31 23 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw", f"{FS}/x"),
    ],
)
def test_groups_are_where_they_are_mounted(groups: str, mount: str, file: str, granted: Any) -> None:
    granted(groups, {f"{file}/cpu.max": "200000 100000"}, mount + "\nnonsense\n")
    assert cgroups.cores() == 2


@pytest.mark.parametrize(
    ("groups", "files", "limit", "free"),
    [
        ("0::/j/s", {f"{FS}/j/memory.max": "2000", f"{FS}/j/s/memory.max": "max"}, 2000, None),
        ("0::/j/s", {f"{FS}/memory.max": "4000", f"{FS}/j/s/memory.max": "3000"}, 3000, None),
        ("0::/j", {f"{FS}/j/memory.max": "500", f"{FS}/j/memory.current": "200"}, 500, 300),
        (
            "0::/j",
            {
                f"{FS}/j/memory.max": "500",
                f"{FS}/j/memory.current": "450",
                f"{FS}/j/memory.stat": "anon 5\ninactive_file 150\n",
            },
            500,
            200,
        ),
        (
            "5:cpu:/x\n4:memory:/j\n0::/",
            {f"{FS}/memory/j/memory.limit_in_bytes": "1000", f"{FS}/x/memory.limit_in_bytes": "1"},
            1000,
            None,
        ),
        (
            "4:memory:/not/seen/from/here",
            {f"{FS}/memory/memory.limit_in_bytes": "5000", f"{FS}/memory/memory.usage_in_bytes": "6000"},
            5000,
            0,
        ),
        ("4:memory:/", {f"{FS}/memory/memory.limit_in_bytes": "9223372036854771712"}, None, None),
        ("0::/j", {}, None, None),
        (None, {}, None, None),
    ],
)
def test_memory_is_that_of_the_group_and_of_all_around_it(
    groups: str | None, files: dict[str, str], limit: int | None, free: int | None, granted: Any
) -> None:
    granted(groups, files)
    assert cgroups.memory() == cgroups.Memory(limit, free)
