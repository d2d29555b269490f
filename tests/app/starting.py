"""Starting a run in tests of screens: what was asked for is kept, and a run that stands still takes its place."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.world import World
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.launcher import Launched, Start
from eqprop_core.runs.places import Place
from eqprop_core.runs.settings import Plan


@dataclass
class Starts:
    """Plans that were started, each with how."""

    plans: list[Plan] = field(default_factory=list)
    wanted: list[Start] = field(default_factory=list)


def starts_of(world: World) -> Starts:
    """Keep what is started from now on."""
    kept = Starts()

    def start_new(plan: Plan, wanted: Start | None = None) -> tuple[RunFolder, Launched]:
        kept.plans.append(plan)
        kept.wanted.append(wanted or Start())
        run = world.run(name=plan.preset.name if plan.preset else "started")
        return run, Launched(Place("cpu"), ahead=(), warnings=())

    world.monkeypatch.setattr("eqprop_tui.app.start_new", start_new)
    return kept
