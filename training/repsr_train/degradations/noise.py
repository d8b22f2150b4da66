"""Gaussian and Poisson noise on float tensors N x 3 x H x W in 0..1, as Real-ESRGAN adds it.

The result is clipped to 0..1. All randomness comes from a `torch.Generator` on the tensor's device. Gray noise is one
plane added to all channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""BT.601: the gray picture whose Poisson noise is the gray noise."""


def add_gaussian(image_nchw: Tensor, sigma: float, *, gray: bool, generator: torch.Generator) -> Tensor:
    """image + n, n ~ N(0, (sigma / 255)**2): `sigma` is in levels of 8 bits."""
    count, channels, height, width = image_nchw.shape
    shape = (count, 1 if gray else channels, height, width)
    noise = torch.randn(shape, generator=generator, device=image_nchw.device, dtype=image_nchw.dtype)
    return (image_nchw + noise * (sigma / 255)).clamp(0, 1)


def add_poisson(image_nchw: Tensor, scale: float, *, gray: bool, generator: torch.Generator) -> Tensor:
    """image + scale * (P(v q) / v - q), where P draws from the Poisson distribution of the given mean.

    q is the image rounded to 8 bits (its luma for gray noise), and v = 2**ceil(log2(u)), u being the number of
    different values in the sample's q: at most 256, so that scale 1 is the shot noise of an 8-bit sensor that counts
    up to v photons. The variance is scale**2 q / v.
    """
    source = _luma(image_nchw) if gray else image_nchw
    levels = (source * 255).round().clamp(0, 255)
    counts = [torch.bincount(sample.flatten().long(), minlength=256).count_nonzero() for sample in levels]
    photons = torch.exp2(torch.stack(counts).to(image_nchw).log2().ceil()).view(-1, 1, 1, 1)
    mean = levels / 255
    noise = torch.poisson(mean * photons, generator=generator) / photons - mean
    return (image_nchw + noise * scale).clamp(0, 1)


def _luma(image_nchw: Tensor) -> Tensor:
    weights = torch.tensor(LUMA, device=image_nchw.device, dtype=image_nchw.dtype).view(1, 3, 1, 1)
    return (image_nchw * weights).sum(dim=1, keepdim=True)
