"""Moving average of weights that is right about BatchNorm.

Averaged weights do not match the running statistics of the network that they were averaged from (AdaDM's README warns
of it), so statistics are never averaged: as long as they come from mini-batches they are measured anew for the
averaged weights, and at the switch to population statistics the average starts anew from the switched network, whose
statistics no longer change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from repsr_deploy.nets.network import Network
from repsr_deploy.nets.repsr import uses_batch_statistics


class WeightAverage:
    """Exponential moving average of the parameters of `net`; `average` is a network of its own."""

    def __init__(self, net: Network, decay: float) -> None:
        self.decay = decay
        self.average = copy.deepcopy(net).requires_grad_(False)
        self._pairs = list(zip(self.average.parameters(), net.parameters(), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average one step towards the network's present weights."""
        for target, source in self._pairs:
            target.lerp_(source, 1 - self.decay)


@torch.no_grad()
def measure_statistics(net: nn.Module, batches_nchw: Iterable[Tensor]) -> None:
    """Replace the running statistics of every BatchNorm by the mean over `batches_nchw` (N x C x H x W, 0..1 each).

    A network without BatchNorm, or with population statistics already, is left as it is. The mode of `net` is kept.
    """
    was_training = net.training
    net.train()
    if uses_batch_statistics(net):
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over all batches seen since the reset
        for batch_nchw in batches_nchw:
            net(batch_nchw)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    net.train(was_training)
