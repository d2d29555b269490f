"""`eqprop bench` measures every piece, leaves weights and folders alone, and says what --fast would take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import Result

from eqprop_core import ModelConfig, build_network
from eqprop_core.config import RunConfig
from eqprop_core.devices import list_devices
from eqprop_core.estimate import Measured, estimate, measured_as, recall
from eqprop_core.learning.bptt import bptt_gradients
from eqprop_core.learning.gdu import gdu_check
from eqprop_core.networks.network import Network
from eqprop_core.networks.numerics import Numerics
from eqprop_core.speed import accelerations, quick, timing
from eqprop_core.speed.accelerations import Acceleration, Likeness, choose_fast, fastest, likeness
from eqprop_core.speed.baseline import AutogradNetwork, bptt_by_autograd, gdu_by_autograd
from eqprop_core.speed.bench import bench
from eqprop_core.speed.timing import timing_of

Run = Callable[..., Result]
FLAGS = ("--task", "digits", "--archi", "64", "8", "10", "--lrs", "0.1", "0.1", "--mbs", "20", "--T1", "12", "--T2", "4", "--betas", "0", "0.2", "--epochs", "3", "--repeat", "1")  # fmt: skip


def test_a_benchmark_as_json(eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = eqprop("bench", *FLAGS, "--json")
    found = json.loads(result.stdout)
    assert found["images"] == 20 and found["repeat"] == 1
    assert set(found["pieces"]) == {"free time step", "nudged time step", "gradient", "optimizer step", "evaluation of an image"}  # fmt: skip
    assert found["roof"] == pytest.approx(found["products"]["median"] / found["batch"]["median"])
    assert found["ratio"] == pytest.approx(found["baseline"]["median"] / found["batch"]["median"])
    assert found["run"] == pytest.approx(3 * found["epoch"])
    exact, *ways = found["accelerations"]
    assert exact["flags"] == "exact" and exact["worst"] == pytest.approx(1)
    assert any(way["flags"] == "--tol 1e-05 --updates async" for way in ways)
    assert found["fast"]["flags"] in {way["flags"] for way in found["accelerations"]}
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_as_tables(eqprop: Run) -> None:
    result = eqprop("bench", *FLAGS, "--model", "VFMLP", "--thirdphase")
    for words in ("training batch", "products alone take", "the run", "--fast would take"):
        assert words in result.stdout
    assert "autograd" not in result.stdout  # a vector field has no Φ to differentiate


def test_what_is_left_out_is_not_measured(eqprop: Run) -> None:
    result = eqprop("bench", *FLAGS, "--no-baseline", "--no-accelerations", "--alg", "BPTT")
    assert not any(words in result.stdout for words in ("autograd", "--fast", "products"))


def test_a_quick_benchmark_says_how_long_the_run_takes_and_that_is_remembered(eqprop: Run) -> None:
    found = json.loads(eqprop("bench", *FLAGS, "--val-split", "0.5", "--quick", "--json").stdout)
    measured = Measured(**found["measured"])
    config = RunConfig(
        task="digits", archi=(64, 8, 10), lrs=(0.1, 0.1), mbs=20, T1=12, T2=4, val_split=0.5, epochs=3
    )
    expected = estimate(config, measured)
    assert expected is not None and found["run"] == pytest.approx(expected.run)
    assert not {"pieces", "baseline", "accelerations"} & set(found)
    assert recall(measured_as(config, list_devices())) == measured
    assert "a training batch takes" in eqprop("bench", *FLAGS, "--quick").stdout


def test_a_benchmark_is_remembered_and_shown_with_the_preset(eqprop: Run) -> None:
    assert "time  " not in eqprop("presets", "show", "digits-mlp-ep").stdout
    only = ("--repeat", "1", "--no-baseline", "--no-accelerations")
    eqprop("bench", "--preset", "digits-mlp-ep", "--epochs", "1", *only)
    assert "here, measured: 20 epochs of" in eqprop("presets", "show", "digits-mlp-ep").stdout


def test_a_batch_that_takes_long_is_measured_with_fewer_time_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[tuple[int, int]] = []

    def work(T1: int, T2: int) -> Callable[[], object]:
        return lambda: spent.append((T1, T2))

    def seconds_of(work: Callable[[], object], _: torch.device) -> float:
        work()
        return float(sum(spent[-1]))  # a second a time step

    monkeypatch.setattr(quick, "seconds_of", seconds_of)
    assert quick._seconds(work, (200, 50), torch.device("cpu")) == pytest.approx(250)
    assert sum(max(spent)) <= 1.5 * quick.LONG


def test_a_wrong_flag_is_refused_in_words(eqprop: Run) -> None:
    assert "--repeat" in eqprop("bench", *FLAGS, "--repeat", "0", code=2).output
    assert "--lrs" in eqprop("bench", "--task", "digits", "--archi", "64", "8", "10", code=2).output


def test_weights_are_left_as_they_were() -> None:
    config = RunConfig(task="digits", archi=(64, 6, 10), lrs=(0.1, 0.1), mbs=8, T1=5, T2=3, seed=1)
    net = build_network(config.model_part())
    before = [value.clone() for value in net.parameters()]
    x, y = torch.rand(8, 1, 8, 8), torch.arange(8)
    bench(net, config, x, y, train_images=8, evaluated_images=8, repeat=1)
    quick.measure_quickly(net, config, x, y)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def way(speedup: float, cosine: float = 1.0, ratio: float = 1.0, *, tol: float | None = None) -> Acceleration:
    gradients = {"a": Likeness(), "b": Likeness(cosine, ratio)}
    return Acceleration(Numerics(tol=tol), timing_of([1 / speedup]), 2 * speedup, speedup, gradients, {})


EXACT = way(1.0)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([way(2.0, 0.9995), way(9.0, 0.99)], 1),
        ([way(9.0, 1.0, 0.82), way(3.0, 1.0, 1.01)], 2),  # the right direction, and too short
        ([way(9.0, 1.0, 1.2), way(9.0, 0.9, 1.0)], 0),
        ([way(1.05)], 0),  # not clearly faster
        ([way(3.0), way(3.1), way(2.0)], 1),  # as fast, and more exact
        ([way(2.0), way(3.1), way(3.0)], 2),
        ([], 0),
    ],
)
def test_the_fastest_way_is_among_those_with_good_gradients(
    others: list[Acceleration], expected: int
) -> None:
    tried = [EXACT, *others]
    assert fastest(tried) is tried[expected]


def test_likenesses() -> None:
    zero, one = torch.zeros(3), torch.ones(3)
    assert likeness(zero, zero) == Likeness(1.0, 1.0)
    assert not likeness(zero, one).good and not likeness(one, zero).good and not likeness(one, -one).good
    assert likeness(0.82 * one, one).cosine == pytest.approx(1) and not likeness(0.82 * one, one).good
    assert likeness(1.02 * one, one).good
    assert (
        max(
            [Likeness(0.9995, 1.0), Likeness(1.0, 0.9), Likeness(0.998, 1.0)], key=lambda one: one.apart
        ).ratio
        == 0.9
    )


def small() -> tuple[Network, RunConfig, Tensor, Tensor]:
    config = RunConfig(
        task="digits",
        archi=(64, 6, 10),
        lrs=(0.1, 0.1),
        mbs=8,
        T1=40,
        T2=20,
        betas=(0.0, 0.3),
        thirdphase=True,
        seed=1,
    )
    net = build_network(config.model_part(), generator=torch.Generator().manual_seed(2))
    return net, config, torch.rand(8, 1, 8, 8), torch.arange(8)


def test_fast_is_timed_in_alternation_on_the_batch_and_judged_on_other_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, config, x, y = small()
    done: list[tuple[int, Numerics]] = []
    clock = [0.0]
    settle = accelerations.settled_gradients

    def settled(net: Network, config: RunConfig, x: Tensor, y: Tensor) -> object:
        done.append((len(x), net.numerics))
        clock[0] += 0.1 if net.numerics.tol else 1.0
        return settle(net, config, x, y)

    def seconds_of(work: Callable[[], object], _: torch.device) -> float:
        before = clock[0]
        work()
        return clock[0] - before

    monkeypatch.setattr(accelerations, "settled_gradients", settled)
    monkeypatch.setattr(accelerations, "seconds_of", seconds_of)
    monkeypatch.setattr(accelerations, "AT_LEAST", 0.0)
    monkeypatch.setattr(timing, "seconds_of", seconds_of)
    monkeypatch.setattr(
        accelerations, "candidates", lambda *_: iter([Numerics(tol=1e-7), Numerics(tol=1e-6)])
    )
    fast = choose_fast(net, config, (x, y), (torch.rand(5, 1, 8, 8), torch.arange(5)))
    assert fast.chosen.numerics.tol == 1e-7 and fast.chosen.speedup == pytest.approx(10)
    assert fast.likeness.good
    timed = [way for count, way in done if count == 8]
    assert timed == [Numerics(), Numerics(tol=1e-7), Numerics(tol=1e-6)] * (1 + accelerations.REPEAT)
    assert [way for count, way in done if count == 5] == [Numerics(tol=1e-7), Numerics()]


@pytest.mark.parametrize(("bad", "chosen"), [((1e-6,), 1e-7), ((1e-6, 1e-7), None), ((), 1e-6)])
def test_what_is_not_good_on_other_images_is_not_used(
    bad: tuple[float, ...], chosen: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, config, x, y = small()
    ways = [way(1.0), way(2.0, tol=1e-7), way(4.0, tol=1e-6)]

    def judged(net: Network, *_: object) -> tuple[Likeness, str]:
        return (Likeness(1.0, 0.8) if net.numerics.tol in bad else Likeness(0.9999, 1.001)), "a"

    monkeypatch.setattr(accelerations, "measure", lambda *_, **__: ways)
    monkeypatch.setattr(accelerations, "judged", judged)
    assert choose_fast(net, config, (x, y), (x, y)).chosen.numerics.tol == chosen


def test_what_is_quick_is_repeated_and_what_takes_long_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(ticks)))  # a second a look
    quick = timing.alternated({"a": lambda: None}, torch.device("cpu"), 2, at_least=21.0)
    assert len(quick["a"]) == 7  # of three seconds
    monkeypatch.undo()
    done: list[str] = []
    works = {name: lambda name=name: done.append(name) for name in "ab"}
    found = timing.alternated(works, torch.device("cpu"), 5, warm=False, patience=0.0)
    assert "".join(done) == "abab" and {len(seconds) for seconds in found.values()} == {2}


def test_the_baseline_finds_the_same_gradients() -> None:
    config = ModelConfig(input_shape=(1, 6, 6), model="CNN", channels=[3], kernels=[3], pools="m", fc=[7, 4])
    net = build_network(config, dtype=torch.float64)
    slow = AutogradNetwork(config).double()
    slow.load_state_dict(net.state_dict())
    x, y = torch.rand(5, 1, 6, 6, dtype=torch.float64), torch.arange(5) % 4
    fast_gradients = bptt_gradients(net, x, y, steps=(15, 6))
    for name, value in bptt_by_autograd(slow, x, y, steps=(15, 6)).items():
        torch.testing.assert_close(value, fast_gradients[name])
    check = gdu_check(net, x, y, steps=(15, 6), beta=0.1)
    found = gdu_by_autograd(slow, x, y, steps=(15, 6), beta=0.1)
    for name in dict(net.named_parameters()):
        torch.testing.assert_close(found.ep[name], check.ep[name], rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(found.bptt[name], check.bptt[name])
        assert found.rmse[name] == pytest.approx(check.rmse[name], rel=1e-3)
