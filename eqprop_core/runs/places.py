"""Which device a run computes on, chosen without torch, so that its process is given that one alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eqprop_core.devices import Device, choose_device, list_devices

DRIVERS = (Path("/proc/driver/nvidia"), Path("/dev/kfd"))  # of GPUs that torch may know how to use


@dataclass(frozen=True)
class Place:
    """A device by its usual name (`cpu`, `mps`, `cuda:1`) and, for a GPU, its UUID where that is known.

    `seen_as` is what torch calls it in a process that is one of several, each of which sees the GPUs of all.
    """

    key: str
    uuid: str | None = None
    seen_as: str | None = None

    @property
    def line(self) -> str:
        """What names its line of runs on this host."""
        return self.uuid or self.key

    @property
    def torch_name(self) -> str:
        """What torch calls it in a process that has this `environment`."""
        return self.seen_as or ("cuda:0" if self.uuid else self.key)

    @property
    def environment(self) -> dict[str, str]:
        """Variables, set before torch starts, that leave this device alone to a process."""
        if self.uuid:
            return {"CUDA_VISIBLE_DEVICES": self.uuid, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        return {"CUDA_VISIBLE_DEVICES": ""} if self.key == "cpu" else {}


def choose_place(
    wanted: str, length: Callable[[Place], int], devices: Sequence[Device] | None = None
) -> tuple[Place, str | None]:
    """The device that `--device` means here, and a warning or None. Raises `ConfigError`.

    Of several GPUs, `auto` takes the one with the fewest runs in line (`length` counts them), then the one
    with the least memory in use.
    """
    there = list_devices() if devices is None else devices
    gpus = [device for device in there if device.key.startswith("cuda")]
    if not gpus and wanted not in ("cpu", "mps") and any(path.exists() for path in DRIVERS):
        return Place(wanted), None  # a GPU that cannot be looked at from here: torch will choose
    if wanted == "auto" and gpus:
        best = min(gpus, key=lambda gpu: (length(Place(gpu.key, gpu.uuid)), _use(gpu)))
        return Place(best.key, best.uuid), None
    key, warning = choose_device(wanted, len(gpus), any(device.key == "mps" for device in there))
    return Place(key, next((gpu.uuid for gpu in gpus if gpu.key == key), None)), warning


def _use(gpu: Device) -> float:
    """Share of its memory that is in use; half where that is not known."""
    if gpu.memory_used is None or not gpu.memory_total:
        return 0.5
    return gpu.memory_used / gpu.memory_total
