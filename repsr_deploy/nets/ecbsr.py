"""The edge-oriented convolution block of ECBSR.

Zhang, Zeng, Zhang: Edge-oriented Convolution Block for Real-time Super Resolution on Mobile Devices, ACM MM 2021.

Each 1x1 convolution comes before a padded 3x3 one, so its output is padded with its own bias: with zeros the fold
would be wrong at the border. The identity path is off, as in the published configurations.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv, conv

SOBEL_X = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))
SOBEL_Y = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))
LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


def pad_with_bias(features_nchw: Tensor, bias: Tensor) -> Tensor:
    """Surround channel i with one pixel of bias[i]: what a 1x1 convolution gives for zeros outside the image."""
    border = bias.view(1, -1, 1, 1)
    return F.pad(features_nchw - border, [1, 1, 1, 1]) + border


class ExpandBranch(nn.Module):
    """conv1x1 I -> eO, padding with its bias, conv3x3 eO -> O."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(in_channels, out_channels * expansion, kernel_size=1)
        self.squeeze = nn.Conv2d(out_channels * expansion, out_channels, kernel_size=3)

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x I x H x W -> N x O x H x W."""
        return self.squeeze(pad_with_bias(self.expand(x_nchw), cast("Tensor", self.expand.bias)))

    def chain(self) -> list[Conv]:
        """The operators in the order in which they are applied."""
        return [
            conv(self.expand.weight, self.expand.bias),
            conv(self.squeeze.weight, self.squeeze.bias, border=self.expand.bias),
        ]


class EdgeBranch(nn.Module):
    """conv1x1 I -> O, padding with its bias, then one fixed edge filter per channel with a trained gain and bias."""

    def __init__(self, in_channels: int, out_channels: int, filter_3x3: tuple[tuple[float, ...], ...]) -> None:
        super().__init__()
        self.mix = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self.gain = nn.Parameter(torch.randn(out_channels, 1, 1, 1) * 1e-3)
        self.bias = nn.Parameter(torch.randn(out_channels) * 1e-3)
        self.filter: Tensor
        self.register_buffer("filter", torch.tensor(filter_3x3), persistent=False)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the edge filter for each pixel."""
        return self.gain.numel() * 9

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x I x H x W -> N x O x H x W."""
        padded = pad_with_bias(self.mix(x_nchw), cast("Tensor", self.mix.bias))
        return F.conv2d(padded, self.gain * self.filter, self.bias, groups=self.gain.numel())

    def chain(self) -> list[Conv]:
        """The operators in the order in which they are applied."""
        edge = conv(
            self.gain.double() * self.filter.double(), self.bias, border=self.mix.bias, groups=self.gain.numel()
        )
        return [conv(self.mix.weight, self.mix.bias), edge]


class ECB(nn.Module):
    """Sum of a 3x3 convolution, an expand branch and three edge branches (Sobel x, Sobel y, Laplacian)."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.expand = ExpandBranch(in_channels, out_channels, expansion)
        self.edges = nn.ModuleList(
            EdgeBranch(in_channels, out_channels, kernel) for kernel in (SOBEL_X, SOBEL_Y, LAPLACIAN)
        )

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x I x H x W -> N x O x H x W."""
        out_nchw = self.conv(x_nchw) + self.expand(x_nchw)
        for edge in self.edges:
            out_nchw = out_nchw + edge(x_nchw)
        return out_nchw

    def branches(self) -> list[list[Conv]]:
        """The five branches."""
        edges = [cast("EdgeBranch", edge).chain() for edge in self.edges]
        return [[conv(self.conv.weight, self.conv.bias)], self.expand.chain(), *edges]
