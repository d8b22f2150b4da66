"""The plain network's only layer: a zero-padded 3x3 convolution."""

from __future__ import annotations

from torch import nn

from repsr_deploy.folding.algebra import Conv, conv


class PlainConv(nn.Conv2d):
    """3x3 convolution with bias, zero padding: N x I x H x W -> N x O x H x W."""

    def __init__(self, in_channels: int, out_channels: int, _expansion: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def branches(self) -> list[list[Conv]]:
        """A single branch: itself."""
        return [[conv(self.weight, self.bias)]]
