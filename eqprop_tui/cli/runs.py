"""`eqprop runs`: look at runs, steer them and tend them, from any terminal."""

from __future__ import annotations

import typer

from eqprop_tui.cli import comparing, listing, pruning, records, showing, steer

app = typer.Typer(help="List, watch, steer and tend runs.", no_args_is_help=True)

app.command("list")(listing.list_all)
app.command()(showing.show)
app.command()(steer.attach)
app.command()(steer.tail)
app.command()(steer.stop)
app.command()(steer.pause)
app.command()(steer.resume)
app.command()(steer.checkpoint)
app.command()(steer.check)
app.command("set")(steer.change)
app.command()(records.note)
app.command()(comparing.compare)
app.command()(records.export)
app.command("prune")(pruning.prune_runs)
app.command()(records.delete)
