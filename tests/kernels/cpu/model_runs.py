"""Models run by the engine and by ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from repsr_kernels.cpu.network import Description, Model, Network

Planes = NDArray[np.float32]


def picture(colours: int = 3, height: int = 9, width: int = 13, seed: int = 3) -> NDArray[np.float32]:
    """1 x C x H x W in 0..1, levels of 8 bits."""
    levels = np.random.default_rng(seed).integers(0, 256, (1, colours, height, width))
    return levels.astype(np.float32) / np.float32(255)


def run_onnxruntime(model: onnx.ModelProto, x: NDArray[Any]) -> NDArray[Any]:
    """The only output in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0])


def read(model: onnx.ModelProto) -> Model:
    return Model(model.SerializeToString())


def upscaled(model: onnx.ModelProto, x_nchw: Planes) -> Planes:
    """1 x C x sH x sW, by the engine."""
    network = Network(read(model), "int8" if read(model).description.int8_layers else "fp32")
    colours, scale = network.description.colours, network.description.scale
    out = np.empty((colours, scale * x_nchw.shape[2], scale * x_nchw.shape[3]), np.float32)
    network.upscale_planes(x_nchw[0], out, threads=1)
    return out[None]


def assert_same(model: onnx.ModelProto, tolerance: float = 2e-6, **picture_options: int) -> Description:
    """The engine gives what ONNX Runtime gives, on a picture whose sides are odd."""
    description = read(model).description
    x_nchw = picture(description.colours, **picture_options)
    np.testing.assert_allclose(upscaled(model, x_nchw), run_onnxruntime(model, x_nchw), rtol=0, atol=tolerance)
    return description
