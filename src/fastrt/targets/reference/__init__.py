"""The reference: every operation in NumPy and float64. An engine file is the network as NumPy's ``.npz``."""

from fastrt.targets.reference.lowering import Reference, run_reference, trace_reference
from fastrt.targets.reference.rounding import DrawnReference, HalfSumsReference, RoundingReference, round_weights

__all__ = [
    "DrawnReference",
    "HalfSumsReference",
    "Reference",
    "RoundingReference",
    "round_weights",
    "run_reference",
    "trace_reference",
]
