"""Reads FastReID configs of every version as a ModelSpec: YAML, ``_BASE_``, ``KEY VALUE`` overrides, presets."""

from __future__ import annotations

import ast
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from fastrt.errors import SpecError
from fastrt.models.backbones.base import GROUP, Backbone
from fastrt.models.backbones.table import BACKBONES, DEFAULT
from fastrt.models.meta_architectures import META_ARCHITECTURES, TRAINING_ONLY
from fastrt.models.named import list_names
from fastrt.models.spec import ModelSpec

MAX_BYTES = 1 << 20
"""Maximum size of a config; FastReID's own dumps have 5 kB."""

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

HARMLESS = {
    "MODEL.HEADS": "CLS_LAYER IN_FEAT MARGIN NECK_FEAT NORM NORM_SPLIT NUM_CLASSES SCALE",
}
"""Keys without effect at inference, or whose effect the weights show too.

NECK_FEAT chooses the input of the training loss, never the output.
"""

GROUPS = (
    "MODEL",
    "KD",
    "INPUT",
    "DATASETS",
    "DATALOADER",
    "SOLVER",
    "TEST",
    "OUTPUT_DIR",
    "CUDNN_BENCHMARK",
    "SEED",
    "VERSION",
)

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
"""Head names from before 2021-03-23."""


def load_spec(
    source: str | os.PathLike[str] | Mapping[str, Any] | None = None, overrides: Sequence[object] = ()
) -> ModelSpec:
    """Make a spec from a FastReID config, a preset, or a mapping.

    Args:
        source: a FastReID YAML file of any version, with ``_BASE_``; or a preset's name (see `preset_names`); or a
            mapping of FastReID's keys, nested or dotted, or of a spec's own fields; None for FastReID's defaults.
        overrides: ``[key, value, key, value, ...]``, applied last, as on FastReID's command line.

    Raises:
        SpecError: the file does not exist or is not YAML, or a key or value is unknown to fastrt.

    Source: fastreid/config/config.py and defaults.py.
    """
    if source is None:
        config: dict[str, Any] = {}
    elif isinstance(source, Mapping):
        config = dict(source)
    else:
        config = _read_yaml(_find(source))
    if len(overrides) % 2:
        raise SpecError(f"overrides come in pairs of key and value, found {len(overrides)} words; a value is missing")
    flat = dict(_flatten(config))
    for key, value in zip(overrides[::2], overrides[1::2], strict=True):
        flat[str(key)] = value
    return _to_spec({key: _decode(value) for key, value in flat.items()})


def preset_names() -> list[str]:
    """List fastrt's presets: the five examples of FastRT's README."""
    folder = resources.files("fastrt.models") / "presets"
    return sorted(entry.name.removesuffix(".yml") for entry in folder.iterdir() if entry.name.endswith(".yml"))


def _find(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise SpecError(
            f"{path} is a folder; name a config file, such as FastReID's configs/Market1501/sbs_R50-ibn.yml"
        )
    name = str(source).removesuffix(".yml")
    if name in preset_names():
        return Path(str(resources.files("fastrt.models") / "presets" / f"{name}.yml"))
    raise SpecError(
        f"there is no config file {path}, and no preset of that name; presets are {', '.join(preset_names())}"
    )


class _Loader(yaml.SafeLoader):
    """YAML without aliases: FastReID's configs have none, and nested aliases can grow without bound."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def _read_yaml(path: Path, depth: int = 0) -> dict[str, Any]:
    if depth > MAX_BASES:
        raise SpecError(f"{path}: _BASE_ goes more than {MAX_BASES} files deep; does a file name itself as its base?")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SpecError(f"{path} is {path.stat().st_size} bytes long; no config is: is it a checkpoint?")
        config = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a restricted SafeLoader
    except OSError as error:
        raise SpecError(f"cannot read config {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SpecError(f"{path} is not text, so no config; a YAML file of FastReID is wanted") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SpecError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise SpecError(f"{path} holds no keys; a YAML file of FastReID is wanted")
    base = config.pop("_BASE_", None)
    if base is None:
        return config
    if not isinstance(base, str) or "://" in base:
        raise SpecError(f"{path}: _BASE_ is {base!r}; the path of a file is wanted")
    base_path = path.parent / Path(base).expanduser()
    if not base_path.is_file():
        raise SpecError(
            f"{path}: its _BASE_ {base} is not there; copy it along, or give the config that FastReID wrote on training"
        )
    return _merge(config, _read_yaml(base_path, depth + 1), str(path))


def _merge(above: dict[str, Any], below: dict[str, Any], where: str) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and key in below:
            if not isinstance(below[key], dict):
                raise SpecError(f"{where}: {key} has keys of its own here but is a plain value in the base")
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
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return {"true": True, "false": False}.get(value.lower(), value)


def _to_spec(config: dict[str, object]) -> ModelSpec:
    meta = config.get("MODEL.META_ARCHITECTURE", "Baseline")
    known = [*META_ARCHITECTURES, *TRAINING_ONLY]
    if meta not in known:
        raise SpecError(f"MODEL.META_ARCHITECTURE is {meta!r}; fastrt builds {', '.join(known)}")
    if config.get("INPUT.CROP.ENABLED"):
        raise SpecError(
            "INPUT.CROP.ENABLED is True; fastrt resizes to INPUT.SIZE_TEST without a centre crop: crop the images, then"
            " set it False"
        )
    if config.get("MODEL.HEADS.NORM", "BN") == "GN":
        raise SpecError("MODEL.HEADS.NORM is 'GN'; fastrt knows BN, syncBN, GhostBN and FrozenBN")
    family, backbone = _read_backbone(config)
    values: dict[str, object] = {"backbone": backbone}
    for key, value in config.items():
        if key == "MODEL.META_ARCHITECTURE":
            values["meta_architecture"] = TRAINING_ONLY.get(str(value), value)
        elif key in FIELDS:
            values[FIELDS[key]] = value
        elif key == "backbone" or _is_setting(key, family):
            pass  # read above
        elif key in ModelSpec.model_fields:
            values[key] = value
        else:
            _check_harmless(key, family)
    pool = values.get("pool_layer")
    if isinstance(pool, str):
        values["pool_layer"] = OLD_POOLS.get(pool, pool)
    head = values.get("head")
    if head in OLD_HEADS:
        values = _old_head(str(head), values, pool)
    return ModelSpec(**values)


def _read_backbone(config: Mapping[str, object]) -> tuple[type[Backbone], dict[str, object]]:
    """Read the backbone's family and settings; if two keys set the same field, the later one wins."""
    names = [config[key] for key in config if key in ("MODEL.BACKBONE.NAME", "backbone", "backbone.name")]
    name = names[-1] if names else DEFAULT
    if not isinstance(name, str) or name not in BACKBONES:
        raise SpecError(f"spec: backbone is {name!r}, but must be {list_names(BACKBONES)}")
    family = BACKBONES[name]
    settings: dict[str, object] = {}
    for key, value in config.items():
        if key.startswith(f"{GROUP}."):
            settings |= family.read_key(key.removeprefix(f"{GROUP}."), value)
        elif key != "backbone" and _is_setting(key, family):
            settings[key.removeprefix("backbone.")] = value
    return family, {**settings, "name": name}


def _is_setting(key: str, family: type[Backbone]) -> bool:
    """True if a key sets a backbone's field: FastReID's, ``backbone.depth``, or ``depth`` as in flat specs."""
    return key.startswith((f"{GROUP}.", "backbone.")) or (key in family.model_fields and key != "name")


OLD_HEADS = ("BNneckHead", "ReductionHead", "LinearHead")


def _old_head(head: str, values: dict[str, object], pool: object) -> dict[str, object]:
    """Translate an old head's name, and the keys whose meaning has changed.

    Source: fastreid/modeling/heads and meta_arch/baseline.py at v0.1.1.
    """
    if pool == "gempool":  # its exponent was learned until 2020-09-10
        values["pool_layer"] = "GeneralizedMeanPoolingP"
    if head == "ReductionHead":
        return {"embedding_dim": 512, **values, "with_bnneck": True}
    return {**values, "embedding_dim": 0, "with_bnneck": head == "BNneckHead"}  # REDUCTION_DIM had an unused default


def _check_harmless(key: str, family: type[Backbone]) -> None:
    """Refuse a key unknown to FastReID if it may be a typing mistake that changes the embeddings."""
    group, _, leaf = key.rpartition(".")
    keys = [*FIELDS, *(f"{GROUP}.{name}" for name in family.config_keys())]
    if group in HARMLESS and leaf not in HARMLESS[group].split():
        known = [field for field in FIELDS if field.rpartition(".")[0] == group]
    elif key.split(".", maxsplit=1)[0] in GROUPS:
        return
    elif not key.isupper() and "." not in key:
        known = [*keys, *ModelSpec.model_fields, *family.model_fields]
    else:
        known = keys
    near = difflib.get_close_matches(key, known, 1, 0.5)
    raise SpecError(
        f"{key} is not a key of a config; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")
    )
