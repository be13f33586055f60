"""How fast engines are, and whatever else runs a network: each in its own process, all in turn."""
