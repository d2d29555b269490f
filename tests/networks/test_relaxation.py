"""Settling: exact by default, and by every acceleration to the same equilibrium."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from eqprop_core import ModelConfig, Network, build_network
from eqprop_core.config import Estimator
from eqprop_core.learning.bptt import bptt_gradients
from eqprop_core.learning.equilibrium import Gradients, ep_gradients
from eqprop_core.learning.gdu import gdu_check
from eqprop_core.networks.numerics import Numerics, Precision, Updates, read_numerics
from eqprop_core.networks.relaxation import contrast_changes, largest_changes

SHAPE = (2, 11, 10)
NETWORKS: dict[str, dict[str, object]] = {
    "MLP": {"archi": [220, 12, 9, 5]},
    "CNN": {"channels": [3, 4], "kernels": [3, 3], "paddings": [1, 1], "pools": "ma", "fc": [5]},
    "VFMLP": {"archi": [220, 12, 9, 5]},
    "VFCNN": {"channels": [3, 4], "kernels": [3, 3], "paddings": [1, 1], "pools": "aa", "fc": [5]},
}
BATCH = 24
MASKED = {"MLP": 4, "CNN": 4, "VFMLP": 4, "VFCNN": 4}


def make(model: str, **more: object) -> tuple[Network, Tensor, Tensor]:
    settings = {"act": "tanh", "scale": 0.4, **NETWORKS[model], **more}  # small weights: one equilibrium
    config = ModelConfig(model=model, input_shape=SHAPE, **settings)
    draws = torch.Generator().manual_seed(3)
    net = build_network(config, generator=draws, dtype=torch.float64)
    x = torch.rand(BATCH, *SHAPE, generator=draws, dtype=torch.float64)
    x *= torch.linspace(0, 1, BATCH)[:, None, None, None]  # the darker ones settle first
    return net, x, torch.arange(BATCH) % 5


def settled(net: Network, x: Tensor, y: Tensor, numerics: Numerics, **more: object) -> list[Tensor]:
    net.use(numerics)
    return net.settle(x, net.initial_state(len(x)), steps=400, y=y, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize(
    "numerics",
    [
        Numerics(tol=1e-10),
        Numerics(updates="async"),
        Numerics(updates="async", tol=1e-10),
        Numerics(layouts=("channels-last",) * 3, unpooling="scatter"),
        Numerics(poolings=("channels-last",) * 3),
        Numerics(precision="bf16"),
        Numerics(precision="bf16", tol=1e-10),
        Numerics(precision="bf16", updates="async", tol=1e-10),
    ],
    ids=str,
)
def test_every_way_leads_to_the_same_equilibrium(model: str, numerics: Numerics, masked: bool) -> None:
    net, x, y = make(model, **({"dropouts": [0.8] * MASKED[model]} if masked else {}))
    masks = net.draw_masks(BATCH, torch.Generator().manual_seed(1))
    exact = settled(net, x, y, Numerics(), beta=0.3, masks=masks)
    found = settled(net, x, y, numerics, beta=0.3, masks=masks)
    for layer, expected in zip(found, exact, strict=True):
        torch.testing.assert_close(layer, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("updates", ["sync", "async"])
def test_settled_samples_leave_and_the_others_go_on(updates: Updates) -> None:
    net, x, _ = make("MLP", scale=1.0)
    net.use(Numerics(tol=1e-6, updates=updates))
    sizes: list[int] = []
    start = net.initial_state(BATCH)
    found = net.settle(x, start, steps=300, watch=lambda step, before, after: sizes.append(len(after[0])))
    assert sizes[0] == BATCH and sizes[-1] < BATCH and sizes == sorted(sizes, reverse=True)
    assert len(sizes) < 300
    assert not any(layer.any() for layer in start)
    net.use(Numerics(updates=updates))
    assert (largest_changes(found, net.settle(x, found, steps=1)) < 2e-6).all()


def test_steps_are_an_upper_bound() -> None:
    net, x, _ = make("MLP")
    net.use(Numerics(tol=1e-300))
    steps: list[int] = []
    some = net.settle(x, net.initial_state(BATCH), steps=7, watch=lambda step, *_: steps.append(step))
    net.use(Numerics())
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    for a, b in zip(some, net.settle(x, net.initial_state(BATCH), steps=7), strict=True):
        assert torch.equal(a, b)


def test_a_sweep_is_odd_layers_then_even_layers() -> None:
    net, x, _ = make("MLP")
    s = [torch.rand_like(layer) for layer in net.initial_state(BATCH)]
    odd = net.settle(x, s, steps=1)
    expected = [odd[0], s[1], odd[2]]
    expected[1] = net.settle(x, expected, steps=1)[1]
    net.use(Numerics(updates="async"))
    for layer, wanted in zip(net.settle(x, s, steps=1), expected, strict=True):
        torch.testing.assert_close(layer, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("same_update", [False, True])
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("model", NETWORKS)
def test_both_signs_in_one_batch_give_the_same_gradients(
    model: str, softmax: bool, same_update: bool
) -> None:
    if softmax and "CNN" not in model:
        pytest.skip("has no softmax readout")
    net, x, y = make(model, loss="cel", softmax=softmax)

    def gradients(numerics: Numerics) -> Gradients:
        net.use(numerics)
        return ep_gradients(
            net, x, y, steps=(60, 20), beta=0.2, estimator="symmetric", same_update=same_update
        )

    apart = gradients(Numerics())
    for numerics in (Numerics(joined=True), Numerics(joined=True, tol=1e-12)):
        for name, value in gradients(numerics).items():
            torch.testing.assert_close(value, apart[name], rtol=1e-7, atol=1e-9)


def test_the_gradient_in_low_precision_is_nearly_the_exact_one() -> None:
    net, x, y = make("MLP")

    def gradients(numerics: Numerics) -> Gradients:
        net.use(numerics)
        return ep_gradients(net, x, y, steps=(100, 40), beta=0.1, estimator="symmetric")

    exact, low = gradients(Numerics()), gradients(Numerics(precision="bf16"))
    for name, value in low.items():
        assert torch.cosine_similarity(value.flatten(), exact[name].flatten(), 0) > 0.9999


def agreement(found: Gradients, exact: Gradients) -> dict[str, tuple[float, float]]:
    """Cosine and ratio of norms of each parameter's gradients."""
    pairs = {name: (found[name].double().flatten(), value.flatten()) for name, value in exact.items()}
    return {
        name: (float(torch.cosine_similarity(a, b, 0)), float(a.norm() / b.norm()))
        for name, (a, b) in pairs.items()
    }


def in_both_precisions(**settings: object) -> tuple[Network, Network, Tensor, Tensor]:
    """The same network in float32 and in float64, and a batch of images."""
    exact, x, y = make("MLP", **settings)
    net = build_network(exact.config)
    net.load_state_dict({name: value.float() for name, value in exact.state_dict().items()})
    exact.load_state_dict({name: value.double() for name, value in net.state_dict().items()})
    return net, exact, x, y


DEEP = {"archi": [220, 24, 24, 24, 24, 5], "scale": 1.0, "act": "mysig"}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("estimator", ["one-sided", "paired", "symmetric"])
@pytest.mark.parametrize("beta", [0.5, 0.01, -0.001])
def test_a_tolerance_leaves_the_gradient_right_however_small_beta_is(
    beta: float, estimator: Estimator, precision: Precision
) -> None:
    net, exact, x, y = in_both_precisions(**DEEP)
    steps = (120, 40)
    wanted = ep_gradients(exact, x, y, steps=steps, beta=beta, estimator=estimator)
    for tol in (1e-2, 1e-3, 1e-5):
        net.use(Numerics(tol=tol, precision=precision))
        found = ep_gradients(net, x.float(), y, steps=steps, beta=beta, estimator=estimator)
        for name, (cosine, ratio) in agreement(found, wanted).items():
            assert cosine > 0.99 and 0.9 < ratio < 1.1, (tol, name, cosine, ratio)


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(("model", "same_update"), [("MLP", False), ("VFMLP", False), ("VFMLP", True)])
def test_a_paired_estimate_needs_no_settled_free_state(model: str, same_update: bool, joined: bool) -> None:
    net, x, y = make(model, scale=1.0)
    net.use(Numerics(joined=joined))

    def gradients(estimator: Estimator, T1: int) -> Gradients:
        return ep_gradients(
            net, x, y, steps=(T1, 60), beta=1e-3, estimator=estimator, same_update=same_update
        )

    settled = gradients("one-sided", 1500)
    for name, (cosine, ratio) in agreement(gradients("paired", 1500), settled).items():
        assert cosine > 1 - 1e-9 and ratio == pytest.approx(1, abs=1e-6), name
    assert min(cosine for cosine, _ in agreement(gradients("one-sided", 12), settled).values()) < 0.5
    assert min(cosine for cosine, _ in agreement(gradients("paired", 12), settled).values()) > 0.99


def test_a_contrast_has_settled_once_it_changes_by_little_of_itself() -> None:
    before = [torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [2.0, 0.0]])]
    after = [torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.5, 0.0], [2.0, 0.0]])]
    assert contrast_changes(before, after).tolist() == [1.0, 0.0]  # 1 became 0.5; 0 stayed 0
    assert largest_changes(before, after).tolist() == [0.0, 0.0, 0.5, 0.0]


@pytest.mark.parametrize("updates", ["sync", "async"])
def test_in_low_precision_too_what_has_settled_is_a_fixed_point(updates: Updates) -> None:
    net, _, x, _ = in_both_precisions(**DEEP)
    tol = 1e-6
    net.use(Numerics(tol=tol, precision="bf16", updates=updates))
    found = net.settle(x.float(), net.initial_state(BATCH), steps=400)
    net.use(Numerics())
    assert float(largest_changes(found, net.settle(x.float(), found, steps=1)).max()) < 2 * tol


@pytest.mark.parametrize("model", NETWORKS)
def test_checkpointed_bptt_gives_the_same_bits(model: str) -> None:
    net, x, y = make(model)
    whole = bptt_gradients(net, x, y, steps=(12, 7))
    net.use(Numerics(checkpointed=True))
    for name, value in bptt_gradients(net, x, y, steps=(12, 7)).items():
        assert torch.equal(value, whole[name])


def test_a_gdu_check_is_exact_whatever_accelerates_the_training() -> None:
    net, x, y = make("CNN")
    exact = gdu_check(net, x, y, steps=(30, 5), beta=0.1)
    fast = Numerics(tol=1e-2, updates="async")
    net.use(fast)
    again = gdu_check(net, x, y, steps=(30, 5), beta=0.1)
    assert net.numerics == fast
    assert all(torch.equal(again.ep[name], value) for name, value in exact.ep.items())


def test_numerics_are_read_as_they_were_written() -> None:
    numerics = Numerics(layouts=("contiguous", "channels-last"), joined=True, tol=1e-4, precision="bf16")
    assert read_numerics(numerics.document()) == numerics
    assert numerics.words() == "--tol 0.0001 --precision bf16" and not numerics.exact
    assert numerics.exactly() == replace(numerics, tol=None, precision="fp32") and numerics.exactly().exact
    for other in (None, 3, {"tol": "x"}, {"layouts": [3]}):
        assert read_numerics(other) is None
