"""`eqprop devices`: where a run could go."""

from __future__ import annotations

from dataclasses import asdict

from eqprop_core.devices import driver_trouble, list_devices
from eqprop_tui.cli import report
from eqprop_tui.cli.report import AsJson
from eqprop_tui.words import memory, share


def devices(as_json: AsJson = False) -> None:
    """List CPUs and GPUs with their memory and load."""
    found = list_devices()
    if not any(device.key.startswith("cuda") for device in found) and (trouble := driver_trouble()):
        report.say(f"warning: no NVIDIA GPU can be used; of the driver: {trouble}")
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
            share(device.load),
            device.note or "",
        )
    report.console().print(table)
