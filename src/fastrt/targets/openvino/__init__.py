"""OpenVINO target, the default, for any CPU. An engine file is an IR: ``.xml`` with ``.bin`` in the same folder.

No other package imports openvino.
"""
