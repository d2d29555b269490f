"""The compiled time step: the same states where a compiler is at hand, and words where it is not.

Where nothing is compiled a stand-in takes the compiler's place: it takes the step as it is, and notes which graph
each call would need, or fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.data.randomness import generator
from eqprop_core.events import Evaluated, Event, Warned
from eqprop_core.networks.network import Network, State, build_network
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.settings import Plan
from eqprop_core.speed import compiling
from eqprop_core.speed.compiling import CompiledStep, compile_step, parts
from eqprop_core.worker import checkpoint, process

CPU = torch.device("cpu")
MLP: dict[str, Any] = {"task": "digits", "archi": [64, 8, 10], "lrs": [0.1, 0.1], "T1": 6, "T2": 3, "betas": [0.0, 0.3], "mbs": 12, "train_samples": 41, "test_samples": 15, "seed": 1, "device": "cpu"}  # fmt: skip
CNN: dict[str, Any] = {**MLP, "archi": None, "model": "CNN", "channels": [3], "kernels": [3], "pools": "m", "fc": [8, 10], "lrs": [0.1] * 3}  # fmt: skip
RUNS: dict[str, dict[str, Any]] = {  # each with a last, smaller batch
    "both signs in one batch": {**MLP, "thirdphase": True},
    "one-sided, dropout": {**MLP, "dropouts": [0.9, 0.8, 1.0], "val_split": 0.4},
    "a sign drawn for each batch": {**CNN, "random_sign": True, "mbs": 7},
    "beside the free state, dropout": {**CNN, "estimator": "paired", "dropouts": [0.9, 0.8, 0.9, 1.0]},
    "a free phase that is nudged": {**MLP, "betas": [0.1, 0.4]},
    "continual": {**MLP, "alg": "CEP", "lrs": [0.02, 0.02], "thirdphase": True},
    "bptt": {**CNN, "alg": "BPTT", "loss": "cel", "softmax": True},
    "one batch, smaller than --mbs": {**MLP, "mbs": 100, "thirdphase": True},
}
Graph = tuple[int, object, bool, bool]  # images, β where it is one number, with targets, with masks
Broken = Callable[[int, Graph], bool]  # from the number of a call and its graph to whether it fails


class StandIn:
    """In place of `torch.compile`: keeps the graph of each call."""

    def __init__(self, patch: pytest.MonkeyPatch, broken: Broken = lambda number, graph: False) -> None:
        self.calls: list[Graph] = []
        self._broken = broken
        patch.setattr(compiling.torch, "compile", self._compile)

    def _compile(self, step: Callable[..., State], mode: object = None) -> Callable[..., State]:
        def compiled(
            s: State, drive: Tensor, *, beta: float | Tensor, target: Tensor | None, masks: Any
        ) -> State:
            each = "each" if isinstance(beta, Tensor) else beta
            self.calls.append((len(s[0]), each, target is not None, masks is not None))
            if self._broken(len(self.calls), self.calls[-1]):
                raise RuntimeError("no compiler for this\nwith a long story")
            return step(s, drive, beta=beta, target=target, masks=masks)

        return compiled


def trained(root: Path, **settings: Any) -> tuple[RunFolder, list[str]]:
    work = process.begin(Plan(RunConfig(**settings)), root=root)
    said = [event.message for event in (r.event for r in work.records) if isinstance(event, Warned)]
    assert work.path is not None
    return RunFolder(work.path), said


def weights(run: RunFolder) -> dict[str, Tensor]:
    return checkpoint.load(run.path / "checkpoint.tar")["model_state_dict"]


@pytest.mark.parametrize("name", RUNS)
def test_every_graph_that_a_run_needs_is_tried_before_it_begins(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**RUNS[name], "compile": True, "epochs": 2}
    compiler, tried = StandIn(monkeypatch), set[Graph]()
    work = process.begin(Plan(RunConfig(**settings)), root=tmp_path)
    tried.update(compiler.calls)
    compiler.calls.clear()
    said = [event.message for event in (r.event for r in work.records) if isinstance(event, Warned)]
    assert any("compiling the time step took" in words for words in said)
    assert compiler.calls and set(compiler.calls) <= tried


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("both signs in one batch", lambda _, graph: graph[1] == "each"),
        ("one-sided, dropout", lambda _, graph: graph[0] == 1),  # the last batch
        ("continual", lambda _, graph: graph[0] == 15),  # the evaluation
    ],
)
def test_where_one_of_them_cannot_be_compiled_a_run_goes_on_without(
    name: str, broken: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = trained(tmp_path / "plain", **RUNS[name])
    StandIn(monkeypatch, broken)
    run, said = trained(tmp_path / "compiled", **RUNS[name], compile=True)
    told = [words for words in said if "compil" in words]
    assert told == ["the time step could not be compiled and goes on as it is: no compiler for this"]
    assert checkpoint.load(run.path / "checkpoint.tar")["numerics"]["choices"]["compiled"] is False
    assert all(torch.equal(value, weights(plain)[key]) for key, value in weights(run).items())


@pytest.mark.parametrize(
    ("name", "after"), [("both signs in one batch", 0), ("one-sided, dropout", 5), ("bptt", 10)]
)
def test_a_compiler_that_fails_while_a_run_trains_is_told_once_and_left_out(
    name: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = trained(tmp_path / "plain", **RUNS[name])
    fails_from = [10**9]
    compiler = StandIn(monkeypatch, lambda number, _: number > fails_from[0])
    work = process.begin(Plan(RunConfig(**RUNS[name], compile=True)), root=tmp_path / "compiled")
    fails_from[0] = len(compiler.calls) + after
    said = [event.message for event in (r.event for r in work.records) if isinstance(event, Warned)]
    told = [words for words in said if "could not be compiled" in words]
    assert len(told) == 1 and told[0].endswith("no compiler for this")
    assert len(compiler.calls) == fails_from[0] + 1
    assert work.path is not None
    for key, value in weights(RunFolder(work.path)).items():
        torch.testing.assert_close(value, weights(plain)[key], rtol=1e-4, atol=1e-6)


def test_an_evaluation_goes_on_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = trained(tmp_path, **RUNS["bptt"])
    fails_from = [10**9]
    compiler = StandIn(monkeypatch, lambda number, _: number > fails_from[0])
    config = RunConfig(**{**RUNS["bptt"], "todo": "evaluate", "compile": True})
    work = process.begin(Plan(config, stored=run))
    fails_from[0] = len(compiler.calls) + 1
    events: list[Event] = [record.event for record in work.records]
    assert [event.part for event in events if isinstance(event, Evaluated)] == ["train", "test"]
    assert sum(isinstance(e, Warned) and "could not be compiled" in e.message for e in events) == 1


def test_what_is_no_fault_of_the_compiler_is_raised() -> None:
    class Impossible:
        def step(self) -> State:
            raise ValueError("wrong shapes")

    step = CompiledStep.__new__(CompiledStep)
    step._plain = step._compiled = Impossible().step
    step.error, step.tell = None, lambda _: None
    with pytest.raises(ValueError, match="wrong shapes"):
        step()
    assert step.error is None


@pytest.mark.parametrize(
    ("images", "batch", "processes", "sizes"),
    [
        (40, 10, 1, [10]),
        (41, 10, 1, [10, 1]),
        (7, 10, 1, [7]),
        (41, 10, 2, [5, 1]),
        (43, 11, 3, [4, 3]),
        (1, 10, 3, [1]),
        (0, 10, 2, []),
    ],
)
def test_how_many_images_a_process_has_at_once(
    images: int, batch: int, processes: int, sizes: list[int]
) -> None:
    assert parts(images, batch, processes) == sizes


def network(**settings: Any) -> tuple[Network, RunConfig]:
    config = RunConfig(**{**CNN, **settings})
    return build_network(config.model_part(), generator=generator(1, "weights")), config


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what a compiler warns of is its own
@pytest.mark.parametrize(
    "settings",
    [
        {"thirdphase": True, "act": "mysig"},
        {"thirdphase": True, "dropouts": [0.9, 0.8, 0.9, 1.0]},
        {"random_sign": True},
    ],
    ids=str,
)
def test_compiled_time_steps_lead_to_the_same_states_and_nothing_is_compiled_later(
    settings: dict[str, Any],
) -> None:
    net, config = network(**settings)
    net.use(replace(net.numerics, joined=True))
    seconds, error = compile_step(net, config, CPU, trained=[12, 5], evaluated=[15])
    if error is not None:
        pytest.skip(f"nothing can be compiled here: {error}")
    assert seconds > 0
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for count, beta, estimator in ((12, 0.3, config.chosen_estimator), (5, 0.3, config.chosen_estimator)):
        x, y = torch.rand(count, 1, 8, 8), torch.arange(count) % 10
        masks = net.draw_masks(count, torch.Generator().manual_seed(1))
        found = []
        for numerics in (net.numerics, replace(net.numerics, compiled=True)):
            with net.using(numerics):
                phases = compiling.relax(
                    net, x, y, steps=(20, 8), beta=beta, estimator=estimator, masks=masks,
                    generator=torch.Generator().manual_seed(2),
                )  # fmt: skip
            found.append([*phases.free, *phases.first, *phases.second])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    with net.using(replace(net.numerics, compiled=True)):
        net.settle(torch.rand(15, 1, 8, 8), net.initial_state(15), steps=10)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled
