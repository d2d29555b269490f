"""The processes that train one run together: who this one is, and how they talk, by torch.distributed.

Each is told by its environment, as torchrun sets it, which of how many it is (its *rank*, from 0). Rank 0
owns the run and alone writes into its folder; the others follow. Where one of them dies, the others end: a
sum that it should have been part of cannot be had any more.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from eqprop_core.problems import ConfigError, Problem, printable
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.places import Place, in_words

if TYPE_CHECKING:
    from torch import Tensor

    from eqprop_core.config import RunConfig
    from eqprop_core.learning.sharing import Group
    from eqprop_core.runs.settings import Plan

TOLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TO_MEET = timedelta(minutes=5)
TO_ANSWER = timedelta(minutes=30)  # rank 0 may be busy alone: with a check, pictures, a slow disk
SECONDS_TO_LEAVE = 5.0  # for a GPU's library to let go
SECONDS_TO_REPORT = 3.0  # in which those that are left say that they are


class ProcessLostError(RunError):
    """Another process of the run is gone."""


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


def _counted(name: str, environment: Mapping[str, str], least: int, most: int = 1_000_000) -> int:
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
def joined(here: Rank) -> Iterator[Group]:
    """Meet the other processes; the group is there until all of them are done, or one of them fails.

    What ends this process is told to the others. Raises `ProcessLostError` where another is gone, and
    `RunError` where they cannot meet.
    """
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    from eqprop_core.learning.sharing import Group

    try:
        if gpus := torch.cuda.device_count():
            torch.cuda.set_device(here.local % gpus)
        store, _, _ = next(rendezvous("env://", timeout=TO_MEET))
        store = PrefixStore("eqprop", store)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus and distributed.is_nccl_available() else "gloo",
            store=store,
            rank=here.rank,
            world_size=here.size,
            timeout=TO_ANSWER,
        )
    except (RuntimeError, ValueError) as error:  # no connection, or a GPU that cannot be used
        raise RunError(f"the {here.size} processes of the run cannot meet: {_first_line(error)}") from None
    talk = _Talk(here, store)
    try:
        yield Group(here.rank, here.size, talk.add, talk.gather)
        talk.gather(None)  # rank 0 has written everything
    except BaseException as error:
        talk.report(error)
        raise
    finally:
        talk.leave()


class _Talk:
    """What processes say to each other; where one is gone, what is raised names it."""

    def __init__(self, here: Rank, store: Any) -> None:
        self._here = here
        self._store = store
        self._open = True

    def add(self, values: Tensor) -> None:
        """Put the sum over all processes into `values`."""
        from torch import distributed

        self._together(lambda: distributed.all_reduce(values))

    def gather(self, said: Any) -> list[Any]:
        """What each process says, by rank."""
        from torch import distributed

        found: list[Any] = [None] * self._here.size
        self._together(lambda: distributed.all_gather_object(found, said))
        return found

    def _together(self, work: Callable[[], object]) -> None:
        try:
            work()
        except RuntimeError as error:  # torch's errors of connections and of time that ran out
            raise self._lost(error) from None

    def _lost(self, error: RuntimeError) -> ProcessLostError:
        """Name the processes that are gone: those that do not say that they are left."""
        self.leave()  # who waits for this process hears of it now
        with suppress(Exception):
            self._store.set(f"left/{self._here.rank}", "")
        lost = f"the {self._here.size} processes of the run have lost each other ({_first_line(error)})"
        others = [rank for rank in range(self._here.size) if rank != self._here.rank]
        # Rank 0 says it all; the others end at once, so that those who wait for them hear of it.
        deadline = time.monotonic() + (0.0 if self._here.rank else SECONDS_TO_REPORT)
        try:
            while True:
                if failed := [rank for rank in others if self._store.check([f"failed/{rank}"])]:
                    why = self._store.get(f"failed/{failed[0]}").decode()
                    return ProcessLostError(f"process {failed[0]} of {self._here.size} (from 0) ended: {why}")
                silent = [rank for rank in others if not self._store.check([f"left/{rank}"])]
                if not silent or time.monotonic() >= deadline:
                    break
                time.sleep(0.05)
        except Exception:  # the store is gone, too
            return ProcessLostError(lost)
        if not silent or self._here.rank:
            return ProcessLostError(lost)
        which = f"process {silent[0]}" if len(silent) == 1 else f"processes {' and '.join(map(str, silent))}"
        verb = "is" if len(silent) == 1 else "are"
        return ProcessLostError(
            f"{which} of {self._here.size} (from 0) {verb} gone: killed, or without a connection; "
            "resuming goes on from the last checkpoint"
        )

    def report(self, error: BaseException) -> None:
        """Tell the others why this process ends."""
        if not isinstance(error, ProcessLostError):
            with suppress(Exception):
                self._store.set(f"failed/{self._here.rank}", str(error) or type(error).__name__)

    def leave(self) -> None:
        """Close what joins this process with the others, so that they hear of it."""
        from torch import distributed

        def close() -> None:
            with suppress(Exception):
                distributed.destroy_process_group()

        if not self._open:
            return
        self._open = False
        backends = {part.rpartition(":")[2] for part in distributed.get_backend().split(",")}
        if backends == {"gloo"}:
            close()
        else:  # a GPU's library may wait for the one that is lost; with this process, it ends, too
            closing = threading.Thread(target=close, name="leaves the others", daemon=True)
            closing.start()
            closing.join(SECONDS_TO_LEAVE)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]


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
