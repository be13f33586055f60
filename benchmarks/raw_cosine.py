"""What raw cosines hide: ``python -m benchmarks.raw_cosine``.

One network spoilt in several ways; for each, how alike its embeddings are to fp32's by raw and by mean-centred cosine,
and what became of the question that embeddings are for: which other picture is nearest? The network has no neck,
so its embeddings are means of what ReLUs let through, none of them negative: all point in much the same direction.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

import fastrt
from fastrt.arrays import Array
from fastrt.engine.calibration_table import CalibrationTable
from fastrt.images.sample import draw_held_out
from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import Convolution, Power, QuantizeDequantize
from fastrt.passes import prepare
from fastrt.passes.quantize import quantize
from fastrt.similarity import centred_cosines, nearest_agreement
from fastrt.targets.base import BuildOptions
from fastrt.targets.registry import find_target
from fastrt.testing.untrained import draw_weights
from fastrt.timing.host import describe_machine

RESULT = Path(__file__).parent / "results" / "raw_cosine.json"
Change = Callable[[Network], Network]


def main() -> None:
    spec = fastrt.load_spec("kd-r18-r101_ibn", ["INPUT.SIZE_TEST", [256, 128], "MODEL.HEADS.WITH_BNNECK", False])
    network = fastrt.build_network(spec, draw_weights(spec))
    images = draw_held_out(spec.image_size, 64)
    table = fastrt.calibrate(network, [image[:, ::-1] for image in images])
    changes: dict[str, Change] = {
        "int8": lambda folded: in_eight_bits(folded, table),
        "int8, and GeM's powers too": lambda folded: with_powers(in_eight_bits(folded, table)),
        "every tenth weight off by a fifth": lambda folded: edit(folded, disturb),
        "the last stage's channels shuffled": lambda folded: edit(folded, shuffle),
    }
    want = embed(network, lambda folded: folded, images)
    rows = []
    for name, change in {"fp32": lambda folded: folded, **changes}.items():
        got = embed(network, change, images)
        rows.append(
            {
                "network": name,
                "least_raw_cosine": round(float((got * want).sum(1).min()), 3),
                "least_mean_centred": round(float(centred_cosines(got, want).min()), 3),
                "same_nearest": f"{nearest_agreement(got, want):.0%}",
            }
        )
        print(rows[-1], flush=True)
    others = want @ want.T
    between = f"{float(np.median(others[np.triu_indices(len(want), 1)])):.3f}"
    rows.append({"network": "two pictures in fp32, the median", "least_raw_cosine": between})
    RESULT.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


def embed(network: Network, change: Change, images: list[Array]) -> Array:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.xml"
        info = fastrt.build(network, path).info
        find_target("openvino").build(prepare(network, info, quantized=change), path, info, BuildOptions())
        with fastrt.load(path) as session:
            return session(images)


def in_eight_bits(folded: Network, table: CalibrationTable) -> Network:
    means = {name: np.asarray(mean) for name, mean in table.means.items()}
    return quantize(folded, table.ranges, find_target("openvino").placement, (), means)


def with_powers(network: Network) -> Network:
    """Pairs on what GeM raises to its power, as quantizers place them that do not know GeM."""
    result: list[Tensor] = []
    renamed: dict[str, Tensor] = {}
    for tensor in network:
        inputs = [renamed.get(name, network[name]) for name in tensor.inputs]
        result.append(make_tensor(tensor.name, tensor.operation, inputs) if inputs else tensor)
        if isinstance(tensor.operation, Power) and tensor.shape[1:] != (1, 1):
            pair = make_tensor(f"{tensor.name}.quantized", QuantizeDequantize(40.0, 0, "uint8"), [result[-1]])
            renamed[tensor.name] = pair
            result.append(pair)
    return replace(network, tensors=tuple(result))


def edit(network: Network, change: Callable[[str, Convolution], Convolution]) -> Network:
    return replace(
        network,
        tensors=tuple(
            replace(tensor, operation=change(tensor.name, tensor.operation))
            if isinstance(tensor.operation, Convolution)
            else tensor
            for tensor in network
        ),
    )


def disturb(_: str, operation: Convolution) -> Convolution:
    rng = np.random.default_rng(0)
    factor = 1 + 0.2 * (rng.random(operation.weight.shape) < 0.1) * rng.choice([-1, 1], operation.weight.shape)
    return replace(operation, weight=(operation.weight * factor).astype(np.float32))


def shuffle(name: str, operation: Convolution) -> Convolution:
    if "layer4" not in name:
        return operation
    order = np.random.default_rng(0).permutation(operation.weight.shape[1])
    return replace(operation, weight=np.ascontiguousarray(operation.weight[:, order]))


if __name__ == "__main__":
    main()
