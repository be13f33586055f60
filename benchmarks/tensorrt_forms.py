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
from unittest.mock import patch

import numpy as np

import fastrt
from benchmarks.models import describe
from benchmarks.rows import Row, save_rows
from benchmarks.tensorrt_lowerings import (
    AskedForHalf,
    Between,
    ChannelsLast,
    Groups,
    Matrix,
    Pointwise,
    Pooled,
    PooledInHalf,
    Product,
    Sums,
    SumsInHalf,
    Written,
)
from benchmarks.tensorrt_speed import describe_here, read_own_table
from fastrt.arrays import Array
from fastrt.drawing import draw_person
from fastrt.engine_info import EngineInfo, Precision
from fastrt.network import INPUT, OUTPUT, Network, make_tensor
from fastrt.ops import Input, ReduceMean, Reshape
from fastrt.passes import prepare
from fastrt.passes.quantize import quantize
from fastrt.similarity import centred_cosines
from fastrt.targets.base import BuildOptions
from fastrt.targets.tensorrt import cuda, plan
from fastrt.targets.tensorrt.dialect import Dialect, Trt, find_dialect
from fastrt.targets.tensorrt.lowering import TensorRtLowering
from fastrt.targets.tensorrt.messages import make_logger
from fastrt.targets.tensorrt.profiler import make_profiler
from fastrt.targets.tensorrt.target import TensorRtTarget

RESULT = Path(__file__).parent / "results" / "tensorrt_forms.json"
BATCHES = (1, 32, 128)
RUNS = 40
COMPARED = 16
WAY_IN, IBN = "R34", "R50-NL-IBN"
ENDS = {WAY_IN: "backbone.maxpool", IBN: "backbone.layer2.0.relu"}
"""Where the networks are cut off: after the bytes' way in and the stem; after four blocks with IBN."""


@dataclass(frozen=True)
class Form:
    """A way to give TensorRT a part of a network."""

    model: str
    lowering: type[TensorRtLowering]
    rewrite: Callable[[Network], Network] = lambda network: network
    precision: Precision = "fp16"
    split: bool = True  # two convolutions before the halves of an IBN-a, where fastrt has two


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
    "IBN, one convolution": Form(IBN, TensorRtLowering, split=False),
    "IBN, written out": Form(IBN, Written),
    "IBN, poolings": Form(IBN, Pooled),
    "IBN, poolings of squares": Form(IBN, Sums),
    "IBN, a group norm": Form(IBN, Groups),
    "IBN of int8, as it is": Form(IBN, TensorRtLowering, precision="int8"),
    "IBN of int8, one convolution": Form(IBN, TensorRtLowering, precision="int8", split=False),
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
    split = form.split and batch > TensorRtTarget.whole_up_to
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
    result = cuda.Pinned(4 * len(images) * engine.get_tensor_shape(OUTPUT)[-1])
    taken, made = cuda.Buffer(images.nbytes), cuda.Buffer(result.size)
    context.set_input_shape(INPUT, (len(images), *tuple(engine.get_tensor_shape(INPUT))[1:]))
    context.set_tensor_address(INPUT, taken.pointer)
    context.set_tensor_address(OUTPUT, made.pointer)
    stream.copy(taken.pointer, images.ctypes.data, images.nbytes)
    context.profiler = profiler = make_profiler(trt)
    for _ in range(10 + RUNS):
        context.execute_async_v3(int(stream.handle))
        stream.wait()
    stream.copy(result.pointer, made.pointer, result.size)
    stream.wait()
    rows = result.array((len(images), -1), np.float32).copy()
    return {name: statistics.median(found[10:]) for name, found in profiler.times.items()}, rows


def main(folder: Path, names: list[str]) -> None:
    if unknown := set(names) - FORMS.keys():
        raise SystemExit(f"no form is named {unknown.pop()}; known are {', '.join(FORMS)}")
    folder.mkdir(parents=True, exist_ok=True)
    dialect = find_dialect("tensorrt")
    used: dict[tuple[str, str, int], Array] = {}
    for name in names or FORMS:
        form = FORMS[name]
        for batch in BATCHES:
            people = np.stack([draw_person(i, 0, 256, 128) for i in range(COMPARED)])
            row: Row = {"form": name, "batch": batch}
            try:
                content = build(dialect, form, batch, folder)
            except fastrt.EngineError as error:
                row["refused"] = str(error)
            else:
                times, rows = run(dialect, content, np.resize(people, (batch, *people.shape[1:])))
                row |= {"layers": len(times), "us": round(sum(times.values()), 1)}
                wanted = used.setdefault((form.model, form.precision, batch), rows)
                if batch > 1:
                    row["least cosine"] = round(float(centred_cosines(rows[:COMPARED], wanted[:COMPARED]).min()), 5)
                row["times"] = [[layer, round(time, 1)] for layer, time in times.items()]
            print({key: value for key, value in row.items() if key != "times"}, flush=True)
            save_rows(RESULT, "python -m benchmarks.tensorrt_forms FOLDER", describe_here(), [row], same=order)


def order(row: Row) -> tuple[int, int]:
    return list(FORMS).index(row["form"]), row["batch"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
