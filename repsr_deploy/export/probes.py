"""Photographs as probe images for a fold's proof."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.folding.proof import GLOBAL_HALO
from repsr_deploy.imaging.image_file import read_image
from repsr_deploy.imaging.samples import rgb_of
from repsr_deploy.nets.spec import NetSpec

LONGEST_SIDE = 201
"""Longest side in pixels of the crop that a proof looks at."""


def photograph_probe(path: Path, spec: NetSpec) -> Tensor:
    """`photograph_crop` for a network of ours; luma networks get its green channel.

    Raises:
        ImageFileError: not readable as an image.
        UsageError: too small for a proof of this network.
    """
    halo = GLOBAL_HALO if spec.halo is None else spec.halo
    smallest = 2 * halo + 1
    probe_nchw = photograph_crop(path)
    height, width = probe_nchw.shape[-2:]
    if min(height, width) < smallest:
        raise UsageError(f"probe {path} is {width}x{height}; {spec.name} needs at least {smallest} pixels")
    return probe_nchw[:, 1:2] if spec.colour == "y" else probe_nchw


def photograph_crops(paths: Sequence[Path]) -> dict[str, Tensor]:
    """`photograph_crop` of each, by file name."""
    return {path.name: photograph_crop(path) for path in paths}


def photograph_crop(path: Path) -> Tensor:
    """The middle of a photograph, 1 x 3 x H x W float64 in 0..1, sides of at most `LONGEST_SIDE`.

    Raises:
        ImageFileError: not readable as an image.
    """
    image = read_image(path)
    peak = np.iinfo(image.dtype).max
    image_hwc = rgb_of(image)
    height, width = (min(side, LONGEST_SIDE) for side in image_hwc.shape[:2])
    top, left = (image_hwc.shape[0] - height) // 2, (image_hwc.shape[1] - width) // 2
    crop_hwc = image_hwc[top : top + height, left : left + width].astype(np.float64) / peak
    return torch.from_numpy(np.ascontiguousarray(crop_hwc.transpose(2, 0, 1)[None]))
