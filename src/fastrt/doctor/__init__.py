"""Examines the host: its CPU and memory, its runtimes, and what each target can compute with them."""
