"""Near-duplicates: the same photograph in another size, format or quality.

A difference hash (64 comparisons of neighbouring cells of a tiny gray image) finds candidates, and the tiny images
themselves, colours included, confirm them. Where a tiny image is flat its hash is noise, so that photograph is
compared by its pixels only.
"""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from numpy.typing import NDArray

from repsr_train.data.pair import Uint8

SMALL_HEIGHT, SMALL_WIDTH = 16, 18
"""Of the tiny colour image, from which everything here is computed; 2 x 2 of its pixels are a cell of the hash."""
MAX_HASH_DISTANCE = 18
"""Bits of 64 that may differ. JPEG of quality 10 changes up to 16, noise of deviation 10 up to 17 (85 photographs)."""
MAX_MEAN_ERROR = 5.0
"""Mean absolute difference of the tiny images, of 255. Copies (JPEG of quality 10, half the size, noise of deviation
10) differ by at most 3.6; the most alike of 85 different photographs by 15.8."""
FLAT_DEVIATION = 4.0
"""Standard deviation of the cells, of 255, below which an image is flat."""
GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114])


def small_image(rgb_hwc: Uint8) -> Uint8:
    """The tiny image of a photograph of any size: 16 x 18 x 3, by the mean over areas."""
    return np.asarray(cv2.resize(rgb_hwc, (SMALL_WIDTH, SMALL_HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def difference_hash(cells_hw: NDArray[np.float64]) -> int:
    """64 bits from 8 x 9 cells: whether each is darker than its right neighbour."""
    bits = cells_hw[:, :-1] < cells_hw[:, 1:]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


class Similar:
    """Finds the photograph, of those that were added, of which another is a copy."""

    def __init__(self) -> None:
        self._by_pixels: dict[str, str] = {}
        self._names: list[str] = []
        self._hashes = array("Q")
        self._small: list[Uint8] = []

    def add(self, name: str, pixels_sha256: str, small_hwc: Uint8) -> None:
        """Remember a photograph under `name`."""
        self._by_pixels.setdefault(pixels_sha256, name)
        cells_hw = _cells(small_hwc)
        if cells_hw.std() >= FLAT_DEVIATION:
            self._names.append(name)
            self._hashes.append(difference_hash(cells_hw))
            self._small.append(small_hwc)

    def find(self, pixels_sha256: str, small_hwc: Uint8) -> str | None:
        """Name of the first photograph added whose copy this is; None when there is none."""
        if pixels_sha256 in self._by_pixels:
            return self._by_pixels[pixels_sha256]
        cells_hw = _cells(small_hwc)
        if cells_hw.std() < FLAT_DEVIATION:
            return None
        differing = np.frombuffer(self._hashes, np.uint64) ^ np.uint64(difference_hash(cells_hw))
        for index in np.flatnonzero(np.bitwise_count(differing) <= MAX_HASH_DISTANCE):
            if np.abs(self._small[index].astype(np.float64) - small_hwc).mean() <= MAX_MEAN_ERROR:
                return self._names[index]
        return None


def _cells(small_hwc: Uint8) -> NDArray[np.float64]:
    """Gray means of 2 x 2 pixels, 8 x 9."""
    return small_hwc.reshape(SMALL_HEIGHT // 2, 2, SMALL_WIDTH // 2, 2, 3).mean((1, 3)) @ GRAY_WEIGHTS
