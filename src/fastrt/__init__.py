"""fastrt: deploy person re-identification networks."""

__version__ = "0.1.0"
