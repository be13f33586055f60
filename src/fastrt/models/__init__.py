"""The models: network topologies, written with the builder."""
