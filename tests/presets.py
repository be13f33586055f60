"""The presets that tests build."""

from __future__ import annotations

import fastrt
from fastrt.models.backbones.table import BACKBONES
from fastrt.models.presets import read_preset

EXAMPLES = ["kd-r18-r101_ibn", "kd-r34-r101_ibn", "sbs_R50", "sbs_R50-ibn", "sbs_r34_distill"]
"""The five examples of FastRT's README."""

PRESETS = [name for name in fastrt.preset_names() if read_preset(name)["MODEL.BACKBONE.NAME"] in BACKBONES]
"""The presets of families that are in the table."""
