"""Other forms of what fastrt gives TensorRT: ``python -m benchmarks.tensorrt_forms FOLDER [FORM ...]``.

The first layers of a network built in each form for each batch: the microseconds of its layers by TensorRT's
profiler, and how alike its outputs are to those of the form that fastrt uses. A form that gains something here is worth
trying in a whole network. For int8 FOLDER is to hold what ``benchmarks.tensorrt_speed calibrate FOLDER MODEL`` makes of
R34 and R50-NL-IBN.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import numpy as np

from benchmarks.models import describe
from benchmarks.rows import Row, save_rows
from benchmarks.tensorrt_speed import describe_here, read_own_table
from fastrt.arrays import Array
from fastrt.drawing import draw_person
from fastrt.engine_info import EngineInfo, Precision
from fastrt.network import OUTPUT, Network, Tensor, make_tensor
from fastrt.ops import Cast, Input, InstanceNorm, Operation, ReduceMean, Reshape, ScaleShift, Transpose
from fastrt.passes import prepare
from fastrt.passes.quantize import quantize
from fastrt.similarity import centred_cosines
from fastrt.targets.base import BuildOptions
from fastrt.targets.tensorrt import cuda, plan
from fastrt.targets.tensorrt.dialect import Dialect, Trt, find_dialect
from fastrt.targets.tensorrt.lowering import PIXELS, TensorRtLowering
from fastrt.targets.tensorrt.messages import make_logger
from fastrt.targets.tensorrt.profiler import make_profiler
from fastrt.targets.tensorrt.target import TensorRtTarget

RESULT = Path(__file__).parent / "results" / "tensorrt_forms.json"
BATCHES = (1, 32, 128)
RUNS = 40
WAY_IN, IBN = "R34", "R50-NL-IBN"
ENDS = {WAY_IN: "backbone.maxpool", IBN: "backbone.layer2.0.relu"}
"""Where the networks are cut off: after the bytes' way in and the stem; after four blocks with IBN."""


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
        root = self._add(
            "add_unary",
            self._elementwise("SUM", variance, self._scalar(op.eps, variance)),
            self._trt.UnaryOperation.SQRT,
        )
        factor = self._elementwise("DIV", weight, root)
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


class Joined(TensorRtLowering):
    """One convolution before both halves of an IBN-a, whatever the batch."""

    split: ClassVar[bool] = False


@dataclass(frozen=True)
class Form:
    """A way to give TensorRT a part of a network."""

    model: str
    lowering: type[TensorRtLowering]
    rewrite: Callable[[Network], Network] = lambda network: network
    precision: Precision = "fp16"


def take_planes(network: Network) -> Network:
    """A prepared network whose input has the shape that it is turned to."""
    images, *others = network.tensors
    height, width, channels = images.shape
    shape = channels, height, width
    return replace(network, tensors=(replace(images, operation=Input(shape, images.dtype), shape=shape), *others))


FORMS = {
    "way in, as it is": Form(WAY_IN, TensorRtLowering),
    "way in, pointwise": Form(WAY_IN, Pointwise),
    "way in, float32 between casts": Form(WAY_IN, Between),
    "way in, a transposed matrix": Form(WAY_IN, Matrix),
    "way in, a product": Form(WAY_IN, Product),
    "way in, channels last": Form(WAY_IN, ChannelsLast, take_planes),
    "way in of int8, as it is": Form(WAY_IN, TensorRtLowering, precision="int8"),
    "way in of int8, half asked for": Form(WAY_IN, AskedForHalf, precision="int8"),
    "IBN, as it is": Form(IBN, TensorRtLowering),
    "IBN, one convolution": Form(IBN, Joined),
    "IBN, written out": Form(IBN, Written),
    "IBN, poolings": Form(IBN, Pooled),
    "IBN, poolings of squares": Form(IBN, Sums),
    "IBN, a group norm": Form(IBN, Groups),
    "IBN of int8, as it is": Form(IBN, TensorRtLowering, precision="int8"),
    "IBN of int8, one convolution": Form(IBN, Joined, precision="int8"),
    "IBN of int8, poolings": Form(IBN, Pooled, precision="int8"),
    "IBN of int8, poolings in half": Form(IBN, PooledInHalf, precision="int8"),
    "IBN of int8, poolings of squares in half": Form(IBN, SumsInHalf, precision="int8"),
}


def cut(network: Network, end: str) -> Network:
    """The network up to a tensor, with its means over pixels as the embedding."""
    kept = network.tensors[: [tensor.name for tensor in network].index(end) + 1]
    mean = make_tensor("mean", ReduceMean(), [kept[-1]])
    vector = make_tensor(OUTPUT, Reshape((mean.shape[0],)), [mean])
    return replace(network, tensors=(*kept, mean, vector))


def build(dialect: Dialect, form: Form, batch: int, folder: Path) -> bytes:
    """A plan for one batch."""
    whole = describe(form.model)
    network = cut(whole, ENDS[form.model])
    info = EngineInfo(
        target="tensorrt",
        precision=form.precision,
        io="u8_nhwc_bgr",
        image_size=(network.input.shape[1], network.input.shape[2]),
        embedding_dim=network.output.shape[0],
    )
    quantized = None
    if form.precision == "int8":
        ranges = read_own_table(form.model, whole, folder).ranges
        quantized = partial(quantize, ranges=ranges, placement=TensorRtTarget.placement)
    split = batch > TensorRtTarget.whole_up_to and getattr(form.lowering, "split", True)
    prepared = form.rewrite(prepare(network, info, typed=True, split=split, quantized=quantized))
    options = BuildOptions(batches=(batch,), timing_cache=folder / f"{form.model}.cache")
    with patch.object(plan, "TensorRtLowering", form.lowering):
        return plan.build_plan(dialect, prepared, info, options)


def run(dialect: Dialect, content: bytes, images: Array) -> tuple[dict[str, float], Array]:
    """Microseconds of each layer, and what comes out."""
    trt: Trt = dialect.trt
    engine = trt.Runtime(make_logger(trt)).deserialize_cuda_engine(content)
    context = engine.create_execution_context()
    stream = cuda.Stream()
    held = cuda.Pinned(images.nbytes)
    held.array(images.shape, np.uint8)[:] = images
    buffers = []
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        shape = (len(images), *tuple(engine.get_tensor_shape(name))[1:])
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        buffers.append(cuda.Buffer(images.nbytes if is_input else 4 * int(np.prod(shape))))
        context.set_tensor_address(name, buffers[-1].pointer)
        if is_input:
            context.set_input_shape(name, shape)
            stream.copy(buffers[-1].pointer, held.pointer, images.nbytes)
        else:
            output, made = cuda.Pinned(4 * int(np.prod(shape))), buffers[-1]
            rows = output.array(shape, np.float32)
    context.profiler = profiler = make_profiler(trt)
    for _ in range(10 + RUNS):
        context.execute_async_v3(int(stream.handle))
        stream.wait()
    stream.copy(output.pointer, made.pointer, output.size)
    stream.wait()
    return {name: statistics.median(found[10:]) for name, found in profiler.times.items()}, rows.copy()


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    dialect = find_dialect("tensorrt")
    used: dict[tuple[str, str, int], Array] = {}
    for name in names or FORMS:
        form = FORMS[name]
        for batch in BATCHES:
            people = np.stack([draw_person(i, 0, 256, 128) for i in range(min(batch, 16))])
            images = np.resize(people, (batch, *people.shape[1:]))
            row: Row = {"form": name, "batch": batch}
            try:
                times, rows = run(dialect, build(dialect, form, batch, folder), images)
            except Exception as error:  # a form that TensorRT refuses is an outcome, too
                row["refused"] = str(error).splitlines()[0][:200]
                times, rows = {}, None
            if rows is not None:
                wanted = used.setdefault((form.model, form.precision, batch), rows)
                row |= {"layers": len(times), "us": round(sum(times.values()), 1)}
                if batch > 1:
                    row["least cosine"] = round(float(centred_cosines(rows[:16], wanted[:16]).min()), 5)
                row["times"] = [[layer, round(time, 1)] for layer, time in times.items()]
            print({key: value for key, value in row.items() if key != "times"}, flush=True)
            save_rows(RESULT, "python -m benchmarks.tensorrt_forms FOLDER", describe_here(), [row], same=order)


def order(row: Row) -> tuple[int, int]:
    return list(FORMS).index(row["form"]), row["batch"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
