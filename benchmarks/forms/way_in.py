"""Other layers for the bytes' way in: to floating point, to planes, and standardised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastrt.arrays import Array
from fastrt.ir.network import Network
from fastrt.ir.ops import Cast, Convolution, Input, ScaleShift, Transpose
from fastrt.targets.tensorrt.capabilities import Trt
from fastrt.targets.tensorrt.lowering import TensorRtLowering

TO_PLANES = (2, 0, 1)


class Plain(TensorRtLowering):
    """Without the choice that makes one kernel of it."""

    def cast(self, op: Cast, x: Trt) -> Trt:
        bytes_come = x.dtype == self._trt.DataType.UINT8
        return self._add("add_cast", x, self._trt.DataType.FLOAT) if bytes_come else super().cast(op, x)


class Matrix(TensorRtLowering):
    """Bytes become planes as a matrix is transposed: all pixels by three channels."""

    def transpose(self, op: Transpose, x: Trt) -> Trt:
        if op.axes != TO_PLANES:
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
        return x if op.axes == TO_PLANES else super().transpose(op, x)

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
        return x if op.axes == TO_PLANES else super().transpose(op, x)


def take_planes(network: Network) -> Network:
    """A prepared network whose input has the shape that it is turned to."""
    images, *others = network.tensors
    height, width, channels = images.shape
    shape = channels, height, width
    return replace(network, tensors=(replace(images, operation=Input(shape, images.dtype), shape=shape), *others))


class Cells(TensorRtLowering):
    """Cells of two by two pixels become twelve planes of half the size, and the first convolution takes whole cells.

    Twelve channels waste less than three do of what kernels take at once, eight or sixteen channels.
    """

    def transpose(self, op: Transpose, x: Trt) -> Trt:
        if op.axes != TO_PLANES:
            return super().transpose(op, x)
        height, width, channels = tuple(x.shape)[1:]
        cells = self._layer("add_shuffle", x)
        cells.reshape_dims = (0, height // 2, 2, width // 2, 2, channels)
        cells.second_transpose = self._trt.Permutation([0, 2, 4, 5, 1, 3])
        planes = self._layer("add_shuffle", cells.get_output(0))
        planes.reshape_dims = (0, 4 * channels, height // 2, width // 2)
        return planes.get_output(0)

    def scale_shift(self, op: ScaleShift, x: Trt) -> Trt:
        if x.shape[1] == 4 * len(op.scale):
            op = ScaleShift(np.tile(op.scale, 4), np.tile(op.shift, 4))
        return super().scale_shift(op, x)

    def convolution(self, op: Convolution, x: Trt) -> Trt:
        if x.shape[1] == op.weight.shape[1]:
            return super().convolution(op, x)
        y = super().convolution(replace(op, weight=of_cells(op.weight), stride=1, padding=0), x)
        layer = self._layers[-1]
        layer.pre_padding, layer.post_padding = (2, 2), (1, 1)
        return y


def of_cells(weight: Array) -> Array:
    """A kernel of seven by seven pixels, two apart and padded by three, as one of four by four cells, padded by two
    before and one after.
    """
    kernels, channels = weight.shape[:2]
    padded = np.pad(weight, ((0, 0), (0, 0), (1, 0), (1, 0)))
    cells = padded.reshape(kernels, channels, 4, 2, 4, 2).transpose(0, 3, 5, 1, 2, 4)
    return np.ascontiguousarray(cells.reshape(kernels, 4 * channels, 4, 4))
