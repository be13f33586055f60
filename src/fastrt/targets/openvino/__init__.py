"""OpenVINO: the default target, on any CPU. An engine file is an IR, ``.xml`` with its ``.bin`` beside it.

========  ==========================================================
lowering  each operation as openvino nodes
runner    a loaded IR: a compiled model and its inference requests
target    build, load and describe IRs, as a fastrt target
========  ==========================================================

No other package imports openvino.
"""
