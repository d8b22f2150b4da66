"""Image samples to and from what networks work on: uint8, uint16 or float32 H x W x C, and float32 C x H x W in 0..1.

Both ways run once per tile and per pixel of the output, so they take the fastest exact way that NumPy and OpenCV have.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import ModelFileError, UsageError

Image = NDArray[Any]
Planes = NDArray[np.float32]
Allocate = Callable[[tuple[int, ...], np.dtype[Any]], Image]
"""Gives a C-contiguous array of a shape and type, of any content; raises MemoryError where there is no room."""

FULL_SCALE: dict[str, int] = {"uint8": 255, "uint16": 65535, "float32": 1}
"""The sample that means 1.0, by type. The type decides, never the values: a dark 16-bit image stays one."""
BAND_ROWS = 128
"""Rows converted at once: what lies between the conversions of a band stays in the processor's cache."""


@contextmanager
def opencv_memory() -> Generator[None]:
    """OpenCV says in its own way that memory has run out: as MemoryError."""
    try:
        yield
    except cv2.error as error:
        if error.code != cv2.Error.StsNoMem:
            raise
        raise MemoryError(f"OpenCV has no memory to convert an image: {error.err}") from error


@opencv_memory()
def planes_from(image_hwc: Image) -> Planes:
    """H x W x C samples as float32 C x H x W in 0..1: the sample divided by its type's full scale, float clipped.

    Raises:
        UsageError: a float image holds NaN.
        MemoryError: not enough of it.
    """
    height, width, channels = image_hwc.shape
    planes = np.empty((channels, height, width), np.float32)
    full_scale = np.float32(FULL_SCALE[image_hwc.dtype.name])
    for plane, samples in zip(planes, cv2.split(image_hwc), strict=True):
        np.divide(samples, full_scale, out=plane, dtype=np.float32)
    if image_hwc.dtype.kind == "f":
        if np.isnan(planes.min(initial=0)):
            raise UsageError("the image holds NaN; expected finite samples in 0..1")
        np.clip(planes, 0, 1, out=planes)
    return planes


@opencv_memory()
def store_planes(planes: Planes, out_hwc: Image) -> None:
    """Write float32 C x H x W in 0..1 into H x W x C samples, rounded half to even for integer types.

    Raises:
        MemoryError: not enough of it.
    """
    for top in range(0, len(out_hwc), BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        samples = [_samples(plane[rows], out_hwc.dtype.name) for plane in planes]
        if len(samples) == 1:
            out_hwc[rows, :, 0] = samples[0]
        else:
            cv2.merge(samples, dst=out_hwc[rows])


def _samples(plane: Planes, kind: str) -> Image:
    if kind == "uint8":  # the absolute value that the name speaks of changes nothing here, and nothing is faster
        return cv2.convertScaleAbs(plane, alpha=FULL_SCALE[kind])
    if kind == "uint16":
        return np.rint(plane * np.float32(FULL_SCALE[kind])).astype(np.uint16)
    return plane


def converted(image: Image, kind: str) -> Image:
    """An image in samples of another type, with the same meaning; rounded half to even for integer types; any shape.

    Args:
        image: uint8, uint16 or float32 in 0..1.
        kind: name of one of these; the image itself when it has that type.
    """
    if image.dtype.name == kind:
        return image
    output = np.empty(image.shape, kind)
    full, full_before = np.float32(FULL_SCALE[kind]), np.float32(FULL_SCALE[image.dtype.name])
    for top in range(0, len(image), BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        values = np.divide(image[rows], full_before, dtype=np.float32)
        output[rows] = values if full == 1 else np.rint(values * full)
    return output


def as_uint8(image: Image) -> NDArray[np.uint8]:
    """uint8 samples as they are, uint16 samples rounded to the nearest of 8 bits; any shape."""
    if image.dtype == np.uint16:
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return image


def rgb_of(image: Image) -> Image:
    """The colours of an image of any layout, H x W x 3: gray three times, alpha left out."""
    gray = image.ndim == 2 or image.shape[2] < 3
    return np.repeat(image.reshape(*image.shape[:2], -1)[..., :1], 3, axis=2) if gray else image[..., :3]


def checked_output(planes: Planes, name: str) -> Planes:
    """What a network's output became, within 0..1: clipped in place where it is not.

    Raises:
        ModelFileError: NaN or infinity. (Clip in ONNX Runtime keeps NaN; minimum and maximum find both in one pass.)
    """
    low, high = float(planes.min()), float(planes.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise ModelFileError(
            f"{name} gives {low if not np.isfinite(low) else high} for this image; its weights are broken"
        )
    if low < 0 or high > 1:
        np.clip(planes, 0, 1, out=planes)
    return planes
