"""How a run computes is chosen once, recorded, said, and kept when it is resumed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainers import same

from eqprop_core import devices
from eqprop_core.config import RunConfig
from eqprop_core.devices import RUNS_AT_ONCE
from eqprop_core.events import Event, Settling, Warned
from eqprop_core.learning.batch import looks
from eqprop_core.networks.network import Network, build_network
from eqprop_core.networks.numerics import Numerics, read_numerics
from eqprop_core.problems import ConfigError
from eqprop_core.runs.folder import BEGUN_WITH, LIKE, RunError, RunFolder
from eqprop_core.runs.settings import Plan
from eqprop_core.speed import accelerations
from eqprop_core.speed.accelerations import Likeness
from eqprop_core.speed.choosing import choose_numerics
from eqprop_core.worker import checkpoint, choices, process
from eqprop_core.worker.choices import choose, held_apart, more_exact, review
from eqprop_core.worker.preparing import choose_threads, first_epoch, prepare


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerations, "AT_LEAST", 0.0)


SMALL: dict[str, Any] = {"task": "digits", "model": "CNN", "channels": [3], "kernels": [3], "pools": "m", "fc": [8, 10], "lrs": [0.1, 0.1, 0.1], "T1": 40, "T2": 8, "betas": [0.0, 0.3], "mbs": 20, "train_samples": 40, "test_samples": 10, "seed": 1}  # fmt: skip


def trained(root: Path, **settings: Any) -> tuple[RunFolder, list[Event]]:
    work = process.begin(Plan(RunConfig(**{**SMALL, **settings})), root=root)
    events = [record.event for record in work.records]
    assert work.path is not None
    return RunFolder(work.path), events


def recorded(run: RunFolder) -> Any:
    return checkpoint.load(run.path / "checkpoint.tar")["numerics"]["choices"]


def test_a_tolerance_is_recorded_and_its_time_steps_are_reported(tmp_path: Path) -> None:
    run, events = trained(tmp_path, tol=1e-3, updates="async")
    settling = next(event for event in events if isinstance(event, Settling))
    assert settling.tol == 1e-3 and settling.images == 20
    assert settling.mean_steps["free"] < 40
    assert settling.unsettled["free"] == 0
    assert (
        recorded(run)
        == Numerics(
            layouts=("contiguous",) * 3, poolings=("contiguous",) * 3, tol=1e-3, updates="async"
        ).document()
    )
    assert run.meta()["choices"] == recorded(run)


def test_exact_runs_report_no_tolerance(tmp_path: Path) -> None:
    _, events = trained(tmp_path)
    settling = next(event for event in events if isinstance(event, Settling))
    assert settling.tol is None and settling.mean_steps == {} and len(settling.phases["free"]) == 40


def test_fast_says_what_it_uses_and_a_resumed_run_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "judged", lambda *_: (Likeness(), ""))  # what is fastest here stays good
    run, events = trained(tmp_path, fast=True)
    said = [event.message for event in events if isinstance(event, Warned) and "--fast" in event.message]
    assert len(said) == 1 and said[0].startswith("--fast: ")
    before = recorded(run)
    plan = Plan(RunConfig(**{**SMALL, "fast": True}), stored=run, more_epochs=1)
    again = [record.event for record in process.begin(plan).records]
    assert not [event for event in again if isinstance(event, Warned) and "--fast" in event.message]
    assert recorded(run) == before


def test_fast_goes_on_more_exactly_where_its_gradients_are_no_longer_good(tmp_path: Path) -> None:
    ready = prepare(Plan(RunConfig(**{**SMALL, "fast": True})))
    coarse = Numerics(tol=1e-3, updates="async", precision="bf16")
    ready.net.use(coarse)
    with torch.no_grad():
        for connection in ready.net.connections:
            connection.weight *= 4  # it no longer settles
    said = [event.message for event in review(ready, 1, 4) if isinstance(event, Warned)]
    assert said and "cosine" in said[0] and f"with {coarse.words()}" in said[0]
    assert said[0].endswith("from epoch 2, batch 5")
    assert ready.net.numerics != coarse
    assert list(review(ready, 1, 4)) == []  # what is in use now is good


def test_steps_to_more_exact_ways_end_with_the_exact_one() -> None:
    way, seen = Numerics(tol=1e-3, updates="async", precision="bf16", joined=True), []
    while not way.exact:
        way = more_exact(way)
        seen.append(way.words())
    assert seen == ["--tol 0.001 --updates async", "--tol 0.001", "--tol 0.0001", "--tol 1e-05", "exact"]
    assert way == Numerics(joined=True)


def test_a_training_reviews_what_fast_uses_before_batches_that_are_observed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Numerics] = []

    def judged(net: Network, *_: object) -> tuple[Likeness, str]:
        asked.append(net.numerics)
        return Likeness(1.0, 0.8 if len(asked) == 2 else 1.0), "synapses.0.weight"  # too short

    monkeypatch.setattr(choices, "judged", judged)
    monkeypatch.setattr(choices, "_use_fast", lambda ready: ready.net.use(Numerics(tol=1e-4)) or "fast")
    run, events = trained(tmp_path, fast=True, epochs=2, mbs=10)  # four batches an epoch, all observed
    said = [n for n, event in enumerate(events) if isinstance(event, Warned) and "going on" in event.message]
    settled = [n for n, event in enumerate(events) if isinstance(event, Settling)]
    assert len(said) == 1 and settled[1] < said[0] < settled[2]
    assert [way.tol for way in asked] == [1e-4, 1e-4, *[1e-5] * 6]  # none before the first batch of all
    assert recorded(run)["tol"] == 1e-5
    assert run.meta()["choices"]["tol"] == 1e-5 and run.meta()["begun_with"]["choices"]["tol"] == 1e-4
    assert run.meta()["fast"] == {"epoch 1, batch 1": "--tol 0.0001", "epoch 1, batch 3": "--tol 1e-05"}


def run_again(root: Path, run: RunFolder) -> RunFolder:
    settings = run.config()
    assert settings is not None
    labels = {LIKE: str(run.path), BEGUN_WITH: run.begun_with()}  # those of --like
    work = process.begin(Plan(RunConfig(**settings), labels=labels), root=root)
    said = [event.message for event in (r.event for r in work.records) if isinstance(event, Warned)]
    assert any(words.startswith("computes as was recorded: ") for words in said)
    assert work.path is not None
    return RunFolder(work.path)


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ({"thirdphase": True}, Numerics(tol=1e-3, joined=True)),
        ({"dropouts": [0.9, 0.8, 0.9, 1.0]}, Numerics(tol=1e-4, updates="async")),
        (
            {"alg": "BPTT", "loss": "cel", "softmax": True},
            Numerics(updates="async", layouts=("channels-last",) * 3),
        ),
    ],
    ids=["symmetric", "dropout", "bptt"],
)
def test_a_run_is_repeated_to_the_bit_without_choosing_anew(
    settings: dict[str, Any], chosen: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "_use_fast", lambda ready: ready.net.use(chosen) or "fast")
    first, _ = trained(tmp_path / "first", fast=True, epochs=2, mbs=8, **settings)
    if (
        chosen.updates == "async" and chosen.tol is not None
    ):  # which ends elsewhere: reviews change it on the way
        assert len(first.meta()["fast"]) > 1
    monkeypatch.setattr(choices, "_use_fast", lambda ready: pytest.fail("is chosen anew"))
    second = run_again(tmp_path / "second", first)
    assert ended_alike(first, second)
    assert second.meta()["fast"] == first.meta()["fast"]
    assert second.begun_with() == first.begun_with()


def test_a_run_of_before_is_repeated_by_what_it_computed_with(tmp_path: Path) -> None:
    first, _ = trained(tmp_path / "first", layout="channels-last", updates="async", mbs=8)
    meta = {name: value for name, value in first.meta().items() if name != BEGUN_WITH}
    (first.path / "meta.json").write_text(json.dumps(meta))
    assert ended_alike(first, run_again(tmp_path / "second", first))


def ended_alike(*runs: RunFolder) -> bool:
    a, b = (checkpoint.load(run.path / "checkpoint.tar") for run in runs)
    return all(same(a[part], b[part]) for part in ("numerics", "model_state_dict", "histories"))


def test_what_has_not_begun_cannot_be_repeated(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, RunConfig(**SMALL), command=["eqprop"])
    with pytest.raises(RunError, match="has not begun to train"):
        run.begun_with()


@pytest.mark.parametrize(("images", "mbs", "others"), [(200, 20, 64), (50, 20, 30), (20, 20, 20), (7, 20, 7)])
def test_gradients_are_judged_on_a_draw_for_each_place_of_images_that_nothing_was_chosen_on(
    images: int, mbs: int, others: int
) -> None:
    ready = prepare(Plan(RunConfig(**{**SMALL, "train_samples": images, "mbs": mbs})))
    drawn = [held_apart(ready, *place)[0].flatten(1) for place in ((), (0, 3), (0, 3), (1, 0))]
    assert all(len(x) == others for x in drawn)
    assert torch.equal(drawn[1], drawn[2]) and not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[3])
    if images > mbs:
        used = {tuple(row.tolist()) for row in next(first_epoch(ready, mbs)).x.flatten(1)}
        assert not any(tuple(row.tolist()) in used for x in drawn for row in x)


def test_what_fast_uses_is_reviewed_soon_after_the_beginning() -> None:
    at = looks(100, RunConfig(**SMALL), torch.device("cpu"))
    assert at.at_first == {1, 2, 4, 8, 16, 32, 64, 25, 50, 75}
    assert at.observed == {0, 25, 50, 75}


def test_what_was_recorded_is_kept_and_what_was_not_is_as_it_used_to_be() -> None:
    ready = prepare(Plan(RunConfig(**SMALL)))
    kept = Numerics(layouts=("channels-last", "contiguous", "contiguous"), unpooling="scatter")
    choose(ready, {"choices": kept.document()})
    assert ready.net.numerics == kept
    choose(ready, {"torch": "2.0"})
    assert ready.net.numerics == Numerics()
    for broken in ({"layouts": ["contiguous"] * 7}, {"poolings": ["contiguous"] * 2}):
        choose(ready, {"choices": broken})
    assert ready.net.numerics == Numerics()


def test_masks_are_drawn_where_a_run_computes_unless_it_began_otherwise() -> None:
    config = RunConfig(**SMALL)
    net = build_network(config.model_part())
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    new = [choose_numerics(net, config, device).numerics for device in (gpu, cpu)]
    assert [numerics.masks for numerics in new] == ["device", "cpu"]
    before = {name: value for name, value in Numerics().document().items() if name != "masks"}
    assert choose_numerics(net, config, gpu, read_numerics(before)).numerics.masks == "cpu"
    assert choose_numerics(net, config, cpu, new[0]).numerics.masks == "device"


def test_a_layout_can_be_fixed() -> None:
    ready = prepare(Plan(RunConfig(**{**SMALL, "layout": "channels-last"})))
    choose(ready)
    assert ready.net.numerics.layouts == ("channels-last", "channels-last", "contiguous")


def test_a_precision_that_a_device_does_not_have_is_said() -> None:
    ready = prepare(Plan(RunConfig(**{**SMALL, "precision": "tf32", "device": "cpu"})))
    assert "NVIDIA" in " ".join(choose(ready))
    assert ready.net.numerics.exact


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fast": True, "tol": 1e-3}, "either --fast or --tol"),
        ({"compile": True, "updates": "async"}, "--compile"),
        ({"alg": "CEP", "updates": "async"}, "--updates"),
        ({"alg": "CEP", "fast": True}, "--fast"),
        ({"tol": 0.0}, "--tol"),
    ],
)
def test_accelerations_that_do_not_go_together_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RunConfig(**{**SMALL, **settings})


def test_bptt_computes_time_steps_twice_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = trained(tmp_path / "plain", alg="BPTT")
    monkeypatch.setattr(choices, "memory_there", lambda _: (1000, 2000))
    spared, events = trained(tmp_path / "spared", alg="BPTT")
    said = [event.message for event in events if isinstance(event, Warned)]
    assert any("BPTT through 8 time steps" in words and "1000" not in words for words in said)
    assert recorded(spared)["checkpointed"] and not recorded(plain)["checkpointed"]
    weights = [checkpoint.load(run.path / "checkpoint.tar")["model_state_dict"] for run in (plain, spared)]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())
    assert not any("BPTT" in words for words in choose(prepare(Plan(RunConfig(**SMALL)))))


def test_numbers_that_slow_a_processor_down_count_as_zero_in_a_process_that_trains() -> None:
    program = """
import torch
from eqprop_core.worker.preparing import count_tiny_as_zero
count_tiny_as_zero()
torch.set_num_threads(2)
print(torch.full((1_000_000,), 1e-30).mul(1e-10).count_nonzero().item())
"""
    assert torch.full((9,), 1e-30).mul(1e-10).all()  # nowhere else
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "0\n"


@pytest.mark.parametrize(
    ("archi", "variables", "threads"),
    [
        ([784, 8, 10], {}, 1),
        ([784, 4096, 4096, 10], {}, 2),
        ([784, 4096, 4096, 10], {RUNS_AT_ONCE: "2"}, 1),
        ([784, 8, 10], {"OMP_NUM_THREADS": "2"}, 2),
    ],
)
def test_a_run_has_as_many_threads_as_help_and_as_there_are_cores(
    archi: list[int], variables: dict[str, str], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    torch.set_num_threads(2)
    try:
        with torch.device("meta"):  # nothing is computed
            choose_threads(Network(RunConfig(archi=archi, lrs=[0.1] * (len(archi) - 1)).model_part()), 100)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
