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


def bytes_per_pixel(info: ModelInfo) -> int:
    """Upper estimate of the memory that a tile takes per LR pixel, its conversions included.

    ONNX Runtime holds three feature maps at a time, or up to four copies of what the tail gives. Growth of resident
    memory measured for one run of 700 x 700 pixels (in brackets, the estimate without conversions), bytes per pixel:

        M4C16   x2 176 (282)   x3 465 (563)   x4 778 (845)   x2 of luma 192 (282)
        M4C32   x2 377 (423)
        M4C64   x1 778 (845)   x4 778 (845)
    """
    colours = 3 if info.colour == "rgb" else 1
    tail = colours * info.scale**2
    network = 1.1 * max(12 * _blocked(info.width or UNKNOWN_WIDTH), 16 * _blocked(tail))
    conversions = 12 * (colours + tail)  # a tile is stored while the next one runs
    return math.ceil(network + conversions)


def _blocked(channels: int) -> int:
    return math.ceil(channels / NCHWC_BLOCK) * NCHWC_BLOCK
