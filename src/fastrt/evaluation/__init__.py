"""Evaluation of embeddings with FastReID's metrics."""
