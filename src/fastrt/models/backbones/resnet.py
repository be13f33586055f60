"""ResNet 18 to 152, plain and distill, with IBN-a, non-local blocks and SE; a variant is a row of a table.

Source: fastreid/modeling/backbones/resnet.py; projects/FastDistill/fastdistill/resnet_distill.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Add, MaxPool, Relu
from fastrt.models.layers import batch_norm, convolve, instance_batch_norm, non_local, squeeze_excite
from fastrt.models.spec import ModelSpec
from fastrt.models.versions import non_local_width

PLANES = (64, 128, 256, 512)


@dataclass(frozen=True)
class Stages:
    """How many blocks each of the four layers has, of which kind, and how many end in a non-local block.

    None for the non-local blocks where FastReID knows no number, so that the checkpoint's is taken.
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    non_locals: tuple[int, int, int, int] | None

    @property
    def expansion(self) -> int:
        """Channels out of a block for each of its planes."""
        return 4 if self.bottleneck else 1

    @property
    def channels(self) -> int:
        """Channels of the feature map that leaves the backbone."""
        return PLANES[-1] * self.expansion


STAGES = {
    "18x": Stages((2, 2, 2, 2), bottleneck=False, non_locals=(0, 0, 0, 0)),
    "34x": Stages((3, 4, 6, 3), bottleneck=False, non_locals=(0, 0, 0, 0)),
    "50x": Stages((3, 4, 6, 3), bottleneck=True, non_locals=(0, 2, 3, 0)),
    "101x": Stages((3, 4, 23, 3), bottleneck=True, non_locals=(0, 2, 9, 0)),
    "152x": Stages((3, 8, 36, 3), bottleneck=True, non_locals=None),
}


def build_backbone(b: Builder, x: Tensor, spec: ModelSpec) -> Tensor:
    """The feature map ``(C, H / 16, W / 16)``, or ``/ 32`` with last stride 2, of standardised pixels ``(3, H, W)``."""
    stages = STAGES[spec.depth]
    x = convolve(b, x, "backbone.conv1", 64, 7, stride=2, padding=3)
    x = b.add("backbone.relu", Relu(), batch_norm(b, x, "backbone.bn1"))
    pool = MaxPool(3, 2, padding=1) if spec.maxpool == "pad1" else MaxPool(3, 2, ceil=True)
    x = b.add("backbone.maxpool", pool, x)
    non_locals = _non_locals(stages, spec, b.parameters.arrays)
    for layer, blocks in enumerate(stages.blocks, 1):
        for i in range(blocks):
            stride = (1, 2, 2, spec.last_stride)[layer - 1] if i == 0 else 1
            x = _block(
                b, x, f"backbone.layer{layer}.{i}", spec, PLANES[layer - 1], stride, ibn=spec.with_ibn and layer < 4
            )
            nth = i - (blocks - non_locals[layer - 1])
            if nth >= 0:
                name = f"backbone.NL_{layer}.{nth}"
                x = non_local(b, x, name, non_local_width(b.parameters.arrays, f"{name}.g.weight"))
    return b.add("backbone.last_relu", Relu(), x) if spec.distill else x


def _non_locals(stages: Stages, spec: ModelSpec, names: Iterable[str]) -> tuple[int, ...]:
    if not spec.with_nl:
        return (0, 0, 0, 0)
    if stages.non_locals is not None:
        return stages.non_locals
    counts = [0, 0, 0, 0]
    for name in names:
        if match := re.match(r"backbone\.NL_([1-4])\.(\d+)\.", name):
            layer = int(match[1]) - 1
            counts[layer] = max(counts[layer], min(int(match[2]) + 1, stages.blocks[layer]))
    return tuple(counts) if any(counts) else (0, 0, 1, 0)  # none at all: let the first one be reported as missing


def _block(b: Builder, x: Tensor, name: str, spec: ModelSpec, planes: int, stride: int, *, ibn: bool) -> Tensor:
    """A residual block. Distill takes the ReLU of its input and not of its output; plain does it the other way."""
    stages = STAGES[spec.depth]
    channels = planes * stages.expansion
    if spec.distill:
        x = b.add(f"{name}.pre_relu", Relu(), x)
    norm = instance_batch_norm if ibn else batch_norm
    if stages.bottleneck:
        y = norm(b, convolve(b, x, f"{name}.conv1", planes, 1), f"{name}.bn1")
        y = b.add(f"{name}.relu1", Relu(), y)
        y = batch_norm(b, convolve(b, y, f"{name}.conv2", planes, 3, stride, padding=1), f"{name}.bn2")
        y = b.add(f"{name}.relu2", Relu(), y)
        y = batch_norm(b, convolve(b, y, f"{name}.conv3", channels, 1), f"{name}.bn3")
    else:
        y = norm(b, convolve(b, x, f"{name}.conv1", planes, 3, stride, padding=1), f"{name}.bn1")
        y = b.add(f"{name}.relu1", Relu(), y)
        y = batch_norm(b, convolve(b, y, f"{name}.conv2", planes, 3, padding=1), f"{name}.bn2")
    if spec.with_se:
        y = _squeeze_excite(b, y, f"{name}.se", spec)
    # Unlike FastRT: a stride alone asks for the downsampling convolution too, as in PyTorch.
    if stride != 1 or x.shape[0] != channels:
        x = convolve(b, x, f"{name}.downsample.0", channels, 1, stride)
        x = batch_norm(b, x, f"{name}.downsample.1")
    y = b.add(f"{name}.add", Add(), y, x)
    return y if spec.distill else b.add(f"{name}.relu", Relu(), y)


def _squeeze_excite(b: Builder, y: Tensor, name: str, spec: ModelSpec) -> Tensor:
    if spec.basic_block_se == "ignored":  # the arrays must still be there, and right
        channels = y.shape[0]
        b.take(f"{name}.fc.0.weight", (channels // 16, channels))
        b.take(f"{name}.fc.2.weight", (channels, channels // 16))
        return y
    return squeeze_excite(b, y, name)
