"""Backbones: one file per family, one table row per FastReID builder."""
