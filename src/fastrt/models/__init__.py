"""The models: topologies written against the builder."""
