"""Interleaved benchmarks of engines and other runtimes: one process per candidate, alternating rounds."""
