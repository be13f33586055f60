"""MGN: a ResNet whose last two layers exist three times, and eight heads, five of them on strips of a feature map.

========  =================================================  =================  ==========================
branch    layers                                             stride of layer4   heads
========  =================================================  =================  ==========================
backbone  stem, layer1, layer2, first block of layer3
b1        rest of layer3, layer4                             LAST_STRIDE        whole map
b2        the same                                           1                  whole map, 2 strips of rows
b3        the same                                           1                  whole map, 3 strips of rows
========  =================================================  =================  ==========================

Source: fastreid/modeling/meta_arch/mgn.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import cast

from fastrt.arrays import Array
from fastrt.errors import NetworkError, WeightsError
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Concat, Slice
from fastrt.models.backbones.base import Backbone
from fastrt.models.backbones.resnet import ResNet
from fastrt.models.heads import Head
from fastrt.models.meta_architectures.base import MetaArchitecture, logger

STEM = ("backbone.0", "backbone.1", "backbone.2", "backbone.3")

VIEW = {
    "backbone.0.": "backbone.conv1.",
    "backbone.1.": "backbone.bn1.",
    "backbone.4.": "backbone.layer1.",
    "backbone.5.": "backbone.layer2.",
    "backbone.6.": "backbone.layer3.0.",
    **{f"b1.0.{i}.": f"backbone.layer3.{i + 1}." for i in range(22)},  # as many as in depth 101
    "b1.1.": "backbone.layer4.",
    "b1_head.": "heads.",
}
"""Names of the backbone and of branch 1, and a Baseline's names of the same arrays."""

OLD_HEAD = re.compile(r"(b\d{1,2})_pool\.([012])\.")
OLD_LAYERS = ("pool_layer", "bottleneck.0", "bottleneck.1")
"""The pooling and reduction of heads until 2020-09-01, before their ReLU and the head, and their names in a head."""


class Mgn(MetaArchitecture):
    """Multiple granularity network. Its embedding is the concatenation of its heads'."""

    heads = tuple(f"{branch}_head" for branch in ("b1", "b2", "b3", "b21", "b22", "b31", "b32", "b33"))

    def build(self, b: Builder, x: Tensor, backbone: Backbone, head: Head) -> Tensor:
        """Build the embedding: the whole maps of the branches, then the strips of b2 and b3, from top to bottom."""
        backbone = cast(ResNet, backbone)  # the spec refuses others
        image_height = x.shape[1]
        x = backbone.build_stem(b, x, STEM)
        for name, layer in (("backbone.4", 1), ("backbone.5", 2)):
            for i in range(backbone.blocks[layer - 1]):
                x = backbone.build_block(b, x, f"{name}.{i}", layer, i)
        x = backbone.build_block(b, x, "backbone.6", 3, 0)
        local = backbone.replace(last_stride=1)
        branches = {"b1": backbone, "b2": local, "b3": local}
        maps = {name: _build_branch(b, x, name, settings) for name, settings in branches.items()}
        for name, count in (("b2", 2), ("b3", 3)):
            maps |= dict(_split_rows(b, maps[name], name, count, image_height))
        embeddings = [head.build(b, maps[name.removesuffix("_head")], name) for name in self.heads]
        return b.add("heads", Concat(), *embeddings)

    def recognise(self, arrays: Mapping[str, Array]) -> bool:
        """Return True for the names of branch 1."""
        return any(name.startswith("b1.0.0.conv1.") for name in arrays)

    def refuse(self, backbone: Backbone) -> str | None:
        """Refuse backbones other than a plain ResNet of depth 50 or 101."""
        if backbone.name == "build_resnet_backbone" and cast(ResNet, backbone).depth in ("50x", "101x"):
            return None
        return (
            f"meta_architecture is 'MGN' with {backbone.title}, expected build_resnet_backbone of depth 50x or 101x, as"
            " the branches are bottlenecks of a ResNet"
        )

    def view(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the backbone and branch 1 as those of a Baseline."""
        return {_view(name): array for name, array in _rename_old(arrays).items()}

    def migrate(
        self, backbone: Backbone, arrays: Mapping[str, Array], version: str
    ) -> tuple[Backbone, Mapping[str, Array]]:
        """Infer the backbone's open settings from branch 1. MGN has no non-local blocks."""
        if cast(ResNet, backbone).with_nl:
            logger.warning("WITH_NL is True; FastReID's MGN drops non-local blocks, and so does fastrt")
            backbone = backbone.replace(with_nl=False)
        return backbone.migrate(self.view(arrays), version)[0], _rename_old(arrays)

    def find_head(self, arrays: Mapping[str, Array]) -> dict[str, object]:
        """Recognise the heads until 2020-09-01: pooling, convolution, norm, ReLU, BNneckHead; refuse other heads."""
        if "b1_pool.1.weight" not in arrays:
            return {}
        if "b1_head.bnneck.weight" not in arrays or "b1_head.bottleneck.0.weight" in arrays:
            raise WeightsError(
                "b1_head: another head than BNneckHead in an MGN from before 2020-09-01; expected b1_head.bnneck. Use"
                " another checkpoint."
            )
        width = arrays["b1_pool.1.weight"].size // 2048
        logger.warning(
            f"the checkpoint is an MGN from before 2020-09-01: its heads are convolution, norm, ReLU, norm, of {width}"
            " features each"
        )
        return {"head": "MGNHead", "embedding_dim": width, "with_bnneck": True}


def _build_branch(b: Builder, x: Tensor, name: str, backbone: ResNet) -> Tensor:
    """Build the feature map of a branch: layer3 without its first block, and layer4."""
    for layer, first in ((3, 1), (4, 0)):
        for i in range(first, backbone.blocks[layer - 1]):
            x = backbone.build_block(b, x, f"{name}.{layer - 3}.{i - first}", layer, i)
    return x


def _split_rows(b: Builder, x: Tensor, name: str, count: int, image_height: int) -> Iterator[tuple[str, Tensor]]:
    """Split a feature map ``(C, h, w)`` in strips of ``ceil(h / count)`` rows, as torch.chunk; the last is smaller."""
    height = x.shape[1]
    rows = -(-height // count)
    if (count - 1) * rows >= height:
        raise NetworkError(
            f"INPUT.SIZE_TEST: images of height {image_height} make a feature map of {height} rows in {name}, and so"
            f" fewer than {count} strips of {rows}; expected {count}, as in FastReID. Use a height of 80 or more."
        )
    for i in range(count):
        part = f"{name}{i + 1}"
        yield part, b.add(f"{part}.rows", Slice(1, i * rows, min((i + 1) * rows, height)), x)


def _view(name: str) -> str:
    return next((new + name.removeprefix(old) for old, new in VIEW.items() if name.startswith(old)), name)


def _rename_old(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Rename the pooling and reduction of heads until 2020-09-01."""
    return {
        OLD_HEAD.sub(lambda match: f"{match[1]}_head.{OLD_LAYERS[int(match[2])]}.", name): array
        for name, array in arrays.items()
    }
