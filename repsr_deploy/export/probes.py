"""Photographs as probe images for a fold's proof."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.folding.proof import GLOBAL_HALO
from repsr_deploy.imaging.image_file import read_image
from repsr_deploy.nets.spec import NetSpec

LONGEST_SIDE = 201
"""Longest side in pixels of the crop that a proof looks at."""


def photograph_probe(path: Path, spec: NetSpec) -> Tensor:
    """The middle of a photograph as a probe image, 1 x C x H x W float64 in 0..1; luma networks get its green channel.

    Raises:
        ImageFileError: not readable as an image.
        UsageError: too small for a proof of this network.
    """
    image = read_image(path)
    peak = np.iinfo(image.dtype).max
    image_hwc = image[..., None] if image.ndim == 2 else image
    halo = GLOBAL_HALO if spec.halo is None else spec.halo
    smallest = 2 * halo + 1
    if min(image_hwc.shape[:2]) < smallest:
        raise UsageError(
            f"probe {path} is {image.shape[1]}x{image.shape[0]}; {spec.name} needs at least {smallest} pixels"
        )
    height, width = (min(side, LONGEST_SIDE) for side in image_hwc.shape[:2])
    top, left = (image_hwc.shape[0] - height) // 2, (image_hwc.shape[1] - width) // 2
    crop_hwc = image_hwc[top : top + height, left : left + width, :3].astype(np.float64) / peak
    if crop_hwc.shape[2] < 3:
        crop_hwc = np.repeat(crop_hwc[..., :1], 3, axis=2)
    probe_nchw = torch.from_numpy(np.ascontiguousarray(crop_hwc.transpose(2, 0, 1)[None]))
    return probe_nchw[:, 1:2] if spec.colour == "y" else probe_nchw
