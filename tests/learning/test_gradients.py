"""EP gradients tend to BPTT's, continual EP to EP's, and the estimators are what they say."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pytest
import torch
from torch import Tensor

from eqprop_core import ModelConfig, Network, bptt_gradients, build_network, ep_gradients, gdu_check
from eqprop_core.learning.continual import continual_ep
from eqprop_core.learning.equilibrium import Gradients
from eqprop_core.learning.gdu import distances
from eqprop_core.learning.optimizer import apply_gradients, build_optimizer, decayed

DOUBLE = torch.float64

MODELS: dict[str, dict[str, object]] = {
    "mlp mse": {"model": "MLP", "archi": [64, 12, 9, 4], "act": "tanh"},
    "mlp cel": {"model": "MLP", "archi": [64, 12, 4], "act": "tanh", "loss": "cel"},
    "cnn mse": {"model": "CNN", "channels": [3, 4], "kernels": [3, 3], "paddings": [1, 1], "pools": "ma", "fc": [4], "act": "sigmoid"},
    "cnn cel": {"model": "CNN", "channels": [3], "kernels": [3], "pools": "i", "fc": [6, 4], "act": "mysig", "loss": "cel"},
    "cnn softmax": {"model": "CNN", "channels": [3, 4], "kernels": [3, 3], "paddings": [1, 1], "pools": "mm", "fc": [4], "act": "tanh", "loss": "cel", "softmax": True},
}  # fmt: skip


def make(name: str, **more: object) -> Network:
    values = {**MODELS[name], **more}
    net = build_network(ModelConfig(input_shape=(1, 8, 8), **values), dtype=DOUBLE)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 0.7  # well inside the region where the dynamics contract
    return net


def batch(size: int = 5) -> tuple[Tensor, Tensor]:
    return torch.rand(size, 1, 8, 8, dtype=DOUBLE), torch.arange(size) % 4


def settled_batch(net: Network, size: int = 5) -> tuple[Tensor, Tensor]:
    """Images that reach a fixed point: the theorem speaks of no others.

    Where the largest value of a pooling window changes place for ever, the state goes on oscillating.
    """
    x, y = batch(40)
    s = net.settle(x, net.initial_state(len(x)), steps=150)
    change = sum((a - b).flatten(1).abs().sum(1) for a, b in zip(net.settle(x, s, steps=1), s, strict=True))
    chosen = (change < 1e-12).nonzero().flatten()[:size]
    assert len(chosen) == size
    return x[chosen], y[chosen]


def distance(a: Gradients, b: Gradients) -> float:
    difference = sum(float((a[name] - b[name]).square().sum()) for name in b) ** 0.5
    return difference / sum(float(value.square().sum()) for value in b.values()) ** 0.5


@pytest.mark.parametrize("name", MODELS)
def test_ep_tends_to_bptt_as_beta_vanishes(name: str) -> None:
    net = make(name)
    x, y = settled_batch(net)
    steps, betas = (150, 70), (0.02, 0.01)  # small enough that no maximum of a pooling changes place
    exact = bptt_gradients(net, x, y, steps=steps)
    one_sided, symmetric = (
        [distance(ep_gradients(net, x, y, steps=steps, beta=b, estimator=estimator), exact) for b in betas]
        for estimator in ("one-sided", "symmetric")
    )
    assert one_sided[0] / one_sided[1] == pytest.approx(2, rel=0.15)
    assert symmetric[0] / symmetric[1] == pytest.approx(4, rel=0.15)
    assert symmetric[1] < one_sided[1]


@pytest.mark.parametrize("name", MODELS)
def test_the_symmetric_estimator_is_the_mean_of_the_two_one_sided_ones(name: str) -> None:
    net = make(name)
    x, y = batch()
    sides = [ep_gradients(net, x, y, steps=(50, 20), beta=b, estimator="one-sided") for b in (0.3, -0.3)]
    both = ep_gradients(net, x, y, steps=(50, 20), beta=0.3, estimator="symmetric")
    for parameter, value in both.items():
        torch.testing.assert_close(value, (sides[0][parameter] + sides[1][parameter]) / 2)


def test_random_sign_is_one_of_the_two_one_sided_estimates() -> None:
    net = make("mlp mse")
    x, y = batch()
    sides = [ep_gradients(net, x, y, steps=(50, 20), beta=b, estimator="one-sided") for b in (0.3, -0.3)]
    seen = set()
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        found = ep_gradients(
            net, x, y, steps=(50, 20), beta=0.3, estimator="random-sign", generator=generator
        )
        matches = [all(torch.equal(found[k], side[k]) for k in found) for side in sides]
        assert matches.count(True) == 1
        seen.add(matches.index(True))
    assert seen == {0, 1}


def test_ep_gradients_are_the_derivative_of_the_contrast_of_phi() -> None:
    for name in MODELS:
        net = make(name, dropouts=[0.9] + [0.8] * len(make(name).layer_shapes))
        x, y = batch()
        masks = net.draw_masks(len(x), torch.Generator().manual_seed(0))
        free = net.settle(x, net.initial_state(len(x)), steps=40, masks=masks)
        plus = net.settle(x, free, steps=15, beta=0.4, y=y, masks=masks)
        minus = net.settle(x, free, steps=15, beta=-0.4, y=y, masks=masks)
        contrast = net.phi(x, minus, beta=-0.4, y=y, masks=masks) - net.phi(
            x, plus, beta=0.4, y=y, masks=masks
        )
        parameters = dict(net.named_parameters())
        expected = torch.autograd.grad(contrast.mean() / 0.8, list(parameters.values()))
        found = ep_gradients(net, x, y, steps=(40, 15), beta=0.4, masks=masks)
        for key, value in zip(parameters, expected, strict=True):
            torch.testing.assert_close(found[key], value)


def test_a_free_phase_may_be_nudged_too() -> None:
    net = make("mlp mse")
    x, y = batch()
    first = net.settle(x, net.initial_state(len(x)), steps=60, beta=0.1, y=y)
    second = net.settle(x, first, steps=30, beta=0.4, y=y)
    contrast = net.phi(x, first, beta=0.1, y=y) - net.phi(x, second, beta=0.4, y=y)
    parameters = dict(net.named_parameters())
    expected = torch.autograd.grad(contrast.mean() / 0.3, list(parameters.values()))
    found = ep_gradients(net, x, y, steps=(60, 30), beta=0.4, beta_free=0.1, estimator="one-sided")
    for key, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(found[key], value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 0.0}, "must differ"),
        ({"beta": 0.2, "beta_free": 0.1}, "needs beta_free = 0"),
        ({"beta": 0.2, "beta_free": 0.1, "estimator": "random-sign"}, "needs beta_free = 0"),
    ],
)
def test_unusable_betas_are_refused(arguments: dict[str, object], message: str) -> None:
    net = make("mlp mse")
    with pytest.raises(ValueError, match=message):
        ep_gradients(net, *batch(), steps=(5, 2), **arguments)


@pytest.mark.parametrize("steps", [(5, 6), (5, 0)])
def test_bptt_needs_no_more_nudged_than_free_steps(steps: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="1 ≤ T2 ≤ T1"):
        bptt_gradients(make("mlp mse"), *batch(), steps=steps)


def test_a_batch_of_one_image_has_gradients() -> None:
    for name in MODELS:
        x, y = batch(1)
        found = ep_gradients(make(name), x, y, steps=(10, 4), beta=0.1)
        assert all(bool(torch.isfinite(value).all()) for value in found.values())


@pytest.mark.parametrize("model", ["VFMLP", "VFCNN"])
@pytest.mark.parametrize("estimator", ["one-sided", "symmetric"])
def test_vector_field_updates_follow_their_rules(model: str, estimator: str) -> None:
    name = "mlp mse" if model == "VFMLP" else "cnn mse"
    net = make(name, model=model, **({} if model == "VFMLP" else {"fc": [6, 4]}))
    x, y = batch()
    free = net.settle(x, net.initial_state(len(x)), steps=40)
    plus = net.settle(x, free, steps=15, beta=0.4, y=y)
    minus = net.settle(x, free, steps=15, beta=-0.4, y=y) if estimator == "symmetric" else free
    width = 0.8 if estimator == "symmetric" else 0.4
    arguments = {"steps": (40, 15), "beta": 0.4, "estimator": estimator}
    different = ep_gradients(net, x, y, **arguments)
    same = ep_gradients(net, x, y, same_update=True, **arguments)

    def derivative(connection: torch.nn.Module, *pairs: tuple[Tensor, Tensor]) -> Tensor:
        phi = (connection.phi(*pairs[0]) - connection.phi(*pairs[1])).mean() / width
        return torch.autograd.grad(phi, connection.weight)[0]

    at_free, at_plus, at_minus = ([x, *state] for state in (free, plus, minus))
    for n, forward in enumerate(net.connections):
        wanted = derivative(forward, (at_free[n], at_minus[n + 1]), (at_free[n], at_plus[n + 1]))
        torch.testing.assert_close(different[f"synapses.{n}.weight"], wanted)
        own = derivative(forward, (at_minus[n], at_minus[n + 1]), (at_plus[n], at_plus[n + 1]))
        if n == 0:
            torch.testing.assert_close(same["synapses.0.weight"], own)
            continue
        backward = net.backward_connections[n - 1]
        wanted = derivative(backward, (at_minus[n], at_free[n + 1]), (at_plus[n], at_free[n + 1]))
        torch.testing.assert_close(different[f"B_syn.{n - 1}.weight"], wanted)
        partner = derivative(backward, (at_minus[n], at_minus[n + 1]), (at_plus[n], at_plus[n + 1]))
        mean = (own + backward.turned(partner)) / 2
        torch.testing.assert_close(same[f"synapses.{n}.weight"], mean)
        torch.testing.assert_close(same[f"B_syn.{n - 1}.weight"], backward.turned(mean))


@pytest.mark.parametrize("name", MODELS)
def test_gdu_updates_add_up_to_the_gradients_in_symmetric_networks(name: str) -> None:
    net = make(name)
    x, y = batch()
    result = gdu_check(net, x, y, steps=(60, 12), beta=0.2)
    one_sided = ep_gradients(net, x, y, steps=(60, 12), beta=0.2, estimator="one-sided")
    exact = bptt_gradients(net, x, y, steps=(60, 12))
    for parameter in exact:
        torch.testing.assert_close(result.bptt[parameter].sum(0), exact[parameter])
        if parameter not in result.readout:
            torch.testing.assert_close(
                result.ep[parameter].sum(0), one_sided[parameter], rtol=1e-6, atol=1e-9
            )
    assert bool(result.readout) == net.config.softmax


@pytest.mark.parametrize("name", MODELS)
def test_gdu_rows_agree_ever_better_as_beta_vanishes(name: str) -> None:
    net = make(name)
    x, y = settled_batch(net)
    coarse, fine = (gdu_check(net, x, y, steps=(150, 6), beta=b, symmetric=True) for b in (0.2, 1e-3))
    for parameter, value in fine.rmse.items():
        if parameter.startswith("neurons_") or parameter in fine.readout:
            continue  # neurons differ by the slope of the activation, readouts learn otherwise
        assert value <= coarse.rmse[parameter] + 1e-9
        assert fine.cosine[parameter] > 0.98, parameter


def test_dropout_leaves_the_rows_of_a_gdu_check_comparable() -> None:
    config = ModelConfig(
        model="MLP", input_shape=(8,), archi=[8, 7, 6, 5], act="ctrd_hard_sig", loss="cel", scale=0.4,
        dropouts=[1.0, 0.5, 0.9, 0.7],
    )  # fmt: skip
    net = build_network(config, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    x, y = torch.rand(20, 8, dtype=DOUBLE), torch.arange(20) % 5
    masks = net.draw_masks(20, torch.Generator().manual_seed(2))
    result = gdu_check(net, x, y, steps=(100, 8), beta=1e-5, masks=masks)
    assert max(result.rmse.values()) < 1e-3, result.rmse


def test_signs_are_compared_however_small_the_updates() -> None:
    result = gdu_check(make("mlp mse"), *batch(), steps=(10, 3), beta=0.2)
    tiny = torch.full((3, 2), 1e-30, dtype=torch.float32)
    distances(result, "tiny", tiny, -tiny)
    assert result.sign_error["tiny"] == 1.0


def test_a_symmetric_gdu_check_keeps_both_sides() -> None:
    net = make("mlp mse")
    x, y = batch()
    result = gdu_check(net, x, y, steps=(30, 5), beta=0.2, symmetric=True)
    for name, value in result.ep.items():
        assert value.shape[0] == 5
        torch.testing.assert_close(value, (result.ep_plus[name] + result.ep_minus[name]) / 2)
    assert gdu_check(net, x, y, steps=(30, 5), beta=0.2).ep_minus == {}


@pytest.mark.parametrize("name", ["mlp mse", "cnn softmax"])
@pytest.mark.parametrize("estimator", ["one-sided", "symmetric"])
def test_continual_ep_tends_to_ep_as_the_learning_rate_vanishes(name: str, estimator: str) -> None:
    net = make(name)
    x, y = batch()
    steps = (150, 70) if estimator == "symmetric" else (100, 15)  # back to the free state in T2 steps
    expected = ep_gradients(net, x, y, steps=steps, beta=0.2, estimator=estimator)
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    rate = 1e-7
    optimizer = build_optimizer(net, optim="sgd", lrs=[rate] * len(net.synapses))
    continual_ep(net, optimizer, x, y, steps=steps, beta=0.2, estimator=estimator)
    found = {key: (before[key] - value.detach()) / rate for key, value in net.named_parameters()}
    assert distance(found, expected) < 1e-4


def test_continual_ep_spreads_its_weight_decay_over_the_steps() -> None:
    net = make("mlp mse")
    x, y = batch()
    rate, decay, count = 1e-9, 0.3, 7
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    optimizer = build_optimizer(net, optim="sgd", lrs=[rate] * 3, wds=[decay] * 3)
    continual_ep(net, optimizer, x, y, steps=(30, count), beta=0.2)
    for key, value in net.named_parameters():
        torch.testing.assert_close(value.detach(), before[key] * (1 - 0.1 * decay), rtol=1e-6, atol=1e-9)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [decay] * 3


def test_learning_rates_decay_as_a_cosine_and_stay_at_the_floor() -> None:
    rates = [decayed(0.25, epoch, 100) for epoch in range(130)]
    assert rates[0] == 0.25
    assert rates[50] == pytest.approx((0.25 + 1e-5) / 2)
    assert rates[100:] == [pytest.approx(1e-5)] * 30
    assert all(a >= b for a, b in pairwise(rates))
    assert decayed(5e-6, 70, 100) == 5e-6


@pytest.mark.parametrize("optim", ["sgd", "adam"])
def test_an_optimizer_step_does_not_depend_on_the_strides_of_a_gradient(
    optim: Literal["sgd", "adam"],
) -> None:
    config = ModelConfig(
        model="CNN", input_shape=(2, 6, 6), channels=[3, 4], kernels=[3, 2], pools="ii", fc=[5]
    )
    nets = [build_network(config, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    gradients = {name: torch.rand_like(value) for name, value in nets[0].named_parameters()}
    odd = dict(gradients)
    odd["synapses.1.weight"] = odd["synapses.1.weight"].contiguous(memory_format=torch.channels_last)
    odd["synapses.2.weight"] = odd["synapses.2.weight"].t().contiguous().t()
    for net, values in zip(nets, (gradients, odd), strict=True):
        optimizer = build_optimizer(net, optim=optim, lrs=[0.1] * 3, mmt=0.5)
        for _ in range(2):
            apply_gradients(net, optimizer, values)
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(one, other)
