"""Trains models of every family on drawn people. Needs PyTorch; not part of the package."""
