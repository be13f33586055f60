"""The description of a network: operations, tensors, a builder."""
