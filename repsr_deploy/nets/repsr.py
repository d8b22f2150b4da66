"""RepSR's block (Wang, Dong, Shan: RepSR, ACM MM 2022, arXiv 2205.05671)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv, affine, conv, identity
from repsr_deploy.nets.norm import ModifiedBatchNorm2d

INITIAL_GAIN = 0.1
"""Scale of a new path beside the residual path; the paper does not give an initialisation."""


class ExpandSqueeze(nn.Module):
    """conv3x3 C -> eC, BatchNorm, conv1x1 eC -> C, no activation between; e is the expansion, 2 in RepSR."""

    def __init__(self, channels: int, expansion: int, *, norm: bool = True) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, channels * expansion, kernel_size=3, padding=1)
        self.norm = ModifiedBatchNorm2d(channels * expansion) if norm else None
        self.squeeze = nn.Conv2d(channels * expansion, channels, kernel_size=1)
        with torch.no_grad():  # a new block is nearly the identity: on 2,000 steps that is worth 0.6 dB
            self.squeeze.weight *= INITIAL_GAIN
            self.squeeze.bias *= INITIAL_GAIN  # type: ignore[reportOptionalOperand]

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x C x H x W -> N x C x H x W."""
        expanded = self.expand(x_nchw)
        return self.squeeze(expanded if self.norm is None else self.norm(expanded))

    @torch.no_grad()
    def absorb_statistics(self) -> None:
        """Move the norm's division by the standard deviation into the 3x3 kernels; the function stays the same.

        Without mini-batch statistics a small deviation would multiply every step of the optimizer: features of
        deviation 0.05 make training diverge at learning rates that the first phase bears.
        """
        if self.norm is None or self.norm.population:
            return
        running_mean, running_var = cast("Tensor", self.norm.running_mean), cast("Tensor", self.norm.running_var)
        deviation = torch.sqrt(running_var + self.norm.eps)
        self.expand.weight /= deviation[:, None, None, None]
        self.expand.bias /= deviation  # type: ignore[reportOptionalOperand]
        running_mean /= deviation
        running_var.fill_(1 - self.norm.eps)

    def chain(self) -> list[Conv]:
        """The operators in their order. The padded 3x3 comes first, so the fold is exact at borders."""
        norm = [] if self.norm is None else [affine(*self.norm.scale_and_shift())]
        return [
            conv(self.expand.weight, self.expand.bias),
            *norm,
            conv(self.squeeze.weight, self.squeeze.bias),
        ]


class RepSRBlock(nn.Module):
    """y = x + B1(x) + B2(x), `ExpandSqueeze` branches beside a clean residual path (RepSR Fig. 2b)."""

    def __init__(self, channels: int, expansion: int, *, paths: int = 2, norm: bool = True) -> None:
        super().__init__()
        self.paths = nn.ModuleList(ExpandSqueeze(channels, expansion, norm=norm) for _ in range(paths))
        self.channels = channels

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x C x H x W -> N x C x H x W."""
        out_nchw = x_nchw
        for path in self.paths:
            out_nchw = out_nchw + path(x_nchw)
        return out_nchw

    def branches(self) -> list[list[Conv]]:
        """Identity and the paths."""
        chains = [cast("ExpandSqueeze", path).chain() for path in self.paths]
        return [[identity(self.channels, chains[0][0].bias_o.device)], *chains]
