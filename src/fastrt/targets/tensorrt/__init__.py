"""TensorRT: networks built layer by layer, with no parser; plain plans; inference through CUDA graphs.

========  =============================================================================================
dialect   which TensorRT is installed, and what it can do; the only file that imports one
messages  what TensorRT says while it works, and how that becomes an error
lowering  each operation as layers of an `INetworkDefinition`
plan      build a plan; read what a plan says of itself
cuda      the CUDA runtime; the only file that imports cuda-bindings
lane      a stream with its buffers and captured graphs
runner    a loaded plan: picks profiles, pads batches, keeps lanes busy
target    all of it as a fastrt target
========  =============================================================================================
"""
