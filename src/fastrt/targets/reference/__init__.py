"""The reference: every operation in NumPy and float64. An engine file is the network as NumPy's ``.npz``.

============  ==========================================================
lowering      computes each operation in NumPy
rounding      the same, with the rounding of engines
network_file  write and read networks as ``.npz`` files
runner        a loaded network
target        build, load and describe ``.npz`` files, as a fastrt target
============  ==========================================================
"""

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
