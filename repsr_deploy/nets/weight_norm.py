"""Convolution with weight normalisation (Salimans and Kingma 2016), as WDSR uses it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv, conv, weight_norm


class WeightNormConv(nn.Module):
    """Zero-padded k x k convolution with weight gain_o * direction_o / |direction_o| and a bias that starts at 0."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, gain: float) -> None:
        super().__init__()
        conv = nn.Conv2d(in_channels, out_channels, kernel_size)
        self.direction = conv.weight
        self.gain = nn.Parameter(torch.full((out_channels,), gain))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    @property
    def weight(self) -> Tensor:
        """The kernel that is applied, O x I x k x k, rounded to the data type of the parameters."""
        return weight_norm(self.direction, self.gain).to(self.direction.dtype)

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x I x H x W -> N x O x H x W."""
        return F.conv2d(x_nchw, self.weight, self.bias, padding=self.direction.shape[-1] // 2)

    def branches(self) -> list[list[Conv]]:
        """A single branch."""
        return [[conv(weight_norm(self.direction, self.gain), self.bias)]]
