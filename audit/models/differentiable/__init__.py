"""Gradients of ONNX files: an interpreter of the graph in torch, trusted only where onnxruntime agrees with it."""
