"""Colour for networks that see luma alone: Cb and Cr enlarged by bicubic, the same wherever a tile is cut."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.metrics.resize import imresize

Plane = NDArray[np.float32]

HALO = 2
"""Pixels that the bicubic kernel looks to its farther side."""


def enlarge(plane: Plane, scale: int) -> Plane:
    """`metrics.resize.imresize` by a whole number, H x W to scale*H x scale*W.

    One set of weights per phase, instead of one per position, makes a pixel independent of where its tile starts.
    """
    return _enlarge_rows(_enlarge_rows(plane, scale).T, scale).T


def _enlarge_rows(plane: Plane, scale: int) -> Plane:
    padded = np.pad(plane, ((HALO, HALO), (0, 0)), mode="symmetric")
    output = np.empty((len(plane) * scale, plane.shape[1]), np.float32)
    for phase, weights in enumerate(_phases(scale)):
        total = np.zeros_like(plane)
        for offset, weight in enumerate(weights):
            if weight:
                total += padded[offset : offset + len(plane)] * np.float32(weight)
        output[phase::scale] = total
    return output


@lru_cache
def _phases(scale: int) -> NDArray[np.float64]:
    """Weights of the 2*HALO + 1 pixels around a pixel for each of its `scale` output pixels: an impulse response."""
    size = 4 * HALO + 1
    impulses = imresize(np.eye(size), output_size=(size * scale, size))
    middle = size // 2
    return impulses[middle * scale : (middle + 1) * scale, middle - HALO : middle + HALO + 1]
