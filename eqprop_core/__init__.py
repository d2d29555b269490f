"""The science and the runs of eqprop: networks that settle, EP and BPTT gradients, and folders of runs.

Names that need torch are imported when they are first asked for, so that the front ends stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eqprop_core.config import ModelConfig, RunConfig
    from eqprop_core.learning.bptt import bptt_gradients
    from eqprop_core.learning.equilibrium import ep_gradients
    from eqprop_core.learning.gdu import GduResult, gdu_check
    from eqprop_core.networks.network import Network, build_network
    from eqprop_core.problems import ConfigError

__version__ = "0.1.0"

_HOMES = {
    "ConfigError": "eqprop_core.problems",
    "GduResult": "eqprop_core.learning.gdu",
    "ModelConfig": "eqprop_core.config",
    "Network": "eqprop_core.networks.network",
    "RunConfig": "eqprop_core.config",
    "bptt_gradients": "eqprop_core.learning.bptt",
    "build_network": "eqprop_core.networks.network",
    "ep_gradients": "eqprop_core.learning.equilibrium",
    "gdu_check": "eqprop_core.learning.gdu",
}

__all__ = [
    "ConfigError",
    "GduResult",
    "ModelConfig",
    "Network",
    "RunConfig",
    "bptt_gradients",
    "build_network",
    "ep_gradients",
    "gdu_check",
]


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
