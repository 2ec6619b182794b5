"""Models to other programs and back: ONNX files, which onnxruntime and many more read (extra `onnx`)."""
from .exporter import export
from .importer import load

__all__ = ["export", "load"]
