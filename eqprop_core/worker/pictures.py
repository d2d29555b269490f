"""The pictures of a run: accuracy by epoch, neural activity, and what a GDU check came to.

Knows when there is time to draw them, and nothing of events: what cannot be drawn raises one of
`DRAWING_ERRORS`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.events import Activity
from eqprop_core.files import make_folder
from eqprop_core.learning.gdu import GduResult
from eqprop_core.runs import names
from eqprop_core.worker.figures import GduArrays, draw_accuracy, draw_activity, draw_gdu, save_gdu

FIGURE_SHARE = 0.01  # of the time, while training
SECONDS_TO_DRAW = 0.3  # as long as it has not been measured
DRAWING_ERRORS = (OSError, ValueError, RuntimeError, MemoryError)  # a picture is never worth a run


class Pictures:
    """Draws into the folder `path`; `expected` is a published accuracy in per cent, drawn as a line.

    `activity` and `gdu` are the latest that were seen, None as long as there are none, or none that is to be
    saved.
    """

    def __init__(self, path: Path, config: RunConfig, *, expected: float | None = None) -> None:
        self.path = path
        self.config = config
        self.expected = expected
        self.activity: Activity | None = None
        self.gdu: GduResult | None = None
        self._spent = 0.0  # seconds, in all
        self._last = SECONDS_TO_DRAW

    def affordable(self, seconds: float) -> bool:
        """Whether drawing once more takes no more than its share of the `seconds` that the work has taken."""
        return self._spent + self._last <= FIGURE_SHARE * seconds

    def draw(self, histories: Mapping[str, Sequence[float | None]]) -> None:
        """Draw accuracies in per cent by epoch (`train`, `validation`, `test`), and the latest activity."""
        begun = time.monotonic()
        title = f"{self.config.model} · {self.config.task} · {self.config.alg} · {self.config.loss}"
        try:
            accuracies = {part: histories[part] for part in ("train", "validation", "test")}
            draw_accuracy(self.path / names.ACCURACY_FIGURE, accuracies, title=title, expected=self.expected)
            if self.activity is not None:
                where = f"{title} · epoch {self.activity.epoch}"
                draw_activity(self.path / names.ACTIVITY_FIGURE, self.activity.layers, title=where)
        finally:
            self._last = time.monotonic() - begun
            self._spent += self._last

    def save_gdu(self) -> None:
        """Write the arrays of the latest GDU check into `gdu/`, unless they are there."""
        if self.gdu is None:
            return
        assert self.config.seed is not None
        make_folder(self.path / names.GDU)
        save_gdu(
            self.path / names.GDU,
            _arrays(self.gdu),
            seed=self.config.seed,
            all_elements=self.config.all_elements,
        )
        self.gdu = None

    def draw_gdu(self) -> None:
        """Write and draw the latest GDU check, also one that a process before this one has written."""
        self.save_gdu()
        if (self.path / names.GDU).is_dir():
            make_folder(self.path / names.GDU)  # no link to another
            draw_gdu(self.path / names.GDU)


def _arrays(result: GduResult) -> GduArrays:
    def numpy(rows: dict[str, Tensor]) -> dict[str, Any]:
        return {name: values.detach().cpu().numpy() for name, values in rows.items()}

    return GduArrays(
        ep=numpy(result.ep),
        bptt=numpy(result.bptt),
        ep_plus=numpy(result.ep_plus) if result.ep_minus else {},
        ep_minus=numpy(result.ep_minus),
        beta=result.beta,
        symmetric=bool(result.ep_minus),
        rmse=result.rmse,
        sign_error=result.sign_error,
        cosine=result.cosine,
        norm_ratio=result.norm_ratio,
        size=result.size,
        readout=result.readout,
    )
