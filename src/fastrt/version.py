"""The version of fastrt."""

__version__ = "0.1.0"
