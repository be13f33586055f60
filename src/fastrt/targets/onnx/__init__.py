"""ONNX target: plain files for other tools, run by onnxruntime. No other package imports onnx and onnxruntime."""
