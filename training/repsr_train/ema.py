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
from repsr_deploy.nets.norm import norms_of, uses_batch_statistics


class WeightAverage:
    """Exponential moving average of the parameters of `net`; `average` is a network of its own."""

    def __init__(self, net: Network, decay: float) -> None:
        self.decay = decay
        self.average = copy.deepcopy(net).requires_grad_(False)
        self._pairs = list(zip(self.average.parameters(), net.parameters(), strict=True))

    @torch.no_grad()
    def update(self, share: Tensor) -> None:
        """Move the average one step towards the network's present weights; `share` 0 leaves it as it is, 1 is a step.

        `share` is a number without dimensions on the device, so that nobody has to wait for its value.
        """
        weight = share * (1 - self.decay)
        for target, source in self._pairs:
            target.lerp_(source, weight)


@torch.no_grad()
def measure_statistics(net: nn.Module, batches_nchw: Iterable[Tensor]) -> None:
    """Replace the running statistics of every BatchNorm by the mean over `batches_nchw` (N x C x H x W, 0..1 each).

    A network without BatchNorm, or with population statistics already, is left as it is. The mode of `net` is kept.
    Several processes measure the same batches, each for itself: they need not talk.
    """
    was_training = net.training
    net.train()
    if uses_batch_statistics(net):
        norms = norms_of(net)
        settings = [(norm.momentum, norm.mean_over_processes) for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over all batches seen since the reset
            norm.mean_over_processes = None
        for batch_nchw in batches_nchw:
            net(batch_nchw)
        for norm, (momentum, mean_over_processes) in zip(norms, settings, strict=True):
            norm.momentum, norm.mean_over_processes = momentum, mean_over_processes
    net.train(was_training)
