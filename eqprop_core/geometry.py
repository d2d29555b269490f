"""Layer shapes and parameter counts, by arithmetic alone.

Serves validation, the layer table and the networks. Knows nothing of tensors, of configurations or of data:
what comes in are plain numbers, what goes out are `ConnectionShape`s, the first one joining the input
`s[0]` to `s[1]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

Shape = tuple[int, ...]


class GeometryError(ValueError):
    """Sizes that do not fit together; `setting` is the name of the setting to change, `message` says why."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting
        self.message = message


@dataclass(frozen=True)
class ConnectionShape:
    """One connection between two layers; shapes are without the batch dimension.

    `convolved` is the shape between convolution and pooling (`None` for a dense map), `weight` the shape of
    the forward weight, `has_backward` whether a vector field keeps separate backward weights for it.
    """

    kind: Literal["conv", "dense", "readout"]
    pre: Shape
    post: Shape
    weight: Shape
    has_backward: bool
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    pool: str = "i"
    convolved: Shape | None = None

    @property
    def parameters(self) -> int:
        """Number of forward parameters: weight and bias."""
        return prod(self.weight) + self.weight[0]

    @property
    def backward_parameters(self) -> int:
        """Number of separate backward weights (they have no bias)."""
        return prod(self.weight) if self.has_backward else 0

    @property
    def title(self) -> str:
        """Kind and what matters of it, as the layer table shows it: `conv 3 max`, `dense`, `readout`."""
        if self.kind != "conv":
            return self.kind
        pooling = {"m": " max", "a": " average", "i": ""}[self.pool]
        extra = (f" stride {self.stride}" if self.stride != 1 else "") + (
            f" pad {self.padding}" if self.padding else ""
        )
        return f"conv {self.kernel}{extra}{pooling}"


def dense_chain(
    sizes: Sequence[int], first_shape: Shape, *, vector_field: bool, softmax: bool, first_is_input: bool
) -> list[ConnectionShape]:
    """Dense connections through layers of `sizes`, the first of which is `first_shape` flattened.

    With `softmax` the last one is a readout outside Φ. The connection that leaves the input
    (`first_is_input`) and the readout have no backward weights.
    """
    shapes: list[ConnectionShape] = []
    pre = first_shape
    for index, size in enumerate(sizes[1:]):
        readout = softmax and index == len(sizes) - 2
        shapes.append(
            ConnectionShape(
                kind="readout" if readout else "dense",
                pre=pre,
                post=(size,),
                weight=(size, prod(pre)),
                has_backward=vector_field and not readout and not (first_is_input and index == 0),
            )
        )
        pre = (size,)
    return shapes


def mlp_connections(
    input_shape: Shape, archi: Sequence[int], *, vector_field: bool
) -> tuple[ConnectionShape, ...]:
    """Connections of an MLP with layer sizes `archi`, input first. Raises `GeometryError`."""
    if len(archi) < 2:
        raise GeometryError("archi", "needs at least two sizes: the input and the output")
    if archi[0] != prod(input_shape):
        shape = "×".join(map(str, input_shape))
        raise GeometryError(
            "archi", f"begins with {archi[0]}, but the input has {prod(input_shape)} values ({shape})"
        )
    return tuple(
        dense_chain(archi, input_shape, vector_field=vector_field, softmax=False, first_is_input=True)
    )


def cnn_connections(
    input_shape: Shape,
    *,
    channels: Sequence[int],
    kernels: Sequence[int],
    strides: Sequence[int],
    paddings: Sequence[int],
    pools: str,
    fc: Sequence[int],
    softmax: bool,
    vector_field: bool,
) -> tuple[ConnectionShape, ...]:
    """Connections of a CNN: convolutions with 2×2 pooling (m max, a average, i none), then dense maps `fc`.

    `input_shape` is [channels, height, width]; all lists have one entry a convolution. Convolution gives
    floor((size + 2·padding − kernel) / stride) + 1, pooling floor(size / 2). Raises `GeometryError`.
    """
    if len(input_shape) != 3:
        raise GeometryError("model", "a convolutional network needs images [channels, height, width]")
    shapes: list[ConnectionShape] = []
    pre: Shape = tuple(input_shape)
    for index, maps in enumerate(channels):
        kernel, stride, padding, pool = kernels[index], strides[index], paddings[index], pools[index]
        low, high, width = pre
        here = f"convolution {index + 1} of {len(channels)} sees {low}×{high}×{width}"
        if kernel > min(high, width) + 2 * padding:
            raise GeometryError(
                "kernels",
                f"kernel {kernel} with padding {padding} does not fit: {here}; "
                f"at most {min(high, width) + 2 * padding} would",
            )
        convolved = (
            maps,
            (high + 2 * padding - kernel) // stride + 1,
            (width + 2 * padding - kernel) // stride + 1,
        )
        post = convolved if pool == "i" else (maps, convolved[1] // 2, convolved[2] // 2)
        if min(post) < 1:
            raise GeometryError(
                "pools",
                f"nothing is left after pooling {convolved[1]}×{convolved[2]} by 2×2: {here}; "
                f"'i' (no pooling) would fit",
            )
        shapes.append(
            ConnectionShape(
                kind="conv",
                pre=pre,
                post=post,
                weight=(maps, low, kernel, kernel),
                has_backward=vector_field and index > 0,
                kernel=kernel,
                stride=stride,
                padding=padding,
                pool=pool,
                convolved=convolved,
            )
        )
        pre = post
    shapes += dense_chain(
        [prod(pre), *fc], pre, vector_field=vector_field, softmax=softmax, first_is_input=not channels
    )
    return tuple(shapes)
