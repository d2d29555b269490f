"""What a GDU check comes to in words, and which images it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.learning.checked import images_to_check, pulls
from eqprop_core.learning.gdu import GduResult, gdu_check
from eqprop_core.learning.observations import gdu_event
from eqprop_core.learning.verdict import verdict
from eqprop_core.networks.network import Network, build_network
from eqprop_core.runs.words import in_words

MLP: dict[str, Any] = {"task": "digits", "archi": [64, 20, 10], "act": "tanh", "T1": 40, "T2": 8, "seed": 0}
DEEP = {**MLP, "archi": [64, 24, 24, 24, 10], "T1": 80, "T2": 20, "scale": 0.3}
FIELD = {**MLP, "model": "VFMLP"}
HARD = {**MLP, "act": "hard_sigmoid"}


def made(settings: dict[str, Any]) -> tuple[RunConfig, Network, Tensor, Tensor]:
    """A new network, and 12 images of noise."""
    config = RunConfig(**{"lrs": None, "todo": "gducheck", **settings})
    net = build_network(config.model_part(), generator=torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(1)
    x = torch.rand(12, *net.config.input_shape, generator=draws)
    return config, net, x, torch.randint(10, (12,), generator=draws)


def checked(settings: dict[str, Any], beta: float, *, symmetric: bool = True) -> GduResult:
    config, net, x, y = made(settings)
    return gdu_check(net, x, y, steps=(config.T1, config.T2), beta=beta, symmetric=symmetric)


@pytest.mark.parametrize(
    ("settings", "beta", "symmetric", "said"),
    [
        (MLP, 0.01, True, "EP follows BPTT in 4 of 4 parameters"),
        (DEEP, 0.01, True, "EP follows BPTT in 8 of 8 parameters"),  # its first gradient is a thousandth
        (
            MLP,
            0.9,
            False,
            "4 parameters: beta is large (smaller --betas, or both sides by --thirdphase), "
            "a bias that training need not be rid of",
        ),
        ({**MLP, "T1": 8}, 0.001, False, "not settled (raise T1)"),
        ({**MLP, "T1": 8}, 0.9, False, "not settled (raise T1), and beta is large (smaller --betas, or"),
        ({**MLP, "act": "mysig", "T1": 200}, 1e-6, False, "rounding shows (larger --betas)"),
        (MLP, 1e-9, True, "the gradient is of rounding size on these images: nothing to compare"),
    ],
    ids=["small beta", "vanishing", "large beta", "not settled", "both", "settled but rounded", "rounding"],
)
def test_what_a_check_comes_to_is_said(
    settings: dict[str, Any], beta: float, symmetric: bool, said: str
) -> None:
    found = verdict(checked(settings, beta, symmetric=symmetric))
    assert said in found and found.count(":") <= 1
    assert ("beta is large" in found) == (beta == 0.9)


def test_on_the_way_a_training_says_no_more_than_how_many_follow() -> None:
    config, net, x, y = made({**MLP, "T1": 8})
    result = gdu_check(net, x, y, steps=(8, 8), beta=0.9)
    line = in_words(gdu_event(result, net, config, epoch=1, batch=2, images=len(x)))
    assert line.endswith("EP follows BPTT in 0 of 4 parameters")


@pytest.mark.parametrize("same_update", [True, False])
def test_a_vector_field_is_no_fault(same_update: bool) -> None:
    config, net, x, y = made({**FIELD, "same_update": same_update})
    result = gdu_check(net, x, y, steps=(config.T1, config.T2), beta=0.01, same_update=same_update)
    said = gdu_event(result, net, config, epoch=0, batch=0, images=len(x)).verdict
    assert "in a vector field EP's updates are not BPTT's gradient" in said
    assert ("--same-update" in said) != same_update


def test_a_gradient_that_is_zero_is_not_compared() -> None:
    config, net, x, y = made(HARD)
    with torch.no_grad():  # drives far beyond the bounds: nothing moves any neuron
        net.synapses[1].bias.fill_(-50.0)
    result = gdu_check(net, x, y, steps=(config.T1, config.T2), beta=0.01)
    event = gdu_event(result, net, config, epoch=0, batch=0, images=len(x))
    assert event.verdict == "the gradient is zero on these images: nothing to compare"
    assert all(row.too_small and row.size == 0 for row in event.rows if "." in row.name)


def test_a_row_of_rounding_size_is_left_out_of_the_count() -> None:
    result = checked(MLP, 0.01)
    name = "synapses.0.bias"
    tiny = replace(result, size={**result.size, name: 1e-12}, cosine={**result.cosine, name: 0.1})
    assert (
        verdict(tiny)
        == "EP follows BPTT in 3 of 3 parameters, and the gradient of 1 more is too small to tell"
    )


def answered(net: Network, x: Tensor, count: int) -> Tensor:
    """Labels by which the first `count` images are answered as asked, exactly, and the others are not."""
    with torch.no_grad():  # the output is what the input says, and nothing else
        for connection in net.synapses:
            connection.weight.zero_()
        net.synapses[0].bias.zero_()
        net.synapses[1].bias.fill_(-9.0)
        net.synapses[1].bias[3] = 9.0
    labels = torch.full((len(x),), 4)
    labels[:count] = 3
    return labels


class Pulling:
    """Stands in for `pulls`: images give a gradient where their first pixel says so."""

    def __call__(self, net: Network, x: Tensor, y: Tensor, steps: int) -> Tensor:
        return x.flatten(1)[:, 0]


@pytest.mark.parametrize(
    ("pulling", "taken", "said"),
    [
        ([5, 6, 7, 8, 9, 10], [5, 6, 7], "taken instead: the first 3 that do, of 8"),
        ([7], [7], "taken instead: the one that does, of 12"),
        ([1, 7, 8], [0, 1, 2], ""),
        ([], [0, 1, 2], "all 12 images that were looked at give no gradient to speak of"),
    ],
)
def test_other_images_are_taken_where_the_first_give_no_gradient(
    pulling: list[int], taken: list[int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, net, x, y = made(MLP)
    monkeypatch.setattr("eqprop_core.learning.checked.pulls", Pulling())
    x[:, 0, 0, 0] = torch.tensor([float(place in pulling) for place in range(12)])

    def parts() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, 12, 4):
            yield x[start : start + 4], y[start : start + 4]

    found, labels, words = images_to_check(net, config, parts(), 3)
    assert torch.equal(found, x[taken]) and torch.equal(labels, y[taken])
    assert words.endswith(said) if pulling else words.startswith(said)


def test_an_image_that_is_answered_as_asked_pulls_nothing() -> None:
    config, net, x, _ = made(HARD)
    y = answered(net, x, 5)
    found = pulls(net, x, y, config.T1)
    assert found[:5].max() == 0
    with torch.no_grad():
        net.synapses[1].bias.fill_(0.5)  # between the bounds
    assert pulls(net, x, y, config.T1).min() > 0.1
