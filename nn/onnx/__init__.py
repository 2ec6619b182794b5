"""Models to other programs: ONNX files, read by onnxruntime and many more (extra `onnx`)."""
from .exporter import export

__all__ = ["export"]
