"""Lowers each operation to openvino nodes with the tensor's name."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import openvino as ov
from openvino import opset1 as op1
from openvino import opset14 as op14

from fastrt.arrays import Array
from fastrt.ir import ops
from fastrt.ir.network import Tensor
from fastrt.targets.base import Lowering

Node = Any
"""An openvino node; openvino publishes no types for the return values of its opsets."""

FLOAT_MAX = float(np.finfo(np.float32).max)


class OpenVinoLowering(Lowering[Node]):
    """Lowers a network to openvino nodes, each with its tensor's name."""

    target: ClassVar[str] = "openvino"

    def named(self, tensor: Tensor, value: Node) -> Node:
        value.set_friendly_name(tensor.name)
        value.output(0).get_tensor().set_names({tensor.name})
        return value

    def input(self, op: ops.Input) -> Node:
        return op14.parameter(ov.PartialShape([-1, *op.shape]), ov.Type(np.dtype(op.dtype)))

    def cast(self, op: ops.Cast, x: Node) -> Node:
        return op14.convert(x, op.dtype.replace("float", "f"))

    def transpose(self, op: ops.Transpose, x: Node) -> Node:
        return op14.transpose(x, _integers(0, *(axis + 1 for axis in op.axes)))

    def reshape(self, op: ops.Reshape, x: Node) -> Node:
        return op14.reshape(x, _integers(-1, *op.shape), special_zero=False)

    def slice(self, op: ops.Slice, x: Node) -> Node:
        return op14.slice(x, *(_integers(value) for value in (op.start, op.stop, 1, op.axis + 1)))

    def concat(self, _: ops.Concat, *xs: Node) -> Node:
        return op14.concat(list(xs), 1)

    def scale_shift(self, op: ops.ScaleShift, x: Node) -> Node:
        scale, shift = (_per_channel(_shrink(array), x) for array in (op.scale, op.shift))
        if (op.shift == 0).all():
            return op14.multiply(x, scale)
        return op14.add(x if (op.scale == 1).all() else op14.multiply(x, scale), shift)

    def convolution(self, op: ops.Convolution, x: Node) -> Node:
        convolve = op14.convolution if op.groups == 1 else op14.group_convolution
        by_group = () if op.groups == 1 else (op.groups,)
        padding = [op.padding, op.padding]
        weight = _weight(op.weight, op.scale, by_group)
        y = convolve(x, weight, list(op.strides), padding, padding, [op.dilation, op.dilation])
        return y if op.bias is None else op14.add(y, _per_channel(op.bias, y))

    def linear(self, op: ops.Linear, x: Node) -> Node:
        y = op14.matmul(x, _weight(op.weight, op.scale), False, True)
        return y if op.bias is None else op14.add(y, op14.constant(op.bias.reshape(1, 1, -1)))

    def quantize_dequantize(self, op: ops.QuantizeDequantize, x: Node) -> Node:
        low, high = (op14.constant(np.float32(limit)) for limit in op.limits)
        return op14.fake_quantize(x, low, high, low, high, 256)

    def max_pool(self, op: ops.MaxPool, x: Node) -> Node:
        return op1.max_pool(x, *_pool_windows(op, x), "floor", "explicit")

    def average_pool(self, op: ops.AveragePool, x: Node) -> Node:
        return op14.avg_pool(x, *_pool_windows(op, x), exclude_pad=not op.counted)

    def instance_norm(self, op: ops.InstanceNorm, x: Node) -> Node:
        normed = op14.mvn(x, _integers(2, 3), True, op.eps, "inside_sqrt")
        return op14.add(op14.multiply(normed, _per_channel(op.weight, x)), _per_channel(op.bias, x))

    def layer_norm(self, op: ops.LayerNorm, x: Node) -> Node:
        normed = op14.mvn(x, _integers(-1), True, op.eps, "inside_sqrt")
        return op14.add(op14.multiply(normed, op14.constant(op.weight)), op14.constant(op.bias))

    def relu(self, _: ops.Relu, x: Node) -> Node:
        return op14.relu(x)

    def sigmoid(self, _: ops.Sigmoid, x: Node) -> Node:
        return op14.sigmoid(x)

    def gelu(self, _: ops.Gelu, x: Node) -> Node:
        return op14.gelu(x, "erf")

    def softmax(self, _: ops.Softmax, x: Node) -> Node:
        return op14.softmax(x, -1)

    def clamp(self, op: ops.Clamp, x: Node) -> Node:
        low, high = (
            default if value is None else value for value, default in ((op.low, -FLOAT_MAX), (op.high, FLOAT_MAX))
        )
        return op14.clamp(x, low, high)

    def power(self, op: ops.Power, x: Node) -> Node:
        return op14.power(x, op14.constant(np.float32(op.exponent)))

    def add(self, _: ops.Add, a: Node, b: Node) -> Node:
        return op14.add(a, b)

    def multiply(self, _: ops.Multiply, a: Node, b: Node) -> Node:
        return op14.multiply(a, b)

    def mat_mul(self, op: ops.MatMul, a: Node, b: Node) -> Node:
        return op14.matmul(a, b, op.transpose_a, op.transpose_b)

    def reduce_mean(self, _: ops.ReduceMean, x: Node) -> Node:
        return op14.reduce_mean(x, _integers(2, 3), keep_dims=True)

    def reduce_max(self, _: ops.ReduceMax, x: Node) -> Node:
        return op14.reduce_max(x, _integers(2, 3), keep_dims=True)

    def l2_normalize(self, op: ops.L2Normalize, x: Node) -> Node:
        # OpenVINO applies eps inside the square root, the operation outside it
        return op14.normalize_l2(x, _integers(1), op.eps**2, "max")


def _integers(*values: int) -> Node:
    return op14.constant(np.asarray(values, np.int64))


def _per_channel(array: Array, x: Node) -> Node:
    rank = x.get_output_partial_shape(0).rank.get_length()
    return op14.constant(array.astype(np.float32).reshape(1, *array.shape, *(1,) * (rank - 1 - array.ndim)))


def _shrink(array: Array) -> Array:
    """Return one number, with as many axes, if all are equal: OpenVINO's fusions look for scalars."""
    first = array[(slice(1),) * array.ndim]
    return first if (array == first).all() else array


def _weight(weight: Array, scale: Array | None, by_group: tuple[int, ...] = ()) -> Node:
    """Add a weight, dequantized if it is int8; ``by_group``: with its groups as the first axis."""
    constant = op14.constant(weight.reshape(*by_group, -1, *weight.shape[1:]))
    if scale is None:
        return constant
    scales = op14.constant(scale.reshape(*by_group, -1, *(1,) * (weight.ndim - 1)))
    return op14.multiply(op14.convert(constant, "f32"), scales)


def _pool_windows(op: ops.MaxPool | ops.AveragePool, x: Node) -> tuple[list[int], ...]:
    """Return strides, padding before and after, and kernel.

    Explicit padding for the last window replaces OpenVINO's rounding rule.
    """
    after = [op.padding_after(axis.get_length()) for axis in list(x.get_output_partial_shape(0))[2:]]
    return [op.stride] * 2, [op.padding] * 2, after, [op.kernel] * 2
