"""Each operation as layers of an `INetworkDefinition`, under its tensor's name.

Strongly typed, a layer computes in its tensors' types, and casts stand in the network. Before TensorRT 10 tensors are
float32 and the builder chooses: in half is allowed what the network has in half, and what reads it; a layer that reads
float32 alone is bound to it. A cast to float32 is none there: a mean reads half as it stands, without a copy. One to
half is a layer, with which a kernel in float32 ends. Next to int8 the builder chooses float32 unless asked for half.
"""

from __future__ import annotations

import numpy as np

from fastrt.ir.network import Tensor
from fastrt.ir.ops import (
    Add,
    Cast,
    Clamp,
    Concat,
    Convolution,
    Input,
    InstanceNorm,
    L2Normalize,
    LeakyRelu,
    MatMul,
    MaxPool,
    Multiply,
    Operation,
    Power,
    QuantizeDequantize,
    ReduceMax,
    ReduceMean,
    Relu,
    Reshape,
    ScaleShift,
    Sigmoid,
    Slice,
    Transpose,
)
from fastrt.targets.tensorrt.capabilities import Trt
from fastrt.targets.tensorrt.layers import PIXELS, LayerWriter

FEW = 4
"""Images at once, up to which IBN is fastest as one convolution and a plain instance norm: on an H100 and an H200."""

MANY = 1024
"""Channels before GeM from which on the last convolution is faster with its shortcut, in half: a bottleneck's is."""


class TensorRtLowering(LayerWriter):
    """Fills ``network``; values are its `ITensor`s."""

    def named(self, tensor: Tensor, value: Trt) -> Trt:
        if isinstance(tensor.operation, Cast) and not self._layers:
            self._borders.add(tensor.name)
        bind = (
            self._half and tensor.dtype == "float32" and not self._borders.intersection((tensor.name, *tensor.inputs))
        )
        ask = self._half and self._quantized and tensor.dtype == "float16" and _gains_by_half(tensor.operation)
        kinds = self._trt.LayerType
        for i, layer in enumerate(self._layers):
            last = i == len(self._layers) - 1
            layer.name = tensor.name if last else f"{tensor.name}.{i}"
            if (
                bind
                and layer.get_output(0).dtype == self._trt.DataType.FLOAT
                and layer.type not in (kinds.CONSTANT, kinds.CAST)
            ):
                layer.precision = self._trt.DataType.FLOAT
                layer.set_output_type(0, self._trt.DataType.FLOAT)
                self.bound = True
            if ask and layer.type in (kinds.CONVOLUTION, kinds.ELEMENTWISE):
                layer.precision = self._trt.DataType.HALF
                self.bound = True
        if self._layers:
            value.name = tensor.name
        self._layers = []
        return value

    def input(self, op: Input) -> Trt:
        return self._network.add_input("images", self._capabilities.data_type(op.dtype), (-1, *op.shape))

    def cast(self, op: Cast, x: Trt) -> Trt:
        kinds = self._trt.DataType
        if self._capabilities.strongly_typed:
            return self._add("add_cast", x, self._capabilities.data_type(op.dtype))
        if x.dtype == kinds.UINT8:  # all up to the cast to half is to be one kernel
            return self._at_least(0.0, self._add("add_cast", x, kinds.FLOAT))
        return x if op.dtype == "float32" else self._add("add_cast", x, kinds.HALF)

    def transpose(self, op: Transpose, x: Trt) -> Trt:
        layer = self._layer("add_shuffle", x)
        layer.first_transpose = self._trt.Permutation([0, *(axis + 1 for axis in op.axes)])
        return layer.get_output(0)

    def reshape(self, op: Reshape, x: Trt) -> Trt:
        layer = self._layer("add_shuffle", x)
        layer.reshape_dims = (0, *op.shape)  # 0 keeps the batch axis
        return layer.get_output(0)

    def slice(self, op: Slice, x: Trt) -> Trt:
        rank = len(x.shape)
        start, ones, size = [0] * rank, [1] * rank, list(x.shape)
        start[op.axis + 1] = op.start
        size[op.axis + 1] = op.stop - op.start
        layer = self._layer("add_slice", x, start, [1, *size[1:]], ones)
        layer.set_input(2, self._size(x, size[1:]))
        # The shape's layers were made after the slice, which is the one to bear the name.
        self._layers.append(self._layers.pop(self._layers.index(layer)))
        return layer.get_output(0)

    def concat(self, _: Concat, *xs: Trt) -> Trt:
        layer = self._layer("add_concatenation", list(xs))
        layer.axis = 1
        return layer.get_output(0)

    def scale_shift(self, op: ScaleShift, x: Trt) -> Trt:
        shape = (1, -1, *(1,) * (len(x.shape) - 2))
        scale, shift = (self._constant(array.reshape(shape), x) for array in (op.scale, op.shift))
        return self._elementwise("SUM", self._elementwise("PROD", x, scale), shift)

    def convolution(self, op: Convolution, x: Trt) -> Trt:
        dtype = self._numpy_dtype(x)
        bias = self._weights((np.zeros(len(op.weight)) if op.bias is None else op.bias).astype(dtype))
        # Weights in 8 bits come as a second tensor.
        weight = self._trt.Weights() if op.scale is not None else self._weights(op.weight.astype(dtype))
        dequantized = None if op.scale is None else self._dequantized_weight(op, x)
        layer = self._layer("add_convolution_nd", x, len(op.weight), op.weight.shape[2:], weight, bias)
        if dequantized is not None:
            layer.set_input(1, dequantized)
        layer.stride_nd = (op.stride, op.stride)
        layer.padding_nd = (op.padding, op.padding)
        if op.groups != 1:
            layer.num_groups = op.groups
        if op.dilation != 1:
            layer.dilation_nd = (op.dilation, op.dilation)
        return layer.get_output(0)

    def quantize_dequantize(self, op: QuantizeDequantize, x: Trt) -> Trt:
        scale = self._scale(np.full((), op.scale))
        return self._dequantize(self._quantize(x, scale), scale, x)

    def max_pool(self, op: MaxPool, x: Trt) -> Trt:
        layer = self._layer("add_pooling_nd", x, self._trt.PoolingType.MAX, (op.kernel, op.kernel))
        layer.stride_nd = (op.stride, op.stride)
        layer.pre_padding = (op.padding, op.padding)
        # What juts out is padded by hand, so that no rule of rounding has a say.
        layer.post_padding = tuple(op.padding_after(size) for size in tuple(x.shape)[2:])
        return layer.get_output(0)

    def instance_norm(self, op: InstanceNorm, x: Trt) -> Trt:
        scale, bias = (self._constant(array.reshape(1, -1, 1, 1), x) for array in (op.weight, op.bias))
        add = "add_normalization_v2" if hasattr(self._network, "add_normalization_v2") else "add_normalization"
        layer = self._layer(add, x, scale, bias, PIXELS)
        layer.epsilon = op.eps
        if (self._batch > FEW or self._quantized) and not self._capabilities.strongly_typed:
            # As a group norm it is the same, and its kernel is faster but for few images in half.
            layer.num_groups = len(op.weight)
        return layer.get_output(0)

    def relu(self, _: Relu, x: Trt) -> Trt:
        return self._add("add_activation", x, self._trt.ActivationType.RELU)

    def leaky_relu(self, op: LeakyRelu, x: Trt) -> Trt:
        layer = self._layer("add_activation", x, self._trt.ActivationType.LEAKY_RELU)
        layer.alpha = op.slope
        return layer.get_output(0)

    def sigmoid(self, _: Sigmoid, x: Trt) -> Trt:
        return self._add("add_activation", x, self._trt.ActivationType.SIGMOID)

    def clamp(self, op: Clamp, x: Trt) -> Trt:
        if self._half and self.exact and tuple(x.shape)[2:] != (1, 1):
            # GeM begins, or another clamp in float32. Without casts it is fused into the convolution before, which
            # then computes in float32 too.
            x = self._add("add_cast", x, self._trt.DataType.HALF)
            if x.shape[1] >= MANY and not self._quantized:
                x = self._fence(x)
            x = self._add("add_cast", x, self._trt.DataType.FLOAT)
        for bound, operation in ((op.low, "MAX"), (op.high, "MIN")):
            if bound is not None:
                x = self._elementwise(operation, x, self._scalar(bound, x))
        return x

    def power(self, op: Power, x: Trt) -> Trt:
        return self._elementwise("POW", x, self._scalar(op.exponent, x))

    def add(self, _: Add, a: Trt, b: Trt) -> Trt:
        return self._elementwise("SUM", a, b)

    def multiply(self, _: Multiply, a: Trt, b: Trt) -> Trt:
        return self._elementwise("PROD", a, b)

    def mat_mul(self, op: MatMul, a: Trt, b: Trt) -> Trt:
        kinds = self._trt.MatrixOperation
        transposed = (kinds.TRANSPOSE if flag else kinds.NONE for flag in (op.transpose_a, op.transpose_b))
        operation_a, operation_b = transposed
        return self._add("add_matrix_multiply", a, operation_a, b, operation_b)

    def reduce_mean(self, _: ReduceMean, x: Trt) -> Trt:
        mean = self._add("add_reduce", x, self._trt.ReduceOperation.AVG, PIXELS, True)
        if self.exact and not self._capabilities.strongly_typed:
            # Of a non-local block, all between its convolutions is to be one kernel.
            return self._at_least(float(np.finfo(np.float32).min), mean)
        return mean

    def reduce_max(self, _: ReduceMax, x: Trt) -> Trt:
        return self._add("add_reduce", x, self._trt.ReduceOperation.MAX, PIXELS, True)

    def l2_normalize(self, op: L2Normalize, x: Trt) -> Trt:
        squares = self._elementwise("PROD", x, x)
        total = self._add("add_reduce", squares, self._trt.ReduceOperation.SUM, 1 << 1, True)
        length = self._add("add_unary", total, self._trt.UnaryOperation.SQRT)
        return self._elementwise("DIV", x, self._at_least(op.eps, length))


def _gains_by_half(operation: Operation) -> bool:
    """Whether a layer beside int8 is faster in half: convolutions that stayed in floating point, and a non-local block.

    Not an instance norm: asked for half, TensorRT 8.6 finds no kernel for it and what surrounds it.
    """
    return isinstance(operation, Multiply) or (isinstance(operation, Convolution) and operation.scale is None)
