"""The targets: one package per runtime, and one table of all targets."""
