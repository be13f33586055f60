"""TensorRT: networks built layer by layer, with no parser; plain plans; inference through CUDA graphs.

==============  ==================================================================================
capabilities    the installed TensorRT and its API capabilities; the only file that imports one
messages        TensorRT's log messages, and the errors made of them
layers          adds layers to an `INetworkDefinition` and sets their types
lowering        each operation as such layers
plan            build a plan; read its description
inspection      the layers of a plan
cuda            the CUDA runtime; the only file that imports cuda-bindings
device_array    arrays in GPU memory, of other libraries and of this one
execution_slot  a stream with its buffers and captured graphs
runner          a loaded plan: picks profiles, pads batches, keeps execution slots busy
profiler        times layers
target          all of it as a fastrt target
==============  ==================================================================================
"""
