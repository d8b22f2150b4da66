"""What counts as moved, and the copy that it is compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from repsr_deploy.bench.kernels.bandwidth import ProcessorCopy, useful_bytes
from repsr_deploy.bench.kernels.device_cases import COLOUR, noise_frame
from repsr_kernels.operations import Crop, FusedUpsample, Preprocess
from repsr_kernels.tensors import on_host
from repsr_kernels.yuv import YuvFrame


def upsampling() -> FusedUpsample:
    """Two images of 5 x 7 pixels in three colours, three times as large, written into a wider picture."""
    return FusedUpsample(
        features=on_host(np.zeros((2, 27, 5, 7), np.float16), "nchw"),
        image=on_host(np.zeros((2, 5, 7, 3), np.uint8), "nhwc"),
        out=on_host(np.zeros((2, 15, 64, 3), np.uint8)[:, :, :21], "nhwc"),
        scale=3,
        skip="nearest",
    )


def test_every_byte_counts_once() -> None:
    pixels = 2 * 5 * 7
    assert useful_bytes(upsampling()) == pixels * (27 * 2 + 3 + 9 * 3)
    without = replace(upsampling(), image=None, skip="none")
    assert useful_bytes(without) == pixels * (27 * 2 + 9 * 3)


def test_of_a_crop_nothing_else_counts() -> None:
    whole = upsampling()
    crop = Crop(top=1, left=2, rows=2, columns=3)
    part = replace(whole, crop=crop, out=on_host(np.zeros((2, 6, 9, 3), np.uint8), "nhwc"))
    assert useful_bytes(part) == 2 * 2 * 3 * (27 * 2 + 3 + 9 * 3)


def test_video_frames_have_two_planes() -> None:
    luma, chroma = np.zeros((1, 10, 14), np.uint16), np.zeros((5, 7, 2), np.uint16)
    frame = YuvFrame(on_host(luma, "nchw"), on_host(chroma, "nhwc"), colour=COLOUR)
    operation = FusedUpsample(features=on_host(np.zeros((12, 5, 7), np.float32), "nchw"), out=frame, scale=2)
    assert useful_bytes(operation) == 5 * 7 * 12 * 4 + 2 * (10 * 14 + 5 * 7 * 2)
    prepared = Preprocess(source=noise_frame(5, 7), out=on_host(np.zeros((1, 4, 9, 11), np.float16), "nchw"))
    assert useful_bytes(prepared) == 5 * 7 + 3 * 4 * 2 + 4 * 9 * 11 * 2


@pytest.mark.parametrize("threads", [1, 3])
def test_a_copy_is_timed_and_counted_both_ways(threads: int) -> None:
    copy = ProcessorCopy(threads, size=100_001)
    copy.measure(0.0)
    first = len(copy.timing.times_s)
    copy.measure(0.0)
    assert len(copy.timing.times_s) == 2 * first > 0
    assert copy.bytes_per_s == 200_002 / copy.timing.median_s
