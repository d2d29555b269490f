"""The explicit step is the derivative of Φ: for every connection, readout and activation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from eqprop_core import ConfigError, ModelConfig, Network, build_network
from eqprop_core.networks.activations import ACTIVATIONS, linear, scaled
from eqprop_core.networks.connections import Conv, Dense, backward_connection, forward_connection
from eqprop_core.networks.numerics import MEMORY_FORMATS, Layout, Numerics, Updates

DOUBLE = torch.float64
SHAPE = (2, 11, 10)  # odd, so that pooling leaves a row over

NETWORKS: dict[str, dict[str, object]] = {
    "dense": {"model": "MLP", "archi": [220, 9, 5]},
    "three dense": {"model": "MLP", "archi": [220, 9, 7, 5]},
    "max": {"model": "CNN", "channels": [3, 4], "kernels": [3, 3], "paddings": [1, 1], "pools": "mm", "fc": [5]},
    "average": {"model": "CNN", "channels": [3, 4], "kernels": [3, 2], "paddings": [1, 0], "pools": "aa", "fc": [5]},
    "no pooling": {"model": "CNN", "channels": [3, 4], "kernels": [3, 3], "pools": "ii", "fc": [6, 5]},
    "stride": {"model": "CNN", "channels": [3, 4, 3], "kernels": [3, 3, 2], "strides": [2, 3, 1], "paddings": [2, 1, 1], "pools": "ima", "fc": [5]},
    "one convolution": {"model": "CNN", "channels": [3], "kernels": [3], "pools": "m", "fc": [5]},
}  # fmt: skip
READOUTS = {
    "mse": {"loss": "mse"},
    "cel": {"loss": "cel"},
    "softmax": {"loss": "cel", "softmax": True},
}
CASES = [
    (network, readout)
    for network, readout in itertools.product(NETWORKS, READOUTS)
    if not (readout == "softmax" and NETWORKS[network]["model"] == "MLP")
]


def make(
    network: str, readout: str, *, act: str = "tanh", vector_field: bool = False, **more: object
) -> Network:
    values = {**NETWORKS[network], **READOUTS[readout], **more}
    if vector_field:
        values["model"] = "VF" + str(values["model"])
    return build_network(ModelConfig(input_shape=SHAPE, act=act, **values), dtype=DOUBLE)


def random_batch(net: Network, batch: int = 3) -> tuple[Tensor, Tensor, list[Tensor]]:
    x = torch.rand(batch, *SHAPE, dtype=DOUBLE)
    y = torch.arange(batch) % 5
    s = [torch.rand(batch, *shape, dtype=DOUBLE) * 1.4 - 0.2 for shape in net.layer_shapes]
    return x, y, s


def step_by_autograd(net: Network, x: Tensor, y: Tensor, s: list[Tensor], beta: float) -> list[Tensor]:
    s = [layer.clone().requires_grad_() for layer in s]
    drives = torch.autograd.grad(net.phi(x, s, beta=beta, y=y).sum(), s)
    return [net.activation(drive) for drive in drives[:-1]] + [net.output_activation(drives[-1])]


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize(("network", "readout"), CASES)
@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_a_step_is_the_activation_of_the_derivative_of_phi(
    network: str, readout: str, act: str, beta: float
) -> None:
    net = make(network, readout, act=act)
    x, y, s = random_batch(net)
    found = net.settle(x, s, steps=1, beta=beta, y=y)
    for layer, expected in zip(found, step_by_autograd(net, x, y, s, beta), strict=True):
        torch.testing.assert_close(layer, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("network", "readout"), CASES)
def test_a_vector_field_steps_by_its_forward_and_its_backward_connections(network: str, readout: str) -> None:
    net = make(network, readout, vector_field=True)
    x, y, s = random_batch(net)
    drives = []
    for n, connection in enumerate(net.connections):
        drive = connection.forward_drive([x, *s][n])
        if n + 1 < len(s):
            lower = s[n].clone().requires_grad_()
            phi = net.backward_connections[n].phi(lower, s[n + 1]).sum()
            drive = drive + torch.autograd.grad(phi, lower)[0]
        else:
            last = s[-1].clone().requires_grad_()
            drive = drive - 0.7 * torch.autograd.grad(net.loss([*s[:-1], last], y).sum(), last)[0]
        drives.append(drive)
    expected = [net.activation(drive) for drive in drives[:-1]] + [net.output_activation(drives[-1])]
    for layer, wanted in zip(net.settle(x, s, steps=1, beta=0.7, y=y), expected, strict=True):
        torch.testing.assert_close(layer, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", ["MLP", "CNN"])
def test_with_tied_weights_a_vector_field_is_the_symmetric_network(model: str) -> None:
    network = "three dense" if model == "MLP" else "max"
    field, symmetric = make(network, "mse", vector_field=True), make(network, "mse")
    with torch.no_grad():
        for pair in zip(field.synapses, symmetric.synapses, strict=True):
            pair[0].load_state_dict(pair[1].state_dict())
        for n, backward in enumerate(field.backward_connections):
            if backward.shape.kind == "conv":
                pytest.skip("a backward convolution has no bias, so that its maxima are others")
            backward.weight.copy_(backward.turned(field.connections[n + 1].weight))
    x, _, s = random_batch(field)
    for a, b in zip(field.settle(x, s, steps=5), symmetric.settle(x, s, steps=5), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("network", NETWORKS)
def test_connections_agree_with_autograd_of_their_phi(network: str) -> None:
    for shape in make(network, "mse").config.connections():
        connection = forward_connection(shape).to(DOUBLE)
        pre = torch.rand(4, *shape.pre, dtype=DOUBLE, requires_grad=True)
        post = torch.rand(4, *shape.post, dtype=DOUBLE, requires_grad=True)
        wanted = [pre, post, *connection.parameters()]
        gradients = torch.autograd.grad(connection.phi(pre, post).sum(), wanted)
        forward, backward = connection.both_drives(pre, post, torch.zeros_like(pre))
        torch.testing.assert_close(backward, gradients[0])
        torch.testing.assert_close(forward, gradients[1])
        torch.testing.assert_close(connection.backward_drive(pre, post), gradients[0])
        found = connection.outer(pre, connection.spread(pre, post))
        torch.testing.assert_close(found["weight"], gradients[2])
        torch.testing.assert_close(found["bias"], gradients[3])


@pytest.mark.parametrize("network", NETWORKS)
def test_a_contrast_is_the_difference_of_two_gradients(network: str) -> None:
    for shape in make(network, "mse").config.connections():
        connection = forward_connection(shape).to(DOUBLE)
        states = [torch.rand(4, *part, dtype=DOUBLE) for part in (shape.pre, shape.post) * 2]
        found = connection.contrast(*states)
        phi = (connection.phi(*states[:2]) - connection.phi(*states[2:])).sum()
        for value, expected in zip(found.values(), torch.autograd.grad(phi, list(connection.parameters())), strict=True):  # fmt: skip
            torch.testing.assert_close(value, expected)


def test_backward_weights_are_stored_as_the_reference_stores_them() -> None:
    mlp = make("three dense", "mse", vector_field=True)
    assert {k: tuple(v.shape) for k, v in mlp.state_dict().items() if k.startswith("B_syn")} == {
        "B_syn.0.weight": (9, 7),
        "B_syn.1.weight": (7, 5),
    }
    cnn = make("no pooling", "mse", vector_field=True)
    dense = cnn.config.connections()[2].weight
    assert {k: tuple(v.shape) for k, v in cnn.state_dict().items() if k.startswith("B_syn")} == {
        "B_syn.0.weight": (4, 3, 3, 3),
        "B_syn.1.weight": dense,
        "B_syn.2.weight": (5, 6),
    }
    turned = backward_connection(mlp.config.connections()[1], stored_by_lower=True)
    assert isinstance(turned, Dense) and turned.matrix.shape == (7, 9)


def test_a_linear_network_settles_to_its_analytic_fixed_point(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make("three dense", "cel")  # the last layer is linear already
    net.activation = linear
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 0.5
    x, _, _ = random_batch(net)
    sizes = [9, 7, 5]
    total = sum(sizes)
    coupling, drive = torch.zeros(total, total, dtype=DOUBLE), torch.zeros(3, total, dtype=DOUBLE)
    starts = [0, 9, 16]
    drive[:, :9] = net.input_drive(x).detach()
    for n in (1, 2):
        weight, bias = net.connections[n].weight.detach(), net.connections[n].bias
        lower = slice(starts[n - 1], starts[n - 1] + sizes[n - 1])
        upper = slice(starts[n], starts[n] + sizes[n])
        coupling[upper, lower] = weight
        coupling[lower, upper] = weight.T
        drive[:, upper] += bias.detach() if bias is not None else 0
    fixed_point = torch.linalg.solve(torch.eye(total, dtype=DOUBLE) - coupling, drive.T).T
    settled = net.settle(x, net.initial_state(3), steps=400)
    torch.testing.assert_close(torch.cat(settled, 1), fixed_point, rtol=1e-9, atol=1e-9)


def test_dropout_steps_are_the_derivative_of_phi_at_the_masked_state_times_p() -> None:
    keep = [0.8, 0.5, 0.7, 0.6]
    for readout in ("mse", "cel"):
        net = make("max", readout, dropouts=keep)
        x, y, s = random_batch(net)
        masks = net.draw_masks(len(x), torch.Generator().manual_seed(1))
        assert masks is not None
        s = [layer.clone().requires_grad_() for layer in s]
        drives = torch.autograd.grad(net.phi(x, s, beta=0.3, y=y, masks=masks).sum(), s)
        drives = [drive * p for drive, p in zip(drives, keep[1:], strict=True)]
        expected = [net.activation(drive) for drive in drives[:-1]] + [net.output_activation(drives[-1])]
        for layer, wanted in zip(
            net.settle(x, s, steps=1, beta=0.3, y=y, masks=masks), expected, strict=True
        ):
            torch.testing.assert_close(layer, wanted, rtol=1e-12, atol=1e-12)


def test_masks_keep_the_given_share_and_scale_it_up() -> None:
    net = make("max", "softmax", dropouts=[1.0, 0.9, 0.25])
    masks = net.draw_masks(200, torch.Generator().manual_seed(0))
    assert masks is not None
    for mask, p in zip(masks, [1.0, 0.9, 0.25], strict=True):
        assert set(mask.unique().tolist()) <= {0.0, 1 / p}
        assert float((mask > 0).double().mean()) == pytest.approx(p, abs=0.02)
    assert make("max", "mse").draw_masks(3) is None
    assert make("max", "mse", dropouts=[1, 1, 1, 1]).draw_masks(3) is None


@pytest.mark.parametrize(
    ("keep", "rows", "dtype"),
    [
        ([1.0, 0.9, 0.25], slice(None), torch.float32),
        ([0.8, 0.3, 1.0], slice(2, 5), torch.float32),
        ([0.999, 1e-3, 0.5], slice(6, 6), torch.float64),
    ],
)
def test_masks_are_to_the_bit_what_they_were_drawn_as_from_the_first(
    keep: list[float], rows: slice, dtype: torch.dtype
) -> None:
    net = make("max", "softmax", dropouts=keep).to(dtype)
    draws = torch.Generator().manual_seed(7)
    masks = net.draw_masks(6, torch.Generator().manual_seed(7), rows)
    assert masks is not None
    for mask, p, shape in zip(masks, keep, [net.config.input_shape, *net.layer_shapes], strict=True):
        expected = (torch.rand(6, *shape, generator=draws)[rows] < p).to(dtype) / p
        assert mask.dtype == dtype and torch.equal(mask, expected)
    for kept, mask in zip(masks.kept, masks[1:], strict=True):
        assert kept.dtype == dtype and torch.equal(kept != 0, mask != 0)


class Comparisons(TorchDispatchMode):
    """Counts comparisons of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten.ne.Scalar
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("updates", ["sync", "async"])
@pytest.mark.parametrize("readout", ["mse", "softmax"])
def test_which_neurons_are_kept_is_not_asked_again_at_every_step(readout: str, updates: Updates) -> None:
    net = make("max", readout, dropouts=[0.8] * (4 - (readout == "softmax")))
    net.use(Numerics(updates=updates))
    x, y, s = random_batch(net)
    masks = net.draw_masks(len(x), torch.Generator().manual_seed(1))
    with Comparisons() as seen:
        net.settle(x, s, steps=3, beta=0.3, y=y, masks=masks)
        net.step(s, net.input_drive(x, masks), masks=masks)
    assert seen.count == 0


def test_settling_leaves_its_start_alone_and_tells_each_step() -> None:
    net = make("max", "mse")
    x, _, s = random_batch(net)
    before = [layer.clone() for layer in s]
    seen: list[int] = []
    result = net.settle(x, s, steps=4, watch=lambda step, old, new: seen.append(step))
    assert seen == [1, 2, 3, 4]
    for kept, layer in zip(before, s, strict=True):
        assert torch.equal(kept, layer)
    assert [layer.shape for layer in result] == [layer.shape for layer in s]


def test_what_does_not_fit_is_refused_in_words() -> None:
    net = make("max", "mse")
    x, _, s = random_batch(net)
    with pytest.raises(ValueError, match="x has shape"):
        net.settle(x[:, :1], s, steps=1)
    with pytest.raises(ValueError, match="x has shape"):
        net.settle(x[:0], [layer[:0] for layer in s], steps=1)
    with pytest.raises(ValueError, match="state has shapes"):
        net.settle(x, net.initial_state(1), steps=1)
    for y in (torch.zeros(1, dtype=torch.int64), torch.zeros(3, 1, dtype=torch.int64)):
        with pytest.raises(ValueError, match="y has shape"):
            net.settle(x, s, steps=1, beta=0.5, y=y)
    with pytest.raises(ValueError, match="state has shapes"):
        net.settle(x, s[:-1], steps=1)
    with pytest.raises(ValueError, match="needs the targets"):
        net.settle(x, s, steps=1, beta=0.5)
    with pytest.raises(ConfigError, match="--softmax"):
        make("max", "mse", softmax=True)


def test_start_values_are_uniform_within_the_root_of_the_fan_in_times_scale() -> None:
    config = ModelConfig(model="VFMLP", input_shape=(1, 20, 20), archi=[400, 100, 10], scale=0.5)
    net = build_network(config, generator=torch.Generator().manual_seed(3))
    again = build_network(config, generator=torch.Generator().manual_seed(3))
    for (name, value), other in zip(net.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(value, other)
        fan_in = {"synapses.0": 400, "synapses.1": 100, "B_syn.0": 10}[name.rsplit(".", 1)[0]]
        bound = 0.5 / fan_in**0.5
        assert bound * 0.8 < float(value.detach().abs().max()) <= bound


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("vector_field", [False, True])
@pytest.mark.parametrize(
    ("network", "readout"), [("three dense", "mse"), ("three dense", "cel"), ("max", "softmax"), ("stride", "mse")]
)  # fmt: skip
def test_settling_is_one_step_after_the_other(
    network: str, readout: str, vector_field: bool, act: str
) -> None:
    net = make(network, readout, act=act, vector_field=vector_field)
    x, y, s = random_batch(net)
    found = net.settle(x, s, steps=3, beta=0.4, y=y)
    with torch.no_grad():
        for _ in range(3):
            s = net.step(s, net.input_drive(x), beta=0.4, target=net.target(y))
    for layer, expected in zip(found, s, strict=True):
        torch.testing.assert_close(layer, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("archi", [[220, 5], [220, 9, 5]])
@pytest.mark.parametrize("updates", ["sync", "async"])
def test_settling_writes_over_nothing_that_it_was_given(archi: list[int], act: str, updates: Updates) -> None:
    net = make("dense", "mse", act=act, archi=archi)
    net.use(Numerics(updates=updates))
    x, y, s = random_batch(net)
    present = net.present(x)
    drive = present.input_drive
    before = [value.clone() for value in (x, drive, *s)]
    watched: list[list[Tensor]] = []
    kept: list[list[Tensor]] = []

    def watch(_: int, old: list[Tensor], new: list[Tensor]) -> None:
        watched.append([*old, *new])
        kept.append([layer.clone() for layer in watched[-1]])

    net.settle(x, s, steps=3, beta=0.4, y=y, present=present, watch=watch)
    for value, old in zip((x, drive, *s), before, strict=True):
        assert torch.equal(value, old)
    for seen, copy in zip(watched, kept, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(seen, copy, strict=True))


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_an_activation_is_its_rest_after_gain_and_shift(act: str) -> None:
    x = torch.linspace(-3, 3, 61, dtype=DOUBLE)
    apart = scaled(ACTIVATIONS[act])
    torch.testing.assert_close(apart.rest(apart.apart(x)), ACTIVATIONS[act](x), rtol=1e-14, atol=1e-15)
    assert apart.rest(x) is not x
    assert math.log2(apart.gain).is_integer()  # loses no digit


@pytest.mark.parametrize("layout", MEMORY_FORMATS)
def test_max_pooling_takes_the_first_of_equal_values_in_every_memory_format(layout: Layout) -> None:
    net = make("max", "mse")
    conv = net.connections[1]
    assert isinstance(conv, Conv)
    conv.pooling = MEMORY_FORMATS[layout]
    convolved = torch.randint(3, (4, 4, 5, 6), dtype=DOUBLE)
    pooled, places = conv.pool(convolved)
    expected, indices = functional.max_pool2d(convolved, 2, return_indices=True)
    assert places is not None
    assert torch.equal(pooled, expected) and torch.equal(places.indices, indices)
