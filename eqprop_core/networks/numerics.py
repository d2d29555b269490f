"""How a network computes: what is exact and only a matter of speed, and what is accelerated, by name.

`layouts`, `poolings`, `unpooling`, `joined` and `checkpointed` leave the trajectory as it is, but for the
last bits.
`tol`, `updates`, `precision` and `compiled` settle otherwise: within a tolerance, or by another way to one of
the same fixed points; where there are several, as with max pooling, often to another one (docs/speed.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError

from eqprop_core.networks.connections import Unpooling

Layout = Literal["contiguous", "channels-last"]
Updates = Literal["sync", "async"]
Precision = Literal["fp32", "tf32", "bf16"]
Drawn = Literal["cpu", "device"]

MEMORY_FORMATS: dict[Layout, torch.memory_format] = {
    "contiguous": torch.contiguous_format,
    "channels-last": torch.channels_last,
}


@dataclass(frozen=True)
class Numerics:
    """Choices that a run makes once, records and keeps.

    `layouts` has the memory format of what each connection sees as maps (none: contiguous), `poolings` that
    in which each finds maxima (none: the same), `unpooling` how values get back to the places of maxima,
    `joined` whether both nudged signs are settled in one batch, `masks` where those of dropout are drawn (on
    either, others). `tol` ends phases sample by sample, `updates` is `async` where odd and even layers take
    turns, `precision` that of the products of a time step, `compiled` whether the time step goes through
    torch.compile. `checkpointed` makes BPTT compute time steps twice instead of remembering all that is in
    them.
    """

    layouts: tuple[Layout, ...] = ()
    poolings: tuple[Layout, ...] = ()
    unpooling: Unpooling = "gradient"
    joined: bool = False
    masks: Drawn = "cpu"
    checkpointed: bool = False
    tol: float | None = None
    updates: Updates = "sync"
    precision: Precision = "fp32"
    compiled: bool = False

    @property
    def exact(self) -> bool:
        """Whether states follow the trajectory of the dynamics step by step, in float32."""
        return self.tol is None and self.updates == "sync" and self.precision == "fp32"

    def exactly(self) -> Numerics:
        """The same without what is accelerated."""
        return replace(self, tol=None, updates="sync", precision="fp32", compiled=False)

    def document(self) -> dict[str, Any]:
        """Plain values, for files."""
        return {**asdict(self), "layouts": list(self.layouts), "poolings": list(self.poolings)}

    def words(self) -> str:
        """What is accelerated, as flags; `exact` where nothing is."""
        flags = []
        if self.tol is not None:
            flags.append(f"--tol {self.tol:g}")
        if self.updates != "sync":
            flags.append(f"--updates {self.updates}")
        if self.precision != "fp32":
            flags.append(f"--precision {self.precision}")
        if self.compiled:
            flags.append("--compile")
        return " ".join(flags) or "exact"


def read_numerics(document: object) -> Numerics | None:
    """What `document` wrote, or None where it is nothing of the kind."""
    if not isinstance(document, Mapping):
        return None
    try:
        return TypeAdapter(Numerics).validate_python(dict(document))
    except (ValidationError, TypeError):
        return None
