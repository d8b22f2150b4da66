"""Transparency: colours that may be trusted under it, and an alpha that an upscaler neither rings nor bleeds.

Where alpha is 0, or next to that, a file holds any colour, mostly black, and a network would mix it into the visible
edge: the dark fringe. So those pixels first take the colour of their visible neighbours, weighted by alpha (as
premultiplied colour would be). Each pixel is computed in one fixed order of operations, so that tiles equal the whole
image.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from repsr_deploy.imaging.samples import Planes, opencv_memory

_NEIGHBOURS = np.ones((3, 3), np.uint8)
FAINT = np.float32(1 / 32)
"""Alpha below this part of a neighbour's does not vouch for a colour: by itself it shows at most 8 of 255 levels of it,
but beside the neighbour the network would show it half visible."""


@opencv_memory()
def bleed(colour: Planes, alpha: Planes, steps: int) -> Planes:
    """Fill pixels that are invisible, or faint beside others, from their visible neighbours, `steps` pixels deep.

    Args:
        colour: C x H x W, not premultiplied.
        alpha: H x W in 0..1.
        steps: how far colour spreads; a network's halo, beyond which no visible pixel sees it.

    Returns:
        C x H x W; each pixel depends on those up to `steps` + 1 away. The input itself where alpha is constant.

    Raises:
        MemoryError: not enough of it.
    """
    if alpha.min() == alpha.max():
        return colour
    weight = np.where(alpha < FAINT * cv2.dilate(alpha, _NEIGHBOURS), np.float32(0), alpha)
    for _ in range(steps):
        unknown = weight == 0
        if not unknown.any():
            break
        total = _sum_3x3(weight)
        reached = unknown & (total > 0)
        divisor = np.where(reached, total, np.float32(1))
        colour = np.stack([np.where(reached, _sum_3x3(plane * weight) / divisor, plane) for plane in colour])
        weight = np.where(reached, np.float32(1), weight)
    return colour


@opencv_memory()
def within_neighbours(upscaled: Planes, alpha: Planes, scale: int) -> Planes:
    """Clip an upscaled alpha to the range of the 3 x 3 source pixels around each.

    Flat alpha keeps its exact value (opaque stays opaque), and edges do not ring.

    Args:
        upscaled: scale*H x scale*W.
        alpha: H x W.

    Raises:
        MemoryError: not enough of it.
    """
    low, high = cv2.erode(alpha, _NEIGHBOURS), cv2.dilate(alpha, _NEIGHBOURS)
    return upscaled.clip(_repeat(low, scale), _repeat(high, scale))


def _repeat(plane: NDArray[Any], scale: int) -> NDArray[Any]:
    return plane.repeat(scale, axis=0).repeat(scale, axis=1)


def _sum_3x3(plane: Planes) -> Planes:
    rows: NDArray[Any] = np.pad(plane, 1)
    rows = rows[:-2] + rows[1:-1] + rows[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
