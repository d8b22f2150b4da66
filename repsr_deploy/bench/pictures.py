"""Pictures to measure on, of any size and without a file: they have the statistics of photographs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

COVER = 4
"""How many leaves lie over a point, on average."""
SMALLEST_RADIUS, LARGEST_SHARE = 1.5, 0.6
"""Radii of leaves: pixels, and the largest as a share of the shorter side."""
CHROMA = 30.0
"""Standard deviation of a leaf's colour around its gray, 8-bit levels."""
TEXTURE = 12.0
"""Standard deviation of what varies on the leaves, 8-bit levels."""


def photograph_like(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture H x W x 3 with edges of all sizes, texture and the 1/f spectrum of photographs.

    Dead leaves: discs that cover each other, their radii distributed as r^-3 (Lee, Mumford and Huang, "Occlusion
    models for natural images", 2001), with noise of spectrum 1/f on them, seen through a slightly soft lens.
    """
    random = np.random.default_rng(seed)
    low, high = SMALLEST_RADIUS, max(LARGEST_SHARE * min(height, width), 2 * SMALLEST_RADIUS)
    mean_area = 2 * np.pi * np.log(high / low) / (low**-2 - high**-2)
    count = max(64, round(COVER * height * width / mean_area))
    radii = (high**-2 + random.random(count) * (low**-2 - high**-2)) ** -0.5  # density r^-3, by inversion
    centres = (random.random((count, 2)) * 1.2 - 0.1) * (width, height)
    colours = np.clip(random.uniform(16, 240, (count, 1)) + CHROMA * random.standard_normal((count, 3)), 0, 255)
    picture_hwc = np.empty((height, width, 3), np.uint8)
    picture_hwc[:] = 128
    fraction = 4  # OpenCV takes positions in sixteenths of a pixel
    for (x, y), radius, colour in zip(centres, radii, colours, strict=True):
        centre = round(x * 2**fraction), round(y * 2**fraction)
        cv2.circle(picture_hwc, centre, round(radius * 2**fraction), colour.tolist(), cv2.FILLED, cv2.LINE_AA, fraction)
    textured_hwc = picture_hwc + TEXTURE * _pink_noise(height, width, random)[..., None]
    soft_hwc = cv2.GaussianBlur(textured_hwc.astype(np.float32), (0, 0), 0.6)
    return np.rint(np.clip(soft_hwc, 0, 255)).astype(np.uint8)


def photographs_like(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """N x H x W x 3, every picture another one."""
    return np.stack([photograph_like(height, width, seed) for seed in range(count)])


def _pink_noise(height: int, width: int, random: np.random.Generator) -> NDArray[np.float64]:
    """H x W of mean 0 and standard deviation 1 whose amplitudes fall as 1/f."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf  # no constant part
    noise_hw = np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) / frequency, s=(height, width))
    return noise_hw / (noise_hw.std() or 1.0)  # one pixel has none
