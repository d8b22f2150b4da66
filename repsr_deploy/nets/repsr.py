"""RepSR's block and its modified BatchNorm (Wang, Dong, Shan: RepSR, ACM MM 2022, arXiv 2205.05671)."""

from __future__ import annotations

from typing import Self, cast

import torch
from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv, batch_norm, conv, identity

INITIAL_GAIN = 0.1
"""Scale of a new path beside the residual path; the paper does not give an initialisation."""


class ModifiedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that trains on mini-batch statistics first and on population statistics later ("Frozen BN" of Fig. 2).

    After `use_population_statistics()` the running mean and variance are what the layer normalises with, in training
    too, and are updated no more; gamma and beta stay trainable. The switch survives every later `.train()`:
    forgetting it there is the known bug of re-implementations (fact sheet 1.4).
    """

    population: bool = False

    def use_population_statistics(self) -> None:
        """Switch, for good."""
        self.population = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Like `Module.train`, but a switched layer stays in evaluation mode."""
        super().train(mode and not self.population)
        return self

    def as_conv(self) -> Conv:
        """What the layer computes with its population statistics."""
        running_mean, running_var = cast("Tensor", self.running_mean), cast("Tensor", self.running_var)
        return batch_norm(self.weight, self.bias, running_mean, running_var, self.eps)


class ExpandSqueeze(nn.Module):
    """conv3x3 C -> eC, BatchNorm, conv1x1 eC -> C, no activation between; e is the expansion, 2 in RepSR."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, channels * expansion, kernel_size=3, padding=1)
        self.norm = ModifiedBatchNorm2d(channels * expansion)
        self.squeeze = nn.Conv2d(channels * expansion, channels, kernel_size=1)
        with torch.no_grad():  # a new block is nearly the identity: on 2,000 steps that is worth 0.6 dB
            self.squeeze.weight *= INITIAL_GAIN
            self.squeeze.bias *= INITIAL_GAIN  # type: ignore[reportOptionalOperand]

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x C x H x W -> N x C x H x W."""
        return self.squeeze(self.norm(self.expand(x_nchw)))

    @torch.no_grad()
    def use_population_statistics(self) -> None:
        """Switch the norm for good, and move its division by the standard deviation into the 3x3 kernels.

        The function stays the same. But without mini-batch statistics a small deviation would multiply every step of
        the optimizer: features of deviation 0.05 make training diverge at learning rates that the first phase bears.
        """
        running_mean, running_var = cast("Tensor", self.norm.running_mean), cast("Tensor", self.norm.running_var)
        deviation = torch.sqrt(running_var + self.norm.eps)
        self.expand.weight /= deviation[:, None, None, None]
        self.expand.bias /= deviation  # type: ignore[reportOptionalOperand]
        running_mean /= deviation
        running_var.fill_(1 - self.norm.eps)
        self.norm.use_population_statistics()

    def chain(self) -> list[Conv]:
        """The operators in their order. The padded 3x3 comes first, so the fold is exact at borders."""
        return [
            conv(self.expand.weight, self.expand.bias),
            self.norm.as_conv(),
            conv(self.squeeze.weight, self.squeeze.bias),
        ]


class RepSRBlock(nn.Module):
    """y = x + B1(x) + B2(x), two `ExpandSqueeze` branches beside a clean residual path (RepSR Fig. 2b)."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int) -> None:
        super().__init__()
        assert in_channels == out_channels
        self.paths = nn.ModuleList(ExpandSqueeze(in_channels, expansion) for _ in range(2))
        self.channels = in_channels

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x C x H x W -> N x C x H x W."""
        first, second = self.paths
        return x_nchw + first(x_nchw) + second(x_nchw)

    def branches(self) -> list[list[Conv]]:
        """Identity and the two paths."""
        chains = [cast("ExpandSqueeze", path).chain() for path in self.paths]
        return [[identity(self.channels, chains[0][0].bias_o.device)], *chains]


def use_population_statistics(net: nn.Module) -> None:
    """Switch every path of every RepSR block of `net`, without changing what it computes in evaluation mode.

    A network without such paths, and paths that have switched already, are left as they are.
    """
    for module in net.modules():
        if isinstance(module, ExpandSqueeze) and not module.norm.population:
            module.use_population_statistics()


def uses_batch_statistics(net: nn.Module) -> bool:
    """Whether the next forward pass of `net` would normalise with the statistics of its mini-batch."""
    return any(module.training for module in net.modules() if isinstance(module, nn.BatchNorm2d))
