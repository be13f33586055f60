"""Embeddings of perturbed networks compared with exact ones: ``python -m benchmarks.perturbations WHAT``.

The golden cases are networks with stored float64 embeddings of FastReID, in ``tests/golden``. WHAT is one of:

``golden_noise``: float32 by FastReID, by NumPy in the reference's order of operations, and by the engines; the largest
difference to float64, divided by the largest value.

``half_noise``: FP16 in the reference alone. It rounds every feature map and every convolution's weights, except in the
named stages. One column also rounds the sums of convolutions, as TensorRT 8's kernels do. Least mean-centred cosines
to float64.

``golden_int8``: int8 on OpenVINO, calibrated on 32 images of the same kind: with every convolution of the backbone in
int8, and with the exclusions that a least mean-centred cosine of 0.99 needs. For comparison, FP16 weights alone.

``rounding``: int8 in the reference, with noise of 1/1000 of a grey level in the images, and with FP16 for all tensors
that are not int8. Least mean-centred cosines to the same network without these.

``raw_cosine``: raw and mean-centred cosines of one network to itself in fp32, with several perturbations, and the
fraction of images with the same nearest image. The network has no neck, so its embeddings are means of ReLU outputs:
no value is negative, and all embeddings point in a similar direction.
"""

from __future__ import annotations

import argparse
import re
import runpy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

import fastrt
from benchmarks.results import Row, run_command, write_result
from fastrt.arrays import Array
from fastrt.images.sample import draw_held_out
from fastrt.ir.network import Network, Tensor, make_tensor
from fastrt.ir.ops import Cast, Convolution, Power, QuantizeDequantize
from fastrt.passes import prepare, simplify
from fastrt.passes.half import compute_in_half
from fastrt.passes.quantize import list_layers
from fastrt.quantization.sensitivity import find_mix
from fastrt.similarity import centred_cosines, nearest_agreement
from fastrt.targets.base import BuildOptions
from fastrt.targets.openvino.target import OpenVinoTarget
from fastrt.targets.reference import HalfSumsReference, Reference, RoundingReference, round_weights, run_reference
from fastrt.testing.untrained import draw_weights

BOUND = 0.99
CALIBRATED = 32
GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
EXCLUDED = {"all FP16": 0, "stem in float32": 1, "and layer1": 2, "and layer2": 3}
"""Stages without rounding, by column."""

STAGE = re.compile(r"backbone\.(?:layer|NL_)(\d)")
NOISE = 1e-3
"""Standard deviation in grey levels."""

Change = Callable[[Network], Network]


@dataclass(frozen=True, eq=False)
class Case:
    """A golden case.

    Attributes:
        name: of its files.
        network: with FastReID's float32 ``embeddings`` and float64 ``exact`` ones, raw, of its ``images``.
        images: ``(n, H, W, 3)`` uint8 BGR.
        others: more such images, to calibrate on.
    """

    name: str
    network: Network
    images: Array
    others: Array
    embeddings: Array
    exact: Array

    @property
    def planes(self) -> Array:
        """The images as the network takes them: ``(n, 3, H, W)`` float32 RGB."""
        return self.images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)


def load_cases() -> Iterator[Case]:
    """Make the golden cases by the recipe in their folder."""
    recipe = runpy.run_path(str(GOLDEN / "recipe.py"))
    exact = np.load(GOLDEN / "float64.npz")
    for path in (path for path in sorted(GOLDEN.rglob("*.json")) if path.stem in exact):
        case = recipe["load_case"](path.parent, path.stem)
        spec = fastrt.load_spec(yaml.safe_load(case["yaml"]) if "yaml" in case else case["config"])
        count, height, width, _ = case["images"].shape
        others = recipe["make_images"](count + CALIBRATED, height, width)[count:]
        network = fastrt.build_network(spec, case["state_dict"])
        yield Case(path.stem, network, case["images"], others, case["embeddings"], exact[path.stem])


def compute(reference: Reference, network: Network) -> Array:
    *_, (_, embeddings) = reference.lower(network)
    return embeddings


def least(got: Array, want: Array, digits: int = 4) -> float:
    """Compute the least mean-centred cosine."""
    return round(float(centred_cosines(got, want).min()), digits)


def edit(network: Network, change: Callable[[Tensor], Tensor]) -> Network:
    return replace(network, tensors=tuple(map(change, network)))


def run_engine(case: Case, suffix: str, table: fastrt.CalibrationTable | None = None) -> Array:
    """Run the case's images through an engine; in int8 with a table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"engine{suffix}"
        fastrt.build(case.network, path, precision="int8" if table else "fp32", table=table, normalize=False)
        with fastrt.load(path) as session:
            return session(case.images)


def perturb_to_float32(case: Case) -> Row:
    def distance(got: Array, want: Array = case.exact) -> str:
        return f"{np.abs(got - want).max() / np.abs(want).max():.1e}"

    row = {
        "reference": distance(compute(Reference(case.planes), case.network)),
        "FastReID float32": distance(case.embeddings),
        "NumPy float32": distance(compute(Reference(case.planes, np.float32), case.network)),
    }
    for suffix, target in ((".xml", "openvino"), (".onnx", "onnx")):
        got = run_engine(case, suffix)
        row[target] = distance(got)
        row[f"{target} to FastReID float32"] = distance(got, case.embeddings)
    return row


def stage(name: str) -> int:
    """0 for the input and the stem, the stage number of a tensor, or 5 for the head."""
    match = STAGE.match(name)
    return int(match[1]) if match else 0 if name.startswith(("images", "backbone")) else 5


def without_casts(tensor: Tensor) -> Tensor:
    return replace(tensor, operation=Cast("float32")) if isinstance(tensor.operation, Cast) else tensor


def perturb_to_half(case: Case) -> Row:
    half = compute_in_half(simplify(case.network), "float16")

    def widen(stages: int) -> Network:
        """Keep the network's first stages in float32."""

        def change(tensor: Tensor) -> Tensor:
            if stage(tensor.name) >= stages or tensor.dtype == "uint8":
                return tensor
            return replace(without_casts(tensor), dtype="float32")

        return edit(half, change)

    def to_exact(reference: Reference, network: Network) -> float:
        return least(compute(reference, network), case.exact, 5)

    row = {title: to_exact(RoundingReference(case.planes), widen(stages)) for title, stages in EXCLUDED.items()}
    row["FP16 sums too"] = to_exact(HalfSumsReference(case.planes), half)
    weights = edit(round_weights(half), without_casts)
    row["FP16 weights alone"] = to_exact(Reference(case.planes, np.float32), weights)
    return row


def perturb_to_int8(case: Case) -> Row:
    table = fastrt.calibrate(case.network, case.others)
    mix = find_mix(case.network, table, "openvino", BOUND, case.images)
    pure = centred_cosines(run_engine(case, ".xml", table), case.exact)
    simplified = simplify(case.network)
    half = round_weights(edit(simplified, lambda tensor: replace(tensor, dtype="float16")))
    return {
        "fp16_weights_alone": least(compute(Reference(case.planes), half), case.exact),
        "int8_least": round(float(pure.min()), 4),
        "int8_mean": round(float(pure.mean()), 4),
        "mix_least": round(mix.similarity, 4),
        "excluded": len(mix.kept),
        "convolutions": len(list_layers(simplified)),
    }


def perturb_int8(case: Case) -> Row:
    table = fastrt.calibrate(case.network, case.others)
    network = simplify(case.network)
    quantized = table.quantize(network, OpenVinoTarget.placement)
    noisy = case.planes + np.random.default_rng(0).normal(0, NOISE, case.planes.shape).astype(np.float32)
    exact, wanted = (run_reference(one, case.planes) for one in (network, quantized))
    rounded = compute(RoundingReference(case.planes), compute_in_half(quantized, "float16"))
    return {
        "int8, to fp32": least(wanted, exact),
        "noise, in fp32": least(run_reference(network, noisy), exact),
        "noise, in int8": least(run_reference(quantized, noisy), wanted),
        "FP16, in int8": least(rounded, wanted),
    }


MEASURES: dict[str, Callable[[Case], Row]] = {
    "golden_noise": perturb_to_float32,
    "half_noise": perturb_to_half,
    "golden_int8": perturb_to_int8,
    "rounding": perturb_int8,
}


def measure_golden(what: str) -> None:
    rows = []
    for case in load_cases():
        rows.append({"case": case.name, **MEASURES[what](case)})
        print(rows[-1], flush=True)
        write_result(what, f"perturbations {what}", rows)


def measure_raw_cosine() -> None:
    spec = fastrt.load_spec("kd-r18-r101_ibn", ["INPUT.SIZE_TEST", [256, 128], "MODEL.HEADS.WITH_BNNECK", False])
    network = fastrt.build_network(spec, draw_weights(spec))
    images = draw_held_out(spec.image_size, 64)
    table = fastrt.calibrate(network, [image[:, ::-1] for image in images])

    def quantize(simplified: Network) -> Network:
        return table.quantize(simplified, OpenVinoTarget.placement)

    changes: dict[str, Change] = {
        "fp32": lambda simplified: simplified,
        "int8": quantize,
        "int8, and GeM's powers too": lambda simplified: quantize_powers(quantize(simplified)),
        "every tenth weight off by a fifth": lambda simplified: edit(simplified, disturb),
        "the last stage's channels shuffled": lambda simplified: edit(simplified, shuffle),
    }
    want = embed(network, changes["fp32"], images)
    rows: list[Row] = []
    for name, change in changes.items():
        got = embed(network, change, images)
        rows.append(
            {
                "network": name,
                "least_raw_cosine": round(float((got * want).sum(1).min()), 3),
                "least_mean_centred": least(got, want, 3),
                "same_nearest": f"{nearest_agreement(got, want):.0%}",
            }
        )
        print(rows[-1], flush=True)
    others = (want @ want.T)[np.triu_indices(len(want), 1)]
    rows.append({"network": "two images in fp32, the median", "least_raw_cosine": f"{float(np.median(others)):.3f}"})
    write_result("raw_cosine", "perturbations raw_cosine", rows)


def embed(network: Network, change: Change, images: Sequence[Array]) -> Array:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.xml"
        info = fastrt.build(network, path).info
        OpenVinoTarget().build(prepare(network, info, quantized=change), path, info, BuildOptions())
        with fastrt.load(path) as session:
            return session(images)


def quantize_powers(network: Network) -> Network:
    """Add Q/DQ pairs to GeM's powers, as a quantizer without support for GeM does."""
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


def disturb(tensor: Tensor) -> Tensor:
    """Change every tenth weight by 20%."""
    if not isinstance(tensor.operation, Convolution):
        return tensor
    rng, weight = np.random.default_rng(0), tensor.operation.weight
    factor = 1 + 0.2 * (rng.random(weight.shape) < 0.1) * rng.choice([-1, 1], weight.shape)
    return replace(tensor, operation=replace(tensor.operation, weight=(weight * factor).astype(np.float32)))


def shuffle(tensor: Tensor) -> Tensor:
    """Permute the input channels of the last stage's convolutions."""
    if not isinstance(tensor.operation, Convolution) or "layer4" not in tensor.name:
        return tensor
    weight = tensor.operation.weight
    order = np.random.default_rng(0).permutation(weight.shape[1])
    return replace(tensor, operation=replace(tensor.operation, weight=np.ascontiguousarray(weight[:, order])))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perturbations", description=__doc__)
    parser.add_argument("what", choices=[*MEASURES, "raw_cosine"])
    what = parser.parse_args().what
    if what == "raw_cosine":
        measure_raw_cosine()
    else:
        measure_golden(what)


if __name__ == "__main__":
    run_command(main)
