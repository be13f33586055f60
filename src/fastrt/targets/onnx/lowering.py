"""Lowers each operation to ONNX nodes with the tensor's name."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastrt.arrays import Array
from fastrt.ir import ops
from fastrt.ir.network import Tensor
from fastrt.targets.base import Lowering

PIXELS = (2, 3)


class OnnxLowering(Lowering[str]):
    """Lowers a network to ONNX nodes; values are node names."""

    target: ClassVar[str] = "onnx"

    def __init__(self) -> None:
        import onnx

        self._onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.ranks: dict[str, int] = {}

    def named(self, tensor: Tensor, value: str) -> str:
        if self.nodes and self.nodes[-1].output[0] == value:
            self.nodes[-1].output[0] = self.nodes[-1].name = tensor.name
        self.ranks[tensor.name] = len(tensor.shape) + 1
        return tensor.name

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"value{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def _constant(self, array: Array) -> str:
        name = f"constant{len(self.initializers)}"
        self.initializers.append(self._onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def _integers(self, *values: int) -> str:
        return self._constant(np.asarray(values, np.int64))

    def _float(self, value: float) -> str:
        return self._constant(np.asarray(value, np.float32))

    def input(self, _: ops.Input) -> str:
        return ""  # `named` returns the tensor's name; a graph's input has no node

    def cast(self, op: ops.Cast, x: str) -> str:
        return self._node("Cast", x, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(op.dtype)))

    def transpose(self, op: ops.Transpose, x: str) -> str:
        return self._node("Transpose", x, perm=[0, *(axis + 1 for axis in op.axes)])

    def reshape(self, op: ops.Reshape, x: str) -> str:
        return self._node("Reshape", x, self._integers(-1, *op.shape))

    def slice(self, op: ops.Slice, x: str) -> str:
        return self._node("Slice", x, *(self._integers(value) for value in (op.start, op.stop, op.axis + 1)))

    def concat(self, _: ops.Concat, *xs: str) -> str:
        return self._node("Concat", *xs, axis=1)

    def scale_shift(self, op: ops.ScaleShift, x: str) -> str:
        shape = (1, *op.scale.shape, *(1,) * (self.ranks[x] - 1 - op.scale.ndim))
        if (op.scale != 1).any() or (op.shift == 0).all():
            x = self._node("Mul", x, self._constant(op.scale.astype(np.float32).reshape(shape)))
        if (op.shift == 0).all():
            return x
        return self._node("Add", x, self._constant(op.shift.astype(np.float32).reshape(shape)))

    def convolution(self, op: ops.Convolution, x: str) -> str:
        weight = self._constant(op.weight)
        if op.scale is not None:
            zero = self._constant(np.zeros(len(op.scale), np.int8))
            weight = self._node("DequantizeLinear", weight, self._constant(op.scale), zero, axis=0)
        arrays = [weight] + ([] if op.bias is None else [self._constant(op.bias)])
        attributes: dict[str, Any] = {} if op.groups == 1 else {"group": op.groups}
        if op.dilation != 1:
            attributes["dilations"] = [op.dilation] * 2
        return self._node(
            "Conv",
            x,
            *arrays,
            strides=op.strides,
            pads=[op.padding] * 4,
            kernel_shape=op.weight.shape[2:],
            **attributes,
        )

    def linear(self, op: ops.Linear, x: str) -> str:
        if op.scale is None:
            weight = self._constant(op.weight.T)
        else:
            zero = self._constant(np.zeros(len(op.scale), np.int8))
            weight = self._node("DequantizeLinear", self._constant(op.weight.T), self._constant(op.scale), zero, axis=1)
        y = self._node("MatMul", x, weight)
        return y if op.bias is None else self._node("Add", y, self._constant(op.bias))

    def quantize_dequantize(self, op: ops.QuantizeDequantize, x: str) -> str:
        grid = self._float(op.scale), self._constant(np.asarray(op.zero_point, op.grid))
        return self._node("DequantizeLinear", self._node("QuantizeLinear", x, *grid), *grid)

    def max_pool(self, op: ops.MaxPool, x: str) -> str:
        return self._node(
            "MaxPool",
            x,
            kernel_shape=[op.kernel] * 2,
            strides=[op.stride] * 2,
            pads=[op.padding] * 4,
            ceil_mode=int(op.ceil),
        )

    def average_pool(self, op: ops.AveragePool, x: str) -> str:
        return self._node(
            "AveragePool",
            x,
            kernel_shape=[op.kernel] * 2,
            strides=[op.stride] * 2,
            pads=[op.padding] * 4,
            ceil_mode=int(op.ceil),
            count_include_pad=int(op.counted),
        )

    def instance_norm(self, op: ops.InstanceNorm, x: str) -> str:
        return self._node(
            "InstanceNormalization", x, self._constant(op.weight), self._constant(op.bias), epsilon=op.eps
        )

    def layer_norm(self, op: ops.LayerNorm, x: str) -> str:
        arrays = self._constant(op.weight), self._constant(op.bias)
        return self._node("LayerNormalization", x, *arrays, axis=-1, epsilon=op.eps)

    def relu(self, _: ops.Relu, x: str) -> str:
        return self._node("Relu", x)

    def sigmoid(self, _: ops.Sigmoid, x: str) -> str:
        return self._node("Sigmoid", x)

    def gelu(self, _: ops.Gelu, x: str) -> str:
        erf = self._node("Erf", self._node("Mul", x, self._float(0.5**0.5)))
        half = self._node("Mul", x, self._float(0.5))
        return self._node("Mul", half, self._node("Add", erf, self._float(1.0)))

    def softmax(self, _: ops.Softmax, x: str) -> str:
        return self._node("Softmax", x, axis=-1)

    def clamp(self, op: ops.Clamp, x: str) -> str:
        return self._node("Clip", x, *("" if value is None else self._float(value) for value in (op.low, op.high)))

    def power(self, op: ops.Power, x: str) -> str:
        return self._node("Pow", x, self._float(op.exponent))

    def add(self, _: ops.Add, a: str, b: str) -> str:
        return self._node("Add", a, b)

    def multiply(self, _: ops.Multiply, a: str, b: str) -> str:
        return self._node("Mul", a, b)

    def mat_mul(self, op: ops.MatMul, a: str, b: str) -> str:
        *axes, rows, columns = range(self.ranks[a])
        order = [*axes, columns, rows]
        a = self._node("Transpose", a, perm=order) if op.transpose_a else a
        b = self._node("Transpose", b, perm=order) if op.transpose_b else b
        return self._node("MatMul", a, b)

    def reduce_mean(self, _: ops.ReduceMean, x: str) -> str:
        return self._node("ReduceMean", x, axes=PIXELS, keepdims=1)

    def reduce_max(self, _: ops.ReduceMax, x: str) -> str:
        return self._node("ReduceMax", x, axes=PIXELS, keepdims=1)

    def l2_normalize(self, op: ops.L2Normalize, x: str) -> str:
        length = self._node("ReduceL2", x, axes=[1], keepdims=1)
        return self._node("Div", x, self._node("Max", length, self._float(op.eps)))
