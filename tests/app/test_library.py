"""The library as a screen: its tree, what it says of a preset, the first start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.events import Key
from textual.widgets import Input

from app.cases_library import choose, own
from app.starting import starts_of
from app.world import World
from eqprop_core.devices import Device
from eqprop_core.presets import all_presets
from eqprop_tui.commands import Commands
from eqprop_tui.library import divided, shortened
from eqprop_tui.preferences import save_preferences
from eqprop_tui.screens.library import LibraryScreen


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_one_key_starts_the_demo_at_the_first_start_and_only_that_says_so(world: World) -> None:
    starts = starts_of(world)

    async def first() -> None:
        async with world.open(size=(80, 24)) as app:
            await world.sees("First time? r trains digits")
            await world.press("r")
            await world.until(lambda: type(app.screen).__name__ == "MonitorScreen")

    async def later() -> None:
        async with world.open():
            await world.sees("start here")
            assert "First time" not in world.screen()

    asyncio.run(first())
    assert [plan.preset.name for plan in starts.plans if plan.preset] == ["digits-mlp-ep"]
    asyncio.run(later())


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (240, 70)])
def test_a_preset_is_told_with_what_it_needs(world: World, size: tuple[int, int]) -> None:
    async def act() -> None:
        async with world.open(size=size) as app:
            screen = await choose(world, app, "cifar10-cnn-cel-ep-symmetric")

            def words_of() -> str:
                text = screen.query_one("#about-text").render().plain  # type: ignore[attr-defined]
                return " ".join(text.split())

            await world.until(lambda: "CIFAR-10, cross-entropy: EP, symmetric estimator" in words_of())
            words = words_of()
            assert "CIFAR10 (not here: eqprop data get CIFAR10)" in words
            assert "11.7 % test error" in words and "1,180,160" in words
            assert "--preset cifar10-cnn-cel-ep-symmetric" in words
            await world.sees("✗ data")

    asyncio.run(act())


def test_too_little_memory_is_marked(world: World) -> None:
    small = Device("cpu", "[bold]small", cores=1, memory_total=2**20, memory_used=2**19)
    world.monkeypatch.setattr("eqprop_tui.screens.library.list_devices", lambda: [small])

    async def act() -> None:
        async with world.open() as app:
            await world.sees("✗ memory", "cpu 1 cores")
            await choose(world, app, "digits-cnn-ep")
            await world.sees("too little")

    asyncio.run(act())


def test_the_cursor_is_where_it_was_after_other_screens(world: World) -> None:
    save_preferences(seen=True)

    async def act() -> None:
        async with world.open() as app:
            await choose(world, app, "mnist-mlp-ep")
            await world.press("tab")
            await world.until(lambda: type(app.screen).__name__ == "RunsScreen")
            app.open_library()
            await world.sees("MNIST: EP on one hidden layer")
            await world.press("enter")
            await world.sees("from mnist-mlp-ep")
            await world.press("escape")
            await world.until(lambda: type(app.screen).__name__ == "LibraryScreen")
            assert app.screen.chosen.name == "mnist-mlp-ep"  # type: ignore[attr-defined]

    asyncio.run(act())


def test_titles_from_files_are_never_markup(world: World) -> None:
    own("evil", 'title = "[bold red]x[/] [@click=app.quit]y[/]"\n[config]\nlrs = [0.1, 0.1]\n')

    async def act() -> None:
        async with world.open() as app:
            await choose(world, app, "evil")
            await world.sees("[bold red]x[/] [@click=app.quit]y[/]")

    asyncio.run(act())


def test_a_filter_that_nothing_meets_says_so(world: World) -> None:
    async def act() -> None:
        async with world.open():
            await world.press("slash", *"zebra")
            await world.sees("no preset mentions all of these words")
            await world.press("escape")
            await world.sees("digits-mlp-ep", "The place to begin")

    asyncio.run(act())


def test_what_is_typed_ahead_goes_to_the_filter(world: World) -> None:
    async def act() -> None:
        async with world.open() as app:
            for key in ("slash", *"digits/"):
                app.post_message(Key(key, {"slash": "/"}.get(key, key)))
            await world.until(lambda: app.screen.query_one("#filter", Input).value == "digits/")

    asyncio.run(act())


def test_a_preset_can_be_named_and_opened_without_waiting_for_the_screen(world: World) -> None:
    async def act() -> None:
        async with world.open() as app:
            for key in ("slash", *"mnist-mlp-ep", "enter", "enter"):
                app.post_message(Key(key, key if len(key) == 1 else None))
            await world.sees("configure   from mnist-mlp-ep")

    asyncio.run(act())


def test_a_name_that_is_typed_comes_before_descriptions_that_mention_it(world: World) -> None:
    async def act() -> None:
        async with world.open() as app:
            await world.sees("digits-mlp-ep")
            for typed in ("mnist-mlp-ep", "mnist-mlp-ep-best", "mnist-mlp-bptt-best"):
                app.screen.query_one("#filter", Input).value = typed
                await world.until(lambda typed=typed: app.screen.shelf.chosen.name == typed)

    asyncio.run(act())


def test_an_editor_that_cannot_be_opened_is_said(world: World) -> None:
    path = own()
    before = path.read_text()
    said: list[str] = []

    async def act() -> None:
        async with world.open() as app:
            world.monkeypatch.setattr(app, "tell", lambda problem, **_: said.append(str(problem)))
            await choose(world, app, "mine")
            await world.press("e")  # this terminal cannot be lent
            await world.until(lambda: said)

    asyncio.run(act())
    assert "eqprop presets edit mine" in said[0] and path.read_text() == before


def test_a_check_is_carried_out_and_its_table_shown(world: World) -> None:
    asked: list[list[str]] = []

    def carry_out(self: Commands, words: list[str]) -> tuple[int, str, str]:
        asked.append(list(words))
        return 0, "synapses.0.weight  0.0123", ""

    world.monkeypatch.setattr(Commands, "carry_out", carry_out)

    async def act() -> None:
        async with world.open() as app:
            await choose(world, app, "digits-gducheck")
            await world.press("r")
            await world.sees("gducheck", "synapses.0.weight  0.0123")

    asyncio.run(act())
    assert asked == [["gducheck", "--preset", "digits-gducheck"]]


def test_commands_give_status_and_words() -> None:
    status, out, _ = Commands().carry_out(["presets", "path", "digits-mlp-ep"])
    assert status == 0 and out.endswith("digits-mlp-ep.toml\n")
    status, out, diagnostics = Commands().carry_out(["presets", "path", "digits-nothing"])
    assert status == 2 and out == "" and "there is no preset of this name" in diagnostics


def test_large_groups_are_divided_by_the_first_tag_that_tells_them_apart() -> None:
    presets = list(all_presets().presets.values())
    cifar = [preset for preset in presets if preset.group == "CIFAR-10"]
    assert set(divided(cifar)) == {"cel", "mse"}
    assert divided(cifar[:3]) == {"": cifar[:3]}
    assert sum(map(len, divided(presets).values())) == len(presets)


def test_names_are_shortened_by_whole_words() -> None:
    assert shortened(["a-b-c", "a-b-d"]) == ["c", "d"]
    assert shortened(["a-bc", "a-bd"]) == ["bc", "bd"]
    assert shortened(["a-b", "a-b-c"]) == ["b", "b-c"]
    assert shortened(["alone"]) == ["alone"]


def test_behind_a_run_that_is_opened_no_preset_is_read_until_it_comes_to_the_front(world: World) -> None:
    async def script() -> None:
        async with world.open(world.run()) as app:
            library = app.screen_stack[-2]
            assert isinstance(library, LibraryScreen) and not library.library.presets
            await world.press("d")
            await world.sees("digits-mlp-ep")

    asyncio.run(script())
