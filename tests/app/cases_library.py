"""What the keys of the library do."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

from app.starting import starts_of
from app.world import World, case
from eqprop_core.command_line import command_line
from eqprop_core.preset_files import own_folder, write_preset
from eqprop_core.presets import load_preset
from eqprop_tui.app import EqpropApp
from eqprop_tui.screens.configure import ConfigureScreen
from eqprop_tui.screens.library import LibraryScreen

OWN = 'title = "My own"\n\n[config]\ntask = "digits"\narchi = [64, 16, 10]\nlrs = [0.1, 0.05]\nepochs = 2\n'


def own(name: str = "mine", text: str = OWN) -> Path:
    """A preset of one's own."""
    return write_preset(own_folder(here=False) / f"{name}.toml", text).path


async def choose(world: World, app: EqpropApp, name: str) -> LibraryScreen:
    """Put the cursor on a preset."""
    screen = app.screen
    assert isinstance(screen, LibraryScreen)
    screen.shelf.go_to(name)
    await world.until(lambda: screen.chosen is not None and screen.chosen.name == name)
    return screen


@case("library", "configure")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await choose(world, app, "digits-mlp-bptt")
        await world.press(press)
        await world.until(lambda: isinstance(app.screen, ConfigureScreen))
        await world.sees("from digits-mlp-bptt", "no changes")


@case("library", "run")
async def _(world: World, press: str) -> None:
    starts = starts_of(world)
    async with world.open() as app:
        await choose(world, app, "digits-mlp-ep")
        await world.press(press)
        await world.until(lambda: type(app.screen).__name__ == "MonitorScreen")
    assert [plan.preset.name for plan in starts.plans if plan.preset] == ["digits-mlp-ep"]
    assert starts.plans[0].config == load_preset("digits-mlp-ep").run_config()


@case("library", "copy")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await choose(world, app, "digits-mlp-ep")
        await world.press(press)
        await world.sees("copy digits-mlp-ep to")
        await world.press("ctrl+u", *"mnist-mlp-ep")
        await world.sees("has the name mnist-mlp-ep already")
        await world.press("enter")  # is refused
        await world.press("ctrl+u", *"again", "enter")
        await world.until(lambda: isinstance(app.screen, LibraryScreen))
        await world.sees("mine", "again")
        assert app.screen.chosen.name == "again"  # type: ignore[attr-defined]
    assert load_preset("again").config == load_preset("digits-mlp-ep").config


@case("library", "edit")
async def _(world: World, press: str) -> None:
    path = own()
    program = world.home / "editor.py"
    changed = OWN.replace("My own", "Mended")
    program.write_text(f"import pathlib, sys\npathlib.Path(sys.argv[1]).write_text({changed!r})\n")
    world.monkeypatch.setenv("VISUAL", shlex.join([sys.executable, str(program)]))
    async with world.open() as app:
        world.monkeypatch.setattr(app, "suspend", nullcontext)
        await choose(world, app, "digits-mlp-ep")
        await world.press(press)  # a shipped one stays as it is
        await choose(world, app, "mine")
        await world.press(press)
        await world.sees("Mended")
    assert path.read_text() == changed


@case("library", "delete")
async def _(world: World, press: str) -> None:
    path = own()
    async with world.open() as app:
        await choose(world, app, "mine")
        await world.press(press)
        await world.sees("delete mine?")
        await world.press("enter")  # the first answer keeps it
        assert path.exists()
        await world.press(press)
        await world.sees("delete mine?")
        await world.press("d")
        await world.until(lambda: not path.exists())
        assert " mine " not in world.screen()


@case("library", "copy_command")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await choose(world, app, "digits-mlp-ep")
        await world.press(press)
    assert world.copied == [f"eqprop train {command_line(load_preset('digits-mlp-ep').run_config())}"]


@case("library", "filter")
async def _(world: World, press: str) -> None:
    async with world.open():
        await world.press(press, *"continual MNIST")
        await world.until(lambda: "digits-mlp-ep" not in world.screen())
        await world.sees("mnist-mlp-continual-ep", "MNIST: continual EP")


@case("library", "clear")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await choose(world, app, "mnist-mlp-ep")
        await world.press("slash", *"continual")
        await world.until(lambda: "digits-mlp-ep" not in world.screen())
        await world.press(press)
        await world.sees("digits-mlp-ep", "mnist-cnn-ep")
        assert app.focused is app.screen.query_one("#presets")


@case("library", "scroll(1)")
async def _(world: World, press: str) -> None:
    async with world.open(size=(80, 24)) as app:
        await choose(world, app, "mnist-mlp-ep")
        await world.press(press)
        await world.until(lambda: app.screen.query_one("#about").scroll_y > 0)


@case("library", "scroll(-1)")
async def _(world: World, press: str) -> None:
    async with world.open(size=(80, 24)) as app:
        await choose(world, app, "mnist-mlp-ep")
        about = app.screen.query_one("#about")
        await world.press("J")
        await world.until(lambda: about.scroll_y > 0)
        await world.press(press)
        await world.until(lambda: about.scroll_y == 0)


@case("library", "unusable")
async def _(world: World, press: str) -> None:
    path = own()
    path.with_name("wrong.toml").write_text("[config]\nepoch = 1\n[bold]\n")
    async with world.open():
        await world.sees("1 file cannot be used")
        await world.press(press)
        await world.sees("did you mean epochs", "accepted are title")


@case("library", "runs")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await world.press(press)
        await world.until(lambda: type(app.screen).__name__ == "RunsScreen")


@case("library", "leave")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await world.press(press)
        assert not app.is_running or app._exit
