"""Which device a run computes on, chosen without torch, so that its process is given that one alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eqprop_core.devices import Device, choose_here, list_devices
from eqprop_core.problems import ConfigError, Problem

MOST_PROCESSES = 4096  # of one run; more is a slip of the hand
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
    key, warning = choose_here(wanted, len(gpus), any(device.key == "mps" for device in there))
    return Place(key, next((gpu.uuid for gpu in gpus if gpu.key == key), None)), warning


def choose_places(
    wanted: str,
    nproc: int | None,
    named: str | None,
    images: int,
    length: Callable[[Place], int],
    devices: Sequence[Device] | None = None,
) -> tuple[tuple[Place, ...], str | None]:
    """The device of each process of a run, and a warning or None. Raises `ConfigError`.

    `named` are GPUs as `--devices` has them, a process each; otherwise it is `nproc` processes on the CPU, or
    one on what `--device` is `wanted`. Every process must get one of the `images` of a batch.
    """
    if named is not None and nproc is not None:
        raise ConfigError([Problem("nproc", nproc, "cannot go with --devices, which has a process a GPU")])
    there = list_devices() if devices is None else devices
    if named is not None:
        places = _named(named, [device for device in there if device.key.startswith("cuda")])
    elif nproc is not None and not 1 <= nproc <= MOST_PROCESSES:
        raise ConfigError([Problem("nproc", nproc, f"must be from 1 to {MOST_PROCESSES:,}")])
    elif nproc is not None and nproc > 1:
        if wanted not in ("auto", "cpu"):
            message = "is processes on the CPU; GPUs are named by --devices"
            raise ConfigError([Problem("nproc", nproc, f"{message} (--device is {wanted})")])
        places = (Place("cpu"),) * nproc
    else:
        place, warning = choose_place(wanted, length, there)
        return (place,), warning
    if len(places) > images:
        count = f"a batch (--mbs) has {images} images for {len(places)} processes; each needs one"
        raise ConfigError(
            [Problem("nproc", nproc, count) if named is None else Problem("devices", named, count)]
        )
    return places, None


def _named(named: str, gpus: Sequence[Device]) -> tuple[Place, ...]:
    """The GPUs that `--devices` names, in its order."""
    have = f"there are {', '.join(gpu.key for gpu in gpus)}" if gpus else "there is no GPU here"
    found: list[Place] = []
    for name in named.split(","):
        number = re.fullmatch(r"(?:cuda:)?([0-9]{1,6})", name.strip())
        if number is None:
            message = "must be GPUs with commas between them, as in 0,1; processes on the CPU: --nproc N"
            raise ConfigError([Problem("devices", named, message)])
        gpu = next((gpu for gpu in gpus if gpu.key == f"cuda:{int(number[1])}"), None)
        if gpu is None:
            raise ConfigError([Problem("devices", named, f"there is no GPU {number[1]}; {have}")])
        if any(place.key == gpu.key for place in found):
            raise ConfigError([Problem("devices", named, f"has {gpu.key} twice; a process needs its own")])
        found.append(Place(gpu.key, gpu.uuid))
    return tuple(found)


def environment_of(places: Sequence[Place]) -> dict[str, str]:
    """Variables that leave these devices alone to processes which each take one of them, in this order."""
    if len(places) == 1:
        return places[0].environment
    if places[0].key == "cpu":
        return {"CUDA_VISIBLE_DEVICES": ""}
    visible = [place.uuid or place.key.removeprefix("cuda:") for place in places]
    return {"CUDA_VISIBLE_DEVICES": ",".join(visible), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def in_words(places: Sequence[Place]) -> str:
    """Devices of processes of one machine: `2 × cpu`, `cuda:0, cuda:1`."""
    counts = Counter(place.key for place in places)
    return ", ".join(key if count == 1 else f"{count} × {key}" for key, count in counts.items())


def _use(gpu: Device) -> float:
    """Share of its memory that is in use; half where that is not known."""
    if gpu.memory_used is None or not gpu.memory_total:
        return 0.5
    return gpu.memory_used / gpu.memory_total
