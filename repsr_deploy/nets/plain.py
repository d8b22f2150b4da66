"""What a plain network is made of: zero-padded 3x3 convolutions and PReLU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv, conv


class PlainConv(nn.Conv2d):
    """3x3 convolution with bias, zero padding: N x I x H x W -> N x O x H x W."""

    def __init__(self, in_channels: int, out_channels: int, _expansion: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def branches(self) -> list[list[Conv]]:
        """A single branch: itself."""
        return [[conv(self.weight, self.bias)]]


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
