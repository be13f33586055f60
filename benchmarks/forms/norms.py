"""Other layers for the instance norms of IBN."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fastrt.arrays import Array, Shape
from fastrt.ir.network import Network, Tensor
from fastrt.ir.ops import Concat, InstanceNorm
from fastrt.targets.tensorrt.capabilities import Trt
from fastrt.targets.tensorrt.layers import PIXELS
from fastrt.targets.tensorrt.lowering import TensorRtLowering


class Written(TensorRtLowering):
    """An instance norm is written out: what deviates from the mean, by the root of the mean of its squares."""

    def instance_norm(self, op: InstanceNorm, x: Trt) -> Trt:
        weight, bias = (self._channels(array, x) for array in (op.weight, op.bias))
        centred = self._elementwise("SUB", x, self._mean(x))
        root = self._root(self._mean(self._elementwise("PROD", centred, centred)), op.eps)
        return self._elementwise(
            "SUM", self._elementwise("PROD", centred, self._elementwise("DIV", weight, root)), bias
        )

    def _channels(self, array: Array, like: Trt) -> Trt:
        return self._constant(array.reshape(1, -1, 1, 1), like)

    def _root(self, variance: Trt, eps: float) -> Trt:
        kept_from_zero = self._elementwise("SUM", variance, self._scalar(eps, variance))
        return self._add("add_unary", kept_from_zero, self._trt.UnaryOperation.SQRT)

    def _mean(self, x: Trt) -> Trt:
        return self._add("add_reduce", x, self._trt.ReduceOperation.AVG, PIXELS, True)


class Sums(Written):
    """A norm's mean and mean of squares, and then one factor and one summand a channel."""

    def instance_norm(self, op: InstanceNorm, x: Trt) -> Trt:
        weight, bias = (self._channels(array, x) for array in (op.weight, op.bias))
        mean, squares = self._mean(x), self._mean(self._elementwise("PROD", x, x))
        variance = self._elementwise("SUB", squares, self._elementwise("PROD", mean, mean))
        factor = self._elementwise("DIV", weight, self._root(variance, op.eps))
        summand = self._elementwise("SUB", bias, self._elementwise("PROD", mean, factor))
        return self._elementwise("SUM", self._elementwise("PROD", x, factor), summand)


class Pooled(Written):
    """The same, its means by poolings."""

    def _mean(self, x: Trt) -> Trt:
        return self._add("add_pooling_nd", x, self._trt.PoolingType.AVERAGE, tuple(x.shape)[2:])


class Staged(Written):
    """The same, its means by two poolings each, of which the first has many windows to be computed side by side."""

    def _mean(self, x: Trt) -> Trt:
        kernel = [max(size for size in range(1, 9) if pixels % size == 0) for pixels in tuple(x.shape)[2:]]
        layer = self._layer("add_pooling_nd", x, self._trt.PoolingType.AVERAGE, kernel)
        layer.stride_nd = kernel
        few = layer.get_output(0)
        return self._add("add_pooling_nd", few, self._trt.PoolingType.AVERAGE, tuple(few.shape)[2:])


class PooledSums(Pooled, Sums):
    """A norm by poolings of values and of their squares."""


class StagedSums(Staged, Sums):
    """A norm by poolings of values and of their squares, in two stages."""


class AskedForHalf(TensorRtLowering):
    """Beside int8, half is asked for all that a norm becomes."""

    def named(self, tensor: Tensor, value: Trt) -> Trt:
        if isinstance(tensor.operation, InstanceNorm) and tensor.dtype == "float16":
            for layer in self._layers:
                if layer.type != self._trt.LayerType.CONSTANT:
                    layer.precision = self._trt.DataType.HALF
            self.bound = True
        return super().named(tensor, value)


class StagedInHalf(AskedForHalf, Staged):
    """A norm by poolings in two stages, for all of which half is asked beside int8."""


class StagedSumsInHalf(AskedForHalf, StagedSums):
    """A norm by poolings of squares in two stages, for all of which half is asked beside int8."""


class Plain(TensorRtLowering):
    """An instance norm that is none of groups."""

    def instance_norm(self, op: InstanceNorm, x: Trt) -> Trt:
        y = super().instance_norm(op, x)
        self._layers[-1].num_groups = 1
        return y


class Chosen(Written):
    """Written out, with a choice, so that it becomes a kernel of the fusing compiler."""

    def _root(self, variance: Trt, eps: float) -> Trt:
        return super()._root(self._at_least(0.0, variance), eps)


class ChosenSums(Chosen, Sums):
    """The same, by the mean of squares."""


class WrittenInFloat(Written):
    """Written out, and bound to float32, between casts from half and to it."""

    def instance_norm(self, op: InstanceNorm, x: Trt) -> Trt:
        kinds = self._trt.DataType
        taken = self._add("add_cast", x, kinds.FLOAT)
        cast = self._layers[-1]
        y = super().instance_norm(op, taken)
        for layer in self._layers:
            if layer is not cast and layer.type != self._trt.LayerType.CONSTANT:
                layer.precision = kinds.FLOAT
                layer.set_output_type(0, kinds.FLOAT)
        self.bound = True
        return self._add("add_cast", y, kinds.HALF)


class OfRows(TensorRtLowering):
    """What takes a channel's pixels as a row."""

    def _rows(self, x: Trt) -> Trt:
        channels, height, width = tuple(x.shape)[1:]
        rows = self._layer("add_shuffle", x)
        rows.reshape_dims = (0, channels, height * width)
        return rows.get_output(0)

    def _maps(self, rows: Trt, like: Trt) -> Trt:
        maps = self._layer("add_shuffle", rows)
        maps.reshape_dims = (0, *tuple(like.shape)[1:])
        return maps.get_output(0)


class Rows(OfRows):
    """A channel's pixels are a row, which is normalised."""

    def instance_norm(self, op: InstanceNorm, x: Trt) -> Trt:
        flat = self._rows(x)
        scale, bias = (self._constant(array.reshape(1, -1, 1), flat) for array in (op.weight, op.bias))
        layer = self._layer("add_normalization", flat, scale, bias, 1 << 2)
        layer.epsilon = op.eps
        return self._maps(layer.get_output(0), x)


class RowsWritten(OfRows, Written):
    """A channel's pixels are a row, whose norm is written out."""

    def instance_norm(self, op: InstanceNorm, x: Trt) -> Trt:
        return self._maps(super().instance_norm(op, self._rows(x)), x)

    def _channels(self, array: Array, like: Trt) -> Trt:
        return self._constant(array.reshape(1, -1, 1), like)

    def _mean(self, x: Trt) -> Trt:
        return self._add("add_reduce", x, self._trt.ReduceOperation.AVG, 1 << 2, True)


@dataclass(frozen=True, eq=False)
class HalfNorm(InstanceNorm):
    """An instance norm of the first channels of a map; the others stay as they are."""

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]


def join_halves(network: Network) -> Network:
    """A prepared network in which an IBN-a takes one map, not two halves that are joined again."""
    joined: set[str] = set()
    result = []
    for tensor in network:
        if isinstance(tensor.operation, Concat):
            norm, plain = (network[name] for name in tensor.inputs)
            first = network[norm.inputs[0]]
            assert isinstance(norm.operation, InstanceNorm)
            operation = HalfNorm(norm.operation.weight, norm.operation.bias, norm.operation.eps)
            joined |= {norm.name, plain.name, first.name}
            result.append(replace(tensor, operation=operation, inputs=first.inputs))
        else:
            result.append(tensor)
    return replace(network, tensors=tuple(tensor for tensor in result if tensor.name not in joined))


class Joined(Staged):
    """A norm of half the channels as one factor and one summand for each of all of them."""

    def half_norm(self, op: HalfNorm, x: Trt) -> Trt:
        plain = np.zeros(x.shape[1] - len(op.weight))
        weight, bias = (self._channels(np.append(array, plain), x) for array in (op.weight, op.bias))
        kept = self._channels(np.append(np.zeros(len(op.weight)), plain + 1), x)
        mean = self._mean(x)
        part = self._elementwise("DIV", weight, self._root(self._variance(x, mean), op.eps))
        factor = self._elementwise("SUM", part, kept)
        summand = self._elementwise("SUB", bias, self._elementwise("PROD", mean, part))
        return self._elementwise("SUM", self._elementwise("PROD", x, factor), summand)

    def _variance(self, x: Trt, mean: Trt) -> Trt:
        centred = self._elementwise("SUB", x, mean)
        return self._mean(self._elementwise("PROD", centred, centred))


class JoinedSums(Joined):
    """The same, by the mean of squares."""

    def _variance(self, x: Trt, mean: Trt) -> Trt:
        squares = self._mean(self._elementwise("PROD", x, x))
        return self._elementwise("SUB", squares, self._elementwise("PROD", mean, mean))
