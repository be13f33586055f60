"""The whole way on this machine, with a model that was trained on drawn people; it lies here, beside its card."""
