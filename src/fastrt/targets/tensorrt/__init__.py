"""TensorRT target: networks built layer by layer, without a parser; plain plans; inference through CUDA graphs.

==============  ==================================================================================
capabilities    the installed TensorRT and its API capabilities; the only file that imports one
messages        TensorRT's log messages, and the errors made from them
layers          adds layers to an `INetworkDefinition` and sets their types
lowering        lowers each operation to such layers
plan            build a plan; read its description
inspection      the layers of a plan
cuda            the CUDA runtime; the only file that imports cuda-bindings
device_array    arrays in GPU memory, from other libraries and from fastrt
execution_slot  a stream with its buffers and captured graphs
runner          a loaded plan: selects profiles, pads batches, keeps execution slots busy
profiler        times layers
target          build, load and describe plans, as a fastrt target
==============  ==================================================================================
"""
