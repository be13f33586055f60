"""Reads FastReID configs of every version as a ModelSpec: YAML, ``_BASE_``, ``KEY VALUE`` overrides, presets."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fastrt.errors import SpecError
from fastrt.models.backbones.base import GROUP, Backbone, unknown_key
from fastrt.models.backbones.table import DEFAULT, find_family
from fastrt.models.meta_architectures import META_ARCHITECTURES, TRAINING_ONLY
from fastrt.models.named import list_names
from fastrt.models.spec import ModelSpec

PRESETS = Path(__file__).parent / "presets"

MAX_BYTES = 1 << 16
"""Maximum size of a config; FastReID's own dumps have 5 kB. PyYAML reads about 100 kB a second."""

MAX_WORD = 1000
"""Maximum length of a value that is read as a number or tuple. Python cannot print integers of over 4300 digits."""

MAX_BASES = 16

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

UNUSED_HEAD_KEYS = ("CLS_LAYER", "IN_FEAT", "MARGIN", "NECK_FEAT", "NORM", "NORM_SPLIT", "NUM_CLASSES", "SCALE")
"""Keys of MODEL.HEADS without effect at inference. NECK_FEAT chooses the input of the training loss, not the output."""

GROUPS = (
    *("MODEL", "KD", "INPUT", "DATASETS", "DATALOADER", "SOLVER", "TEST"),
    *("OUTPUT_DIR", "CUDNN_BENCHMARK", "SEED", "VERSION"),
)
"""FastReID's top-level keys. Keys in them are ignored, except in MODEL.BACKBONE and MODEL.HEADS."""

BACKBONE_NAMES = (f"{GROUP}.NAME", "backbone", "backbone.name")
"""Keys for the backbone's name, of FastReID's configs, flat specs and specs."""

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


def load_spec(
    source: str | os.PathLike[str] | Mapping[str, Any] | None = None, overrides: Sequence[object] = ()
) -> ModelSpec:
    """Make a spec from a FastReID config, a preset, or a mapping.

    Args:
        source: a FastReID YAML file of any version, with ``_BASE_``; or a preset's name (see `preset_names`); or a
            mapping of FastReID's keys, nested or dotted, or of a spec's own fields; None for FastReID's defaults.
        overrides: ``[key, value, key, value, ...]``, applied last, as on FastReID's command line.

    Raises:
        SpecError: the file does not exist or is not YAML, or a key or value is not supported.

    Source: fastreid/config/config.py and defaults.py.
    """
    if source is None:
        config: dict[str, Any] = {}
    elif isinstance(source, Mapping):
        config = dict(source)
    else:
        config = _read_yaml(_find(source))
    if len(overrides) % 2:
        raise SpecError(f"overrides: {len(overrides)} words; expected pairs of key and value. Add the missing value.")
    flat = dict(_flatten(config)) | dict(zip(map(str, overrides[::2]), overrides[1::2], strict=True))
    return _to_spec({key: _decode(value) for key, value in flat.items()})


def preset_names() -> list[str]:
    """List fastrt's presets: the five examples of FastRT's README."""
    return sorted(path.stem for path in PRESETS.glob("*.yml"))


def _find(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise SpecError(f"{path}: is a folder; expected a YAML file of FastReID. Name the file in it.")
    name = str(source).removesuffix(".yml")
    if name in preset_names():
        return PRESETS / f"{name}.yml"
    raise SpecError(
        f"{path}: does not exist; expected a YAML file of FastReID or a preset ({', '.join(preset_names())}). Check the"
        " path."
    )


class _Loader(yaml.SafeLoader):
    """YAML without aliases: FastReID's configs have none, and nested aliases can grow without bound.

    PyYAML raises many types of errors for scalars with a wrong tag: `AttributeError`, `LookupError` and others.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MAX_WORD:
            raise yaml.YAMLError(f"a number of {len(node.value)} digits")
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)

YAML_ERRORS = (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError, OverflowError)


def _read_yaml(path: Path, depth: int = 0) -> dict[str, Any]:
    if depth > MAX_BASES:
        raise SpecError(
            f"{path}: _BASE_ leads to over {MAX_BASES} files; expected fewer. Check that no file is its own base."
        )
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise SpecError(
                f"{path}: {size} bytes; expected a config, up to {MAX_BYTES}. Check that it is not a checkpoint."
            )
        config = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a restricted SafeLoader
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); expected a readable file. Check it.") from error
    except UnicodeDecodeError:
        raise SpecError(f"{path}: is not text; expected a YAML file of FastReID. Name another file.") from None
    except YAML_ERRORS as error:
        found = " ".join(str(error).split())
        raise SpecError(f"{path}: is not YAML ({found}); expected a YAML file of FastReID. Correct it.") from None
    if not isinstance(config, dict):
        raise SpecError(f"{path}: no keys; expected a YAML file of FastReID. Name another file.")
    base = config.pop("_BASE_", None)
    if base is None:
        return config
    if not isinstance(base, str) or "://" in base:
        raise SpecError(f"{path}: _BASE_ is {base!r}; expected the path of a file. Correct it.")
    base_path = path.parent / os.path.expanduser(base)  # noqa: PTH111 - Path raises for an unknown user
    if not os.path.isfile(base_path):  # noqa: PTH113 - Path raises for a name that is too long
        raise SpecError(
            f"{path}: _BASE_ {base} does not exist; expected the file. Copy it too, or use the config that FastReID"
            " wrote during training."
        )
    return _merge(config, _read_yaml(base_path, depth + 1), str(path))


def _merge(above: dict[str, Any], below: dict[str, Any], where: str) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and key in below:
            if not isinstance(below[key], dict):
                raise SpecError(
                    f"{where}: {key} has keys; expected a plain value, as in its base. Correct one of them."
                )
            merged[key] = _merge(value, below[key], where)
        else:
            merged[key] = value
    return merged


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


def _to_spec(config: dict[str, object]) -> ModelSpec:
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
            _check_unused(key, family)
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


def _check_unused(key: str, family: type[Backbone]) -> None:
    """Refuse a key that may be a typing mistake; accept a key of FastReID without effect at inference."""
    group, _, leaf = key.rpartition(".")
    known = [*FIELDS, *(f"{GROUP}.{name}" for name in family.config_keys())]
    if group == "MODEL.HEADS":
        if leaf in UNUSED_HEAD_KEYS:
            return
        known = [field for field in FIELDS if field.startswith(f"{group}.")]
    elif key.split(".", maxsplit=1)[0] in GROUPS:
        return
    elif not key.isupper() and "." not in key:
        known += [*ModelSpec.model_fields, *family.model_fields]
    raise unknown_key(key, "a config", known)
