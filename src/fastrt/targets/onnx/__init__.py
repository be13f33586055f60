"""ONNX: plain files for the tools of others; onnxruntime runs them.

========  ==========================================================
lowering  each operation as ONNX nodes
runner    a loaded file: an onnxruntime session
target    build, load and describe files, as a fastrt target
========  ==========================================================

No other package imports onnx and onnxruntime.
"""
