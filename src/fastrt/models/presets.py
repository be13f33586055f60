"""Presets: the configs of FastReID's model zoo and of FastRT's examples, by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fastrt.models.yaml_file import parse_yaml

PRESETS = Path(__file__).with_name("presets.yml")


def preset_names() -> list[str]:
    """List fastrt's presets: FastReID's model zoo, by the names of its configs, and the five examples of FastRT."""
    return sorted(_read())


def read_preset(name: str) -> dict[str, Any]:
    """Return the keys of a preset, over those of its base: ``{"MODEL.BACKBONE.DEPTH": "50x", ...}``."""
    own = dict(_read()[name])
    base = own.pop("_BASE_", None)
    return {**read_preset(base), **own} if base else own


@cache
def _read() -> dict[str, dict[str, Any]]:
    return parse_yaml(PRESETS.read_text(encoding="utf-8"), PRESETS.name)
