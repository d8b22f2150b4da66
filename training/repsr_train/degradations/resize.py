"""Resizing as Real-ESRGAN does it between degradations: deliberately not one good filter, but several crude ones."""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

ResizeMode = Literal["area", "bilinear", "bicubic"]
RESIZE_MODES: tuple[ResizeMode, ...] = get_args(ResizeMode)


def resize(image_nchw: Tensor, size: tuple[int, int], mode: ResizeMode) -> Tensor:
    """Resize N x C x H x W to `size` (height, width) with PyTorch's filters, pixel centres aligned.

    `area` averages the pixels that a new pixel covers (repeats pixels when enlarging). `bilinear` and `bicubic`
    (a = -0.75) do not widen when reducing, as in Real-ESRGAN: the aliasing is part of the degradation. Bicubic may
    leave 0..1. For the reduction that defines a benchmark, see `repsr_deploy.metrics.resize`.
    """
    return F.interpolate(image_nchw, size=size, mode=mode, align_corners=None if mode == "area" else False)
