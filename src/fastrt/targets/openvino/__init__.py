"""OpenVINO target, the default, for any CPU. An engine file is an IR: ``.xml`` with ``.bin`` in the same folder.

========  ==========================================================
lowering  lowers each operation to openvino nodes
runner    a loaded IR: a compiled model and its inference requests
target    build, load and describe IRs, as a fastrt target
========  ==========================================================

No other package imports openvino.
"""
