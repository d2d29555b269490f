"""`eqprop runs`: look at runs and steer them, from any terminal."""

from __future__ import annotations

import typer

from eqprop_tui.cli import listing, records, steer

app = typer.Typer(help="List, watch and steer runs.", no_args_is_help=True)

app.command("list")(listing.list_all)
app.command()(listing.show)
app.command()(steer.attach)
app.command()(steer.tail)
app.command()(steer.stop)
app.command()(steer.pause)
app.command()(steer.resume)
app.command()(steer.checkpoint)
app.command()(steer.check)
app.command("set")(steer.change)
app.command()(records.delete)
