"""`eqprop devices`: where a run could go."""

from __future__ import annotations

from dataclasses import asdict

from eqprop_core.devices import list_devices
from eqprop_tui.cli import report
from eqprop_tui.cli.flags import AsJson


def devices(as_json: AsJson = False) -> None:
    """List CPUs and GPUs with their memory and load."""
    found = list_devices()
    if as_json:
        report.put_json([asdict(device) for device in found])
        return
    table = report.plain_table()
    table.add_column("device")
    table.add_column("name")
    for name in ("cores", "memory", "load"):
        table.add_column(name, justify="right")
    table.add_column("note")
    for device in found:
        table.add_row(
            device.key,
            device.name,
            "" if device.cores is None else str(device.cores),
            memory(device.memory_used, device.memory_total),
            "n/a" if device.load is None else f"{100 * device.load:.0f} %",
            device.note or "",
        )
    report.console().print(table)


def memory(used: int | None, total: int | None) -> str:
    """`2.1 / 80.0 GB`, with n/a for what is not known."""
    shown = ["n/a" if value is None else f"{value / 2**30:.1f}" for value in (used, total)]
    return "n/a" if used is None and total is None else f"{shown[0]} / {shown[1]} GB"
