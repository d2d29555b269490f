"""What rank 0 knows of the processes that train with it, and tells them before the first batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from eqprop_core.learning.sharing import Group
from eqprop_core.learning.trainer import Trainer
from eqprop_core.worker import checkpoint
from eqprop_core.worker.preparing import Prepared
from eqprop_core.worker.ranks import place_of, places_in_words
from eqprop_core.worker.recorded_data import check_alike


@dataclass(frozen=True)
class Together:
    """The processes of a run, `places` having the host and the device of each, by rank."""

    group: Group | None
    places: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, ready: Prepared, group: Group | None) -> Together:
        """All processes of the group, which have prepared the same; this one alone without a group."""
        here = place_of(ready.label)
        if group is None:
            return cls(None, (here,))
        places = tuple((host, device) for host, device in group.gather(here))
        check_alike(ready.data, group.gather(ready.data.document()), [host for host, _ in places])
        return cls(group, places)

    @property
    def processes(self) -> int:
        """How many there are."""
        return len(self.places)

    @property
    def label(self) -> str:
        """Their devices in words."""
        return self.places[0][1] if self.group is None else places_in_words(self.places)

    def tell(self, ready: Prepared, trainer: Trainer) -> None:
        """Put the other processes where this one stands."""
        if self.group is not None:
            self.group.tell(
                {
                    "processes": self.processes,
                    "threads": torch.get_num_threads(),
                    "choices": ready.net.numerics.document(),
                }
            )
            self.group.hand_out(checkpoint.packed(trainer.state()), 0)
