"""The processes that train one run together: who this one is, and how it meets the others.

Which of how many each is (its *rank*, from 0) says `--nproc`'s process where that has started it, or else its
environment, as torchrun sets it. Rank 0 owns the run and alone writes into its folder; the others follow.
Where one of them dies, the others end: a sum that it should have been part of cannot be had any more.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eqprop_core.problems import ConfigError, Problem, printable
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.places import MOST_PROCESSES, Place, in_words
from eqprop_core.worker.by_torch import first_line
from eqprop_core.worker.machines import Machines
from eqprop_core.worker.neighbours import Links, Neighbours
from eqprop_core.worker.patience import ProcessLostError
from eqprop_core.worker.signals import Wishes

if TYPE_CHECKING:
    from eqprop_core.config import RunConfig
    from eqprop_core.learning.sharing import Group
    from eqprop_core.runs.settings import Plan

TOLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Rank:
    """This process: `rank`, from 0, of `size`; on its machine it is `local`, from 0, of `beside`."""

    rank: int
    size: int
    local: int
    beside: int

    def place(self, wanted: str, devices: str | None) -> Place:
        """Where this process computes; its key is what that is called outside.

        `devices` are those of this machine that were chosen for the run, `cpu` or a GPU for each process,
        with commas between them. Without them `--device` is `wanted`, whose `auto` and `cuda` are a GPU for
        each process here; `auto` is the CPU where there are none. Raises `ConfigError`.
        """
        import torch

        names = devices.split(",") if devices else []
        if names:
            wanted = "cpu" if names[0] == "cpu" else "cuda"
        found = self._device(wanted, torch.cuda.device_count())
        return Place(names[self.local] if len(names) > self.local else found, seen_as=found)

    def _device(self, wanted: str, gpus: int) -> str:
        if wanted == "cpu" or (wanted == "auto" and not gpus):
            return "cpu"
        if wanted not in ("auto", "cuda"):
            raise ConfigError(
                [
                    Problem(
                        "device",
                        wanted,
                        f"is one device, for {self.size} processes; accepted are auto, cuda and cpu, with "
                        "CUDA_VISIBLE_DEVICES (or --devices of eqprop train) naming the GPUs",
                    )
                ]
            )
        if self.beside > gpus:
            there = ", ".join(f"cuda:{n}" for n in range(gpus)) or "none that torch can use"
            raise ConfigError(
                [
                    Problem(
                        "device",
                        wanted,
                        f"{self.beside} processes of this machine need a GPU each; there are {there}",
                    )
                ]
            )
        return f"cuda:{self.local}"


def rank_here(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """Which process of a run this one is, None where it is the only one.

    Raises `ConfigError` for variables that are not as torchrun sets them.
    """
    if not {"RANK", "WORLD_SIZE"} & environment.keys():
        return None  # what is left of another program, as MASTER_ADDR, says nothing
    size = _counted("WORLD_SIZE", environment, 1)
    rank = _counted("RANK", environment, 0, size - 1)
    if size == 1:
        return None
    beside = _counted("LOCAL_WORLD_SIZE", environment, 1, size)
    local = _counted("LOCAL_RANK", environment, 0, beside - 1)
    _counted("MASTER_PORT", environment, 1, 65_535)
    if not environment.get("MASTER_ADDR", "").strip():
        raise _untold("MASTER_ADDR", environment, "must be the name or address of the machine of rank 0")
    return Rank(rank, size, local, beside)


def _counted(name: str, environment: Mapping[str, str], least: int, most: int = MOST_PROCESSES) -> int:
    """The whole number that a variable holds."""
    value = environment.get(name, "").strip()
    if value.isascii() and value.isdecimal() and len(value) < 10 and least <= int(value) <= most:
        return int(value)
    raise _untold(name, environment, f"must be a whole number from {least:,} to {most:,}")


def _untold(name: str, environment: Mapping[str, str], rule: str) -> ConfigError:
    given = environment.get(name)
    what = "is not set" if given is None else f"is {printable(given)[:60] or 'empty'}"
    message = (
        f"{what}, and {rule}; torchrun sets {', '.join(TOLD)}, and a process that trains alone has neither "
        f"RANK nor WORLD_SIZE"
    )
    return ConfigError([Problem("config", f"the variable {name}", message)])


@contextmanager
def joined(here: Rank, wishes: Wishes, links: Links | None = None) -> Iterator[Group]:
    """Meet the other processes; the group is there until all of them are done, or one of them fails.

    With `links` all are on this machine. What ends this process is told to the others. Raises
    `ProcessLostError` where another is gone or does not go on, and `RunError` where they cannot meet.
    """
    import torch

    from eqprop_core.learning.sharing import Group

    def stops() -> bool:
        return wishes.stop is not None

    try:
        if gpus := torch.cuda.device_count():
            torch.cuda.set_device(here.local % gpus)
        talk = Machines(here, stops) if links is None else Neighbours(links, stops)
    except RunError:
        raise
    except (RuntimeError, ValueError, OSError) as error:  # no connection, or a GPU that cannot be used
        raise RunError(f"the {here.size} processes of the run cannot meet: {first_line(error)}") from None
    group = Group(here.rank, here.size, talk.add, talk.gather, talk.hand_out, leaving=stops)
    talk.patience.leaving = lambda: group.leaving()
    try:
        yield group
        if not group.parted:
            talk.gather(None)  # rank 0 has written everything
    except ProcessLostError:
        raise
    except BaseException as error:
        talk.report(error)
        raise
    finally:
        talk.leave()


def refuse_idle(config: RunConfig, processes: int) -> None:
    """Raise `ConfigError` for processes that would never have an image to train on."""
    if processes > config.mbs:
        raise ConfigError(
            [Problem("mbs", config.mbs, f"is less than an image for each of {processes} processes")]
        )


def told(plan: Plan, group: Group) -> Plan:
    """The plan of rank 0 with a seed, which the other processes have been told."""
    if plan.config.seed is None:
        plan = replace(plan, config=plan.config.changed(seed=secrets.randbelow(2**31)))
    group.tell(plan.config.model_dump(mode="json"))
    return plan


def places_in_words(places: Sequence[tuple[str, str]]) -> str:
    """Devices of all processes, each (host, device), in words: `2 × cpu`, `cuda:0, cuda:1`."""
    hosts = list(dict.fromkeys(host for host, _ in places))
    said = [(host, in_words([Place(device) for where, device in places if where == host])) for host in hosts]
    return said[0][1] if len(hosts) == 1 else "; ".join(f"{words} of {host}" for host, words in said)


def place_of(label: str) -> tuple[str, str]:
    """What a process says of where it is."""
    return socket.gethostname(), label
