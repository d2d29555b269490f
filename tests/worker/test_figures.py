"""Pictures reach the disk whole, show something, and the arrays beside them are the ones that came in."""

from __future__ import annotations

import sys
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from eqprop_core.events import LayerActivity
from eqprop_core.worker.figures import (
    GduArrays,
    draw_accuracy,
    draw_activity,
    draw_gdu,
    draw_gdu_distances,
    draw_gdu_row,
    save_gdu,
)

EPOCHS_120 = [90 - 70 * 0.95**epoch for epoch in range(120)]
BLUE, VERMILION, ORANGE = (0, 114, 178), (213, 94, 0), (230, 159, 0)
SHAPES = {"synapses.0.weight": (8, 3, 5, 5), "synapses.0.bias": (8,), "neurons_0": (4, 8, 6, 6)}


def pixels(path: Path) -> np.ndarray:
    """The picture as [height, width, 3]; fails if it is no complete PNG of plausible size."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        width, height = image.size
        assert 300 <= width <= 2000 and 100 <= height <= 2000
        return np.asarray(image.convert("RGB"))


def inked(path: Path) -> float:
    """Share of the pixels that are not white."""
    return float((pixels(path) < 250).any(axis=2).mean())


def painted(path: Path, colour: tuple[int, int, int]) -> int:
    """Number of pixels of exactly that colour."""
    return int((pixels(path) == colour).all(axis=2).sum())


def layer(name: str = "layer 1", *, stuck: int = 0, bins: int = 50) -> LayerActivity:
    counts = np.random.default_rng(1).integers(1, 50, bins)
    counts[0] += stuck
    return LayerActivity(
        name=name,
        edges=np.linspace(0, 1, bins + 1).tolist(),
        counts=counts.tolist(),
        at_low=0.25,
        at_high=0.0,
    )


def arrays(
    *, symmetric: bool = True, steps: int = 6, shapes: dict[str, tuple[int, ...]] = SHAPES
) -> GduArrays:
    draws = np.random.default_rng(0)

    def rows() -> dict[str, np.ndarray]:
        return {name: draws.normal(size=(steps, *shape)).astype(np.float32) for name, shape in shapes.items()}

    plus, minus = rows(), rows()
    return GduArrays(
        ep={name: (plus[name] + minus[name]) / 2 for name in plus} if symmetric else plus,
        bptt=rows(),
        ep_plus=plus,
        ep_minus=minus if symmetric else {},
        beta=0.01,
        symmetric=symmetric,
        rmse=dict.fromkeys(shapes, 0.1),
        sign_error=dict.fromkeys(shapes, 0.02),
        cosine=dict.fromkeys(shapes, 0.99),
        norm_ratio=dict.fromkeys(shapes, 1.01),
    )


def row(values: Any, **changes: Any) -> dict[str, Any]:
    """Arguments of `draw_gdu_row` with the same values for EP and BPTT."""
    values = np.asarray(values)
    given = {"ep": values, "bptt": values, "symmetric": False, "beta": 0.01, "cumulative": True}
    return {**given, "rmse": 0.1, "sign_error": 0.0, "cosine": 1.0, **changes}


# --- accuracy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 2, 120])
def test_each_accuracy_curve_is_visible_however_short(tmp_path: Path, epochs: int) -> None:
    path = tmp_path / "train-test_acc.png"
    draw_accuracy(path, {"train": EPOCHS_120[:epochs], "test": [v - 5 for v in EPOCHS_120[:epochs]]})
    key_only = 60  # pixels that a line's sample in the legend takes at least
    assert painted(path, BLUE) > 2 * key_only
    assert painted(path, VERMILION) > 2 * key_only


def test_a_lone_measurement_between_epochs_without_one_is_visible(tmp_path: Path) -> None:
    path = tmp_path / "acc.png"
    draw_accuracy(path, {"test": [None, nan, 80.0, None, inf]})
    plotted = pixels(path)[:350]  # above the legend
    assert (plotted == VERMILION).all(axis=2).sum() > 20


def test_the_expected_accuracy_adds_a_line(tmp_path: Path) -> None:
    draw_accuracy(tmp_path / "without.png", {"test": [10.0, 95.0]})
    draw_accuracy(tmp_path / "with.png", {"test": [10.0, 95.0]}, expected=88.3)
    assert not np.array_equal(pixels(tmp_path / "without.png"), pixels(tmp_path / "with.png"))


@pytest.mark.parametrize("histories", [{}, {"train": []}, {"train": [None], "test": [nan]}])
def test_nothing_measured_yet_still_makes_a_picture(
    tmp_path: Path, histories: dict[str, list[float | None]]
) -> None:
    draw_accuracy(tmp_path / "acc.png", histories, expected=nan)
    assert inked(tmp_path / "acc.png") > 0.002


@pytest.mark.parametrize(
    "title", ["$\\frac{", "実験 ☃", "a\nb\x00c", "x" * 500, "β = 0.01"], ids=lambda title: ascii(title[:8])
)
def test_any_title_can_be_drawn(tmp_path: Path, title: str) -> None:
    draw_accuracy(tmp_path / "acc.png", {"test": [50.0]}, title=title)
    draw_activity(tmp_path / "activity.png", [layer(title)], title=title)
    assert inked(tmp_path / "acc.png") > 0.002
    assert inked(tmp_path / "activity.png") > 0.01


# --- activity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2, 4, 6])
def test_activity_has_a_panel_for_each_layer(tmp_path: Path, layers: int) -> None:
    draw_activity(
        tmp_path / "activity.png", [layer(f"layer {n + 1}") for n in range(layers)], title="free state"
    )
    blank = tmp_path / "blank.png"
    draw_activity(
        blank,
        [LayerActivity(name=f"layer {n + 1}", edges=[0, 1], counts=[0]) for n in range(layers)],
        title="free state",
    )
    assert pixels(tmp_path / "activity.png").shape == pixels(blank).shape
    assert painted(tmp_path / "activity.png", BLUE) > 5000 * layers > painted(blank, BLUE) == 0


def test_stuck_neurons_do_not_hide_the_others(tmp_path: Path) -> None:
    draw_activity(tmp_path / "even.png", [layer()])
    draw_activity(tmp_path / "stuck.png", [layer(stuck=100_000)])
    assert painted(tmp_path / "stuck.png", BLUE) > painted(tmp_path / "even.png", BLUE) / 4


@pytest.mark.parametrize(
    "odd",
    [
        LayerActivity(name="nan", edges=[nan, nan, nan], counts=[0, 0], at_low=nan),
        LayerActivity(name="inf", edges=[-inf, 0, inf], counts=[3, 4], at_low=0.0, at_high=0.0),
        LayerActivity(name="no width", edges=[0, 0, 0], counts=[3, 4]),
        LayerActivity(name="huge", edges=[-1e300, 0, 1e300], counts=[3, 4]),
    ],
    ids=lambda odd: odd.name,
)
def test_activity_without_a_range_is_said_not_fatal(tmp_path: Path, odd: LayerActivity) -> None:
    draw_activity(tmp_path / "activity.png", [layer(), odd])
    assert painted(tmp_path / "activity.png", BLUE) > 5000


# --- the GDU check ------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 4, 40])
@pytest.mark.parametrize("cumulative", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_row_shows_each_element(tmp_path: Path, steps: int, cumulative: bool, symmetric: bool) -> None:
    values = np.linspace(-2, 2, 5) * np.ones((steps, 1))
    sides = {"ep_plus": values * 1.2, "ep_minus": values * 0.8} if symmetric else {}
    draw_gdu_row(
        tmp_path / "row.png", "neurons_0", **row(values, cumulative=cumulative, symmetric=symmetric, **sides)
    )
    seen = pixels(tmp_path / "row.png").reshape(-1, 3).astype(int)
    for colour in [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0)]:
        assert (np.abs(seen - colour).max(axis=1) < 60).sum() > 15


def test_running_sums_and_single_updates_differ(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 3))
    for cumulative in (True, False):
        draw_gdu_row(tmp_path / f"{cumulative}.png", "row", **row(values, cumulative=cumulative))
    assert not np.array_equal(pixels(tmp_path / "True.png"), pixels(tmp_path / "False.png"))


@pytest.mark.parametrize("value", [0.0, nan, inf, 1e308, 1e-320])
@pytest.mark.parametrize("cumulative", [True, False])
def test_a_row_of_odd_values_is_drawn(tmp_path: Path, value: float, cumulative: bool) -> None:
    given = row(np.full((4, 2), value), cumulative=cumulative, rmse=nan, sign_error=inf, cosine=nan)
    draw_gdu_row(tmp_path / "row.png", "row", **given)
    assert inked(tmp_path / "row.png") > 0.002


def test_distances_stay_legible_with_many_rows(tmp_path: Path) -> None:
    few = [(f"synapses.{n}.weight", 0.1, 0.01) for n in range(4)]
    many = [(f"synapses.{n}.weight", 0.1, 0.01) for n in range(40)]
    draw_gdu_distances(tmp_path / "few.png", few)
    draw_gdu_distances(tmp_path / "many.png", many)
    assert pixels(tmp_path / "many.png").shape[0] > 2.5 * pixels(tmp_path / "few.png").shape[0]
    assert painted(tmp_path / "many.png", BLUE) > 5 * painted(tmp_path / "few.png", BLUE) > 0


def test_distances_tell_parameters_neurons_and_readout_apart(tmp_path: Path) -> None:
    rows = [(name, 0.1, 0.01) for name in ("synapses.0.weight", "neurons_0", "synapses.1.weight")]
    draw_gdu_distances(tmp_path / "distances.png", rows, readout=("synapses.1.weight",))
    areas = [painted(tmp_path / "distances.png", colour) for colour in (BLUE, ORANGE, (153, 153, 153))]
    assert min(areas) > 0.8 * max(areas) > 1000


@pytest.mark.parametrize(
    "rows", [[], [("a", nan, nan)], [("a", 0.0, 0.0)], [("a", inf, 0.1), ("b", 1e300, nan)]]
)
def test_distances_of_odd_values_are_drawn(tmp_path: Path, rows: list[tuple[str, float, float]]) -> None:
    draw_gdu_distances(tmp_path / "distances.png", rows)
    assert inked(tmp_path / "distances.png") > 0.002


# --- what a GDU check leaves --------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_check_leaves_arrays_and_a_picture_for_each_row(tmp_path: Path, symmetric: bool) -> None:
    result = arrays(symmetric=symmetric)
    save_gdu(tmp_path / "gdu", result, seed=7)
    drawn = draw_gdu(tmp_path / "gdu")
    pictures = [*(f"{name}.png" for name in SHAPES), "distances.png"]
    assert [path.name for path in drawn] == pictures
    expected = {*pictures, *(f"{name}.npz" for name in SHAPES)}
    assert {path.name for path in (tmp_path / "gdu").iterdir()} == expected
    for name, shape in SHAPES.items():
        assert inked(tmp_path / "gdu" / f"{name}.png") > 0.002
        with np.load(tmp_path / "gdu" / f"{name}.npz", allow_pickle=False) as saved:
            assert ("ep_plus" in saved) == ("ep_minus" in saved) == symmetric
            assert tuple(saved["shape"]) == shape
            for key in ("ep", "bptt", *(("ep_plus", "ep_minus") if symmetric else ())):
                assert saved[key].dtype == np.float32
                np.testing.assert_array_equal(saved[key], getattr(result, key)[name].reshape(6, -1))
            numbers = {
                key: saved[key].item() for key in ("rmse", "sign_error", "cosine", "norm_ratio", "beta")
            }
            assert numbers == {
                "rmse": 0.1, "sign_error": 0.02, "cosine": 0.99, "norm_ratio": 1.01, "beta": 0.01,
            }  # fmt: skip


def test_pictures_of_arrays_that_do_not_say_what_to_draw_are_left_as_they_are(tmp_path: Path) -> None:
    save_gdu(tmp_path, arrays(), seed=7)
    for path in tmp_path.glob("*.npz"):  # as they were written before that
        with np.load(path, allow_pickle=False) as saved:
            np.savez(path, **{key: saved[key] for key in saved if key not in ("row", "drawn", "readout")})
    (tmp_path / "distances.png").write_bytes(b"drawn before")
    assert draw_gdu(tmp_path) == []
    assert (tmp_path / "distances.png").read_bytes() == b"drawn before"


def test_large_rows_are_sampled_and_the_sample_is_what_came_in(tmp_path: Path) -> None:
    result = arrays()
    save_gdu(tmp_path, result, seed=7, limit=100)
    with np.load(tmp_path / "synapses.0.weight.npz", allow_pickle=False) as saved:
        elements = saved["elements"]
        assert len(set(elements)) == len(elements) == 100 and max(elements) < 600
        assert (np.diff(elements) > 0).all()
        for key in ("ep", "bptt", "ep_plus", "ep_minus"):
            whole = getattr(result, key)["synapses.0.weight"].reshape(6, -1)
            np.testing.assert_array_equal(saved[key], whole[:, elements])
    with np.load(tmp_path / "synapses.0.bias.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["elements"], np.arange(8))


def test_all_elements_are_kept_on_request(tmp_path: Path) -> None:
    result = arrays()
    save_gdu(tmp_path, result, seed=7, limit=100, all_elements=True)
    with np.load(tmp_path / "synapses.0.weight.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["elements"], np.arange(600))
        np.testing.assert_array_equal(
            saved["ep"].reshape(6, *SHAPES["synapses.0.weight"]), result.ep["synapses.0.weight"]
        )


def test_the_seed_decides_what_is_sampled_and_drawn(tmp_path: Path) -> None:
    result = arrays()
    for folder, seed in (("a", 7), ("b", 7), ("c", 8)):
        save_gdu(tmp_path / folder, result, seed=seed, limit=100)
        draw_gdu(tmp_path / folder)
    chosen = {}
    for folder in "abc":
        with np.load(tmp_path / folder / "synapses.0.weight.npz", allow_pickle=False) as saved:
            chosen[folder] = saved["elements"].tolist()
    assert chosen["a"] == chosen["b"] != chosen["c"]
    for picture in ("synapses.0.weight.png", "neurons_0.png"):
        same = [pixels(tmp_path / folder / picture) for folder in "abc"]
        assert np.array_equal(same[0], same[1]) and not np.array_equal(same[0], same[2])


def test_drawn_elements_are_among_those_with_the_largest_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ep, bptt = np.zeros((2, 3, 400), np.float32)
    ep[:, :50] = bptt[:, -50:] = 1  # a quarter of the elements moves, in EP or in BPTT
    drawn: list[np.ndarray] = []

    def note(*_: Any, **given: Any) -> None:
        drawn.append(np.maximum(given["ep"], given["bptt"]))

    monkeypatch.setattr("eqprop_core.worker.figures.draw_gdu_row", note)
    for seed in range(5):
        save_gdu(tmp_path, GduArrays({"w": ep}, {"w": bptt}, {}, {}, 0.1, False), seed=seed)
        draw_gdu(tmp_path)
    for values in drawn:
        np.testing.assert_array_equal(values, np.ones((3, 5)))


@pytest.mark.parametrize("value", [0.0, nan, inf])
def test_a_check_that_went_astray_is_saved_as_it_is(tmp_path: Path, value: float) -> None:
    rows = {"synapses.0.bias": np.full((3, 7), value)}
    result = GduArrays(rows, rows, {}, {}, 0.1, False, rmse={"synapses.0.bias": nan})
    save_gdu(tmp_path, result, seed=0)
    draw_gdu(tmp_path)
    with np.load(tmp_path / "synapses.0.bias.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["ep"], rows["synapses.0.bias"])
        assert np.isnan(saved["rmse"]) and np.isnan(saved["cosine"])


def test_a_row_in_any_memory_order_is_sampled_by_its_flat_indices(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).normal(size=(3, 5, 4, 6)).astype(np.float32)
    view = stored.transpose(0, 3, 1, 2)  # as channels-last tensors come
    save_gdu(tmp_path, GduArrays({"w": view}, {"w": view}, {}, {}, 0.1, False), seed=0, limit=50)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["ep"], view.reshape(3, -1)[:, saved["elements"]])


def test_arrays_that_say_nothing_of_a_picture_are_left_out_and_damaged_ones_told(tmp_path: Path) -> None:
    save_gdu(tmp_path, arrays(), seed=0)
    np.savez(tmp_path / "neurons_0.npz", ep=np.zeros((3, 4)))  # of before
    assert [path.name for path in draw_gdu(tmp_path)] == [
        "synapses.0.weight.png", "synapses.0.bias.png", "distances.png",
    ]  # fmt: skip
    np.savez(tmp_path / "neurons_0.npz", ep=np.zeros((3, 4)), drawn=np.arange(9))
    with pytest.raises(ValueError, match="is damaged"):
        draw_gdu(tmp_path)


# --- writing ------------------------------------------------------------------------------------------


def test_an_interrupted_drawing_leaves_the_picture_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "acc.png"
    draw_accuracy(path, {"test": [50.0]})
    before = path.read_bytes()

    def interrupted(self: Figure, file: Any, **_: Any) -> None:
        file.write(b"\x89PNG half a pict")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_accuracy(path, {"test": [50.0, 60.0]})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_arrays_leave_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(file: Any, **_: Any) -> None:
        file.write(b"PK half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(OSError, match="no space"):
        save_gdu(tmp_path / "gdu", arrays(), seed=0)
    assert list((tmp_path / "gdu").iterdir()) == []


def test_a_picture_replaces_what_an_interrupted_process_left(tmp_path: Path) -> None:
    (tmp_path / ".acc.png.tmp").write_bytes(b"left over")
    draw_accuracy(tmp_path / "acc.png", {"test": [50.0]})
    assert [path.name for path in tmp_path.iterdir()] == ["acc.png"]


def test_drawing_needs_neither_pyplot_nor_torch() -> None:
    import subprocess

    program = (
        "import sys, eqprop_core.worker.figures; "
        "print([name for name in ('torch', 'matplotlib.pyplot') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
