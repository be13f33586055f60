"""Weights of an untrained model, by FastReID's names: for a demonstration, a benchmark, a test."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastrt.arrays import Array, Shape
from fastrt.images.drawing import draw_person
from fastrt.ir.builder import Builder
from fastrt.ir.network import Network, Tensor
from fastrt.ir.parameters import Parameters
from fastrt.models.layers import EPS
from fastrt.models.reid import assemble
from fastrt.models.spec import ModelSpec
from fastrt.targets.reference import Reference

CLASSES = 751
"""People in Market-1501's training set: the classifier's rows."""

PEOPLE = 8

NON_LOCAL_NORM = ".W.1"
NON_LOCAL_SHARE = np.float32(0.02)
"""The most that a non-local block adds, on the images that norms are measured on.

It grows with the cube, so block after block an image that stands out a little would leave all bounds. FastReID begins
with 0, which would show nothing.
"""


@dataclass
class _Drawn(Parameters):
    """Draws each array as it is asked for."""

    made: dict[str, Array] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=np.random.default_rng)

    def take(self, name: str, shape: Shape) -> Array:
        if name not in self.made:
            self.made[name] = self._draw(name.rpartition(".")[2], shape).astype(np.float32)
            if name.endswith(f"{NON_LOCAL_NORM}.weight"):
                self.made[name] *= NON_LOCAL_SHARE
        return self.made[name]

    def check(self) -> None:
        """Nothing that was drawn is wrong."""

    def _draw(self, leaf: str, shape: Shape) -> Array:
        if len(shape) > 1:  # He's initialisation, by fan-in
            return self.rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        values = {"weight": 1.0, "running_var": 1.0, "p": 3.0}
        return np.full(shape, values.get(leaf, 0.0))


def draw_weights(spec: ModelSpec, seed: int = 0) -> dict[str, Array]:
    """An untrained checkpoint for ``spec``: convolutions drawn by He, every batch norm's statistics measured.

    They are measured on drawn images, as training would, so that activations keep their size and embeddings are
    centred.

    Returns:
        FastReID's arrays, by name, float32; the classifier and the norms' counters are there too.
    """
    spec = spec.replace(backbone=spec.backbone.settle(), with_bnneck=spec.with_bnneck is not False)
    drawn = _Drawn({}, rng=np.random.default_rng(seed))
    network = assemble(Builder(drawn), spec)
    _measure_norms(network, drawn.made)
    arrays: dict[str, Array] = {}
    for name, array in drawn.made.items():
        arrays[name] = array
        if name.endswith(".running_var"):
            arrays[name.replace("running_var", "num_batches_tracked")] = np.array(1, np.int64)
    arrays["heads.weight"] = drawn.rng.normal(0, 0.01, (CLASSES, network.output.shape[0])).astype(np.float32)
    return arrays


def _measure_norms(network: Network, arrays: dict[str, Array]) -> None:
    size = (network.input.shape[1], network.input.shape[2])
    people = np.stack([draw_person(1000 + i, 0, *size) for i in range(PEOPLE)])
    for _ in _Measuring(people[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32), arrays).lower(network):
        pass


class _Measuring(Reference):
    """Computes a network whose batch norms are fresh, and sets each one's statistics to those of what it gives."""

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
