"""What goes wrong in a training is said once, at the same place wherever it is resumed; what goes well never."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_trainers import CNN, SMALL, SOFTMAX, told, trainer

from eqprop_core import RunConfig, build_network
from eqprop_core.config import combine
from eqprop_core.data.datasets import Images, load_dataset
from eqprop_core.data.randomness import generator
from eqprop_core.events import EpochFinished, EpochStarted, Warned
from eqprop_core.learning.algorithms import ALGORITHMS, TrainingBatch
from eqprop_core.learning.finite import TrainingError, check_loss
from eqprop_core.learning.observations import at_one_bound
from eqprop_core.learning.trainer import Trainer
from eqprop_core.learning.troubles import Troubles
from eqprop_core.presets import load_preset

LONG: dict[str, Any] = {**SMALL, "T1": 20, "thirdphase": True}
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "start weights too large": (
        {**LONG, "act": "tanh", "scale": 6.0, "lrs": [0.02, 0.01]},
        [r"does not settle \(epoch 1, batch 1\): .*layer 1 .*--scale"],
    ),
    "rates too large": (
        {**LONG, "act": "hard_sigmoid", "lrs": [20.0, 10.0], "mmt": 0.9, "epochs": 6},
        [r"neurons of layer 1 stay at one bound .*value 1 \(now 20\)", "about chance level since the start"],
    ),
    "rates too large, linear output": (
        {**LONG, "loss": "cel", "lrs": [3.0, 3.0], "mmt": 0.9, "epochs": 3},
        ["neurons of layer 1 stay", "does not settle .*weights have become too large.*--lrs"],
    ),
    "convolutions": (
        {**CNN, "lrs": [10.0, 10.0, 10.0], "mmt": 0.9, "T1": 20, "train_samples": 150},
        ["neurons of layer [12] stay at one bound"],
    ),
}  # fmt: skip


def warnings(run: Trainer) -> list[str]:
    return [event.message for event in run.run() if isinstance(event, Warned)]


@pytest.mark.parametrize("name", BAD)
def test_what_goes_wrong_is_said_once_and_names_the_layer(name: str) -> None:
    settings, expected = BAD[name]
    found = warnings(trainer(**settings))
    assert len(found) == len(expected), found
    for message, pattern in zip(found, expected, strict=True):
        assert re.search(pattern, message), message


@pytest.mark.parametrize("name", BAD)
def test_a_run_that_is_resumed_around_a_warning_says_the_same(name: str) -> None:
    settings = {**BAD[name][0], "train_samples": 80}
    whole = trainer(**settings)
    expected = told(whole.run())
    assert any(isinstance(event, Warned) for event in expected)
    said = [place for place, event in enumerate(expected) if isinstance(event, Warned)]
    for stop in {max(1, place + more) for place in said for more in range(-3, 3)}:
        first, second = trainer(**settings), trainer(**settings)
        seen = [event for _, event in zip(range(stop), first.run(), strict=False)]
        file = io.BytesIO()
        torch.save(first.state(), file)
        file.seek(0)
        second.restore(torch.load(file, weights_only=True))
        both = [event for event in seen + told(second.run()) if isinstance(event, Warned)]
        assert both == [event for event in expected if isinstance(event, Warned)], stop
        assert second.troubles.state() == whole.troubles.state()


def test_a_checkpoint_from_before_there_were_warnings_still_loads() -> None:
    first = trainer(**LONG)
    list(first.run())
    state = first.state()
    del state["troubles"]
    second = trainer(**{**LONG, "epochs": 3})
    second.restore(state)
    second.epochs = 3
    assert [event.epoch for event in second.run() if isinstance(event, EpochStarted)] == [3]


@pytest.mark.parametrize(
    ("accuracies", "chance", "said"),
    [
        ([12.0, 30.0, 80.0], 10.0, None),
        ([12.0, 30.0, 80.0, 10.0], 10.0, "it has been 80.0 %"),
        ([12.0, 20.0, 10.0], 10.0, None),
        ([26.0, 12.9], 10.0, "it has been 26.0 %"),
        ([10.0] * 4, 10.0, None),
        ([10.0] * 5, 10.0, "since the start"),
        ([10.0, 14.0, 10.0, 10.0, 10.0], 10.0, None),
        ([14.0] * 9, 10.0, None),  # what the one-sided estimator reaches on CIFAR-10 is no chance level
        ([50.0, 90.0, 52.0], 50.0, "it has been 90.0 %"),
        ([50.0, 70.0, 52.0], 50.0, None),
        ([55.0] * 5, 50.0, "since the start"),
        ([1.0] * 5, 1.0, "since the start"),
        ([3.0, 1.2], 1.0, "it has been 3.0 %"),
        ([], 10.0, None),
        ([100.0] * 9, 100.0, None),  # of one class there is nothing to learn
        ([90.0] * 5, 90.0, "since the start (the largest class has 90.0 % of the images)"),
        ([10.0] * 5, 90.0, "since the start"),
        ([99.0, 90.0], 90.0, "it has been 99.0 %"),
        ([94.0] * 5, 90.0, None),
        ([76.0] * 5, 75.0, "since the start"),
        ([75.0, 86.0, 90.0], 75.0, None),
    ],
)
def test_chance_is_told_from_learning(accuracies: list[float], chance: float, said: str | None) -> None:
    config = RunConfig(**SMALL)
    for end in range(1, len(accuracies)):
        judged = Troubles(config, chance)
        judged.judge_epochs(accuracies[:end])
        assert not list(judged.untold()) or end < len(accuracies)
    judged = Troubles(config, chance)
    judged.judge_epochs(accuracies)
    judged.judge_epochs(accuracies)
    found = [event.message for event in judged.untold()]
    assert len(found) == (said is not None)
    assert all(str(said) in message for message in found)


def preset_warnings(name: str, **more: Any) -> tuple[list[str], float]:
    """Warnings and last test accuracy of a shipped preset."""
    config = combine(load_preset(name).config, {"seed": 0, "check_thm": False, **more})
    net = build_network(config.model_part(), generator=generator(config.seed or 0, "weights"))
    events = list(Trainer(config, net, load_dataset(config.task)).run())
    finished = [event for event in events if isinstance(event, EpochFinished)]
    return [event.message for event in events if isinstance(event, Warned)], finished[-1].test_accuracy


@pytest.mark.parametrize("act", ["mysig", "hard_sigmoid"])
def test_networks_that_train_well_are_not_warned_of(act: str) -> None:
    found, accuracy = preset_warnings("digits-mlp-ep", act=act, epochs=5)
    assert accuracy > 88
    assert found == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["digits-mlp-ep", "digits-mlp-bptt", "digits-cnn-ep", "digits-vfcnn-ep"])
def test_shipped_presets_train_without_a_warning(name: str, seed: int) -> None:
    found, accuracy = preset_warnings(name, seed=seed)
    assert accuracy > 93
    assert found == []


# --- numbers that are not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["EP", "BPTT", "CEP"])
@pytest.mark.parametrize("loss", ["mse", "cel"])
@pytest.mark.parametrize("clock", [lambda: 0.0, None])
def test_weights_that_are_not_finite_are_named_with_their_rate(alg: str, loss: str, clock: Any) -> None:
    run = trainer(**{**SMALL, "alg": alg, "loss": loss, "lrs": [0.1, 0.25]})
    run.clock = clock or run.clock
    with torch.no_grad():
        run.net.synapses[1].weight[0, 0] = float("nan")
    with pytest.raises(TrainingError) as error:
        list(run.run())
    message = str(error.value)
    assert "epoch 1, batch 1; no longer finite: synapses.1.weight. " in message
    assert "(--lrs) usually help: value 2 (now 0.25)" in message
    assert ("continual EP takes 4 steps a batch" in message) == (alg == "CEP")


def test_weights_that_grow_without_bound_are_named_while_they_are_finite() -> None:
    run = trainer(**{**LONG, "loss": "cel", "lrs": [0.02, 1000.0], "wds": [0.0, 5.0], "epochs": 9})
    with pytest.raises(TrainingError, match=r"no longer (finite|reasonable): .*synapses\.1.*now 1000.*--wds"):
        list(run.run())


def test_states_that_are_not_finite_though_weights_are_blame_beta() -> None:
    run = trainer(**{**SMALL, "loss": "cel"})
    s = run.net.initial_state(3)
    s[1][0] = float("inf")
    losses = torch.full((3,), float("nan"))
    with pytest.raises(
        TrainingError, match=r"the state of layer 2 is not finite, .*--betas, now 0 0\.3.*mse"
    ):
        check_loss(losses, s, run.net, run.config, where="epoch 1, batch 1")


def test_what_is_not_finite_at_the_end_of_an_epoch_never_counts_as_trained() -> None:
    run = trainer(**{**SMALL, "epochs": 1})

    def broken(batch: TrainingBatch) -> None:
        ALGORITHMS["EP"](batch)
        if run.batch == run.batches_per_epoch - 1:
            with torch.no_grad():
                run.net.synapses[0].bias[3] = float("inf")

    run.algorithm = broken
    events = []
    with pytest.raises(TrainingError, match=r"epoch 1, batch 8: no longer finite: synapses\.0\.bias"):
        for event in run.run():
            events.append(event)
    assert not any(isinstance(event, EpochFinished) for event in events)
    assert run.histories["train"] == []


@pytest.mark.parametrize("optim", ["sgd", "adam"])
def test_a_training_can_be_asked_whether_it_is_worth_saving(optim: str) -> None:
    run = trainer(**{**SMALL, "optim": optim, "mmt": 0.9 if optim == "sgd" else 0.0, "lrs": [1e-3, 1e-3]})
    run.check_finite()
    list(run.run())
    run.check_finite()
    moment = "momentum_buffer" if optim == "sgd" else "exp_avg_sq"
    run.optimizer.state[run.net.synapses[1].bias][moment][0] = float("nan")
    with pytest.raises(TrainingError, match=rf"no longer finite: synapses\.1\.bias \({moment}\)"):
        run.check_finite()


def test_neurons_at_one_bound_are_those_that_no_image_moves() -> None:
    values = torch.tensor([[0.0, 0.0, 1.0, 0.3], [0.0, 1.0, 1.0, 0.0]])
    assert at_one_bound(values, None, (0.0, 1.0)) == 0.5
    mask = torch.tensor([[2.0, 2.0, 0.0, 0.0], [2.0, 0.0, 2.0, 2.0]])  # what was dropped tells nothing
    assert at_one_bound(values, mask, (0.0, 1.0)) == 1.0


def test_few_images_are_not_judged() -> None:
    settings = {**BAD["start weights too large"][0], "mbs": 4, "train_samples": 16, "epochs": 1}
    assert warnings(trainer(**settings)) == []


def test_a_softmax_readout_has_only_hidden_layers() -> None:
    settings = {**CNN, **SOFTMAX, "lrs": [30.0, 30.0, 0.1], "mmt": 0.9, "train_samples": 150}
    assert any("neurons of layer" in message for message in warnings(trainer(**settings)))


def test_chance_is_the_share_of_the_largest_class_that_is_trained_on() -> None:
    made = trainer(**SMALL)
    assert 9 < made.troubles.chance < 14
    labels = made.dataset.train.labels.clamp(max=1)
    uneven = Trainer(
        made.config, made.net, replace(made.dataset, train=Images(made.dataset.train.images, labels))
    )
    assert uneven.troubles.chance == pytest.approx(100 * float((labels == 1).float().mean()))
