"""Calibration: which values a network's tensors take on images like those it will see, and which are worth keeping."""
