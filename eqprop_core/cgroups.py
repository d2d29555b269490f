"""What Linux control groups grant this process: cores and memory.

A limit holds for a group and all groups inside it, and a scheduler's or a container's may lie deep. So all
are asked, from that of this process outward, in both versions, which may be mounted side by side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")  # lines `number:controllers:path`; of version 2 without controllers
MOUNTS = Path("/proc/self/mountinfo")
USUAL = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """Bytes that are granted, and those of them that are not used; `None` where there is no limit."""

    limit: int | None
    free: int | None


def cores() -> int | None:
    """Cores that are granted, parts of one rounded up: by quota of time, or by number. None for no limit."""
    granted = [share for group in _groups("cpu") if (share := _share(group)) is not None]
    granted += [count for group in _groups("cpuset") if (count := _numbered(group))]
    return max(1, math.ceil(min(granted))) if granted else None


def memory() -> Memory:
    """The least limit of memory of all groups, and the least that is free within one of them."""
    limits, free = [], []
    for group in _groups("memory"):
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        if limit is None or limit >= 2**60:  # what version 1 says where there is none
            continue
        limits.append(limit)
        used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
        if used is not None:
            free.append(max(0, limit - max(0, used - _given_back(group))))
    return Memory(min(limits, default=None), min(free, default=None))


def _share(group: Path) -> float | None:
    """Cores' worth of time in a group."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        granted, period = _text(group / "cpu.max").split()
        return int(granted) / int(period) if granted != "max" else None
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota = int(_text(group / "cpu.cfs_quota_us"))  # -1 for none
        return quota / int(_text(group / "cpu.cfs_period_us")) if quota > 0 else None
    return None


def _numbered(group: Path) -> int:
    """How many cores a group names, as `0-3,8`; 0 where it names none."""
    for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
        with suppress(OSError, ValueError):
            spans = [part.split("-") for part in _text(group / name).strip().split(",") if part]
            return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)
    return 0


def _given_back(group: Path) -> int:
    """Bytes of files that are in memory only for as long as nobody else needs the place."""
    with suppress(OSError, ValueError):
        found = re.findall(r"^(?:total_)?inactive_file (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
        return max(map(int, found), default=0)
    return 0


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):  # not there; "max"
        return int(_text(path))
    return None


def _text(path: Path) -> str:
    return path.read_text()


def _groups(controller: str) -> Iterator[Path]:
    """Folders of this process's group and of those around it, of either version; always the outermost."""
    for line in (*_lines(GROUPS), "0::/"):
        _, names, place = [*line.split(":", 2), "", ""][:3]
        if not place.startswith("/") or controller not in (names or controller).split(","):
            continue
        for root, point in _mounts(controller, names):
            # Of a path above what is mounted (`/../..`, in a namespace) the outermost group is all there is.
            parts = [part for part in _below(root, place).split("/") if part not in ("", ".", "..")]
            inner = point.joinpath(*parts)
            yield from (group for group in (inner, *inner.parents) if group.is_relative_to(point))


def _below(root: str, place: str) -> str:
    """The path of a group in what is mounted there; as it stands where it is not inside that."""
    root = root.rstrip("/")
    return place[len(root) :] if f"{place}/".startswith(f"{root}/") else place


def _mounts(controller: str, names: str) -> dict[tuple[str, Path], None]:
    """Where the groups of a line of `GROUPS` may be: the path of what is mounted, and where it is."""
    usual = [names, controller, ",".join(reversed(names.split(",")))] if names else ["", "unified"]
    found = {("/", USUAL / name): None for name in usual}
    for line in _lines(MOUNTS):
        before, _, after = line.partition(" - ")
        mount, system = before.split(" "), [*after.split(" "), "", "", ""][:3]
        fits = controller in system[2].split(",") if names else True
        if len(mount) > 4 and system[0] == ("cgroup" if names else "cgroup2") and fits:
            found[_plain(mount[3]), Path(_plain(mount[4]))] = None
    return found


def _lines(path: Path) -> list[str]:
    with suppress(OSError, ValueError):
        return _text(path).splitlines()
    return []


def _plain(text: str) -> str:
    """A path of `MOUNTS`, where spaces and the like are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
