"""BatchNorm that trains on mini-batch statistics first and on population statistics later (RepSR, arXiv 2205.05671)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self, cast, runtime_checkable

import torch
from torch import Tensor, nn

from repsr_deploy.folding.algebra import batch_norm


class ModifiedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that can switch to its population statistics for good ("Frozen BN" of RepSR, Fig. 2).

    After `use_population_statistics()` the running mean and variance are what the layer normalises with, in training
    too, and are updated no more. The switch survives every later `.train()`: forgetting it there is the known bug of
    re-implementations (fact sheet 1.4).
    """

    population: bool = False
    processes: int = 1
    """How many processes train together, each on batches of the same size."""
    mean_over_processes: Callable[[Tensor], Tensor] | None = None
    """Averages a tensor over all of them, differentiably; None where there is one."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that PyTorch gives it)
        """N x C x H x W -> the same shape."""
        if not self.training or self.mean_over_processes is None:
            return super().forward(input)
        wide = input.float()
        moments = self.mean_over_processes(torch.stack([wide.mean(dim=(0, 2, 3)), wide.square().mean(dim=(0, 2, 3))]))
        mean, variance = moments[0], moments[1] - moments[0].square()
        with torch.no_grad():
            self._follow(mean, variance, input.numel() // input.shape[1] * self.processes)
        gain = self.weight * torch.rsqrt(variance + self.eps)
        return (wide * gain.view(1, -1, 1, 1) + (self.bias - mean * gain).view(1, -1, 1, 1)).to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics as nn.BatchNorm2d does, with the unbiased variance of `count` values."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        cast("Tensor", self.running_mean).lerp_(mean, share)
        cast("Tensor", self.running_var).lerp_(variance * (count / (count - 1)), share)

    def use_population_statistics(self, *, freeze_affine: bool = False) -> None:
        """Switch, for good; `freeze_affine` stops the training of gamma and beta too."""
        self.population = True
        self.weight.requires_grad_(not freeze_affine)
        self.bias.requires_grad_(not freeze_affine)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Like `Module.train`, but a switched layer stays in evaluation mode."""
        super().train(mode and not self.population)
        return self

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What the layer computes with its population statistics, each C, float64."""
        running_mean, running_var = cast("Tensor", self.running_mean), cast("Tensor", self.running_var)
        return batch_norm(self.weight, self.bias, running_mean, running_var, self.eps)


@runtime_checkable
class AbsorbsStatistics(Protocol):
    """A module that can move what its norm divides by into a convolution of its own."""

    def absorb_statistics(self) -> None:
        """Do so, without changing what the module computes in evaluation mode."""
        ...


def norms_of(net: nn.Module) -> list[ModifiedBatchNorm2d]:
    """Every BatchNorm of `net`."""
    return [module for module in net.modules() if isinstance(module, ModifiedBatchNorm2d)]


def use_population_statistics(net: nn.Module, *, freeze_affine: bool = False) -> None:
    """Switch every norm of `net`, without changing what it computes in evaluation mode.

    A network without norms, and norms that have switched already, are left as they are.
    """
    if all(norm.population for norm in norms_of(net)):
        return
    for module in net.modules():
        if isinstance(module, AbsorbsStatistics):
            module.absorb_statistics()
    for norm in norms_of(net):
        norm.use_population_statistics(freeze_affine=freeze_affine)


def uses_batch_statistics(net: nn.Module) -> bool:
    """Whether the next forward pass of `net` would normalise with the statistics of its mini-batch."""
    return any(norm.training for norm in norms_of(net))
