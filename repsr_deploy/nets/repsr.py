"""RepSR's block and its modified BatchNorm (Wang, Dong, Shan: RepSR, ACM MM 2022, arXiv 2205.05671)."""

from __future__ import annotations

from typing import Self, cast

from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv, batch_norm, conv, identity


class ModifiedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that trains on mini-batch statistics first and on population statistics later ("Frozen BN" of Fig. 2).

    After `use_population_statistics()` the running mean and variance are what the layer normalises with, in training too, and are
    updated no more; gamma and beta stay trainable. The switch survives every later `.train()`: forgetting it there is the known bug of
    re-implementations (fact sheet 1.4).
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

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x C x H x W -> N x C x H x W."""
        return self.squeeze(self.norm(self.expand(x_nchw)))

    def chain(self) -> list[Conv]:
        """The operators in the order in which they are applied. The padded 3x3 comes first, so the fold is exact at borders."""
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
    """Switch every `ModifiedBatchNorm2d` of `net`; a network without any is left as it is."""
    for module in net.modules():
        if isinstance(module, ModifiedBatchNorm2d):
            module.use_population_statistics()


def uses_batch_statistics(net: nn.Module) -> bool:
    """Whether the next forward pass of `net` would normalise with the statistics of its mini-batch."""
    return any(module.training for module in net.modules() if isinstance(module, nn.BatchNorm2d))
