"""Whole frames through a network on a GPU: upload, preprocessing, network, fused upsampling, download, overlapping.

`GpuPipeline` drives a `DeviceNetwork`: a PyTorch module (`pytorch.TorchNetwork`), a session of ONNX Runtime
(`onnxruntime.OrtNetwork`), or an engine of TensorRT (`repsr_deploy.runtimes.tensorrt.device.EngineNetwork`).

Not yet measured on a GPU.
"""

from __future__ import annotations

from repsr_kernels.gpu.pipeline.frames import Frame, FrameFormat, PictureFormat, VideoFormat, VideoPlanes
from repsr_kernels.gpu.pipeline.networks import DeviceNetwork, NetworkLane
from repsr_kernels.gpu.pipeline.pipeline import GpuPipeline
from repsr_kernels.gpu.pipeline.stages import StageTimes
from repsr_kernels.gpu.pipeline.ticket import NonFiniteError, Ticket
from repsr_kernels.gpu.pipeline.tiles import Tile

__all__ = [
    "DeviceNetwork", "Frame", "FrameFormat", "GpuPipeline", "NetworkLane", "NonFiniteError", "PictureFormat",
    "StageTimes", "Ticket", "Tile", "VideoFormat", "VideoPlanes",
]  # fmt: skip
