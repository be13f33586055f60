"""Weights of an untrained model, with FastReID's names: for demonstrations, benchmarks and tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastrt.arrays import Array, Shape
from fastrt.images.drawing import draw_person
from fastrt.ir.builder import Builder
from fastrt.ir.network import Network, Tensor
from fastrt.ir.parameters import Parameters
from fastrt.models.layers import EPS
from fastrt.models.meta_architectures.table import META_ARCHITECTURES
from fastrt.models.reid import assemble
from fastrt.models.spec import ModelSpec
from fastrt.targets.reference import Reference

CLASSES = 751
"""Number of people in Market-1501's training set: the rows of the classifier."""

PEOPLE = 8

NON_LOCAL_NORM = ".W.1"
NON_LOCAL_SHARE = np.float32(0.02)
"""Maximum contribution of a non-local block to its output, on the images that measure the norms.

The output grows with the cube of its input, so an unusual image would exceed all bounds after several blocks. FastReID
initialises the norm with 0, which would hide the block.
"""


@dataclass
class _Drawn(Parameters):
    """Draws each array when it is requested."""

    made: dict[str, Array] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=np.random.default_rng)

    def take(self, name: str, shape: Shape) -> Array:
        if name not in self.made:
            self.made[name] = self._draw(name.rpartition(".")[2], shape).astype(np.float32)
            if name.endswith(f"{NON_LOCAL_NORM}.weight"):
                self.made[name] *= NON_LOCAL_SHARE
        return self.made[name]

    def check(self) -> None:
        """Accept everything: drawn arrays are valid."""

    def _draw(self, leaf: str, shape: Shape) -> Array:
        if len(shape) > 1:  # He initialisation, by fan-in
            return self.rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        values = {"weight": 1.0, "running_var": 1.0, "p": 3.0}
        return np.full(shape, values.get(leaf, 0.0))


def draw_weights(spec: ModelSpec, seed: int = 0) -> dict[str, Array]:
    """Make an untrained checkpoint for ``spec``: He initialisation for convolutions, measured batch norm statistics.

    The statistics are measured on drawn images, as in training, so activations keep their scale and embeddings are
    centred.

    Returns:
        FastReID's float32 arrays by name, including the classifier and the norms' counters.
    """
    drawn, network = _draw(spec, seed)
    _measure_norms(network, drawn.made)
    arrays: dict[str, Array] = {}
    for name, array in drawn.made.items():
        arrays[name] = array
        if name.endswith(".running_var"):
            arrays[name.replace("running_var", "num_batches_tracked")] = np.array(1, np.int64)
    heads = META_ARCHITECTURES[spec.meta_architecture].heads
    for head in heads:
        width = network.output.shape[0] // len(heads)
        arrays[f"{head}.weight"] = drawn.rng.normal(0, 0.01, (CLASSES, width)).astype(np.float32)
    return arrays


def draw_arrays(spec: ModelSpec, seed: int = 0) -> dict[str, Array]:
    """Make the arrays of ``spec`` as `draw_weights` does, with batch norms that change nothing, for training."""
    return _draw(spec, seed)[0].made


def _draw(spec: ModelSpec, seed: int) -> tuple[_Drawn, Network]:
    spec = spec.replace(backbone=spec.backbone.settle(), with_bnneck=spec.with_bnneck is not False)
    drawn = _Drawn({}, rng=np.random.default_rng(seed))
    return drawn, assemble(Builder(drawn), spec)


def _measure_norms(network: Network, arrays: dict[str, Array]) -> None:
    size = (network.input.shape[1], network.input.shape[2])
    people = np.stack([draw_person(1000 + i, 0, *size) for i in range(PEOPLE)])
    for _ in _Measuring(people[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32), arrays).lower(network):
        pass


class _Measuring(Reference):
    """Computes a network with fresh batch norms, and sets each norm's statistics to those of its output."""

    def __init__(self, batch: Array, arrays: dict[str, Array]) -> None:
        super().__init__(batch, np.float32)
        self.arrays = arrays

    def named(self, tensor: Tensor, value: Array) -> Array:
        if f"{tensor.name}.running_mean" not in self.arrays:
            return value
        axes = tuple(axis for axis in range(value.ndim) if axis != 1)
        mean, variance = value.mean(axes, keepdims=True), value.var(axes, keepdims=True)
        if tensor.name.endswith(NON_LOCAL_NORM):
            variance = np.square(value - mean).max(axes, keepdims=True)
        self.arrays[f"{tensor.name}.running_mean"] = mean.ravel()
        self.arrays[f"{tensor.name}.running_var"] = variance.ravel()
        weight = self.arrays[f"{tensor.name}.weight"].reshape(mean.shape)
        return np.asarray((value - mean) / np.sqrt(variance + EPS) * weight)
