"""Evaluation: FastReID's own measures of how well embeddings find people."""
