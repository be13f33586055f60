"""Layers of FastReID composed of several operations, with the names of its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fastrt.errors import WeightsError
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import (
    Add,
    Concat,
    Convolution,
    InstanceNorm,
    MatMul,
    Multiply,
    ReduceMean,
    Relu,
    Reshape,
    ScaleShift,
    Sigmoid,
    Slice,
    Transpose,
)
from fastrt.models.activations import Activation

BlockBuilder = Callable[[Builder, Tensor, str, int, int], Tensor]
"""Builds a residual block from the builder, its input, its name, its layer (from 1) and its index there (from 0)."""

EPS = 1e-5
"""Epsilon of every batch and instance norm: PyTorch's default, never changed by FastReID."""

LEAST_VARIANCE = EPS / 1000
"""Least variance plus `EPS`.

Below, float32 rounds ``variance`` by more than 5e-5 of the sum, and the channel's gain is over 10 000.
"""


def convolve(
    b: Builder,
    x: Tensor,
    name: str,
    channels: int,
    kernel: int,
    stride: int | tuple[int, int] = 1,
    padding: int = 0,
    bias: bool = False,
    groups: int = 1,
    dilation: int = 1,
    arrays: str | None = None,
) -> Tensor:
    """A convolution with a square kernel: ``name.weight``, and optionally ``name.bias``.

    ``arrays`` replaces ``name`` in the names of the arrays, for convolutions that share them.
    """
    arrays = arrays or name
    weight = b.take(f"{arrays}.weight", (channels, x.shape[0] // groups, kernel, kernel))
    shift = b.take(f"{arrays}.bias", (channels,)) if bias else None
    return b.add(name, Convolution(weight, shift, stride, padding, groups=groups, dilation=dilation), x)


def batch_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    """A batch norm at inference: one scale and one shift per channel."""
    channels = x.shape[:1]
    weight, bias, mean, variance = (
        b.take(f"{name}.{leaf}", channels).astype(np.float64)
        for leaf in ("weight", "bias", "running_mean", "running_var")
    )
    # A FrozenBN, read from an old file and saved again, has its variance less EPS, which float32 rounds by EPS / 2**25.
    if (low := variance.min(initial=0)) + EPS < LEAST_VARIANCE:
        raise WeightsError(
            f"{name}.running_var: a variance of {low:.8g}; expected at least 0, or {LEAST_VARIANCE - EPS:.8g} in a"
            " FrozenBN. Copy the checkpoint again."
        )
    scale = weight / np.sqrt(variance + EPS)
    return b.add(name, ScaleShift(scale, bias - mean * scale), x)


def instance_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    """An instance norm with scale and shift: ``name.weight`` and ``name.bias``."""
    return b.add(name, InstanceNorm(b.take(f"{name}.weight", x.shape[:1]), b.take(f"{name}.bias", x.shape[:1]), EPS), x)


def instance_batch_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    """IBN-a: the first half of the channels through an instance norm, the rest through a batch norm.

    Source: fastreid/layers/batch_norm.py, IBN.
    """
    half = x.shape[0] // 2
    first = b.add(f"{name}.IN.slice", Slice(0, 0, half), x)
    rest = b.add(f"{name}.BN.slice", Slice(0, half, x.shape[0]), x)
    return b.add(name, Concat(), instance_norm(b, first, f"{name}.IN"), batch_norm(b, rest, f"{name}.BN"))


def squeeze_excite(b: Builder, x: Tensor, name: str, reduction: int = 16) -> Tensor:
    """Squeeze-and-excitation: scales each channel by the output of a small network on the channel means.

    Source: fastreid/layers/se_layer.py.
    """
    channels = x.shape[0]
    squeezed = b.add(f"{name}.avg_pool", ReduceMean(), x)
    hidden = b.add(f"{name}.fc.0", _linear(b, f"{name}.fc.0", channels, channels // reduction), squeezed)
    hidden = b.add(f"{name}.fc.1", Relu(), hidden)
    excited = b.add(f"{name}.fc.2", _linear(b, f"{name}.fc.2", channels // reduction, channels), hidden)
    return b.add(name, Multiply(), x, b.add(f"{name}.fc.3", Sigmoid(), excited))


def gate_channels(
    b: Builder,
    x: Tensor,
    name: str,
    hidden: int,
    names: tuple[str, str],
    inner: Activation,
    outer: Activation,
    arrays: tuple[str, str] | None = None,
) -> Tensor:
    """Scales each channel by ``outer(second(inner(first(means of the channels))))``, two 1x1 convolutions with bias.

    Args:
        b: the builder.
        x: the feature map ``(C, h, w)``.
        name: the gate's name.
        hidden: outputs of the first convolution.
        names: full names of the two convolutions.
        inner: activation after the first convolution.
        outer: activation after the second.
        arrays: full names of the convolutions' arrays, if several gates share them.
    """
    first, second = names
    of_first, of_second = arrays or names
    y = convolve(b, b.add(f"{name}.mean", ReduceMean(), x), first, hidden, 1, bias=True, arrays=of_first)
    y = convolve(b, inner(b, y, f"{first}.activated"), second, x.shape[0], 1, bias=True, arrays=of_second)
    return b.add(name, Multiply(), x, outer(b, y, f"{second}.activated"))


def _linear(b: Builder, name: str, inputs: int, outputs: int) -> Convolution:
    """Make a linear layer on a ``(C, 1, 1)`` tensor, as a 1x1 convolution."""
    return Convolution(b.take(f"{name}.weight", (outputs, inputs))[:, :, None, None])


def deinterleave(b: Builder, x: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """The even and the odd channels of a feature map ``(C, h, w)``, ``(C / 2, h, w)`` each: a channel shuffle.

    Source: fastreid/modeling/backbones/shufflenet.py, ShuffleV2Block.channel_shuffle.
    """
    channels, *size = x.shape
    half = channels // 2
    pairs = b.add(f"{name}.pairs", Reshape((half, 2, *size)), x)
    halves = b.add(f"{name}.halves", Transpose((1, 0, 2, 3)), pairs)
    both = b.add(name, Reshape((channels, *size)), halves)
    even = b.add(f"{name}.even", Slice(0, 0, half), both)
    return even, b.add(f"{name}.odd", Slice(0, half, channels), both)


def round_channels(channels: float, divisor: int) -> int:
    """The nearest multiple of ``divisor``, at least one, and the next one where that takes away over a tenth.

    Source: fastreid/modeling/backbones/mobilenet.py, _make_divisible.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def non_local(b: Builder, x: Tensor, name: str) -> Tensor:
    """A non-local block without softmax: ``W(theta^T (phi g^T) / N) + x``, N pixels.

    The block is linear, so it is computed from the right, without an N x N matrix. With one inner channel, as in
    FastReID except in autumn 2020, ``phi g^T / N`` is a single number, the mean of ``phi * g``.

    Source: fastreid/layers/non_local.py.
    """
    channels, *size = x.shape
    bias = b.parameters.arrays.get(f"{name}.g.bias")  # shows the inner channels in a format without shapes too
    width = 1 if bias is None or not bias.size else int(bias.size)
    g, theta, phi = (convolve(b, x, f"{name}.{part}", width, 1, bias=True) for part in ("g", "theta", "phi"))
    if width == 1:
        mean = b.add(f"{name}.f", ReduceMean(), b.add(f"{name}.phi_g", Multiply(), phi, g), exact=True)
        y = b.add(f"{name}.y", Multiply(), theta, mean, exact=True)
    else:
        pixels = math.prod(size)
        flat_g, flat_theta, flat_phi = (
            b.add(f"{tensor.name}.flat", Reshape((width, pixels)), tensor, exact=True) for tensor in (g, theta, phi)
        )
        mean_g = b.add(f"{name}.g.mean", ScaleShift(np.full(width, 1.0 / pixels), np.zeros(width)), flat_g, exact=True)
        f = b.add(f"{name}.f", MatMul(transpose_b=True), mean_g, flat_phi, exact=True)
        y = b.add(f"{name}.y.flat", MatMul(), f, flat_theta, exact=True)
        y = b.add(f"{name}.y", Reshape((width, *size)), y, exact=True)
    expanded = batch_norm(b, convolve(b, y, f"{name}.W.0", channels, 1, bias=True), f"{name}.W.1")
    return b.add(name, Add(), expanded, x)


def stack_blocks(
    b: Builder, x: Tensor, blocks: Sequence[int], non_locals: Sequence[int], build_block: BlockBuilder
) -> Tensor:
    """Layers of residual blocks, ``backbone.layer1.0`` and on; non-local blocks follow the last blocks of a layer.

    Args:
        b: the builder.
        x: the feature map ``(C, h, w)``.
        blocks: number of blocks of each layer.
        non_locals: number of non-local blocks of each layer.
        build_block: builds a block.
    """
    for layer, count in enumerate(blocks, 1):
        for i in range(count):
            x = build_block(b, x, f"backbone.layer{layer}.{i}", layer, i)
            nth = i - (count - non_locals[layer - 1])
            if nth >= 0:
                x = non_local(b, x, f"backbone.NL_{layer}.{nth}")
    return x
