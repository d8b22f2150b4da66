"""Pictures on which an export is calibrated and judged: photographs, and extremes that no photograph reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import RepsrError
from repsr_deploy.metrics.evaluate import crop_to_multiple, read_reference

Pictures = Mapping[str, NDArray[np.uint8]]
"""Name -> RGB H x W x 3."""

BUILT_IN = ("astronaut", "chelsea", "coffee", "rocket")
"""Photographs that come with scikit-image."""
EXTREME_SIDES = (61, 83)
"""H x W of the extremes: odd, and larger than most halos."""


def photographs(paths: Sequence[Path], scale: int) -> Pictures:
    """HR photographs whose sides are multiples of `scale`: those at `paths`, or, where that is empty, scikit-image's.

    Raises:
        ImageFileError: a photograph cannot be read.
        RepsrError: none are given, and scikit-image is not installed.
    """
    if paths:
        return {path.name: read_reference(path, scale) for path in paths}
    try:
        from skimage import data
    except ImportError as error:
        raise RepsrError(
            f"no photographs are given, and those of scikit-image are not installed ({error}); name some, or "
            "`pip install repsr-deploy[train]`"
        ) from error
    return {name: np.ascontiguousarray(crop_to_multiple(getattr(data, name)(), scale)) for name in BUILT_IN}


def extremes() -> Pictures:
    """Black, white, checkerboards of black, white and full colours, and noise: the largest activations there are."""
    height, width = EXTREME_SIDES
    rows, columns = np.ogrid[:height, :width]
    white_hwc = np.full((height, width, 3), 255, np.uint8)
    board_hw = (rows + columns) % 2
    coarse_hw = (rows // 8 + columns // 8) % 2
    colours_hwc = np.stack([board_hw, 1 - board_hw, coarse_hw * np.ones_like(board_hw)], axis=-1)
    return {
        "black": np.zeros_like(white_hwc),
        "white": white_hwc,
        "checkerboard": white_hwc * board_hw[..., None].astype(np.uint8),
        "coarse checkerboard": white_hwc * coarse_hw[..., None].astype(np.uint8),
        "colour checkerboard": (colours_hwc * 255).astype(np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, white_hwc.shape, np.uint8),
    }


def as_batch(image_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """H x W x 3 as 1 x 3 x H x W in 0..1."""
    return np.ascontiguousarray(image_hwc.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
