"""What a tile takes in memory."""

from __future__ import annotations

import math

from repsr_deploy.model_info import ModelInfo

BUDGET_BYTES = 384 * 2**20
"""Memory that one tile may take when nothing else is asked for."""
UNKNOWN_WIDTH = 64
"""Width taken for a model that does not state its own."""
NCHWC_BLOCK = 16
"""ONNX Runtime holds feature maps in blocks of 16 channels (AVX-512) or 8."""


def bytes_per_pixel(info: ModelInfo, *, in_rows: bool = False) -> int:
    """Upper estimate of the memory that a tile takes per LR pixel in any runtime, its conversions included.

    Args:
        in_rows: of a runtime that keeps a few rows of each feature map (`runtimes.base.RowByRow`): only input and
            output grow with a tile.

    ONNX Runtime holds three feature maps at a time, or up to four copies of what the tail gives. OpenVINO holds two
    feature maps and four copies of that, or six copies; less in bf16, int8, and from 8-bit images to such. Growth of
    resident memory measured for one run of 700 x 700 pixels in fp32 (in brackets, the estimate without conversions),
    bytes per pixel, ONNX Runtime and OpenVINO:

        M4C16   x2 201, 319 (352)   x3 469, 647 (713)   x4 802, 1147 (1268)   x2 of luma 201, 192 (282)
        M4C32   x2 401, 448 (493)
        M2C64   x1 802, 559 (845)   x4 802, 1275 (1409)

    On a GPU, of which this has not been measured yet, three frames are under way, each with its picture, the network's
    input and its features, and share the scratch memory of one engine: by count half to nine tenths of the estimate.
    """
    colours = 3 if info.colour == "rgb" else 1
    width, tail = info.width or UNKNOWN_WIDTH, colours * info.scale**2
    onnxruntime = max(12 * _blocked(width), 16 * _blocked(tail))
    openvino = max(8 * width + 16 * tail, 24 * tail)
    conversions = 12 * (colours + tail)  # a tile is stored while the next one runs
    if in_rows:
        return conversions
    return math.ceil(1.1 * max(onnxruntime, openvino) + conversions)


def _blocked(channels: int) -> int:
    return math.ceil(channels / NCHWC_BLOCK) * NCHWC_BLOCK
