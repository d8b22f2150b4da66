"""Errors in smooth regions: where BatchNorm whose statistics do not fit an image shows (RepSR; fact sheet 1.4).

A wrong mean or deviation of a feature shifts whole regions, which the eye sees where nothing else happens. PSNR hardly
notices: such regions contribute little error. So it is measured there: over tiles in which the reference is flat, how
far the mean colour of a tile is off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Uint8 = NDArray[np.uint8]
Grid = NDArray[Any]
"""One number for each whole tile of an image, rows x columns."""

SIDE = 16
"""Of a tile, HR pixels."""
FLAT = 2.0
"""Largest standard deviation of each colour in a flat tile of the reference, levels of 255."""


def flat_tiles(reference_hwc: Uint8) -> Grid:
    """Which tiles of an RGB image H x W x 3 are flat; pixels beyond the last whole tile are left out."""
    deviation = _tiles(reference_hwc).std(axis=(1, 3)).max(axis=-1)
    return deviation < FLAT


def tile_errors(output_hwc: Uint8, reference_hwc: Uint8) -> Grid:
    """How far the mean colour of each tile is off, levels of 255: root mean square over R, G and B."""
    shift = _tiles(output_hwc.astype(np.float64) - reference_hwc).mean(axis=(1, 3))
    return np.sqrt(np.square(shift).mean(axis=-1))


def flat_square_sum(output_hwc: Uint8, reference_hwc: Uint8) -> tuple[float, int]:
    """Sum of the squared errors of the flat tiles, and their number."""
    flat = flat_tiles(reference_hwc)
    return float(np.square(tile_errors(output_hwc, reference_hwc)[flat]).sum()), int(flat.sum())


def _tiles(image_hwc: Grid) -> Grid:
    """rows x SIDE x columns x SIDE x 3."""
    rows, columns = (side // SIDE for side in image_hwc.shape[:2])
    return image_hwc[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE, -1)
