"""A run's folder: what several processes write there at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from small_runs import make_run

from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.names import META


def test_what_a_person_and_the_runs_process_note_at_the_same_time_is_all_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    before = run.meta()

    def note(number: int) -> None:
        own = RunFolder(run.path)
        own.relabel(**{f"label {number}": number}) if number % 2 else own.describe({f"fact {number}": number})

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(note, range(40)))
    noted = {f"{'label' if number % 2 else 'fact'} {number}": number for number in range(40)}
    assert run.meta() == {**before, **noted}
    assert not list(run.path.glob(".*.tmp"))


def test_tags_that_several_give_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.relabel(tags=["first"])
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda n: RunFolder(run.path).relabel(lambda tags: [*tags, f"tag {n}"]), range(40)))
    assert run.stored_tags()[0] == "first"
    assert sorted(run.stored_tags()[1:]) == sorted(f"tag {number}" for number in range(40))


def test_a_damaged_meta_json_is_left_as_it_is_by_the_process_that_owns_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run.path / META).write_text(torn := json.dumps(run.meta())[:-9])
    run.describe({"device": "cpu"})
    assert (run.path / META).read_text() == torn
