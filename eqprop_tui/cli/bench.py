"""`eqprop bench`: how long a training takes here, and what makes it faster."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from eqprop_core.config import settings_of
from eqprop_core.devices import list_devices
from eqprop_core.estimate import Measured, measured_as, remember
from eqprop_core.private import use_own_folders
from eqprop_core.runs.settings import make_plan
from eqprop_core.runs.starting import check_sizes
from eqprop_tui.cli import report
from eqprop_tui.cli.flags import with_flags
from eqprop_tui.cli.presets import pick_preset
from eqprop_tui.cli.work import AsJson, PresetName
from eqprop_tui.words import in_unit, memory_size, pace

Timed = dict[str, float]  # median, shortest, longest, in seconds


@with_flags(settings_of("bench"))
def bench(
    flags: dict[str, Any],
    preset: PresetName = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=1000, help="measure each so often")] = 5,
    baseline: Annotated[
        bool, typer.Option("--baseline/--no-baseline", help="measure autograd of Φ at every time step too")
    ] = True,
    accelerations: Annotated[
        bool, typer.Option("--accelerations/--no-accelerations", help="measure every acceleration too")
    ] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="measure only how long the run would take, in seconds")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a training of a preset or of flags on this device; weights are those of --load-path, if given.

    How long a batch takes is remembered, for the application. With a large network and large batches this
    takes a while: --mbs makes it shorter, --quick measures only what that needs.
    """
    plan = make_plan("train", flags, pick_preset(preset) if preset else None, ("eqprop", *sys.argv[1:]))
    check_sizes(plan.config)
    report.say("measuring …" if quick else f"measuring, {repeat} times each …")
    use_own_folders()
    from eqprop_core.worker.benching import benchmark, quick_benchmark

    if quick:
        found = quick_benchmark(plan)
    else:
        found = benchmark(plan, repeat=repeat, baseline=baseline, accelerate=accelerations)
    here = [device for device in list_devices() if device.key == found["machine"]["device"]]
    if name := measured_as(plan.config.changed(device=found["machine"]["device"]), here):
        remember(name, Measured(**found["measured"]))
    for warning in found["warnings"]:
        report.say(f"warning: {warning}")
    if as_json:
        report.put_json(found)
    elif quick:
        show_quick(found)
    else:
        show(found)


def show_quick(found: dict[str, Any]) -> None:
    """Print how long a training takes."""
    _show_machine(found)
    batch, image = found["measured"]["batch"], found["measured"]["image"]
    report.put(f"a training batch takes {in_unit(batch)}, the evaluation of an image {in_unit(image)}")
    _show_estimate(found)


def _show_machine(found: dict[str, Any]) -> None:
    machine = found["machine"]
    report.put(
        f"{machine['device']} ({machine['device_name']}), {machine['threads']} threads, torch "
        f"{machine['torch']}; batches of {found['images']} images, {found['weights']}"
    )


def _show_estimate(found: dict[str, Any]) -> None:
    epoch, run = pace(found["epoch"]), pace(found["run"])
    report.put(f"an epoch with its evaluation takes about {epoch}, the run {run}")


def show(found: dict[str, Any]) -> None:
    """Print a benchmark as tables."""
    _show_machine(found)
    layouts = found["choices"]["layouts"]
    if "channels-last" in layouts:
        report.put(f"memory formats: {', '.join(layouts)}")
    report.put()
    table = report.plain_table()
    table.add_column("exact")
    for name in ("median", "shortest", "longest"):
        table.add_column(name, justify="right")
    rows: dict[str, Timed] = dict(found["pieces"])
    rows["training batch"] = found["batch"]
    if found["products"] is not None:
        rows["its products alone"] = found["products"]
    if found["baseline"] is not None:
        rows["the batch by autograd of Φ"] = found["baseline"]
    for name, timed in rows.items():
        table.add_row(name, *(in_unit(timed[part]) for part in ("median", "shortest", "longest")))
    report.console().print(table)
    report.put()
    if found["roof"] is not None:
        report.put(f"products alone take {100 * found['roof']:.0f} % of the batch")
    if found["ratio"] is not None:
        report.put(f"autograd of Φ at every time step takes {found['ratio']:.2f} times as long")
    speed = found["images"] / found["batch"]["median"]
    report.put(f"{speed:,.0f} images/s; at most {memory_size(found['memory'])} of memory in use")
    _show_estimate(found)
    if found["accelerations"]:
        report.put()
        _show_accelerations(found["accelerations"])
        report.put()
        report.put(f"--fast would take: {found['fast']['flags']}, on these weights")


def _show_accelerations(ways: list[dict[str, Any]]) -> None:
    """Speed-ups, the norm of the gradient against that of the exact one, and cosines by connection."""
    table = report.plain_table()
    table.add_column("settling and gradient")
    for name in ("median", "speed-up", "time steps", "norm"):
        table.add_column(name, justify="right")
    for number in range(len(ways[0]["connections"])):
        table.add_column(f"cos {number}", justify="right")
    for way in ways:
        steps = " + ".join(f"{count:.0f}" for count in way["steps"].values())
        table.add_row(
            way["flags"],
            in_unit(way["seconds"]["median"]),
            f"{way['speedup']:.2f}",
            steps,
            f"{way['ratio']:.3f}",
            *(f"{value:.4f}" for value in way["connections"]),
        )
    report.console().print(table)
