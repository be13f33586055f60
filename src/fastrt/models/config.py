"""Reads FastReID configs of every version as a ModelSpec: YAML, ``_BASE_``, ``KEY VALUE`` overrides, presets."""

from __future__ import annotations

import ast
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastrt.errors import SpecError
from fastrt.models.backbones.base import GROUP, Backbone, unknown_key
from fastrt.models.backbones.table import DEFAULT, find_family
from fastrt.models.meta_architectures.table import META_ARCHITECTURES, TRAINING_ONLY
from fastrt.models.named import list_names
from fastrt.models.presets import preset_names, read_preset
from fastrt.models.spec import ModelSpec
from fastrt.models.unread_keys import is_unread
from fastrt.models.yaml_file import MAX_WORD, read_yaml
from fastrt.signatures import checked

logger = logging.getLogger("fastrt")

FIELDS = {
    "MODEL.HEADS.NAME": "head",
    "MODEL.HEADS.POOL_LAYER": "pool_layer",
    "MODEL.HEADS.EMBEDDING_DIM": "embedding_dim",
    "MODEL.HEADS.REDUCTION_DIM": "embedding_dim",  # until 2020-09-10
    "MODEL.HEADS.WITH_BNNECK": "with_bnneck",
    "MODEL.PIXEL_MEAN": "pixel_mean",
    "MODEL.PIXEL_STD": "pixel_std",
    "INPUT.SIZE_TEST": "image_size",
}
"""FastReID's keys and the spec's fields; the keys of MODEL.BACKBONE are in the backbone's class."""

CHECKED = ("MODEL.META_ARCHITECTURE", "MODEL.HEADS.NORM", "INPUT.CROP.ENABLED")
"""Keys that have no field, but values that fastrt refuses."""

BACKBONE_NAMES = (f"{GROUP}.NAME", "backbone", "backbone.name", "torchreid.model")
"""Keys for the backbone's name, of FastReID's configs, flat specs and specs; and for torchreid's name of a model."""

OLD_POOLS = {
    "identity": "Identity",
    "flatten": "Flatten",
    "avgpool": "GlobalAvgPool",
    "fastavgpool": "FastGlobalAvgPool",
    "maxpool": "GlobalMaxPool",
    "gempool": "GeneralizedMeanPooling",
    "gempoolP": "GeneralizedMeanPoolingP",
    "avgmaxpool": "AdaptiveAvgMaxPool",
    "clipavgpool": "ClipGlobalAvgPool",
}
"""Pooling names from before 2021-03-23, and the current ones."""

OLD_HEADS = ("BNneckHead", "ReductionHead", "LinearHead")
"""Heads from before 2020-09-10."""


@checked(SpecError)
def load_spec(
    source: str | os.PathLike[str] | Mapping[str, Any] | None = None, overrides: Sequence[object] = ()
) -> ModelSpec:
    """Make a spec from a FastReID config, a preset, or a mapping.

    Args:
        source: a FastReID YAML file of any version, with ``_BASE_``; or a preset's name (see `preset_names`); or a
            mapping of FastReID's keys, nested or dotted, or of a spec's own fields; None for FastReID's defaults.
            Keys that FastReID does not have, such as a project's own, are ignored and logged as warnings, unless they
            resemble a key that is read.
        overrides: ``[key, value, key, value, ...]``, applied last, as on FastReID's command line.

    Raises:
        SpecError: the file does not exist or is not YAML, a key or value is not supported, a key resembles one that is
            read, or FastReID does not have the key of an override.

    Source: fastreid/config/config.py and defaults.py.
    """
    if source is None:
        config: dict[str, Any] = {}
    elif isinstance(source, Mapping):
        config = dict(source)
    else:
        config = _read(source)
    if len(overrides) % 2:
        raise SpecError(f"overrides: {len(overrides)} words; expected pairs of key and value. Add the missing value.")
    flat = dict(_flatten(config))
    given = list(map(str, overrides[::2]))
    for key, value in zip(given, overrides[1::2], strict=True):
        flat.pop(key, None)  # so that the last override comes last, also if another key sets the same field
        flat[key] = value
    return _to_spec({key: _decode(value) for key, value in flat.items()}, given)


def _read(source: str | os.PathLike[str]) -> dict[str, Any]:
    path = Path(source)
    if os.path.isfile(path):  # noqa: PTH113 (takes names that are too long for a file)
        return read_yaml(path)
    if os.path.isdir(path):  # noqa: PTH112
        raise SpecError(f"{path}: is a folder; expected a YAML file of FastReID. Name the file in it.")
    name = path.as_posix().removesuffix(".yml")
    if name in preset_names():
        return read_preset(name)
    raise SpecError(
        f"{path}: does not exist; expected a YAML file of FastReID or a preset ({', '.join(preset_names())}). Check the"
        " path."
    )


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _decode(value: object) -> object:
    """Parse a string as a Python literal; return other values unchanged.

    Source: yacs.config.CfgNode._decode_cfg_value: tuples in YAML and all command-line values are such strings.
    """
    if not isinstance(value, str) or len(value) > MAX_WORD:
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return {"true": True, "false": False}.get(value.lower(), value)


def _to_spec(config: dict[str, object], overrides: Collection[str]) -> ModelSpec:
    meta = config.get("MODEL.META_ARCHITECTURE", "Baseline")
    known = [*META_ARCHITECTURES, *TRAINING_ONLY]
    if meta not in known:
        raise SpecError(f"MODEL.META_ARCHITECTURE: {meta!r}; expected {list_names(known)}. Use a supported model.")
    if config.get("INPUT.CROP.ENABLED"):
        raise SpecError(
            "INPUT.CROP.ENABLED: True; expected False, as images are resized to INPUT.SIZE_TEST without a centre crop."
            " Crop the images, and set it False."
        )
    if config.get("MODEL.HEADS.NORM", "BN") == "GN":
        raise SpecError("MODEL.HEADS.NORM: 'GN'; expected BN, syncBN, GhostBN or FrozenBN. Use a supported model.")
    names = [value for key, value in config.items() if key in BACKBONE_NAMES]
    family = find_family(names[-1] if names else DEFAULT)
    backbone: dict[str, object] = {}
    values: dict[str, object] = {"backbone": backbone}
    for key, value in config.items():  # if two keys set the same field, the later one wins
        if key in BACKBONE_NAMES:
            backbone["name"] = value
        elif key.startswith(f"{GROUP}."):
            backbone |= family.read_key(key.removeprefix(f"{GROUP}."), value)
        elif key.startswith("backbone.") or (key in family.model_fields and key != "name"):
            backbone[key.removeprefix("backbone.")] = value
        elif key == "MODEL.META_ARCHITECTURE":
            values["meta_architecture"] = TRAINING_ONLY.get(str(value), value)
        elif key in FIELDS:
            values[FIELDS[key]] = value
        elif key in ModelSpec.model_fields:
            values[key] = value
        else:
            _check_unread(key, value, family, strict=key in overrides)
    pool = values.get("pool_layer")
    if isinstance(pool, str):
        values["pool_layer"] = OLD_POOLS.get(pool, pool)
    if values.get("head") in OLD_HEADS:
        values = _translate_old_head(values, pool)
    return ModelSpec(**values)


def _translate_old_head(values: dict[str, object], pool: object) -> dict[str, object]:
    """Translate the keys that had another meaning together with `OLD_HEADS`.

    Source: fastreid/modeling/heads and meta_arch/baseline.py at v0.1.1.
    """
    if pool == "gempool":  # its exponent was learned until 2020-09-10
        values["pool_layer"] = "GeneralizedMeanPoolingP"
    if values["head"] == "ReductionHead":
        return {"embedding_dim": 512, **values, "with_bnneck": True}
    # These heads ignore REDUCTION_DIM.
    return {**values, "embedding_dim": 0, "with_bnneck": values["head"] == "BNneckHead"}


def _check_unread(key: str, value: object, family: type[Backbone], *, strict: bool) -> None:
    """Refuse a key that may be a typing mistake; log one that FastReID does not have; see `is_unread`."""
    read = [*FIELDS, *CHECKED, *(f"{GROUP}.{name}" for name in family.config_keys())]
    own = [*ModelSpec.model_fields, *family.model_fields]
    if not key.isupper() and "." not in key:
        raise unknown_key(key, "a config", [*read, *own])
    if not is_unread(key, value, [*read, *own, *(f"backbone.{name}" for name in family.model_fields)], strict=strict):
        logger.warning(f"{key}: not a key of FastReID's config; it is ignored")
