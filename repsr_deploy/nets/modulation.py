"""AdaDM's adaptive deviation modulator (Liu et al., arXiv 2111.13905)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST_DEVIATION = 1e-5
"""Deviation that a flat image is taken to have, in units of the features: log 0 would be NaN in the backward pass."""


class AdaptiveModulation(nn.Module):
    """y = F * exp(w log s + b), s the deviation of the block's input over C, H and W, one for each image.

    s is the unbiased deviation (N - 1), gradients pass through it; w starts at 1 and b at 0, so the factor starts at s
    (fact sheet 2.1). Computed in float32 or wider, also inside autocast: half precision overflows in the squares.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def log_factor(self, source_nchw: Tensor) -> Tensor:
        """w log s + b of every image: N x C x H x W -> N x 1 x 1 x 1, float32 or wider."""
        with torch.autocast(source_nchw.device.type, enabled=False):
            wide = source_nchw if source_nchw.dtype == torch.float64 else source_nchw.float()
            variance = torch.var(wide, dim=(1, 2, 3), keepdim=True)
            # clamped before the root, whose derivative at 0 is infinite
            deviation = variance.clamp(min=SMALLEST_DEVIATION**2).sqrt()
            return deviation.log() * self.weight + self.bias

    def forward(self, features_nchw: Tensor, source_nchw: Tensor) -> Tensor:
        """`features_nchw` times the factor of `source_nchw`."""
        return features_nchw * self.log_factor(source_nchw).exp().to(features_nchw.dtype)
