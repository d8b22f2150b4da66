"""Between our images, RGB(A) as seen, and those that OpenCV's readers and writers know, BGR(A) as stored."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from repsr_deploy.imaging.samples import Allocate, Image

BAND_PIXELS = 2**18
"""Pixels that are put on white at once: float32 takes three times the memory of the image."""
_SWAP = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}  # and back, by channels
_TURNS: dict[int, Callable[[Image], Image]] = {
    1: lambda image: image,
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def turned(stored: Image, orientation: int) -> Image:
    """An image as stored, upright.

    Args:
        orientation: Exif's, 1 to 8 (Exif 2.3, table 6).
    """
    return _TURNS[orientation](stored)


def from_bgr(stored: Image, orientation: int, channels: int, allocate: Allocate) -> Image:
    """BGR(A), or gray, as stored to an image as seen.

    Args:
        orientation: see `turned`.
        channels: of the result: 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha). Gray of an image that is stored
            in colours is any of them.
        allocate: gives the array for the result. At most two images are held at a time, when the caller holds none.
    """
    upright = turned(stored, orientation)
    del stored
    size = upright.shape[:2]
    image = allocate(size if channels == 1 else (*size, channels), upright.dtype)
    if upright.ndim == 2:
        np.copyto(image, upright)
    elif channels in _SWAP:
        cv2.cvtColor(upright, _SWAP[channels], dst=image)
    elif channels == 1:
        np.copyto(image, upright[..., 0])
    else:
        np.copyto(image, upright[..., ::3])
    return image


def to_bgr(image: Image) -> Image:
    """RGB(A) to BGR(A); gray stays."""
    channels = channels_of(image)
    return image if channels == 1 else cv2.cvtColor(image, _SWAP[channels])


def over_white(image: Image) -> Image:
    """Gray or RGB with alpha (not premultiplied) on white, rounded half to even: H x W x 1 or H x W x 3."""
    height, width, channels = image.shape
    full_scale = np.float32(np.iinfo(image.dtype).max)
    result = np.empty((height, width, channels - 1), image.dtype)
    rows = max(1, BAND_PIXELS // width)
    for start in range(0, height, rows):
        band = image[start : start + rows]
        alpha = band[..., -1:] / full_scale
        result[start : start + rows] = np.rint(band[..., :-1] * alpha + full_scale * (1 - alpha))
    return result


def channels_of(image: Image) -> int:
    """1 of H x W, else C of H x W x C."""
    return 1 if image.ndim == 2 else image.shape[2]
