"""Other layers for parts of a network, to be timed by `benchmarks.tensorrt_forms`."""
