"""The work of the kernels as people do it on a processor: NumPy and OpenCV, one operation after the other."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray

from repsr_deploy.imaging.samples import Planes, opencv_memory, store_planes
from repsr_deploy.model_info import Skip

INTERPOLATION: dict[Skip, int] = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR}


@opencv_memory()
def finish_image(features_chw: Planes, image_chw: Planes, scale: int, skip: Skip, out_hwc: NDArray[np.uint8]) -> None:
    """PixelShuffle, skip, clamp and rounding, each over the whole picture; writes `out_hwc`.

    Args:
        features_chw: float32 C s s x H x W; s is 2 or more.
        image_chw: float32 C x H x W in 0..1, as the network saw it; not read without skip.
        out_hwc: uint8 sH x sW x C.
    """
    picture_chw = shuffled(features_chw, scale)
    if skip != "none":
        for plane, image in zip(picture_chw, image_chw, strict=True):
            added = cv2.resize(image, None, fx=scale, fy=scale, interpolation=INTERPOLATION[skip])
            cv2.add(plane, added, dst=plane)
    np.clip(picture_chw, 0, 1, out=picture_chw)
    store_planes(picture_chw, out_hwc)


def shuffled(features_chw: Planes, scale: int) -> Planes:
    """PixelShuffle: C s s x H x W as C x sH x sW.

    OpenCV's merge interleaves columns two to three times as fast as NumPy's reshape and transpose copy them.
    """
    depth, height, width = features_chw.shape
    channels = depth // scale**2
    parts = features_chw.reshape(channels, scale, scale, height, width)
    picture = np.empty((channels, height, scale, width * scale), np.float32)
    for channel in range(channels):
        for row in range(scale):
            picture[channel, :, row] = cv2.merge(list(parts[channel, row])).reshape(height, width * scale)
    return picture.reshape(channels, height * scale, width * scale)


@contextmanager
def opencv_threads(count: int) -> Generator[None]:
    """OpenCV's threads are those of the whole process: others must find them as they were."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
