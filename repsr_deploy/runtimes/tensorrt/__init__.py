"""TensorRT 10, TensorRT 11 and TensorRT for RTX: engines built from models, cached, and executed.

`build.build_engine` writes an engine file, `cache.cached_engine` one in the user's cache folder, and `open_tensorrt`
runs either. TensorRT, PyCUDA and onnx are imported when they are used.
"""

from __future__ import annotations

from repsr_deploy.runtimes.tensorrt.engine import open_tensorrt, why_unavailable
from repsr_deploy.runtimes.tensorrt.options import BuildOptions, Flavour
from repsr_deploy.runtimes.tensorrt.shapes import Shape, Shapes

__all__ = ["BuildOptions", "Flavour", "Shape", "Shapes", "open_tensorrt", "why_unavailable"]
