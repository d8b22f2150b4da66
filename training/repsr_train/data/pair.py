"""What training reads: photographs as pairs of high and low resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.metrics.evaluate import crop_to_multiple, reduce

Uint8 = NDArray[np.uint8]
Report = Callable[[str], None]
"""Receives lines for the user."""

MIN_LR_SIDE = 8
"""Least LR side in pixels of a photograph that is used at all."""


@dataclass(frozen=True)
class Pair:
    """One photograph, uint8 RGB: HR H x W x 3 with sides divisible by the scale, LR H/s x W/s x 3."""

    name: str
    hr_hwc: Uint8
    lr_hwc: Uint8


@dataclass(frozen=True)
class PhotoSet:
    """Photographs of a folder or a store, ready for use."""

    pairs: tuple[Pair, ...]
    fingerprint: str
    """Hash over the content of everything used."""
    unreadable: tuple[str, ...]
    """One line for each file that could not be used."""
    licence: str = ""
    """Licences of the photographs, as far as they are recorded."""


def quiet(_line: str) -> None:
    """A `Report` that tells nobody."""


def lr_of(hr_hwc: Uint8, scale: int) -> Uint8:
    """The LR image of an HR image of any size, cropped to a multiple first; at scale 1 the image itself."""
    hr_hwc = crop_to_multiple(hr_hwc, scale)
    return hr_hwc if scale == 1 else reduce(hr_hwc, scale)
