"""Trains the demonstration's model. Needs PyTorch; not part of the package."""
