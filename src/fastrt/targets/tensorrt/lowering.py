"""Lowers each operation to layers of an `INetworkDefinition` with the tensor's name.

In a strongly typed network a layer computes in its tensors' types, and the network contains casts. Before TensorRT 10
tensors are float32 and the builder selects each layer's type:

- FP16 is allowed for the network's FP16 tensors and the layers that read them.
- A layer that reads only float32 is bound to float32.
- A cast to float32 adds no layer: a mean reads FP16 directly, without a copy.
- A cast to FP16 is a layer, and ends a float32 kernel.
- Next to int8 layers the builder selects float32 unless FP16 is requested.
"""

from __future__ import annotations

import numpy as np

from fastrt.ir import ops
from fastrt.ir.network import Tensor
from fastrt.targets.tensorrt.capabilities import Trt
from fastrt.targets.tensorrt.layers import PIXELS, LayerWriter

FEW = 4
"""Largest batch for which IBN is fastest as one convolution and a plain instance norm; measured on H100 and H200."""

MANY = 1024
"""Smallest channel count before GeM for which the last FP16 convolution is faster fused with its shortcut.

A bottleneck's last convolution is one of these.
"""


class TensorRtLowering(LayerWriter):
    """Adds a network's operations to ``network``; values are its `ITensor`s."""

    def named(self, tensor: Tensor, value: Trt) -> Trt:
        if isinstance(tensor.operation, ops.Cast) and not self._layers:
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

    def input(self, op: ops.Input) -> Trt:
        return self._network.add_input("images", self._capabilities.data_type(op.dtype), (-1, *op.shape))

    def cast(self, op: ops.Cast, x: Trt) -> Trt:
        kinds = self._trt.DataType
        if self._capabilities.strongly_typed:
            return self._add("add_cast", x, self._capabilities.data_type(op.dtype))
        if x.dtype == kinds.UINT8:  # makes everything up to the cast to FP16 one kernel
            return self._at_least(0.0, self._add("add_cast", x, kinds.FLOAT))
        return x if op.dtype == "float32" else self._add("add_cast", x, kinds.HALF)

    def transpose(self, op: ops.Transpose, x: Trt) -> Trt:
        order = self._trt.Permutation([0, *(axis + 1 for axis in op.axes)])
        return self._add("add_shuffle", x, first_transpose=order)

    def reshape(self, op: ops.Reshape, x: Trt) -> Trt:
        return self._add("add_shuffle", x, reshape_dims=(0, *op.shape))  # 0 keeps the batch axis

    def slice(self, op: ops.Slice, x: Trt) -> Trt:
        rank = len(x.shape)
        start, ones, size = [0] * rank, [1] * rank, list(x.shape)
        start[op.axis + 1] = op.start
        size[op.axis + 1] = op.stop - op.start
        layer = self._layer("add_slice", x, start, [1, *size[1:]], ones)
        layer.set_input(2, self._size(x, size[1:]))
        # The last layer gets the tensor's name: move the slice behind its shape layers.
        self._layers.append(self._layers.pop(self._layers.index(layer)))
        return layer.get_output(0)

    def concat(self, _: ops.Concat, *xs: Trt) -> Trt:
        return self._add("add_concatenation", list(xs), axis=1)

    def scale_shift(self, op: ops.ScaleShift, x: Trt) -> Trt:
        shape = (1, *op.scale.shape, *(1,) * (len(x.shape) - 1 - op.scale.ndim))
        scale, shift = (self._constant(array.reshape(shape), x) for array in (op.scale, op.shift))
        return self._elementwise("SUM", self._elementwise("PROD", x, scale), shift)

    def convolution(self, op: ops.Convolution, x: Trt) -> Trt:
        dtype = self._numpy_dtype(x)
        bias = self._weights((np.zeros(len(op.weight)) if op.bias is None else op.bias).astype(dtype))
        # int8 weights are a second input tensor.
        weight = self._trt.Weights() if op.scale is not None else self._weights(op.weight.astype(dtype))
        dequantized = None if op.scale is None else self._dequantized_weight(op, x)
        layer = self._layer("add_convolution_nd", x, len(op.weight), op.weight.shape[2:], weight, bias)
        if dequantized is not None:
            layer.set_input(1, dequantized)
        layer.stride_nd = op.strides
        layer.padding_nd = (op.padding, op.padding)
        if op.groups != 1:
            layer.num_groups = op.groups
        if op.dilation != 1:
            layer.dilation_nd = (op.dilation, op.dilation)
        return layer.get_output(0)

    def linear(self, op: ops.Linear, x: Trt) -> Trt:
        kinds = self._trt.MatrixOperation
        if op.scale is None:
            weight = self._constant(op.weight[None], x)
        else:
            weight = self._dequantized_weight(op, x)
            weight = self._add("add_shuffle", weight, reshape_dims=(1, *op.weight.shape))
        y = self._add("add_matrix_multiply", x, kinds.NONE, weight, kinds.TRANSPOSE)
        return y if op.bias is None else self._elementwise("SUM", y, self._constant(op.bias.reshape(1, 1, -1), y))

    def quantize_dequantize(self, op: ops.QuantizeDequantize, x: Trt) -> Trt:
        scale = self._scale(np.full((), op.scale))
        return self._quantized_pair(x, scale, x)

    def max_pool(self, op: ops.MaxPool, x: Trt) -> Trt:
        return self._pool(op, x, self._trt.PoolingType.MAX)

    def average_pool(self, op: ops.AveragePool, x: Trt) -> Trt:
        return self._pool(op, x, self._trt.PoolingType.AVERAGE, average_count_excludes_padding=not op.counted)

    def _pool(self, op: ops.MaxPool | ops.AveragePool, x: Trt, kind: Trt, **attributes: bool) -> Trt:
        return self._add(
            "add_pooling_nd",
            x,
            kind,
            (op.kernel, op.kernel),
            stride_nd=(op.stride, op.stride),
            pre_padding=(op.padding, op.padding),
            # Explicit padding for the last window, so that no rounding rule applies.
            post_padding=tuple(op.padding_after(size) for size in tuple(x.shape)[2:]),
            **attributes,
        )

    def instance_norm(self, op: ops.InstanceNorm, x: Trt) -> Trt:
        scale, bias = (self._constant(array.reshape(1, -1, 1, 1), x) for array in (op.weight, op.bias))
        # Before TensorRT 10 the equivalent group norm has a faster kernel, except for few images in FP16.
        is_faster = (self._batch > FEW or self._quantized) and not self._capabilities.strongly_typed
        groups = {"num_groups": len(op.weight)} if is_faster else {}
        return self._normalize(x, scale, bias, PIXELS, op.eps, **groups)

    def layer_norm(self, op: ops.LayerNorm, x: Trt) -> Trt:
        last = len(x.shape) - 1
        scale, bias = (self._constant(array.reshape(*(1,) * last, -1), x) for array in (op.weight, op.bias))
        return self._normalize(x, scale, bias, 1 << last, op.eps)

    def _normalize(self, x: Trt, scale: Trt, bias: Trt, axes: int, eps: float, **groups: int) -> Trt:
        add = "add_normalization_v2" if hasattr(self._network, "add_normalization_v2") else "add_normalization"
        return self._add(add, x, scale, bias, axes, epsilon=eps, **groups)

    def relu(self, _: ops.Relu, x: Trt) -> Trt:
        return self._add("add_activation", x, self._trt.ActivationType.RELU)

    def sigmoid(self, _: ops.Sigmoid, x: Trt) -> Trt:
        return self._add("add_activation", x, self._trt.ActivationType.SIGMOID)

    def gelu(self, _: ops.Gelu, x: Trt) -> Trt:
        root = self._elementwise("PROD", x, self._scalar(0.5**0.5, x))
        erf = self._add("add_unary", root, self._trt.UnaryOperation.ERF)
        half = self._elementwise("PROD", x, self._scalar(0.5, x))
        return self._elementwise("PROD", half, self._elementwise("SUM", erf, self._scalar(1.0, x)))

    def softmax(self, _: ops.Softmax, x: Trt) -> Trt:
        return self._add("add_softmax", x, axes=1 << (len(x.shape) - 1))

    def clamp(self, op: ops.Clamp, x: Trt) -> Trt:
        if self._half and self.exact and tuple(x.shape)[2:] != (1, 1):
            # GeM, or another float32 clamp. Without casts it is fused into the convolution before it, which then also
            # computes in float32.
            x = self._add("add_cast", x, self._trt.DataType.HALF)
            if x.shape[1] >= MANY and not self._quantized:
                x = self._add_barrier(x)
            x = self._add("add_cast", x, self._trt.DataType.FLOAT)
        for bound, operation in ((op.low, "MAX"), (op.high, "MIN")):
            if bound is not None:
                x = self._elementwise(operation, x, self._scalar(bound, x))
        return x

    def power(self, op: ops.Power, x: Trt) -> Trt:
        return self._elementwise("POW", x, self._scalar(op.exponent, x))

    def add(self, _: ops.Add, a: Trt, b: Trt) -> Trt:
        return self._elementwise("SUM", a, b)

    def multiply(self, _: ops.Multiply, a: Trt, b: Trt) -> Trt:
        return self._elementwise("PROD", a, b)

    def mat_mul(self, op: ops.MatMul, a: Trt, b: Trt) -> Trt:
        kinds = self._trt.MatrixOperation
        first, second = (kinds.TRANSPOSE if flag else kinds.NONE for flag in (op.transpose_a, op.transpose_b))
        return self._add("add_matrix_multiply", a, first, b, second)

    def reduce_mean(self, _: ops.ReduceMean, x: Trt) -> Trt:
        mean = self._add("add_reduce", x, self._trt.ReduceOperation.AVG, PIXELS, True)
        if self.exact and not self._capabilities.strongly_typed:
            # Makes all layers between a non-local block's convolutions one kernel.
            return self._at_least(float(np.finfo(np.float32).min), mean)
        return mean

    def reduce_max(self, _: ops.ReduceMax, x: Trt) -> Trt:
        return self._add("add_reduce", x, self._trt.ReduceOperation.MAX, PIXELS, True)

    def l2_normalize(self, op: ops.L2Normalize, x: Trt) -> Trt:
        squares = self._elementwise("PROD", x, x)
        total = self._add("add_reduce", squares, self._trt.ReduceOperation.SUM, 1 << 1, True)
        length = self._add("add_unary", total, self._trt.UnaryOperation.SQRT)
        return self._elementwise("DIV", x, self._at_least(op.eps, length))


def _gains_by_half(operation: ops.Operation) -> bool:
    """Return True if an operation next to int8 is faster in FP16: floating-point convolutions and non-local blocks.

    Instance norms are excluded: with FP16 requested, TensorRT 8.6 finds no kernel for them and the layers around them.
    """
    return isinstance(operation, ops.Multiply) or (isinstance(operation, ops.Convolution) and operation.scale is None)
