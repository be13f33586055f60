"""Backbones: one family a file, one row in the table."""
