"""Settings of ResNets, ResNeXts and ResNeSts that FastReID's versions differ in, inferred from a checkpoint.

Each decision is logged.

Source: FastReID's history: 65169b4, d00ce8f, 1b84348, 42cadae, c9824be, a327a70, 883fd4a.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.models.backbones.base import logger
from fastrt.models.layers import batch_norm, instance_batch_norm

if TYPE_CHECKING:
    from fastrt.models.backbones.resnest import ResNeSt
    from fastrt.models.backbones.resnet import ResNet

NON_LOCALS = {"50x": (0, 2, 3, 0), "101x": (0, 2, 9, 0)}
"""Non-local blocks of the four layers; of depth 152, which FastReID cannot build with them, the checkpoint's."""


def find_inner_channels(arrays: Mapping[str, Array]) -> set[int]:
    """Return the inner channels of the non-local blocks: more than one only from autumn 2020 (until 2020-12-07)."""
    return {arrays[name].size for name in arrays if re.fullmatch(r"backbone\.NL_\d\.\d+\.g\.bias", name)}


def count_non_locals(backbone: ResNet, arrays: Mapping[str, Array]) -> tuple[int, ...]:
    """Count the non-local blocks of each layer: FastReID's, or the checkpoint's for a depth without a number."""
    if not (backbone.with_nl and backbone.bottleneck):
        return (0, 0, 0, 0)
    if backbone.depth in NON_LOCALS:
        return NON_LOCALS[backbone.depth]
    counts = tuple(
        sum(f"backbone.NL_{layer}.{i}.g.weight" in arrays for i in range(blocks))
        for layer, blocks in enumerate(backbone.blocks, 1)
    )
    return counts if any(counts) else (0, 0, 1, 0)  # without any, the first one is reported as missing


def infer_settings(backbone: ResNet, arrays: Mapping[str, Array], version: str) -> ResNet:
    """Return the backbone with its non-local blocks, max pooling and SE decided; see `Backbone.migrate`."""
    return backbone.replace(
        with_nl=_find_non_local(backbone, arrays),
        maxpool=_find_max_pool(backbone, arrays, version),
        basic_block_se=_find_basic_block_se(backbone, version),
    )


def ignore_squeeze_excite(b: Builder, x: Tensor, name: str) -> Tensor:
    """An SE layer that is stored but not applied: the checkpoint must still have the arrays, in their shapes."""
    channels = x.shape[0]
    b.take(f"{name}.fc.0.weight", (channels // 16, channels))
    b.take(f"{name}.fc.2.weight", (channels, channels // 16))
    return x


def choose_first_norm(
    b: Builder, block: str, layer: int, *, with_ibn: bool
) -> Callable[[Builder, Tensor, str], Tensor]:
    """Choose the norm after the first convolution of a ResNeXt's or ResNeSt's block.

    With IBN-a, layer4 has it too, unless the checkpoint has batch norms there: those of FastReID before 2020-09-10
    (ResNeXt) and 2020-07-30 (ResNeSt).
    """
    if not with_ibn:
        return batch_norm
    if layer < 4 or f"{block}.bn1.running_var" not in b.parameters.arrays:
        return instance_batch_norm
    if block == "backbone.layer4.0":
        logger.warning("layer4 has no IBN-a, as in FastReID of spring and summer 2020, when the checkpoint was trained")
    return batch_norm


def find_dilation(backbone: ResNeSt, arrays: Mapping[str, Array], version: str) -> str:
    """Return ``dilated`` or ``undilated``: the layer4 of the FastReID that trained the checkpoint."""
    old = any(name.startswith("backbone.NL_") or ".bn1.IN." in name for name in arrays)
    if version == "A" or (version != "C" and old):
        if backbone.last_stride == 1:
            logger.warning("layer4 is undilated, as in FastReID before 2020-12-07, when the checkpoint was trained")
        return "undilated"
    # Before 2020-12-07, a config with one of the two keys gave a checkpoint with their arrays.
    shown = version == "C" or backbone.with_nl or backbone.with_ibn
    if not shown and backbone.last_stride != 2:
        since = "is older than 2021-03-23" if version == "B" else "has no classifier"
        logger.warning(
            f"the checkpoint {since}, and its names do not show whether it was trained before 2020-12-07, without"
            " dilation in layer4: dilated is assumed; if it was, set layer4 to undilated"
        )
    return "dilated"


def warn_ignored(backbone: ResNeSt, settled: ResNeSt) -> None:
    """Log the settings of a ResNeSt that FastReID ignores since 2020-12-07."""
    for field in ("with_ibn", "with_nl", "last_stride"):
        given, taken = getattr(backbone, field), getattr(settled, field)
        if given != taken:
            logger.warning(
                f"{field.upper()} is {given}; FastReID's ResNeSt since 2020-12-07 takes it as {taken}, and so does"
                " fastrt"
            )


def _find_non_local(backbone: ResNet, arrays: Mapping[str, Array]) -> bool:
    if not backbone.distill:  # for a plain ResNet the config decides; anything else is an error
        return backbone.with_nl
    stored = any(name.startswith("backbone.NL_") for name in arrays)
    if stored and not backbone.with_nl:
        logger.warning("WITH_NL is False, but the checkpoint has non-local blocks: they are built, as in FastRT")
    if backbone.with_nl and not stored and backbone.bottleneck:
        logger.warning(
            "WITH_NL is True, but the checkpoint has no non-local blocks: none are built, as in FastReID's distill"
            " ResNet"
        )
    return stored


def _find_max_pool(backbone: ResNet, arrays: Mapping[str, Array], version: str) -> str:
    if backbone.maxpool != "auto":
        return backbone.maxpool
    if version == "A":
        logger.warning(
            "max pooling is padded by one (pad1), as in FastReID before 2020-11-06, when the checkpoint was trained"
        )
        return "pad1"
    if version == "C":
        return "ceil"
    widths = find_inner_channels(arrays)
    if version == "B" and widths and widths != {1}:  # 2020-09-10 to 2020-12-07, mostly before 2020-11-06
        logger.warning(
            "the checkpoint is from autumn 2020, and its names do not show whether max pooling was padded (until"
            " 2020-11-06): pad1 is assumed; if embeddings look wrong, set maxpool to ceil"
        )
        return "pad1"
    # One inner channel proves 2020-12-07 or later only with the neck name that exists since 2020-09-10.
    if version == "B" and not (widths and "heads.bottleneck.0.running_var" in arrays):
        logger.warning(
            "the checkpoint is older than 2021-03-23, and its names do not show whether max pooling was padded"
            " (until 2020-11-06): ceil is assumed; if it was trained before that, set maxpool to pad1"
        )
    if version == "?":
        logger.warning(
            "the checkpoint has no classifier, so its version is unknown: max pooling ceil is assumed; if it was"
            " trained before 2020-11-06, set maxpool to pad1"
        )
    return "ceil"


def _find_basic_block_se(backbone: ResNet, version: str) -> str:
    if backbone.basic_block_se != "auto":
        return backbone.basic_block_se
    if not backbone.with_se or backbone.bottleneck or backbone.distill or version == "C":
        return "applied"
    if version == "A":
        logger.warning(
            "SE layers are stored but not applied, as in FastReID before 2021-01-04, when the checkpoint was trained"
        )
        return "ignored"
    logger.warning(
        "the checkpoint's names do not show whether SE layers were applied (since 2021-01-04): they are; if it was"
        " trained before that, set basic_block_se to ignored"
    )
    return "applied"
