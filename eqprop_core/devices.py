"""Which CPUs and GPUs there are, how busy they are, and which one a run uses.

GPUs are found through NVML or, without it, `nvidia-smi`, so that looking needs neither torch nor a CUDA
context. Their indices follow the PCI order that monitoring tools show, after `CUDA_VISIBLE_DEVICES`; a
process that computes agrees with them if it sets `CUDA_DEVICE_ORDER=PCI_BUS_ID` before CUDA starts.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import os
import platform
import queue
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import psutil

from eqprop_core import cgroups
from eqprop_core.problems import ConfigError, Problem, printable

SMI_FIELDS = ("pci.bus_id", "uuid", "name", "memory.total", "memory.used", "utilization.gpu")
SMI_PROCESS_FIELDS = ("gpu_uuid", "pid", "used_gpu_memory")
DRIVER_SECONDS = 5.0  # that a driver may take to answer: one that is not kept awake needs some
SECONDS_IN_PEACE = 60.0  # for which a driver that hangs is not asked again
LOADED = Path("/proc/driver/nvidia/version")
RUNS_AT_ONCE = "EQPROP_RUNS_AT_ONCE"  # environment variable: how many runs are started to share the CPU
ACCEPTED = "accepted are auto, cpu, mps, cuda:1, or the index of a GPU"

T = TypeVar("T")

_silent_until = 0.0


@dataclass(frozen=True)
class Device:
    """A place where a run could compute. What could not be found out is `None`.

    `key` is `cpu`, `mps` or `cuda:N`; memory is in bytes; `load` is a share, 0 to 1.
    """

    key: str
    name: str
    cores: int | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    load: float | None = None
    uuid: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Occupant:
    """A process that computes on a GPU; its owner's user name and its bytes there, `None` where not known."""

    pid: int
    owner: str | None = None
    memory: int | None = None


@dataclass(frozen=True)
class _Gpu:
    """A GPU before it has an index: where it sits on the PCI bus, and the rest."""

    bus: str
    device: Device


# --- which one a run uses -----------------------------------------------------------------------------


def choose_device(wanted: str, gpu_count: int, mps: bool = False) -> tuple[str, str | None]:
    """The torch device that a `--device` means, and a warning or `None`.

    `wanted` is `auto`, `cpu`, `mps`, `cuda`, `cuda:N` or `N`. A bare index where there is no GPU means the
    CPU, with a warning, as for the reference. Raises `ConfigError` for a device that is not among those there
    are, and for anything else.
    """
    gpus = [f"cuda:{n}" for n in range(gpu_count)]
    there = ", ".join(["cpu", *gpus, *(["mps"] if mps else [])])
    if wanted == "auto":
        return ("cuda:0" if gpu_count else "mps" if mps else "cpu"), None
    if wanted == "cpu":
        return "cpu", None
    if wanted == "mps":
        if mps:
            return "mps", None
        message = f"there is no Apple GPU that torch can use here; there is {there}"
        raise ConfigError([Problem("device", wanted, message)])
    found = re.fullmatch(r"(?:cuda:)?([0-9]{1,6})", wanted)
    if found is None and wanted != "cuda":
        raise ConfigError([Problem("device", wanted, f"is not a device; {ACCEPTED}")])
    if gpu_count == 0 and wanted.isdecimal():
        return "cpu", f"--device {wanted}: no GPU here, using the CPU"
    index = int(found[1]) if found else 0
    if index >= gpu_count:
        missing = f"such GPU; there are {', '.join(gpus)}" if gpus else f"GPU here; there is {there}"
        raise ConfigError([Problem("device", wanted, f"there is no {missing}")])
    return f"cuda:{index}", None


def choose_here(wanted: str, gpu_count: int, mps: bool = False) -> tuple[str, str | None]:
    """The same, with what the NVIDIA driver says where it is to blame that there is no GPU."""
    try:
        key, warning = choose_device(wanted, gpu_count, mps)
    except ConfigError as error:
        if gpu_count or not wanted.startswith("cuda") or not (trouble := driver_trouble()):
            raise
        (problem,) = error.problems
        message = f"{problem.message}; of the NVIDIA driver: {trouble}"
        raise ConfigError([replace(problem, message=message)]) from None
    if key == "cpu" and wanted != "cpu" and (trouble := driver_trouble()):
        warning = f"{warning or '--device auto: using the CPU'}; of the NVIDIA driver: {trouble}"
    return key, warning


def device_among(devices: Sequence[Device], wanted: str) -> str | None:
    """The key of that of these devices which a `--device` means; `None` for one that is refused."""
    gpus = sum(device.key.startswith("cuda") for device in devices)
    try:
        return choose_device(wanted, gpus, any(device.key == "mps" for device in devices))[0]
    except ConfigError:
        return None


# --- which there are ----------------------------------------------------------------------------------


def list_devices() -> list[Device]:
    """The CPU, then NVIDIA GPUs by index, then Apple's GPU. Raises nothing and takes some seconds at most."""
    gpus = _visible(_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    devices = [_cpu(), *(replace(gpu, key=f"cuda:{index}") for index, gpu in enumerate(gpus))]
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        devices.append(Device("mps", "Apple GPU", note="shares the memory of the computer"))
    return devices


def driver_trouble() -> str | None:
    """Why no NVIDIA GPU can be used although a driver, its tools or GPUs are here; `None` otherwise.

    Takes some seconds at most.
    """
    try:
        gpus = sorted(_ask_driver(), key=lambda gpu: gpu.bus)
    except DriverError as error:
        return str(error)
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpus and allowed not in (None, "", "-1") and not _visible(gpus, allowed):
        return f"CUDA_VISIBLE_DEVICES={printable(allowed or '')[:60]} names none of its {len(gpus)} GPUs"
    return None


def _maybe(ask: Callable[[], T | None]) -> T | None:
    """The answer, or `None` where the driver or the system has none, in whatever way it says so."""
    try:
        return ask()
    except Exception:
        return None


def _cpu() -> Device:
    memory = _maybe(memory_here)
    count = os.cpu_count() or 1
    average = _maybe(os.getloadavg)
    return Device(
        key="cpu",
        name=_maybe(_cpu_name) or platform.processor() or platform.machine() or "CPU",
        cores=_maybe(_cores),
        memory_total=memory[1] if memory else None,
        memory_used=memory[1] - memory[0] if memory else None,
        load=min(1.0, average[0] / count) if average else None,
        note="load of the last minute" if average else None,
    )


def _cpu_name() -> str | None:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return " ".join(found[1].split()) if found else None


def _cores() -> int | None:
    """Cores that this process may use: those it may be scheduled on, within what its container is granted."""
    allowed = _maybe(lambda: len(os.sched_getaffinity(0))) or os.cpu_count()
    granted = _maybe(cgroups.cores)
    return min(allowed, granted) if allowed and granted else allowed


def memory_here() -> tuple[int, int]:
    """Bytes of memory that this process could have, and all that there are: of its container, if it has less.

    Raises what psutil raises where the system does not tell.
    """
    machine, granted = psutil.virtual_memory(), cgroups.memory()
    total = min(machine.total, granted.limit or machine.total)
    return min(machine.available, total if granted.free is None else granted.free), total


def threads_wished() -> int | None:
    """How many threads OMP_NUM_THREADS says, on the outermost level; `None` where it says no number."""
    found = re.fullmatch(r"\s*([1-9]\d{0,5})\s*(,.*)?", os.environ.get("OMP_NUM_THREADS", ""), re.ASCII)
    return int(found[1]) if found else None


def cores_of_a_run() -> int | None:
    """Cores for one run: those that this process may use, shared with the runs that are started beside it."""
    cores = _maybe(_cores)
    beside = _maybe(lambda: int(os.environ[RUNS_AT_ONCE])) or 1
    return max(1, cores // max(1, beside)) if cores else None


# --- GPUs ---------------------------------------------------------------------------------------------


class DriverError(Exception):
    """What a driver says, or that it says nothing, where it was asked for GPUs."""


def _gpus() -> list[_Gpu]:
    """All NVIDIA GPUs in PCI order, whether visible to CUDA or not; none where the driver does not tell."""
    return sorted(_maybe(_ask_driver) or [], key=lambda gpu: gpu.bus)


def _ask_driver() -> list[_Gpu]:
    """GPUs as NVML has them, or `nvidia-smi`. Raises `DriverError` where neither can tell."""
    said = None
    try:
        return _in_time("NVML", _ask_nvml)
    except DriverError as error:
        said = str(error)
    except Exception as error:
        if not isinstance(error, ImportError) and type(error).__name__ != "NVMLError_LibraryNotFound":
            said = f"NVML says: {_first_line(str(error))}"
        elif LOADED.exists():
            said = "a driver is loaded, but not its library; a container must be started with its GPUs"
    if shutil.which("nvidia-smi") is not None:
        return _in_time("nvidia-smi", _ask_smi)
    if said is not None:
        raise DriverError(said)
    return []


def _in_time(name: str, ask: Callable[[], T]) -> T:
    """The answer of a driver, or what it raises; `DriverError` where there is none for `DRIVER_SECONDS`.

    A driver that hangs may not even let go of the process that asked. So it is asked by a thread, which is
    left behind, and not asked again for a while.
    """
    global _silent_until
    answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def asking() -> None:
        try:
            answers.put((ask(), None))
        except Exception as error:
            answers.put((None, error))

    silent = DriverError(f"{name} does not answer within {DRIVER_SECONDS:g} s")
    if time.monotonic() < _silent_until:
        raise silent
    threading.Thread(target=asking, name="asks the driver", daemon=True).start()
    try:
        answer, error = answers.get(timeout=DRIVER_SECONDS)
    except queue.Empty:
        _silent_until = time.monotonic() + SECONDS_IN_PEACE
        raise silent from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]


def _first_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return printable(lines[0])[:200] if lines else "nothing"


def _visible(gpus: Sequence[_Gpu], allowed: str | None) -> list[Device]:
    """The GPUs that `CUDA_VISIBLE_DEVICES` lets CUDA see, in its order.

    As CUDA reads it: indices or the beginnings of UUIDs; the first entry that names no GPU ends the list, and
    an entry that comes twice empties it. `None` is no restriction.
    """
    devices = [gpu.device for gpu in gpus]
    if allowed is None:
        return devices
    chosen: list[Device] = []
    for entry in (part.strip() for part in allowed.split(",")):
        if re.fullmatch("[0-9]{1,6}", entry):
            named = devices[int(entry) : int(entry) + 1]
        elif entry.startswith("MIG-") and devices:
            named = [Device("", "part of an NVIDIA GPU (MIG)", uuid=entry)]
        else:
            named = [
                gpu for gpu in devices if entry.startswith("GPU-") and (gpu.uuid or "").startswith(entry)
            ]
        if len(named) != 1:
            break
        if any(named[0] is other for other in chosen):
            return []
        chosen += named
    return chosen


@contextlib.contextmanager
def _nvml() -> Iterator[Any]:
    """NVML while it is in use; raises whatever is wrong with it, as when it is not installed."""
    nvml: Any = importlib.import_module("pynvml")
    nvml.nvmlInit()
    try:
        yield nvml
    finally:
        with contextlib.suppress(Exception):
            nvml.nvmlShutdown()


def _ask_nvml() -> list[_Gpu]:
    """GPUs as NVML has them."""
    with _nvml() as nvml:
        found = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = _maybe(lambda index=index: nvml.nvmlDeviceGetHandleByIndex(index))  # type: ignore[misc]
            found.append(_nvml_gpu(nvml, handle, index))
        return found


def _nvml_gpu(nvml: Any, handle: Any, index: int) -> _Gpu:
    memory = _maybe(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    load = _maybe(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
    bus = _maybe(lambda: _text(nvml.nvmlDeviceGetPciInfo(handle).busId))
    return _Gpu(
        bus=_bus_order(bus, index),
        device=Device(
            key="",
            name=_maybe(lambda: _text(nvml.nvmlDeviceGetName(handle))) or "NVIDIA GPU",
            memory_total=_maybe(lambda: int(memory.total)),  # type: ignore[union-attr]
            memory_used=_maybe(lambda: int(memory.used)),  # type: ignore[union-attr]
            load=load,
            uuid=_maybe(lambda: _text(nvml.nvmlDeviceGetUUID(handle))),
        ),
    )


def _text(value: str | bytes) -> str:
    """NVML's text, which older bindings give as bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _smi_rows(query: str, fields: Sequence[str]) -> Iterator[list[str | None]]:
    """What `nvidia-smi --query-...` answers, a row at a time; what it puts in brackets is not known.

    No rows where there is no such program; raises `DriverError` where it fails.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return
    command = [program, f"--query-{query}={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=2 * DRIVER_SECONDS, check=False
        )
    except OSError as error:
        raise DriverError(f"nvidia-smi cannot be run: {error.strerror or error}") from None
    rows = list(csv.reader(answer.stdout.splitlines(), skipinitialspace=True))
    fitting = [row for row in rows if len(row) == len(fields)]
    if answer.returncode != 0 or (rows and not fitting):
        raise DriverError(f"nvidia-smi says: {_first_line(answer.stdout + answer.stderr)}")
    for row in fitting:
        yield [None if cell.strip().startswith("[") else cell.strip() for cell in row]


def _number(cell: str | None, unit: float) -> float | None:
    return None if cell is None else _maybe(lambda: float(cell) * unit)


def _mebibytes(cell: str | None) -> int | None:
    count = _number(cell, 2**20)
    return None if count is None else _maybe(lambda: int(count))


def _ask_smi() -> list[_Gpu]:
    """GPUs as `nvidia-smi` lists them."""
    return [
        _Gpu(
            bus=_bus_order(bus, index),
            device=Device(
                key="",
                name=name or "NVIDIA GPU",
                memory_total=_mebibytes(total),
                memory_used=_mebibytes(used),
                load=_number(load, 0.01),
                uuid=uuid,
            ),
        )
        for index, (bus, uuid, name, total, used, load) in enumerate(_smi_rows("gpu", SMI_FIELDS))
    ]


def _bus_order(bus: str | None, index: int) -> str:
    """What sorts like PCI addresses `domain:bus:device.function`; those unknown go last, as they came."""
    if bus is None:
        return f"~{index:06}"
    domain, _, rest = bus.upper().partition(":")
    return f"{domain.rjust(8, '0')}:{rest}"


# --- who computes on one --------------------------------------------------------------------------------


def occupants(uuid: str) -> list[Occupant]:
    """Processes that compute on the GPU (or the part of one) with this UUID, by process number.

    Empty where that is not known. Raises nothing and takes some seconds at most.
    """
    found = _maybe(lambda: _nvml_occupants(uuid))
    if found is None:
        found = _maybe(lambda: _smi_occupants(uuid)) or {}
    return [Occupant(pid, _owner(pid), memory) for pid, memory in sorted(found.items())]


def _nvml_occupants(uuid: str) -> dict[int, int | None]:
    """Bytes by process as NVML has them; it has none where a driver does not tell."""
    with _nvml() as nvml:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(nvml.nvmlDeviceGetHandleByUUID(uuid))
        return {int(process.pid): _maybe(lambda p=process: int(p.usedGpuMemory)) for process in processes}  # type: ignore[misc]


def _smi_occupants(uuid: str) -> dict[int, int | None]:
    """Bytes by process as `nvidia-smi` lists them."""
    return {
        int(pid): _mebibytes(used)
        for where, pid, used in _smi_rows("compute-apps", SMI_PROCESS_FIELDS)
        if where == uuid and pid is not None and pid.isdecimal()
    }


def _owner(pid: int) -> str | None:
    """The user that a process belongs to; `None` where it is gone or not to be seen from here."""
    return _maybe(lambda: psutil.Process(pid).username())
