"""One file becomes one photograph to train on: RGB of 8 bits, compression traces removed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.files import sha256
from repsr_deploy.imaging.image_file import FORMATS, read_image
from repsr_deploy.imaging.samples import as_uint8, rgb_of
from repsr_deploy.metrics.resize import imresize
from repsr_train.data.pair import Uint8

Reduction = int | Literal["auto"]
"""By how much JPEG photographs are reduced, 1 to `MAX_REDUCTION`; `auto` follows their size."""
MAX_REDUCTION = 8

LOSSY_TARGET_SIDE = 1600
"""Long side in pixels towards which a JPEG photograph is reduced, which removes its compression traces."""


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A decoded file."""

    rgb_hwc: Uint8
    reduction: int
    """By how much it was reduced."""
    sha256: str
    """Of the file."""


def list_photographs(folder: Path) -> list[Path]:
    """Every image file below `folder`, sorted by path.

    Raises:
        UsageError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}; expected a folder with photographs")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FORMATS and path.is_file())
    if not paths:
        raise UsageError(f"no photographs in {folder}; expected files with {', '.join(sorted(FORMATS))}")
    return paths


def read_photograph(path: Path, reduction: Reduction = "auto") -> Photograph:
    """Decode a file, turn it into RGB of 8 bits and reduce it if it is a JPEG.

    Gray becomes three equal channels, 16 bits are rounded to 8, alpha is dropped, CMYK is converted without a profile.

    Raises:
        ImageFileError: unreadable or damaged.
    """
    data = read_file(path)
    rgb_hwc = as_rgb(read_image(path))
    factor = lossy_reduction(data, max(rgb_hwc.shape[:2]), reduction)
    if factor > 1:
        rgb_hwc = imresize(rgb_hwc, Fraction(1, factor))
    return Photograph(rgb_hwc=rgb_hwc, reduction=factor, sha256=sha256(data))


def read_file(path: Path) -> bytes:
    """The content of a file.

    Raises:
        ImageFileError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageFileError(
            f"cannot read {path}: {error.strerror or error}; expected a readable image file"
        ) from error


def as_rgb(image: NDArray[Any]) -> Uint8:
    """H x W or H x W x C of uint8 or uint16 as contiguous uint8 H x W x 3; alpha is dropped."""
    return np.ascontiguousarray(as_uint8(rgb_of(image)))


def lossy_reduction(data: bytes, long_side: int, chosen: Reduction = "auto") -> int:
    """By how much to reduce a photograph before use: 1 for lossless files, 2 to 4 for large JPEG files."""
    if not data.startswith(b"\xff\xd8\xff"):
        return 1
    if chosen != "auto":
        return chosen
    return min(4, max(2, round(long_side / LOSSY_TARGET_SIDE))) if long_side >= LOSSY_TARGET_SIDE else 1


def reduced_side(side: int, reduction: int) -> int:
    """Pixels that a side has after the reduction."""
    return math.ceil(side / reduction)
