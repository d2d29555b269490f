"""`eqprop sweep table`: for people at 80 columns, for programs, and as a picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sweeps.made import cell, make_run, make_sweep
from typer.testing import Result

from eqprop_core.sweeps.curves import clearest, curves_of
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.table import Measure, table_of
from eqprop_tui.cli.sweep_table import columns, legend_of

Run = Callable[..., Result]
LONG = "a cell with so long a name that it needs to be cut somewhere betas=0 0.1 alg=EP"


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    sweep = make_sweep(
        tmp_path / "results",
        cell("good", expected=11.7, source="Somebody et al. 2021, abstract"),
        cell(LONG, lrs=[0.2, 0.2]),
        cell("begun", lrs=[0.3, 0.3]),
    )
    for seed, last in enumerate((90.0, 91.0, 95.0)):
        make_run(sweep, "good", seed, 60.0, last)
    make_run(sweep, LONG, 0, 50.0, 60.0)
    make_run(sweep, LONG, 1, 50.0, 64.0)
    make_run(sweep, LONG, 2, 10.0, state="failed")
    make_run(sweep, "begun", 0, 10.0, state="stopped")
    return sweep


def test_a_person_sees_mean_spread_seeds_and_what_is_missing(eqprop: Run, sweep: SweepFolder) -> None:
    said = eqprop("sweep", "table").stdout
    lines = {line.split("  ")[0]: line for line in said.splitlines()}
    assert "8.00 ± 2.65" in lines["good"] and "3 of 3" in lines["good"] and "11.7 [1]" in lines["good"]
    failed = next(line for line in said.splitlines() if line.startswith("a cell with so"))
    assert "38.00 ± 2.83*" in failed and "2 of 3, 1 failed" in failed
    assert "0 of 3, 1 stopped, 2 waiting" in lines["begun"]
    assert "test error % after the last epoch, on the 359 test images of digits" in said
    assert "* of the finished seeds only" in said
    assert "[1] Somebody et al. 2021, abstract" in said
    assert "seed 2: the loss is not finite" in said
    assert "5 of 9 runs finished, 1 failed, 1 stopped, 2 waiting" in said
    assert str(sweep.path.name) in said


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_it_fits_the_terminal(sweep: SweepFolder, width: int) -> None:
    cells = columns(table_of(sweep), width)
    widths = [max(map(len, [heading, *texts])) for heading, texts in cells.items()]
    assert sum(widths) + 2 * (len(widths) - 1) <= max(width, 80)
    assert {"cell", "test error %", "seeds", "published"} <= set(cells)
    assert ("min–max" in cells) == (width >= 120)


@pytest.mark.parametrize(
    ("flags", "mean"),
    [([], "8.00 ± 2.65"), (["--accuracy"], "92.00 ± 2.65"), (["--of", "train"], "7.00 ± 2.65")],
)
def test_the_figure_can_be_chosen(eqprop: Run, sweep: SweepFolder, flags: list[str], mean: str) -> None:
    assert mean in eqprop("sweep", "table", "tiny", *flags).stdout


def test_programs_get_json_and_csv_and_latex(eqprop: Run, sweep: SweepFolder) -> None:
    document = json.loads(eqprop("sweep", "table", str(sweep.path), "--json").stdout)
    assert document["cells"][1]["missing"] == {"failed": 1}
    rows = list(csv.DictReader(io.StringIO(eqprop("sweep", "table", "--csv").stdout)))
    assert [row["finished"] for row in rows] == ["3", "2", "0"]
    latex = eqprop("sweep", "table", "--latex").stdout
    assert r"good & $8.00 \pm 2.65$ & 3 of 3 & 11.70 [1] \\" in latex


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--of", "median"], "--of median: is not one of last, best, train, validation"),
        (["--csv", "--latex"], "--csv and --latex cannot go together"),
        (["--figure", "a.jpg"], "--figure a.jpg: must end in .png"),
    ],
)
def test_what_cannot_be_is_said(eqprop: Run, sweep: SweepFolder, words: list[str], message: str) -> None:
    assert message in eqprop("sweep", "table", *words, code=2).stderr


def test_a_sweep_that_is_not_there_is_said(eqprop: Run, sweep: SweepFolder) -> None:
    assert "did you mean tiny" in eqprop("sweep", "table", "tinny", code=2).stderr


def test_the_figure_is_drawn(eqprop: Run, sweep: SweepFolder, tmp_path: Path) -> None:
    assert "figure in bands.png" in eqprop("sweep", "table", "--figure", "bands.png").stderr
    with Image.open(tmp_path / "bands.png") as image:
        assert image.format == "PNG" and image.width > 600
    assert "--force overwrites it" in eqprop("sweep", "table", "--figure", "bands.png", code=2).stderr
    eqprop("sweep", "table", "--figure", "bands.png", "--force")


def test_the_legend_says_what_is_missing(sweep: SweepFolder) -> None:
    good, failed, begun = (legend_of(one) for one in curves_of(table_of(sweep)))
    assert good == "8.00 ± 2.65 %, 3 seeds"
    assert failed == "38.00 ± 2.83 %, 2 of 3, 1 failed"
    assert begun == "0 of 3, 1 stopped, 2 waiting"


def test_the_best_cells_are_drawn_where_there_are_too_many(sweep: SweepFolder) -> None:
    for measure in (Measure(), Measure(error=False)):
        curves = curves_of(table_of(sweep, measure))
        assert [one.row.cell.name for one in clearest(curves, 1)] == ["good"]
        assert [one.row.cell.name for one in clearest(curves, 2)] == ["good", LONG]


def test_failed_seeds_have_no_curve_and_running_ones_only_until_one_is_finished(sweep: SweepFolder) -> None:
    good, failed, begun = curves_of(table_of(sweep))
    assert good.seeds == [[40.0, 10.0], [40.0, 9.0], [40.0, 5.0]]
    assert len(failed.seeds) == 2 and begun.seeds == []
