"""Layer shapes and parameter counts: by hand for the reference's networks, and by torch for any other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from eqprop_core.geometry import ConnectionShape, GeometryError, cnn_connections, mlp_connections

CIFAR10: dict[str, Any] = {
    "input_shape": (3, 32, 32),
    "channels": (128, 256, 512, 512),
    "kernels": (3, 3, 3, 3),
    "strides": (1, 1, 1, 1),
    "paddings": (1, 1, 1, 0),
    "pools": "mmmm",
    "fc": (10,),
}
MNIST: dict[str, Any] = {
    "input_shape": (1, 28, 28),
    "channels": (32, 64),
    "kernels": (5, 5),
    "strides": (1, 1),
    "paddings": (0, 0),
    "pools": "mm",
    "fc": (10,),
}


def cnn(
    network: dict[str, Any], *, softmax: bool = False, vector_field: bool = False, **changes: Any
) -> tuple[ConnectionShape, ...]:
    return cnn_connections(**{**network, **changes}, softmax=softmax, vector_field=vector_field)


# --- the reference's networks, by hand ----------------------------------------------------------------


def test_the_cifar10_network() -> None:
    shapes = cnn(CIFAR10)
    assert [shape.post for shape in shapes] == [
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (512, 1, 1),
        (10,),
    ]
    assert [shape.convolved for shape in shapes] == [
        (128, 32, 32),
        (256, 16, 16),
        (512, 8, 8),
        (512, 2, 2),
        None,
    ]
    assert [shape.parameters for shape in shapes] == [
        128 * 3 * 9 + 128,
        256 * 128 * 9 + 256,
        512 * 256 * 9 + 512,
        512 * 512 * 9 + 512,
        10 * 512 + 10,
    ]
    assert sum(shape.parameters for shape in shapes) == 3_843_850


def test_the_mnist_network() -> None:
    shapes = cnn(MNIST)
    assert [shape.post for shape in shapes] == [(32, 12, 12), (64, 4, 4), (10,)]
    assert [shape.parameters for shape in shapes] == [832, 51_264, 10_250]


def test_the_mnist_mlp() -> None:
    shapes = mlp_connections((1, 28, 28), (784, 512, 10), vector_field=False)
    assert [(shape.pre, shape.post) for shape in shapes] == [((1, 28, 28), (512,)), ((512,), (10,))]
    assert [shape.parameters for shape in shapes] == [401_920, 5_130]
    assert [shape.backward_parameters for shape in shapes] == [0, 0]


def test_backward_weights_of_vector_fields_mirror_all_but_the_first_connection() -> None:
    shapes = cnn(CIFAR10, vector_field=True)
    assert [shape.has_backward for shape in shapes] == [False, True, True, True, True]
    assert sum(shape.backward_parameters for shape in shapes) == 294_912 + 1_179_648 + 2_359_296 + 5_120
    first, second = mlp_connections((784,), (784, 512, 10), vector_field=True)
    assert (first.backward_parameters, second.backward_parameters) == (0, 5_120)


def test_a_softmax_readout_is_the_last_dense_map_and_has_no_backward_weights() -> None:
    shapes = cnn(MNIST, fc=(100, 10), softmax=True, vector_field=True)
    assert [shape.kind for shape in shapes] == ["conv", "conv", "dense", "readout"]
    assert [shape.has_backward for shape in shapes] == [False, True, True, False]


def test_titles_say_what_distinguishes_a_connection() -> None:
    shapes = cnn(MNIST, kernels=(5, 3), strides=(1, 2), paddings=(0, 1), pools="ai")
    assert [shape.title for shape in shapes] == ["conv 5 average", "conv 3 stride 2 pad 1", "dense"]


# --- any other network, by torch ----------------------------------------------------------------------

POOLS = {"m": nn.MaxPool2d(2), "a": nn.AvgPool2d(2), "i": nn.Identity()}


@st.composite
def convolutional(draw: st.DrawFn) -> dict[str, Any]:
    layers = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=layers, max_size=layers)))

    return {
        "input_shape": (draw(st.integers(1, 3)), draw(st.integers(1, 14)), draw(st.integers(1, 14))),
        "channels": each(1, 4),
        "kernels": each(1, 5),
        "strides": each(1, 3),
        "paddings": each(0, 2),
        "pools": draw(st.text("mai", min_size=layers, max_size=layers)),
        "fc": tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))),
    }


@settings(max_examples=500, deadline=None, derandomize=True)
@given(convolutional(), st.booleans())
def test_shapes_and_counts_are_torchs(network: dict[str, Any], softmax: bool) -> None:
    try:
        shapes = cnn(network, softmax=softmax)
    except GeometryError:
        shapes = ()
    s = torch.zeros(1, *network["input_shape"])
    modules: list[nn.Conv2d | nn.Linear] = []
    try:
        for n, pool in enumerate(network["pools"]):
            conv = nn.Conv2d(
                s.shape[1],
                network["channels"][n],
                network["kernels"][n],
                stride=network["strides"][n],
                padding=network["paddings"][n],
            )
            convolved = conv(s)
            if shapes:
                assert shapes[n].pre == s.shape[1:] and shapes[n].convolved == convolved.shape[1:]
            s = POOLS[pool](convolved)
            modules.append(conv)
    except RuntimeError:
        assert not shapes, "torch refuses what the arithmetic accepts"
        return
    assert shapes, "torch accepts what the arithmetic refuses"
    assert shapes[len(modules) - 1].post == s.shape[1:]
    sizes = [s.numel(), *network["fc"]]
    modules += [nn.Linear(low, high) for low, high in pairwise(sizes)]
    assert [shape.weight for shape in shapes] == [module.weight.shape for module in modules]
    assert [shape.parameters for shape in shapes] == [
        sum(parameter.numel() for parameter in module.parameters()) for module in modules
    ]
    assert [upper.pre for upper in shapes[1:]] == [lower.post for lower in shapes[:-1]]


# --- what does not fit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "setting", "words"),
    [
        ({"kernels": (5, 13)}, "kernels", "kernel 13 with padding 0 does not fit"),
        ({"kernels": (5, 13)}, "kernels", "convolution 2 of 2 sees 32×12×12; at most 12 would"),
        ({"kernels": (31, 5), "paddings": (1, 0)}, "kernels", "at most 30 would"),
        ({"kernels": (5, 12)}, "pools", "nothing is left after pooling 1×1 by 2×2"),
        ({"kernels": (5, 12)}, "pools", "'i' (no pooling) would fit"),
        ({"input_shape": (784,)}, "model", "images [channels, height, width]"),
        ({"input_shape": (1, 28)}, "model", "images [channels, height, width]"),
    ],
)
def test_convolutions_that_do_not_fit_name_the_setting(
    changes: dict[str, Any], setting: str, words: str
) -> None:
    with pytest.raises(GeometryError) as caught:
        cnn(MNIST, **changes)
    assert caught.value.setting == setting
    assert words in caught.value.message


def test_what_an_error_recommends_fits() -> None:
    assert cnn(MNIST, kernels=(5, 12), pools="mi")[1].post == (64, 1, 1)
    assert cnn(MNIST, kernels=(30, 1), paddings=(1, 0), pools="ii")[0].post == (32, 1, 1)


@pytest.mark.parametrize(
    ("archi", "words"),
    [
        ((), "at least two sizes"),
        ((784,), "at least two sizes"),
        ((100, 10), "begins with 100, but the input has 784 values (1×28×28)"),
    ],
)
def test_layer_sizes_that_do_not_fit_name_the_setting(archi: tuple[int, ...], words: str) -> None:
    with pytest.raises(GeometryError) as caught:
        mlp_connections((1, 28, 28), archi, vector_field=False)
    assert caught.value.setting == "archi"
    assert words in caught.value.message
