"""The presets that tests of a network's numbers build."""

from __future__ import annotations

EXAMPLES = ["kd-r18-r101_ibn", "kd-r34-r101_ibn", "sbs_R50", "sbs_R50-ibn", "sbs_r34_distill"]
"""The five examples of FastRT's README."""
