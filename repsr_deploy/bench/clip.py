"""A clip to measure on, without a file: a camera moves over a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from repsr_deploy.bench.pictures import photograph_like

RATE = 24
STEP = 3
"""Pixels that the camera moves from frame to frame."""


def write_clip(target: Path, *, width: int, height: int, frames: int) -> None:
    """H.264 in 8 bits 4:2:0, BT.709, high quality."""
    scene_hwc = photograph_like(height + STEP * frames, width + STEP * frames)
    with av.open(str(target), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.colorspace, stream.color_range = 1, 1  # BT.709, limited
        for index in range(frames):
            start = STEP * index
            view = np.ascontiguousarray(scene_hwc[start : start + height, start : start + width])
            frame: Any = av.VideoFrame.from_ndarray(view, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)))
        container.mux(stream.encode())
