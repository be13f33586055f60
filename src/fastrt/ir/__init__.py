"""Network description: operations, tensors and a builder."""
