"""ONNX target: plain files for other tools, run by onnxruntime.

========  ==========================================================
lowering  lowers each operation to ONNX nodes
runner    a loaded file: an onnxruntime session
target    build, load and describe files, as a fastrt target
========  ==========================================================

No other package imports onnx and onnxruntime.
"""
