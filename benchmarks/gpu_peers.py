"""Compares fastrt with its alternatives on an NVIDIA GPU, in FP16.

PyTorch and TensorRT may need two Python installations, so the benchmark has steps, all on one host:

``export FOLDER MODEL`` writes PyTorch's ONNX export and its float32 embeddings to FOLDER.
``parse FOLDER MODEL BATCH`` builds that file with TensorRT's parser, with the flags and the timing cache of
`benchmarks.tensorrt_speed`. That benchmark's engine must be in FOLDER first, so that both know the same kernels.
``torch FOLDER MODEL BATCH`` times PyTorch, eager and compiled, channels-last.
``engines FOLDER MODEL`` times both TensorRT engines with the same session, in alternating rounds.

The ONNX file has instance norms as elementary operations, because the parser would use cuDNN for them. The input is
uint8 in OpenCV's layout, in page-locked memory; the output is float32 embeddings of unit length on the host.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastrt
from benchmarks.models import TITLES, describe
from benchmarks.results import SAME_GPU, Row, describe_ratios, gpu_result, run_command, update_result
from benchmarks.torch_module import make_module
from fastrt.arrays import Array
from fastrt.images.sample import draw_held_out
from fastrt.ir.network import Network
from fastrt.passes import simplify
from fastrt.similarity import centred_cosines
from fastrt.timing.clock import time_in_turn, timed, warm_up
from fastrt.timing.host import describe_host

COMPARED = 16
ROUNDS = 5
RUNS = 60
"""Calls per round."""

OURS, PARSER = "fastrt, ms", "TensorRT from ONNX, ms"
EAGER, COMPILED = "PyTorch eager, ms", "torch.compile, ms"
BY_COMPILED, BY_PARSER = "torch.compile / fastrt", "TensorRT from ONNX / fastrt"
COLUMNS = ("model", "batch", EAGER, COMPILED, OURS, PARSER, BY_COMPILED, BY_PARSER)
"""The order of a table's columns; other columns come after these."""


def draw(network: Network) -> Array:
    """Draw the images on which embeddings are compared."""
    return np.stack(draw_held_out((network.input.shape[1], network.input.shape[2]), COMPARED))


def time_all(candidates: Mapping[str, Callable[[], object]]) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Time all candidates: the seconds of a call in each round, and the median in ms."""
    for run in candidates.values():
        warm_up(run)
    rounds = time_in_turn(candidates, rounds=ROUNDS, calls=RUNS)
    return rounds, {name: round(1e3 * statistics.median(values), 3) for name, values in rounds.items()}


def time_torch(title: str, batch: int) -> None:
    """Time PyTorch, eager and compiled."""
    import torch

    network = simplify(describe(title))  # as in every engine
    images = draw(network)
    torch.backends.cudnn.benchmark = True
    half = make_module(network, torch.float16).half().cuda()
    compiled = torch.compile(half, mode="reduce-overhead", dynamic=False)
    host = torch.from_numpy(np.resize(images, (batch, *images.shape[1:]))).pin_memory()

    def embed(module: Any) -> None:
        module(host.cuda(non_blocking=True)).cpu()

    with torch.inference_mode():
        candidates = {EAGER: partial(embed, half), COMPILED: partial(embed, compiled)}
        row = {"model": title, "batch": batch, **time_all(candidates)[1]}
    print(row, flush=True)
    save(row, {"gpu": torch.cuda.get_device_name(0), "torch": torch.__version__})


def export(title: str, folder: Path) -> None:
    """Write PyTorch's ONNX export, in an opset that TensorRT 8.6 reads, and the embeddings to compare with."""
    import torch

    network = simplify(describe(title))
    images = draw(network)
    module = make_module(network, torch.float32, written_out=True)

    class TakesFloats(torch.nn.Module):  # type: ignore[misc]
        """Converts to float first: TensorRT's parser accepts uint8, but cannot reverse its channels."""

        def forward(self, images: Any) -> Any:
            return module(images.float())

    torch.onnx.export(
        TakesFloats().eval(),
        (torch.from_numpy(images[:2]),),
        str(folder / f"{title}.onnx"),
        dynamo=False,
        opset_version=17,
        input_names=["images"],
        output_names=["embeddings"],
        dynamic_axes={"images": {0: "batch"}, "embeddings": {0: "batch"}},
    )
    with torch.inference_mode():
        np.save(folder / f"{title}.npy", make_module(network, torch.float32)(torch.from_numpy(images)).numpy())


def parse(title: str, batch: int, folder: Path) -> None:
    """Build the export with TensorRT's own parser."""
    from fastrt.targets.base import BuildOptions
    from fastrt.targets.engine_info import EngineInfo
    from fastrt.targets.tensorrt.capabilities import find_capabilities
    from fastrt.targets.tensorrt.messages import make_logger
    from fastrt.targets.tensorrt.plan import configure, open_timing_cache

    capabilities = find_capabilities("tensorrt")
    trt = capabilities.trt
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    definition = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(definition, logger)
    if not parser.parse((folder / f"{title}.onnx").read_bytes()):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise fastrt.EngineError(f"{folder / title}.onnx cannot be parsed: {errors}")
    shape = tuple(definition.get_input(0).shape)[1:]
    info = EngineInfo(target="tensorrt", precision="fp16", io="u8_nhwc_bgr", image_size=shape[:2], embedding_dim=1)
    options = BuildOptions(batches=(batch,))
    config = configure(capabilities, builder, info, options, bound=False, quantized=False)
    profile = builder.create_optimization_profile()
    profile.set_shape("images", *[(batch, *shape)] * 3)
    config.add_optimization_profile(profile)
    open_timing_cache(config, folder / f"{title}.cache")
    seconds, plan = timed(partial(builder.build_serialized_network, definition, config))
    if plan is None:
        raise fastrt.EngineError("; ".join(logger.errors))
    (folder / f"{title}-parser-{batch}.engine").write_bytes(bytes(plan))
    print(title, batch, f"parsed and built in {seconds:.1f} s", flush=True)


def time_engines(title: str, folder: Path) -> int:
    """Time fastrt's and the parser's engine for each batch that has both; returns the number of such batches."""
    from fastrt.targets.tensorrt.capabilities import find_capabilities
    from fastrt.targets.tensorrt.cuda import describe_device

    about = {"gpu": describe_device(0).partition(",")[0], "tensorrt": find_capabilities("tensorrt").version}
    images, wanted = draw(describe(title)), np.load(folder / f"{title}.npy")
    compared = 0
    for path in sorted(folder.glob(f"{title}-parser-*.engine")):
        batch = int(path.stem.rpartition("-")[2])
        own = folder / f"{title}-fp16-{batch}.engine"
        if not own.is_file():
            continue
        with fastrt.load(own) as ours, fastrt.load(path) as theirs:
            held = ours.pinned(batch)
            held[:] = np.resize(images, held.shape)
            sessions = {OURS: ours, PARSER: theirs}
            runs = {name: partial(session, held) for name, session in sessions.items()}
            rounds, medians = time_all(runs)
            row: Row = {"model": title, "batch": batch, **medians}
            row[BY_PARSER] = describe_ratios(rounds[PARSER], rounds[OURS])
            for name, session in sessions.items():
                filled = np.resize(images, (-(-COMPARED // batch) * batch, *images.shape[1:]))
                cosines = centred_cosines(session(filled)[:COMPARED], wanted)
                row[name.replace(", ms", ", least centred cosine")] = round(float(cosines.min()), 5)
        print(row, flush=True)
        save(row, about)
        compared += 1
    return compared


def save(row: Row, about: dict[str, str]) -> None:
    """Add figures to the row of its model and batch in the GPU model's result."""
    host: Row = {**describe_host(), **about}
    update_result(
        gpu_result(host["gpu"], "gpu_peers"), "gpu_peers STEP FOLDER", [row], host=host, same=SAME_GPU, precision="fp16"
    )


def add_ratios(row: Row) -> Row:
    """Add ratios of medians, and arrange the columns. For alternating rounds the row already has the ratio."""
    ratios = {
        ratio: f"{row[theirs] / row[OURS]:.2f}"
        for ratio, theirs in ((BY_COMPILED, COMPILED), (BY_PARSER, PARSER))
        if theirs in row and OURS in row
    }
    complete = {**ratios, **row}
    return {column: complete[column] for column in dict.fromkeys((*COLUMNS, *row)) if column in complete}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_peers", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("export", "parse", "torch", "engines"):
        command = verbs.add_parser(verb)
        command.add_argument("folder", type=Path)
        command.add_argument("model", choices=TITLES)
        if verb in ("parse", "torch"):
            command.add_argument("batch", type=int)
    given = parser.parse_args()
    needed = {"parse": f"{given.model}.onnx", "engines": f"{given.model}.npy"}.get(given.verb)
    if needed is not None and not (given.folder / needed).is_file():
        parser.error(f"{given.folder} has no {needed}; export it first")
    if given.verb == "torch":
        time_torch(given.model, given.batch)
    elif given.verb == "export":
        given.folder.mkdir(parents=True, exist_ok=True)
        export(given.model, given.folder)
    elif given.verb == "parse":
        parse(given.model, given.batch, given.folder)
    elif not time_engines(given.model, given.folder):
        parser.error(f"{given.folder} has no engines of {given.model} to compare; build and parse first")


if __name__ == "__main__":
    run_command(main)
