"""Calibration for int8, and the evaluation of int8 engines."""
