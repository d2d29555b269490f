"""The epoch loop: exact wherever it is stopped, right at the edges of a data set."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from small_trainers import CASES, CNN, SMALL, SOFTMAX, dataset, same, told, trainer

from eqprop_core import RunConfig, build_network
from eqprop_core.data.randomness import generator
from eqprop_core.events import (
    Activity,
    Angles,
    BatchFinished,
    EpochFinished,
    EpochStarted,
    Gdu,
    Settling,
)
from eqprop_core.learning.batch import spaced
from eqprop_core.learning.finite import TrainingError
from eqprop_core.learning.trainer import Trainer
from eqprop_core.networks.network import Network
from eqprop_core.speed.baseline import AutogradNetwork, train_ep_by_autograd


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stop", [1, 7, 12])
def test_stopped_at_any_batch_and_restored_it_ends_bit_for_bit_the_same(name: str, stop: int) -> None:
    whole = trainer(**CASES[name])
    expected = told(whole.run())

    first = trainer(**CASES[name])
    events = first.run()
    seen, batches = [], 0
    while batches < stop and (event := next(events, None)) is not None:
        seen.append(event)
        batches += isinstance(event, BatchFinished)
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)

    second = trainer(**{**CASES[name], "seed": 3})
    with torch.no_grad():
        for parameter in second.net.parameters():
            parameter.zero_()
    second.restore(torch.load(file, weights_only=True))
    rest = told(second.run())

    assert same(second.state(), whole.state())
    starts = (EpochStarted,)  # an epoch that is resumed is announced again
    assert [event for event in rest if not isinstance(event, starts)] == [
        event for event in expected[len(seen) :] if not isinstance(event, starts)
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_state_after_any_event_goes_on_the_same(name: str) -> None:
    settings = {**CASES[name], "epochs": 1, "train_samples": 50}
    whole = trainer(**settings)
    expected = told(whole.run())
    for stop in range(1, len(expected) + 1):
        first, second = trainer(**settings), trainer(**settings)
        for _, _event in zip(range(stop), first.run(), strict=False):
            pass
        file = io.BytesIO()
        torch.save(first.state(), file)
        file.seek(0)
        second.restore(torch.load(file, weights_only=True))
        list(second.run())
        assert same(second.state(), whole.state()), (stop, expected[stop - 1].kind)


@pytest.mark.parametrize(
    "more", [{}, {"act": "tanh"}, CNN, {**CNN, **SOFTMAX}], ids=["mlp", "tanh", "cnn", "softmax"]
)
def test_training_is_that_by_autograd_of_phi(more: dict[str, Any]) -> None:
    base = {
        name: value for name, value in SMALL.items() if name not in ("archi", "lrs") or "model" not in more
    }
    config = RunConfig(**{**base, **more, "thirdphase": True, "mmt": 0.9, "epochs": 1})
    ends = []
    for kind, algorithm in ((Network, None), (AutogradNetwork, train_ep_by_autograd)):
        net = kind(config.model_part())
        net.redraw(generator(3, "weights"))
        run = Trainer(config, net.double(), dataset(config), algorithm=algorithm)
        for _ in run.run():
            pass
        ends.append(run.state())
    assert ends[0]["histories"]["test"] == ends[1]["histories"]["test"]
    for name, value in ends[0]["model_state_dict"].items():
        torch.testing.assert_close(value, ends[1]["model_state_dict"][name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "edge",
    [
        {"train_samples": 1, "mbs": 20},
        {"train_samples": 21, "mbs": 20},
        {"train_samples": 3, "mbs": 1},
        {"train_samples": 5, "mbs": 100, "check_thm": True},
        {"train_samples": 1, "mbs": 1, "check_thm": True, "thirdphase": True},
        {"train_samples": 2, "val_split": 0.5},
        {"test_samples": 1},
    ],
    ids=str,
)
def test_small_data_sets_and_odd_batches_train(edge: dict[str, Any]) -> None:
    run = trainer(**{**SMALL, "epochs": 1, **edge})
    events = list(run.run())
    (finished,) = (event for event in events if isinstance(event, EpochFinished))
    assert finished.loss is not None
    assert run.running.images == len(run.dataset.train)
    assert any(isinstance(event, BatchFinished) for event in events)
    if edge.get("check_thm"):
        assert any(isinstance(event, Gdu) for event in events)


def test_every_epoch_tells_what_was_seen_of_the_network() -> None:
    events = list(trainer(**CASES["vector field"]).run())
    activity = [event for event in events if isinstance(event, Activity)]
    assert {event.epoch for event in activity} == {1, 2}
    for event in activity:
        images = 20 if event.batch < 3 else 8
        assert [sum(layer.counts) for layer in event.layers] == [images * 4 * 4 * 4, images * 6 * 2 * 2]
    settling = next(event for event in events if isinstance(event, Settling))
    assert {name: len(values) for name, values in settling.phases.items()} == {
        "free": 8,
        "nudged +β": 4,
        "nudged −β": 4,
    }
    angles = [event for event in events if isinstance(event, Angles)]
    assert len(angles) == 2
    assert set(angles[0].angles) == {"synapses.1"}
    assert all(0 <= (angle or 0) <= 180 for angle in angles[0].angles.values())


def test_best_means_best_on_validation_where_there_is_one() -> None:
    run = trainer(**{**SMALL, "val_split": 0.2, "epochs": 4})
    finished = [event for event in run.run() if isinstance(event, EpochFinished)]
    scores = [event.validation_accuracy or 0.0 for event in finished]
    assert run.best_accuracy == max(scores)
    assert [event.best for event in finished] == [
        score > max(scores[:n], default=-1.0) for n, score in enumerate(scores)
    ]
    assert run.histories["validation"] == scores


def test_events_are_thinned_by_the_clock() -> None:
    config = RunConfig(**{**SMALL, "epochs": 1})
    net = build_network(config.model_part())
    still = Trainer(config, net, dataset(config), clock=lambda: 0.0)
    assert [event.batch for event in still.run() if isinstance(event, BatchFinished)] == [8]
    assert (
        len([event for event in trainer(**{**SMALL, "epochs": 1}).run() if isinstance(event, BatchFinished)])
        == 8
    )


@pytest.mark.parametrize("alg", ["EP", "BPTT", "CEP"])
def test_a_loss_that_is_not_finite_ends_training_in_words(alg: str) -> None:
    run = trainer(**{**SMALL, "alg": alg, "loss": "cel"})
    with torch.no_grad():
        run.net.synapses[1].weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"no longer finite: .*synapses\.1\.weight.*--lrs"):
        list(run.run())


def test_long_runs_tell_some_hundreds_of_batches_an_epoch() -> None:
    config = RunConfig(**{**SMALL, "mbs": 1, "epochs": 1, "train_samples": 900})
    ticks = iter(range(1000, 10**9))
    run = Trainer(
        config, build_network(config.model_part()), dataset(config), clock=lambda: float(next(ticks))
    )
    run.begun = -1e6
    told_batches = [event for event in run.run() if isinstance(event, BatchFinished)]
    assert 290 <= len(told_batches) <= 301


def test_another_optimizer_starts_afresh() -> None:
    first = trainer(**CASES["one-sided"])
    list(first.run())
    second = trainer(**{**CASES["one-sided"], "optim": "adam", "mmt": 0.0, "epochs": 4})
    second.restore(first.state(), with_optimizer=False)
    second.epochs = 3
    list(second.run())
    assert len(second.histories["test"]) == 3


def test_spaced_batches_are_distinct_and_begin_with_the_first() -> None:
    assert spaced(1000, 10) == set(range(0, 1000, 100))
    assert spaced(3, 10) == {0, 1, 2}
    assert spaced(1, 10) == {0}
    assert spaced(0, 10) == set()


def test_an_epoch_takes_the_seconds_of_all_processes_that_trained_it() -> None:
    config, now = RunConfig(**{**SMALL, "epochs": 2}), [0.0]

    def begun() -> Trainer:
        return Trainer(config, build_network(config.model_part()), dataset(config), clock=lambda: now[0])

    first = begun()
    first.boundary = lambda: first.batch == 3
    list(first.run())
    assert first.stopped
    now[0] += 100.0
    stored = first.state()
    now[0] += 5000.0  # nothing trains
    second = begun()
    second.restore(stored)
    found = []
    for event in second.run():
        if isinstance(event, EpochFinished):
            found.append(event.seconds)
        elif isinstance(event, EpochStarted):
            now[0] += 7.0
    assert found == [107.0, 7.0]
