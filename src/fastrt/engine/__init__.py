"""Engine files: build, load, verify."""
