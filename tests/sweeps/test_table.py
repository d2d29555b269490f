"""What a sweep came to: means over finished seeds alone, and nothing that is missing is silent."""

from __future__ import annotations

import csv
import io
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from small_runs import epoch
from sweeps.made import cell, job_of, make_run, make_sweep, tell

from eqprop_core.events import Amended
from eqprop_core.runs.folder import RunFolder
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.table import Measure, Row, Table, table_of
from eqprop_core.sweeps.writing import as_csv, as_document, as_latex, escaped
from eqprop_tui import sweep_words
from eqprop_tui.cli.sweep_table import notes


def read(sweep: SweepFolder, **measure: Any) -> Table:
    return table_of(sweep, Measure(**measure))


def only(sweep: SweepFolder, **measure: Any) -> Row:
    (row,) = read(sweep, **measure).rows
    return row


@pytest.fixture
def three(tmp_path: Path) -> SweepFolder:
    sweep = make_sweep(tmp_path, cell("a"))
    for seed, last in enumerate((90.0, 91.0, 95.0)):
        make_run(sweep, "a", seed, 96.0, last)
    return sweep


def test_mean_and_sample_standard_deviation_of_the_last_test_error(three: SweepFolder) -> None:
    row = only(three)
    assert row.values == [10.0, 9.0, 5.0]
    assert row.mean == pytest.approx(8.0)
    assert row.sd == pytest.approx(statistics.stdev([10.0, 9.0, 5.0]))
    assert (sweep_words.mean(row), sweep_words.seeds(row), sweep_words.span(row)) == (
        "8.00 ± 2.65",
        "3 of 3",
        "5.00–10.00",
    )
    assert row.whole and row.seconds == 4.0


def test_seeds_that_were_trained_on_other_data_are_told(three: SweepFolder) -> None:
    runs = [RunFolder(job.path) for job in three.jobs()]
    for run, digest in zip(runs, ("a1", "a1", "b2"), strict=True):
        assert not only(three).unlike_data
        run.relabel(data={"images": {"train": 9, "test": 3}, "classes": ["x", "y"], "digest": digest})
    (note,) = [line for line in notes(read(three)) if "same data" in line]
    assert "digest a1 (seed 0 1); 9 train, 3 test images of 2 classes, digest b2 (seed 2)" in note


def test_accuracy_in_place_of_error(three: SweepFolder) -> None:
    row = only(three, error=False)
    assert row.mean == pytest.approx(92.0)
    assert row.sd == pytest.approx(only(three).sd)


@pytest.mark.parametrize(
    ("of", "value"), [("last", 10.0), ("best", 4.0), ("train", 9.0), ("validation", 7.5)]
)
def test_the_figure_is_of_the_epoch_and_the_images_that_were_asked_for(
    tmp_path: Path, of: str, value: float
) -> None:
    sweep = make_sweep(tmp_path, cell("a", val_split=0.1), seeds=[0])
    run = make_run(sweep, "a", 0, 96.0)
    tell(run, epoch(2, 90.0, best=False, validation_accuracy=92.5))
    assert only(sweep, of=of).mean == pytest.approx(value)


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, cell("a"), seeds=[7])
    make_run(sweep, "a", 7, 90.0)
    row = only(sweep)
    assert row.sd is None
    assert (sweep_words.mean(row), sweep_words.span(row)) == ("10.00", "–")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("failed", "2 of 3, 1 failed"),
        ("stopped", "2 of 3, 1 stopped"),
        ("running", "2 of 3, 1 lost"),  # its process is gone
        (None, "2 of 3, 1 waiting"),
    ],
)
def test_a_seed_that_is_not_finished_is_said_and_not_averaged(
    tmp_path: Path, state: str | None, said: str
) -> None:
    sweep = make_sweep(tmp_path, cell("a"))
    make_run(sweep, "a", 0, 90.0)
    make_run(sweep, "a", 1, 80.0)
    if state is not None:
        make_run(sweep, "a", 2, 10.0, state=state)
    row = only(sweep)
    assert sweep_words.seeds(row) == said
    assert row.mean == pytest.approx(15.0)
    assert sweep_words.mean(row).endswith(sweep_words.MARK)
    assert not row.whole


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 9}, "2 of 3, 1 changed"),
        ({"lr_factor": 0.5}, "2 of 3, 1 changed"),
        ({"checkpoint_every": 9.0, "event_rate": 1.0}, "3 of 3"),
    ],
)
def test_a_seed_that_was_trained_otherwise_is_said_and_not_averaged(
    three: SweepFolder, settings: dict[str, Any], said: str
) -> None:
    tell(RunFolder(job_of(three, "a", 2).path), Amended(settings=settings))
    row = only(three)
    assert sweep_words.seeds(row) == said
    if row.whole:
        return
    assert row.mean == pytest.approx(9.5)
    ((name, value),) = settings.items()
    assert row.outcomes[2].message == f"trained with {name} {value}, other than its cell"


def test_a_cell_without_any_finished_seed_has_no_mean(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, cell("a"), cell("b"))
    make_run(sweep, "a", 0, 10.0, state="failed")
    a, b = read(sweep).rows
    assert (sweep_words.mean(a), sweep_words.seeds(a)) == ("–", "0 of 3, 1 failed, 2 waiting")
    assert (sweep_words.mean(b), sweep_words.seeds(b)) == ("–", "0 of 3, 3 waiting")
    assert sweep_words.standing(read(sweep)) == "0 of 6 runs finished, 1 failed, 5 waiting"


def test_a_finished_run_without_the_figure_is_said(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, cell("a"), seeds=[0])
    make_run(sweep, "a", 0, 90.0)
    row = only(sweep, of="validation")
    assert sweep_words.seeds(row) == "0 of 1, 1 without a figure"


def test_a_published_figure_stands_beside_what_it_is_a_figure_of(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, cell("a", expected=11.7, source="Somebody 2021"), seeds=[0])
    assert only(sweep).published == pytest.approx(11.7)
    assert only(sweep, error=False).published == pytest.approx(88.3)
    assert only(sweep, of="train").published is None
    assert read(sweep).sources == ["Somebody 2021"]


@pytest.mark.parametrize(
    ("of", "split", "said"),
    [
        ("last", 0, "test error % after the last epoch, on the 359 test images of digits"),
        ("best", 0, "of the epoch that was best on the test images, which flatters, on the 359 test"),
        ("best", 0.1, "of the epoch that was best on the validation images, on the 359 test images"),
        ("train", 0, "while the last epoch was trained, on the 1,438 training images of digits"),
        ("validation", 0.1, "on 10 % of the training images of digits, held out"),
    ],
)
def test_it_is_said_which_figure_it_is(tmp_path: Path, of: str, split: float, said: str) -> None:
    sweep = make_sweep(tmp_path, cell("a", val_split=split))
    assert said in read(sweep, of=of).said


def test_csv_has_each_seed_and_what_is_missing(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, cell('a, "quoted"'), cell("b"), seeds=[0, 5])
    make_run(sweep, 'a, "quoted"', 0, 90.0)
    make_run(sweep, 'a, "quoted"', 5, 80.0)
    make_run(sweep, "b", 0, 10.0, state="failed")
    a, b = csv.DictReader(io.StringIO(as_csv(read(sweep))))
    assert (a["cell"], a["mean"], a["seed_0"], a["seed_5"]) == ('a, "quoted"', "15.0", "10.0", "20.0")
    assert (b["mean"], b["failed"], b["waiting"], b["seed_0"]) == ("", "1", "1", "")


def test_json_has_all_of_it(three: SweepFolder) -> None:
    document = json.loads(json.dumps(as_document(read(three))))
    (found,) = document["cells"]
    assert document["runs"] == 3 and document["states"] == {"finished": 3}
    assert found["mean"] == pytest.approx(8.0)
    assert [seed["value"] for seed in found["seeds"]] == [10.0, 9.0, 5.0]
    assert found["seeds"][0]["accuracies"]["best"] == 96.0


def test_latex_is_a_booktabs_tabular_with_everything_escaped(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, cell(r"act=my_sig & 5% \o/ {~}", expected=11.7, source="A & B 50%"))
    make_run(sweep, r"act=my_sig & 5% \o/ {~}", 0, 90.0)
    make_run(sweep, r"act=my_sig & 5% \o/ {~}", 1, 80.0)
    make_run(sweep, r"act=my_sig & 5% \o/ {~}", 2, 10.0, state="failed")
    text = as_latex(read(sweep))
    row = next(line for line in text.splitlines() if line.startswith("act"))
    assert row == (
        r"act=my\_sig \& 5\% \textbackslash{}o/ \{\textasciitilde{}\} & "
        r"$15.00 \pm 7.07^{*}$ & 2 of 3, 1 failed & 11.70 [1] \\"
    )
    assert [rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [True] * 3
    outside = [line for line in text.splitlines() if not line.startswith("%")]
    assert all(line.replace(r"\%", "").count("%") == 0 for line in outside)


def test_no_character_of_a_name_is_a_command_to_latex() -> None:
    assert escaped("$x^2_1$ #1 <a|b> \x1b") == (
        r"\$x\textasciicircum{}2\_1\$ \#1 \textless{}a\textbar{}b\textgreater{} \textbackslash{}x1b"
    )


def test_a_folder_that_no_process_has_come_to_is_waiting(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, cell("a"), seeds=[0])
    make_run(sweep, "a", 0, 90.0)
    (job_of(sweep, "a", 0).path / "state.json").unlink()
    assert sweep_words.seeds(only(sweep)) == "0 of 1, 1 waiting"
