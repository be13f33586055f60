"""Recognises the checkpoint version of FastReID by its names, and converts it to current names and architecture.

Differences of a backbone or a meta-architecture between versions are in its file.

========  =========================  ==================  =====================================  ====================
version   dates                      batch norm neck     max pooling                            SE of depth 18, 34
========  =========================  ==================  =====================================  ====================
A         until 2020-09-10           heads.bnneck        padded by one                          stored, not applied
B         until 2021-03-23           heads.bottleneck.0  padded; since 2020-11-06 rounded up    since 2021-01-04
C         since                      heads.bottleneck.0  rounded up                             applied
========  =========================  ==================  =====================================  ====================

Source: FastReID's history: 4d573b8, 42cadae, c9824be, a327a70, c49414b, 883fd4a.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

import numpy as np

from fastrt.arrays import Array
from fastrt.errors import WeightsError
from fastrt.models.meta_architectures.table import META_ARCHITECTURES
from fastrt.models.spec import ModelSpec

logger = logging.getLogger("fastrt")

UNUSED = re.compile(
    r"(heads|b\d{1,2}_head)\.(weight|classifier\..+)|classifier\.(weight|bias)"  # FastReID's or torchreid's classifier
    r"|.+\.num_batches_tracked|pixel_(mean|std)"  # training counters; values that the config has too
    r"|memory\..+|connectors_\d+\..+|margin\d+_\d+"  # MoCo's queue; overhaul distillation's adapters
)


def is_unused(name: str) -> bool:
    """True if an array in a checkpoint is not part of the network at inference."""
    return UNUSED.fullmatch(name) is not None


def recognise_version(spec: ModelSpec, names: Mapping[str, Array]) -> str:
    """Return the checkpoint version ``A``, ``B`` or ``C``; ``?`` if neither names nor config show it."""
    names = META_ARCHITECTURES[spec.meta_architecture].view(names)
    if any(name.startswith("heads.bnneck.") for name in names):
        return "A"  # a leftover of a renaming counts too: the weights were trained in that version
    if "heads.weight" in names:
        return "C"
    if spec.head not in ("EmbeddingHead", "TorchreidHead"):
        return "A"
    if any(name.startswith("heads.classifier.") for name in names) or "pixel_mean" in names:
        return "B"
    return "?"


def migrate(spec: ModelSpec, arrays: Mapping[str, Array]) -> tuple[ModelSpec, dict[str, Array]]:
    """Infer the spec's open settings from a checkpoint, and rename its arrays to current names; log each decision.

    Raises:
        WeightsError: an array that decides a setting has the wrong shape.
    """
    meta = META_ARCHITECTURES[spec.meta_architecture]
    view = meta.view(arrays)
    head = meta.find_head(arrays) or _find_head(spec, view)
    values = head | _find_pool(spec, view) | _find_pixels(spec, arrays)
    values["backbone"], renamed = meta.migrate(spec.backbone, arrays, recognise_version(spec, arrays))
    if head.get("head") == "EmbeddingHead" and "heads.bnneck.weight" in view:
        logger.warning("the checkpoint is older than 2020-09-10: heads.bnneck is read as heads.bottleneck.0")
        for name in meta.heads:
            old, new = f"{name}.bnneck.", f"{name}.bottleneck.0."
            renamed = {key.replace(old, new): array for key, array in renamed.items()}
    return spec.replace(**values), dict(renamed)


def _find_head(spec: ModelSpec, arrays: Mapping[str, Array]) -> dict[str, object]:
    if spec.head == "TorchreidHead":
        return {}
    if "heads.bnneck.weight" in arrays and "heads.bottleneck.0.weight" in arrays:
        logger.warning(
            "the checkpoint has the ReductionHead from before 2020-08-20: convolution, norm, leaky ReLU, norm"
        )
        return {"head": "ReductionHead", "with_bnneck": True}
    with_bnneck = spec.with_bnneck
    if with_bnneck is None:
        neck = f"heads.bottleneck.{1 if spec.embedding_dim else 0}."
        stored = ("running_mean", "running_var", "bias")
        with_bnneck = "heads.bnneck.weight" in arrays or any(neck + leaf in arrays for leaf in stored)
        logger.warning(
            f"WITH_BNNECK is not in the config; the checkpoint {'has' if with_bnneck else 'lacks'} the batch norm,"
            f" so it is {with_bnneck}"
        )
    return {"head": "EmbeddingHead", "with_bnneck": with_bnneck}


def _find_pool(spec: ModelSpec, arrays: Mapping[str, Array]) -> dict[str, object]:
    learned = "GeneralizedMeanPoolingP"
    if "heads.pool_layer.p" not in arrays or spec.pool_layer == learned:
        return {}
    logger.warning(
        f"the checkpoint has a learned exponent, heads.pool_layer.p: pool_layer is {learned} instead of the config's"
        f" {spec.pool_layer}"
    )
    return {"pool_layer": learned}


def _find_pixels(spec: ModelSpec, arrays: Mapping[str, Array]) -> dict[str, object]:
    """Read mean and std from an old checkpoint; FastReID of that version loaded them over the config's."""
    values: dict[str, object] = {}
    for name in sorted({"pixel_mean", "pixel_std"} & arrays.keys()):
        stored = np.asarray(arrays[name], np.float64).ravel()
        if stored.size != 3:
            raise WeightsError(f"{name}: shape {arrays[name].shape}; expected 3 numbers. Check the checkpoint.")
        if not np.allclose(stored, getattr(spec, name), rtol=1e-5):
            values[name] = tuple(float(value) for value in stored)
            logger.warning(
                f"{name} is {values[name]} in the checkpoint and {getattr(spec, name)} in the config;"
                " the checkpoint's is used"
            )
    return values
