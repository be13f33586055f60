"""Other layers for the bytes' way in and for instance norms, to be timed by `benchmarks.tensorrt_forms`."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from fastrt.network import Tensor
from fastrt.ops import Cast, Input, InstanceNorm, Operation, ScaleShift, Transpose
from fastrt.targets.tensorrt.dialect import Trt
from fastrt.targets.tensorrt.lowering import PIXELS, TensorRtLowering


class Pointwise(TensorRtLowering):
    """Pixels are standardised by a product and a sum."""

    def scale_shift(self, op: ScaleShift, x: Trt) -> Trt:
        shape = (1, -1, *(1,) * (len(x.shape) - 2))
        scale, shift = (self._constant(array.reshape(shape), x) for array in (op.scale, op.shift))
        return self._elementwise("SUM", self._elementwise("PROD", x, scale), shift)


class Between(Pointwise):
    """The same in float32, between two casts: what stands there can be one kernel."""

    def cast(self, op: Cast, x: Trt) -> Trt:
        half = x.dtype == self._trt.DataType.UINT8
        return super().cast(replace(op, dtype="float32") if half else op, x)

    def scale_shift(self, op: ScaleShift, x: Trt) -> Trt:
        y = super().scale_shift(op, x)
        return self._add("add_cast", y, self._trt.DataType.HALF) if len(x.shape) == 4 else y


class Matrix(TensorRtLowering):
    """Bytes become planes as a matrix is transposed: all pixels by three channels."""

    def transpose(self, op: Transpose, x: Trt) -> Trt:
        if op.axes != (2, 0, 1):
            return super().transpose(op, x)
        height, width, channels = tuple(x.shape)[1:]
        layer = self._layer("add_shuffle", x)
        layer.reshape_dims = (0, height * width, channels)
        layer.second_transpose = self._trt.Permutation([0, 2, 1])
        again = self._layer("add_shuffle", layer.get_output(0))
        again.reshape_dims = (0, channels, height, width)
        return again.get_output(0)


class Product(TensorRtLowering):
    """Bytes become standardised planes by a product with a diagonal matrix, which turns them on the way."""

    def transpose(self, op: Transpose, x: Trt) -> Trt:
        return x if op.axes == (2, 0, 1) else super().transpose(op, x)

    def scale_shift(self, op: ScaleShift, x: Trt) -> Trt:
        if len(x.shape) < 4:
            return super().scale_shift(op, x)
        height, width, channels = tuple(x.shape)[1:]
        rows = self._layer("add_shuffle", x)
        rows.reshape_dims = (0, height * width, channels)
        flat = rows.get_output(0)
        diagonal, shift = (
            self._constant(array, flat) for array in (np.diag(op.scale)[None], op.shift.reshape(1, channels, 1))
        )
        kinds = self._trt.MatrixOperation
        turned = self._add("add_matrix_multiply", diagonal, kinds.NONE, flat, kinds.TRANSPOSE)
        planes = self._layer("add_shuffle", self._elementwise("SUM", turned, shift))
        planes.reshape_dims = (0, channels, height, width)
        return planes.get_output(0)


class ChannelsLast(TensorRtLowering):
    """The input has the shape of planes, and bytes lie in it with their channels last: nothing is turned."""

    def input(self, op: Input) -> Trt:
        images = super().input(op)
        images.allowed_formats = 1 << int(self._trt.TensorFormat.HWC)
        return images

    def transpose(self, op: Transpose, x: Trt) -> Trt:
        return x if op.axes == (2, 0, 1) else super().transpose(op, x)


class Written(TensorRtLowering):
    """An instance norm is written out: what deviates from the mean, by the root of the mean of its squares."""

    def instance_norm(self, op: InstanceNorm, x: Trt) -> Trt:
        weight, bias = (self._constant(array.reshape(1, -1, 1, 1), x) for array in (op.weight, op.bias))
        centred = self._elementwise("SUB", x, self._mean(x))
        variance = self._mean(self._elementwise("PROD", centred, centred))
        root = self._add(
            "add_unary",
            self._elementwise("SUM", variance, self._scalar(op.eps, variance)),
            self._trt.UnaryOperation.SQRT,
        )
        return self._elementwise(
            "SUM", self._elementwise("PROD", centred, self._elementwise("DIV", weight, root)), bias
        )

    def _root(self, variance: Trt, eps: float) -> Trt:
        kept_from_zero = self._elementwise("SUM", variance, self._scalar(eps, variance))
        return self._add("add_unary", kept_from_zero, self._trt.UnaryOperation.SQRT)

    def _mean(self, x: Trt) -> Trt:
        return self._add("add_reduce", x, self._trt.ReduceOperation.AVG, PIXELS, True)


class Pooled(Written):
    """The same, its means by poolings."""

    def _mean(self, x: Trt) -> Trt:
        return self._add("add_pooling_nd", x, self._trt.PoolingType.AVERAGE, tuple(x.shape)[2:])


class Sums(Pooled):
    """A norm's mean and mean of squares by poolings, and then one factor and one summand a channel."""

    def instance_norm(self, op: InstanceNorm, x: Trt) -> Trt:
        weight, bias = (self._constant(array.reshape(1, -1, 1, 1), x) for array in (op.weight, op.bias))
        mean, squares = self._mean(x), self._mean(self._elementwise("PROD", x, x))
        variance = self._elementwise("SUB", squares, self._elementwise("PROD", mean, mean))
        factor = self._elementwise("DIV", weight, self._root(variance, op.eps))
        summand = self._elementwise("SUB", bias, self._elementwise("PROD", mean, factor))
        return self._elementwise("SUM", self._elementwise("PROD", x, factor), summand)


class Groups(TensorRtLowering):
    """An instance norm as a group norm of as many groups as channels."""

    def instance_norm(self, op: InstanceNorm, x: Trt) -> Trt:
        scale, bias = (self._constant(array.reshape(1, -1, 1, 1), x) for array in (op.weight, op.bias))
        layer = self._layer("add_normalization", x, scale, bias, PIXELS)
        layer.epsilon = op.eps
        layer.num_groups = len(op.weight)
        return layer.get_output(0)


class AskedForHalf(TensorRtLowering):
    """Beside int8, half is asked for what turns and standardises pixels."""

    asked: ClassVar[tuple[type[Operation], ...]] = (Transpose, ScaleShift)

    def named(self, tensor: Tensor, value: Trt) -> Trt:
        if isinstance(tensor.operation, self.asked) and tensor.dtype == "float16":
            for layer in self._layers:
                if layer.type != self._trt.LayerType.CONSTANT:
                    layer.precision = self._trt.DataType.HALF
            self.bound = True
        return super().named(tensor, value)


class PooledInHalf(AskedForHalf, Pooled):
    """A norm by poolings, for all of which half is asked beside int8."""

    asked: ClassVar[tuple[type[Operation], ...]] = (InstanceNorm,)


class SumsInHalf(AskedForHalf, Sums):
    """A norm by poolings of squares, for all of which half is asked beside int8."""

    asked: ClassVar[tuple[type[Operation], ...]] = (InstanceNorm,)
