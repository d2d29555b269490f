"""Devices: what is listed where NVML, `nvidia-smi` or neither answers, and what `--device` chooses."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from eqprop_core import cgroups, devices
from eqprop_core.devices import Occupant, choose_device, choose_here, list_devices, occupants
from eqprop_core.problems import ConfigError

GIB = 2**30


class StubNvml:
    """A `pynvml` with these GPUs; what a GPU does not have is an error, as on old or shared ones."""

    def __init__(self, *gpus: dict[str, Any], broken: bool = False) -> None:
        self.gpus, self.broken, self.closed = gpus, broken, False

    def nvmlInit(self) -> None:  # noqa: N802
        if self.broken:
            raise RuntimeError("Driver/library version mismatch")

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.closed = True

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> dict[str, Any]:  # noqa: N802
        return next(gpu for gpu in self.gpus if gpu.get("nvmlDeviceGetUUID") == uuid)

    def __getattr__(self, call: str) -> Any:
        def answer(gpu: dict[str, Any]) -> Any:
            if call not in gpu:
                raise RuntimeError("Not Supported")
            return gpu[call]

        return answer


def gpu(bus: str, uuid: str, **more: Any) -> dict[str, Any]:
    return {
        "nvmlDeviceGetName": f"NVIDIA {uuid}",
        "nvmlDeviceGetUUID": uuid,
        "nvmlDeviceGetPciInfo": SimpleNamespace(busId=bus),
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=80 * GIB, used=8 * GIB),
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=25),
        **more,
    }


TWO = (gpu("00000000:5E:00.0", "GPU-bbbb"), gpu("00000000:3B:00.0", "GPU-aaaa"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Make a machine: `machine(nvml=stub, smi="a shell script")`; without them it has no GPU."""

    def make(nvml: StubNvml | None = None, smi: str | None = None, visible: str | None = None) -> None:
        monkeypatch.setattr(devices, "_silent_until", 0.0)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        if smi is not None:
            program = folder / "nvidia-smi"
            program.write_text(f"#!/bin/sh\n{smi}\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin" if smi is not None else str(folder))
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return make


def gpus() -> list[devices.Device]:
    return [device for device in list_devices() if device.key.startswith("cuda")]


# --- the CPU ------------------------------------------------------------------------------------------


def test_the_cpu_is_always_there(machine: Any) -> None:
    machine()
    cpu = list_devices()[0]
    assert cpu.key == "cpu" and cpu.name and cpu.cores and cpu.cores >= 1
    assert cpu.memory_total and cpu.memory_used and 0 < cpu.memory_used <= cpu.memory_total
    assert cpu.load is not None and 0 <= cpu.load <= 1


def test_what_the_system_does_not_tell_is_unknown(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise OSError

    machine()
    monkeypatch.setattr(devices.psutil, "virtual_memory", fail)
    monkeypatch.setattr(devices.os, "getloadavg", fail)
    monkeypatch.setattr(devices.os, "sched_getaffinity", fail, raising=False)
    monkeypatch.setattr(devices.Path, "read_text", fail)
    cpu = list_devices()[0]
    assert cpu.name and (cpu.memory_total, cpu.memory_used, cpu.load, cpu.note) == (None,) * 4


@pytest.mark.parametrize(("granted", "cores"), [(None, 8), (3, 3), (1, 1), (100, 8)])
def test_cores_are_those_of_the_container(
    granted: int | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cgroups, "cores", lambda: granted)
    assert devices._cores() == cores


@pytest.mark.parametrize(
    ("limit", "free", "total", "used"),
    [(None, None, 1000, 400), (500, 200, 500, 300), (500, None, 500, 0), (5000, 4000, 1000, 400)],
)
def test_memory_is_that_of_the_container_where_it_has_less(
    limit: int | None, free: int | None, total: int, used: int, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    there = SimpleNamespace(total=1000, available=600)
    monkeypatch.setattr(devices.psutil, "virtual_memory", lambda: there)
    monkeypatch.setattr(cgroups, "memory", lambda: cgroups.Memory(limit, free))
    cpu = list_devices()[0]
    assert (cpu.memory_total, cpu.memory_used) == (total, used)


@pytest.mark.parametrize(
    ("beside", "cores"), [(None, 8), ("1", 8), ("3", 2), ("9", 1), ("0", 8), ("many", 8)]
)
def test_runs_that_are_started_beside_each_other_share_the_cores(
    beside: str | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_cores", lambda: 8)
    if beside is not None:
        monkeypatch.setenv(devices.RUNS_AT_ONCE, beside)
    assert devices.cores_of_a_run() == cores


def test_apples_gpu_is_mentioned(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine()
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert [device.key for device in list_devices()] == ["cpu", "mps"]


# --- NVIDIA GPUs --------------------------------------------------------------------------------------


def test_nvml_gives_gpus_in_pci_order(machine: Any) -> None:
    nvml = StubNvml(*TWO)
    machine(nvml)
    assert gpus() == [
        devices.Device(f"cuda:{n}", f"NVIDIA {uuid}", None, 80 * GIB, 8 * GIB, 0.25, uuid)
        for n, uuid in enumerate(["GPU-aaaa", "GPU-bbbb"])
    ]
    assert nvml.closed


def test_what_nvml_does_not_tell_is_unknown(machine: Any) -> None:
    old = gpu("", "", nvmlDeviceGetName=b"Tesla", nvmlDeviceGetUUID=b"GPU-cccc")
    for call in ("nvmlDeviceGetPciInfo", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUtilizationRates"):
        del old[call]
    machine(StubNvml(old, {}, *TWO))
    found = gpus()
    assert [device.name for device in found] == ["NVIDIA GPU-aaaa", "NVIDIA GPU-bbbb", "Tesla", "NVIDIA GPU"]
    assert found[2] == devices.Device("cuda:2", "Tesla", uuid="GPU-cccc")
    assert found[3] == devices.Device("cuda:3", "NVIDIA GPU")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["aaaa", "bbbb"]),
        ("1", ["bbbb"]),
        ("1,0", ["bbbb", "aaaa"]),
        (" 1 , 0 ", ["bbbb", "aaaa"]),
        ("0,5,1", ["aaaa"]),  # the first that is not there ends the list
        ("0,-1,1", ["aaaa"]),
        ("-1", []),
        ("", []),
        ("none", []),
        ("1,1", []),
        ("GPU-bb", ["bbbb"]),
        ("GPU-bbbb,GPU-aaaa", ["bbbb", "aaaa"]),
        ("GPU-", []),  # ambiguous
        ("GPU-zzzz,GPU-aaaa", []),
        ("MIG-3f", ["MIG-3f"]),
        ("9" * 5000, []),
    ],
)
def test_cuda_visible_devices_is_respected(visible: str | None, expected: list[str], machine: Any) -> None:
    machine(StubNvml(*TWO), visible=visible)
    found = gpus()
    assert [(device.uuid or "").removeprefix("GPU-") for device in found] == expected
    assert [device.key for device in found] == [f"cuda:{n}" for n in range(len(expected))]


SMI = """
test "$1" = "--query-gpu=pci.bus_id,uuid,name,memory.total,memory.used,utilization.gpu" || exit 2
test "$2" = "--format=csv,noheader,nounits" || exit 2
cat <<END
00000000:5E:00.0, GPU-bbbb, NVIDIA B, 81920, [N/A], [Not Supported]
00000000:3B:00.0, GPU-aaaa, NVIDIA A, 81920, 8192, 25
a line of something else
END
"""


@pytest.mark.parametrize("nvml", [None, StubNvml(broken=True)])
def test_nvidia_smi_answers_where_nvml_does_not(nvml: StubNvml | None, machine: Any) -> None:
    machine(nvml, smi=SMI)
    assert gpus() == [
        devices.Device("cuda:0", "NVIDIA A", None, 80 * GIB, 8 * GIB, 0.25, "GPU-aaaa"),
        devices.Device("cuda:1", "NVIDIA B", None, 80 * GIB, None, None, "GPU-bbbb"),
    ]


@pytest.mark.parametrize("script", ["exit 9", "echo NVIDIA-SMI has failed", "printf '\\377'", "true"])
def test_a_failing_nvidia_smi_means_no_gpu(script: str, machine: Any) -> None:
    machine(smi=script)
    assert gpus() == []


def test_a_hanging_nvidia_smi_means_no_gpu(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], *, timeout: float, **_: Any) -> Any:
        assert timeout == 2.0
        raise subprocess.TimeoutExpired(command, timeout)

    machine(smi=SMI)
    monkeypatch.setattr(subprocess, "run", hang)
    assert gpus() == []


# --- who computes on one ------------------------------------------------------------------------------

ME, GONE = os.getpid(), 2**22 + 1  # no process has a number beyond what Linux gives
OCCUPANTS = f"""
test "$1" = "--query-compute-apps=gpu_uuid,pid,used_gpu_memory" || exit 2
test "$2" = "--format=csv,noheader,nounits" || exit 2
cat <<END
GPU-bbbb, 17, 5
GPU-aaaa, {GONE}, [N/A]
GPU-aaaa, {ME}, 1024
GPU-aaaa, [Insufficient Permissions], 3
GPU-aaaa, x, 3
a line of something else
END
"""


def processes(*found: Any) -> dict[str, Any]:
    return {"nvmlDeviceGetComputeRunningProcesses": list(found)}


def test_nvml_tells_who_computes_on_a_gpu(machine: Any) -> None:
    first = processes(
        SimpleNamespace(pid=GONE, usedGpuMemory=None), SimpleNamespace(pid=ME, usedGpuMemory=GIB)
    )
    nvml = StubNvml(gpu("1", "GPU-aaaa", **first), gpu("2", "GPU-bbbb", **processes()))
    machine(nvml)
    user = psutil.Process().username()
    assert occupants("GPU-aaaa") == [Occupant(ME, user, GIB), Occupant(GONE, None, None)]
    assert nvml.closed
    assert occupants("GPU-bbbb") == [] == occupants("GPU-zzzz")


@pytest.mark.parametrize("nvml", [None, StubNvml(broken=True), StubNvml(gpu("1", "GPU-aaaa"))])
def test_nvidia_smi_tells_who_computes_where_nvml_does_not(nvml: StubNvml | None, machine: Any) -> None:
    machine(nvml, smi=OCCUPANTS)
    user = psutil.Process().username()
    assert occupants("GPU-aaaa") == [Occupant(ME, user, GIB), Occupant(GONE, None, None)]
    assert occupants("GPU-zzzz") == []


@pytest.mark.parametrize("script", [None, "exit 9", "echo No devices were found", "printf '\\377'", "true"])
@pytest.mark.parametrize("uuid", ["GPU-aaaa", "", "\0"])
def test_nobody_is_known_where_nobody_tells(script: str | None, uuid: str, machine: Any) -> None:
    machine(smi=script)
    assert occupants(uuid) == []


def test_no_torch_is_needed_to_look() -> None:
    program = "import sys; from eqprop_core.devices import list_devices; list_devices(); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "torch" not in answer.stdout.split()


# --- a driver in trouble ------------------------------------------------------------------------------


class NVMLError_LibraryNotFound(Exception):  # noqa: N801, N818  as it is called by NVML's
    """There is no driver."""


@pytest.mark.parametrize(
    ("nvml", "smi", "said"),
    [
        (None, "echo 'No devices were found'; exit 6", "nvidia-smi says: No devices were found"),
        (None, "echo; echo \"couldn't communicate\" >&2; exit 9", "nvidia-smi says: couldn't communicate"),
        (None, "printf 'Unable to determine\\033[1m the handle'", "nvidia-smi says: Unable to determine\\x1b[1m the"),
        (None, "exit 255", "nvidia-smi says: nothing"),
        (None, "exec sleep 60", "nvidia-smi does not answer within 0.2 s"),
        (StubNvml(broken=True), None, "NVML says: Driver/library version mismatch"),
        (StubNvml(broken=True), "echo 'GPU is lost'; exit 15", "nvidia-smi says: GPU is lost"),
        (None, None, None),
        (StubNvml(), None, None),
        (StubNvml(*TWO), "exit 9", None),
    ],
)  # fmt: skip
def test_what_a_driver_says_in_place_of_gpus_is_told(
    nvml: StubNvml | None, smi: str | None, said: str | None, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "DRIVER_SECONDS", 0.2 if smi and "sleep" in smi else 5.0)
    machine(nvml, smi)
    trouble = devices.driver_trouble()
    assert (trouble is None) if said is None else (trouble is not None and said in trouble)
    assert bool(gpus()) == (nvml is not None and bool(nvml.gpus))


def test_a_driver_that_hangs_is_asked_once_and_left_alone(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = [], threading.Event()

    def hang() -> None:
        asked.append(True)
        answer.wait(60)

    hanging = StubNvml(*TWO)
    monkeypatch.setattr(hanging, "nvmlInit", hang, raising=False)
    monkeypatch.setattr(devices, "DRIVER_SECONDS", 0.05)
    machine(hanging)
    try:
        assert gpus() == []
        assert devices.driver_trouble() == "NVML does not answer within 0.05 s"
        assert gpus() == [] and len(asked) == 1
    finally:
        answer.set()


def test_a_driver_without_its_library_is_told_of(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = StubNvml()
    monkeypatch.setattr(absent, "nvmlInit", raises(NVMLError_LibraryNotFound("not found")), raising=False)
    machine(absent)
    monkeypatch.setattr(devices, "LOADED", tmp_path / "version")
    assert devices.driver_trouble() is None
    (tmp_path / "version").touch()
    assert "a container must be started with its GPUs" in (devices.driver_trouble() or "")


@pytest.mark.parametrize(
    ("visible", "trouble"),
    [("7", "CUDA_VISIBLE_DEVICES=7 names none of its 2 GPUs"), ("", None), ("-1", None), ("1", None)],
)
def test_gpus_that_a_variable_hides_by_mistake_are_told_of(
    visible: str, trouble: str | None, machine: Any
) -> None:
    machine(StubNvml(*TWO), visible=visible)
    assert devices.driver_trouble() == trouble


def test_what_the_driver_says_is_told_where_the_cpu_is_taken_in_its_place(machine: Any) -> None:
    machine(smi="echo 'Driver/library version mismatch'; exit 18")
    why = "of the NVIDIA driver: nvidia-smi says: Driver/library version mismatch"
    assert choose_here("auto", 0) == ("cpu", f"--device auto: using the CPU; {why}")
    assert choose_here("0", 0) == ("cpu", f"--device 0: no GPU here, using the CPU; {why}")
    assert choose_here("cpu", 0) == ("cpu", None)
    with pytest.raises(ConfigError, match=f"--device cuda:0: there is no GPU here; there is cpu; {why}"):
        choose_here("cuda:0", 0)


def raises(error: Exception) -> Any:
    def fail(*_: Any) -> Any:
        raise error

    return fail


# --- --device -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "gpu_count", "mps", "chosen"),
    [
        ("auto", 0, False, "cpu"),
        ("auto", 2, False, "cuda:0"),
        ("auto", 0, True, "mps"),
        ("auto", 1, True, "cuda:0"),
        ("cpu", 2, True, "cpu"),
        ("mps", 0, True, "mps"),
        ("cuda", 2, False, "cuda:0"),
        ("cuda:1", 2, False, "cuda:1"),
        ("1", 2, False, "cuda:1"),
        ("0", 1, False, "cuda:0"),
    ],
)
def test_a_device_that_is_there_is_chosen(wanted: str, gpu_count: int, mps: bool, chosen: str) -> None:
    assert choose_device(wanted, gpu_count, mps) == (chosen, None)


@pytest.mark.parametrize("wanted", ["0", "3", "17"])
def test_a_bare_index_where_there_is_no_gpu_means_the_cpu_with_a_warning(wanted: str) -> None:
    assert choose_device(wanted, 0) == ("cpu", f"--device {wanted}: no GPU here, using the CPU")


@pytest.mark.parametrize(
    ("wanted", "mps", "there"),
    [("cuda", False, "cpu"), ("cuda:0", False, "cpu"), ("cuda:7", True, "cpu, mps")],
)
def test_a_gpu_that_was_named_where_there_is_none_is_refused(wanted: str, mps: bool, there: str) -> None:
    with pytest.raises(ConfigError, match=f"^--device {wanted}: there is no GPU here; there is {there}$"):
        choose_device(wanted, 0, mps)


@pytest.mark.parametrize("wanted", ["2", "cuda:2", "999999"])
def test_a_gpu_that_is_not_among_those_there_is_refused(wanted: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^--device {wanted}: there is no such GPU; there are cuda:0, cuda:1$"
    ):
        choose_device(wanted, 2)


def test_mps_where_there_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="--device mps: there is no Apple GPU"):
        choose_device("mps", 1)


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        " ",
        "-1",
        "cuda:-1",
        "cuda:x",
        "cuda:",
        "gpu",
        "CPU",
        "1.0",
        "cuda:1 ",
        "²",
        "٣",
        "1\n",
        "9" * 5000,
    ],
)
@pytest.mark.parametrize("gpu_count", [0, 2])
def test_anything_else_is_refused_with_what_is_accepted(wanted: str, gpu_count: int) -> None:
    with pytest.raises(ConfigError, match="accepted are auto, cpu, mps, cuda:1, or the index of a GPU"):
        choose_device(wanted, gpu_count)
