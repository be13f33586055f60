"""Random weights for tests and benchmarks."""
