"""What folded networks are made of: zero-padded convolutions and PReLU."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv, conv, shifted


class PlainConv(nn.Conv2d):
    """k x k convolution with bias, zero padding: N x I x H x W -> N x O x H x W."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def branches(self) -> list[list[Conv]]:
        """A single branch: itself."""
        return [[conv(self.weight, self.bias)]]


class ShiftedConv(PlainConv):
    """A zero-padded convolution of x - shift: what BatchNorm or a mean before a padded convolution folds into.

    The shift cannot move into the bias: the padding is zero after the subtraction, so the border would differ.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel_size)
        self.shift = nn.Parameter(torch.zeros(in_channels))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that PyTorch gives it)
        """N x I x H x W -> N x O x H x W."""
        return super().forward(input - self.shift.view(1, -1, 1, 1))

    def branches(self) -> list[list[Conv]]:
        """A single branch: itself."""
        return [[shifted(self.weight, cast("Tensor", self.bias), self.shift)]]


class PReLU(nn.Module):
    """PReLU with a slope for each channel: N x C x H x W -> N x C x H x W.

    On a CPU PyTorch's kernel is fast forwards, but with its backward pass 2 to 4 times slower than two rectifiers,
    which give the same bits; so training uses those.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.25))

    def forward(self, x_nchw: Tensor) -> Tensor:
        """x where positive, slope * x where negative."""
        if not torch.is_grad_enabled():
            return F.prelu(x_nchw, self.weight)
        slope = self.weight.to(x_nchw.dtype).view(1, -1, 1, 1)
        return F.relu(x_nchw) - F.relu(-x_nchw) * slope
