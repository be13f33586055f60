"""The reference: every operation in NumPy and in float64. An engine file is NumPy's ``.npz`` of the network.

============  ==========================================================
lowering      each operation in NumPy
rounding      the same, rounded as engines round
network_file  write and read networks as ``.npz`` files
runner        a loaded network
target        build, load and describe ``.npz`` files, as a fastrt target
============  ==========================================================
"""

from fastrt.targets.reference.lowering import Reference, run_reference, trace_reference
from fastrt.targets.reference.rounding import (
    HALVES,
    SUMMED,
    DrawnReference,
    HalfSumsReference,
    RoundingReference,
    round_weights,
)

__all__ = [
    "HALVES",
    "SUMMED",
    "DrawnReference",
    "HalfSumsReference",
    "Reference",
    "RoundingReference",
    "round_weights",
    "run_reference",
    "trace_reference",
]
