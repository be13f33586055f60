"""The targets: one package for each runtime, one table of them all."""
