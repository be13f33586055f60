"""Other forms of what fastrt gives TensorRT.

``python -m benchmarks.tensorrt_forms build FOLDER [FORM ...]`` builds a part of a network for each batch, or for those
of ``--batch``, in each form, or in those that patterns name; with ``--share 2/8`` the second of every eight of them.
``python -m benchmarks.tensorrt_forms measure FOLDER`` measures what stands there: the microseconds of its layers by
TensorRT's profiler, with the formats that they read and write, and how alike its outputs are to those of the form that
fastrt uses. A form that gains something here is worth trying in a whole network. For int8 FOLDER is to hold what
``benchmarks.tensorrt_speed calibrate FOLDER MODEL`` makes of R34 and R50-NL-IBN.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import fastrt
from benchmarks.command import run_command
from benchmarks.forms import blocks, heads, non_local, norms, way_in
from benchmarks.models import describe
from benchmarks.rows import Row
from benchmarks.tensorrt_speed import BATCHES, read_own_table, save_here
from fastrt import passes
from fastrt.arrays import Array
from fastrt.images.drawing import draw_person
from fastrt.ir.network import INPUT, OUTPUT, Network, make_tensor
from fastrt.ir.ops import Input, ReduceMean, Reshape
from fastrt.passes import prepare
from fastrt.passes.quantize import quantize
from fastrt.similarity import centred_cosines
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo, Precision
from fastrt.targets.tensorrt import cuda, plan
from fastrt.targets.tensorrt.capabilities import Capabilities, Trt, find_capabilities
from fastrt.targets.tensorrt.lowering import TensorRtLowering
from fastrt.targets.tensorrt.messages import make_logger
from fastrt.targets.tensorrt.profiler import make_profiler
from fastrt.targets.tensorrt.target import TensorRtTarget

BUILT = (1, 16, 128)
"""Batches, unless others are asked for."""

RUNS = 40
COMPARED = 16


@dataclass(frozen=True)
class Part:
    """What is built of a network: what follows one tensor, up to another.

    Attributes:
        model: the network's title.
        start: a feature map, which is given in its place; None for images.
        end: a feature map, of which means over pixels are taken; None for the embedding.
    """

    model: str
    start: str | None = None
    end: str | None = None


WAY_IN = Part("R34", end="backbone.maxpool")
BLOCK = Part("R50-NL-IBN", start="backbone.layer1.0.relu", end="backbone.layer1.1.relu")
LARGER_BLOCK = Part("R50-NL-IBN 384x128", start="backbone.layer1.0.relu", end="backbone.layer1.1.relu")
NEXT_STAGE = Part("R50-NL-IBN 384x128", start="backbone.layer1.2.relu", end="backbone.layer2.0.relu")
NON_LOCAL = Part("R50-NL-IBN", start="backbone.layer2.1.relu", end="backbone.NL_2.0")
GEM = Part("R50-NL-IBN", start="backbone.layer4.0.relu")
HEAD = Part("R34", start="backbone.layer4.0.relu")
BLOCKS = Part("R34", start="backbone.layer1.0.relu", end="backbone.layer4.2.relu")


@dataclass(frozen=True)
class Form:
    """A way to give TensorRT a part of a network."""

    part: Part
    lowering: type[TensorRtLowering] = TensorRtLowering
    rewrite: Callable[[Network], Network] = lambda network: network
    precision: Precision = "fp16"
    split: bool = True  # two convolutions before the halves of an IBN-a, where fastrt has two
    joined: bool = True  # one convolution for the three maps of a non-local block
    level: int | None = None  # how long the builder looks for kernels, if not for as long as it does by itself


def list_norms(part: Part) -> dict[str, Form]:
    """What an IBN-a may become."""
    two = {
        "as it is": Form(part),
        "not by groups": Form(part, norms.Plain),
        "rows": Form(part, norms.Rows),
        "written out": Form(part, norms.Written),
        "written out, with a choice": Form(part, norms.Chosen),
        "sums, with a choice": Form(part, norms.ChosenSums),
    }
    one = {
        "one convolution": Form(part),
        "one convolution, not by groups": Form(part, norms.Plain),
        "one convolution, rows": Form(part, norms.Rows),
        "one convolution, written out": Form(part, norms.Written),
        "one convolution, written out in float32": Form(part, norms.WrittenInFloat),
        "one convolution, rows written out": Form(part, norms.RowsWritten),
    }
    return {**two, **{name: replace(form, split=False) for name, form in one.items()}}


FORMS = {
    "way in": {
        "as it is": Form(WAY_IN),
        "without the choice": Form(WAY_IN, way_in.Plain),
        "a transposed matrix": Form(WAY_IN, way_in.Matrix),
        "a product": Form(WAY_IN, way_in.Product),
        "channels last": Form(WAY_IN, way_in.ChannelsLast, way_in.take_planes),
        "cells": Form(WAY_IN, way_in.Cells),
    },
    "way in, int8": {
        "as it is": Form(WAY_IN, precision="int8"),
        "without the choice": Form(WAY_IN, way_in.Plain, precision="int8"),
    },
    "block with IBN": {
        **list_norms(BLOCK),
        "poolings": Form(BLOCK, norms.Pooled),
        "poolings of squares": Form(BLOCK, norms.PooledSums),
        "staged poolings": Form(BLOCK, norms.Staged),
        "staged poolings of squares": Form(BLOCK, norms.StagedSums),
        "all channels by staged poolings": Form(BLOCK, norms.Joined, norms.join_halves, split=False),
        "all channels by staged poolings of squares": Form(BLOCK, norms.JoinedSums, norms.join_halves, split=False),
    },
    "block with IBN, 384x128": list_norms(LARGER_BLOCK),
    "first block of a stage, 384x128": list_norms(NEXT_STAGE),
    "block with IBN, int8": {
        "as it is": Form(BLOCK, precision="int8"),
        "one convolution": Form(BLOCK, precision="int8", split=False),
        "staged poolings in half": Form(BLOCK, norms.StagedInHalf, precision="int8"),
        "staged poolings of squares in half": Form(BLOCK, norms.StagedSumsInHalf, precision="int8"),
    },
    "non-local": {
        "as it is": Form(NON_LOCAL),
        "without the choice": Form(NON_LOCAL, non_local.Plain),
        "three convolutions": Form(NON_LOCAL, joined=False),
        "three convolutions, without the choice": Form(NON_LOCAL, non_local.Plain, joined=False),
    },
    "non-local, int8": {
        "as it is": Form(NON_LOCAL, precision="int8"),
        "three convolutions, without the choice": Form(NON_LOCAL, non_local.Plain, precision="int8", joined=False),
    },
    "GeM": {
        "as it is": Form(GEM),
        "one kernel with the last shortcut": Form(GEM, heads.Unfenced),
        "without the choice": Form(GEM, heads.Plain),
        "without casts": Form(GEM, heads.Uncast),
        "by the maximum, in half": Form(GEM, heads.Poolings),
    },
    "GeM, int8": {
        "as it is": Form(GEM, precision="int8"),
        "kept from the last shortcut": Form(GEM, heads.FencedGem, precision="int8"),
    },
    "head": {
        "as it is": Form(HEAD),
        "kept from the last shortcut": Form(HEAD, heads.FencedMean),
        "without the choice": Form(HEAD, heads.Plain),
    },
    "blocks": {
        "as it is": Form(BLOCKS),
        "level 5": Form(BLOCKS, level=5),
        "shortcuts apart": Form(BLOCKS, blocks.Apart, blocks.take_apart),
        "sums in four parts": Form(BLOCKS, blocks.SplitSums),
        "sums in two parts": Form(BLOCKS, blocks.SplitInTwo),
    },
    "blocks, int8": {
        "as it is": Form(BLOCKS, precision="int8"),
        "shortcuts apart": Form(BLOCKS, blocks.Apart, blocks.take_apart, precision="int8"),
    },
}
"""By what they are forms of; the first of each is what fastrt uses."""

NAMES = {f"{group}: {name}": form for group, forms in FORMS.items() for name, form in forms.items()}


@cache
def take(part: Part) -> Network:
    return cut(describe(part.model), part.start, part.end)


def cut(network: Network, start: str | None, end: str | None) -> Network:
    """A part of a network, of which all after ``start`` needs nothing before it."""
    names = [tensor.name for tensor in network]
    tensors = list(network.tensors if end is None else network.tensors[: names.index(end) + 1])
    if start is not None:
        images = make_tensor(INPUT, Input(network[start].shape), [])
        rest = tensors[names.index(start) + 1 :]
        renamed = {start: INPUT}
        tensors = [images, *(replace(t, inputs=tuple(renamed.get(name, name) for name in t.inputs)) for t in rest)]
    if end is not None:
        mean = make_tensor("mean", ReduceMean(), [tensors[-1]])
        tensors += [mean, make_tensor(OUTPUT, Reshape((mean.shape[0],)), [mean])]
    return replace(network, tensors=tuple(tensors))


def build(capabilities: Capabilities, form: Form, batch: int, folder: Path) -> bytes:
    """A plan for one batch."""
    network = take(form.part)
    info = EngineInfo(
        target="tensorrt",
        precision=form.precision,
        io="u8_nhwc_bgr" if form.part.start is None else "f32_nchw_rgb",
        image_size=(network.input.shape[1], network.input.shape[2]),
        embedding_dim=network.output.shape[0],
        normalized=form.part.end is None,
    )
    quantized = None
    if form.precision == "int8":
        ranges = dict(read_own_table(form.part.model, describe(form.part.model), folder).ranges)
        if form.part.start is not None:
            ranges[INPUT] = ranges[form.part.start]
        quantized = partial(quantize, ranges=ranges, placement=TensorRtTarget.placement)
    split = form.split and batch > TensorRtTarget.whole_up_to
    options = BuildOptions(batches=(batch,), timing_cache=folder / f"{form.part.model}.cache")
    configure = plan.configure

    def configured(*arguments: Any, **named: Any) -> Trt:
        config = configure(*arguments, **named)
        if form.level is not None:
            config.builder_optimization_level = form.level
        return config

    with ExitStack() as patches:
        if not form.joined:
            patches.enter_context(patch.object(passes, "join_single_channels", lambda network: network))
        patches.enter_context(patch.object(plan, "TensorRtLowering", form.lowering))
        patches.enter_context(patch.object(plan, "configure", configured))
        prepared = prepare(network, info, typed=True, split=split, quantized=quantized)
        return plan.build_plan(capabilities, form.rewrite(prepared), info, options)


def build_all(folder: Path, names: list[str], batches: list[int]) -> None:
    """What is refused leaves a file that says why."""
    capabilities = find_capabilities("tensorrt")
    plans = folder / "forms"
    plans.mkdir(parents=True, exist_ok=True)
    for name in names:
        for batch in batches:
            path = plans / f"{name} - {batch}"
            for suffix in (".engine", ".refused"):
                path.with_suffix(suffix).unlink(missing_ok=True)
            try:
                path.with_suffix(".engine").write_bytes(build(capabilities, NAMES[name], batch, folder))
                print(name, batch, "built", flush=True)
            except fastrt.EngineError as error:
                path.with_suffix(".refused").write_text(str(error))
                print(name, batch, error, flush=True)


def draw_inputs(network: Network, part: Part) -> Array:
    """What plans are given: people, or a map as a ReLU leaves it."""
    if part.start is None:
        height, width = network.input.shape[1:]
        return np.stack([draw_person(i, 0, height, width) for i in range(COMPARED)])
    drawn = np.random.default_rng(0).standard_normal((COMPARED, *network.input.shape))
    return np.maximum(drawn, 0).astype(np.float32)


def run(capabilities: Capabilities, content: bytes, images: Array) -> tuple[list[tuple[str, float, str]], Array]:
    """Each layer with its microseconds, and the formats that it reads and writes; and what comes out."""
    trt: Trt = capabilities.trt
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
    formats = read_formats(trt, engine, context)
    times = ((name, statistics.median(found[10:])) for name, found in profiler.times.items())
    return [(name, round(time, 1), formats.get(name, "")) for name, time in times], rows


def read_formats(trt: Trt, engine: Trt, context: Trt) -> dict[str, str]:
    """The formats that layers read and write, for the shapes that a context has."""
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    layers = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))["Layers"]
    return {
        layer["Name"]: " to ".join(_describe_formats(layer[end]) for end in ("Inputs", "Outputs")) for layer in layers
    }


def _describe_formats(tensors: list[dict[str, str]]) -> str:
    return ", ".join(dict.fromkeys(tensor["Format/Datatype"] for tensor in tensors))


def measure_all(folder: Path) -> None:
    capabilities = find_capabilities("tensorrt")
    wanted: dict[tuple[str, int], Array] = {}
    for name, form in NAMES.items():
        drawn = draw_inputs(take(form.part), form.part)
        for batch in BATCHES:
            path = folder / "forms" / f"{name} - {batch}"
            row: Row = {"form": name, "batch": batch}
            if (refusal := path.with_suffix(".refused")).is_file():
                row["refused"] = refusal.read_text()
            elif (engine := path.with_suffix(".engine")).is_file():
                times, rows = run(capabilities, engine.read_bytes(), np.resize(drawn, (batch, *drawn.shape[1:])))
                row |= {"layers": len(times), "us": round(sum(time for _, time, _ in times), 1)}
                used = wanted.setdefault((name.partition(":")[0], batch), rows)
                if batch > 1:
                    row["least cosine"] = round(float(centred_cosines(rows[:COMPARED], used[:COMPARED]).min()), 5)
                row["times"] = times
            else:
                continue
            print({key: value for key, value in row.items() if key != "times"}, flush=True)
            command = "python -m benchmarks.tensorrt_forms measure FOLDER"
            save_here("tensorrt_forms", command, [row], same=order)


def order(row: Row) -> tuple[int, str, int]:
    """Forms that are no more come last."""
    names = list(NAMES)
    form = row["form"]
    return names.index(form) if form in names else len(names), form, row["batch"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorrt_forms", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("build", "measure"):
        command = verbs.add_parser(verb)
        command.add_argument("folder", type=Path)
        if verb == "build":
            command.add_argument("form", nargs="*", default=["*"])
            command.add_argument("--share", default="1/1", metavar="K/N")
            command.add_argument("--batch", type=int, choices=BATCHES, action="append")
    given = parser.parse_args()
    if given.verb == "measure":
        if not (given.folder / "forms").is_dir():
            parser.error(f"{given.folder} has no forms to measure; build them first")
        measure_all(given.folder)
        return
    chosen = {name: [form for form in NAMES if fnmatch(form, name)] for name in given.form}
    if unknown := [name for name, forms in chosen.items() if not forms]:
        parser.error(f"no form is named {unknown[0]}; known are {'; '.join(NAMES)}")
    share = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", given.share)
    if share is None or int(share[1]) > int(share[2]):
        parser.error(f"the share is {given.share}; one such as 2/8 is wanted")
    names = list(dict.fromkeys(chain(*chosen.values())))[int(share[1]) - 1 :: int(share[2])]
    build_all(given.folder, names, given.batch or list(BUILT))


if __name__ == "__main__":
    run_command(main)
