"""Reads millions of damaged and hostile files with fastrt: ``make fuzz``.

For each input below 1 MB there is no exception but `FastrtError`, no hang over 5 s, and no memory over 1 GB.
"""
