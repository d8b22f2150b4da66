"""Training on several devices: every process takes the same steps, each on its part of the batch.

`torchrun --nproc-per-node 2 -m repsr_train ...` starts the processes. Gradients and the loss are averaged in one
message a step, the statistics of BatchNorm in one message a layer while they come from mini-batches. The networks here
are small: overlapping these messages with the backward pass would gain little and make the order of sums depend on
timing. Losses and weights are those of one process with the whole batch, within rounding, and so are saved states: a
run may be continued with another number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from repsr_deploy.errors import RepsrError, UsageError

TIMEOUT = timedelta(hours=2)
"""How long processes wait for the first one, which validates and writes alone."""


class Processes:
    """The processes of this training; this one is number `rank` of `count`."""

    def __init__(self, rank: int = 0, count: int = 1, hosts: dist.ProcessGroup | None = None) -> None:
        self.rank, self.count = rank, count
        self._hosts = hosts

    @property
    def leads(self) -> bool:
        """Whether this process validates, writes and prints."""
        return self.rank == 0

    def part(self, batch: int) -> slice | None:
        """Which crops of the planned batch this process trains on; None means all of them.

        Raises:
            UsageError: the batch cannot be divided evenly.
        """
        if batch % self.count:
            raise UsageError(f"batch is {batch}, for {self.count} processes; expected a multiple of {self.count}")
        size = batch // self.count
        return None if self.count == 1 else slice(self.rank * size, (self.rank + 1) * size)

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors by their means over all processes, in one message."""
        if self.count == 1:
            return
        message = torch.cat([tensor.reshape(-1) for tensor in tensors])
        _sum(message)
        message /= self.count
        start = 0
        for tensor in tensors:
            tensor.copy_(message[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    @property
    def differentiable_mean(self) -> Callable[[Tensor], Tensor] | None:
        """The mean over all processes as a function to differentiate; None in a single process."""
        return None if self.count == 1 else _mean_over_processes

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process; waits for all of them, not for their devices."""
        if self.count == 1:
            return flag
        message = torch.tensor(flag, dtype=torch.int32)
        _sum(message, self._hosts)
        return bool(message.item())


ALONE = Processes()


def _sum(message: Tensor, group: dist.ProcessGroup | None = None) -> None:
    """Replace `message` by its sum over all processes.

    Raises:
        RepsrError: another process has ended.
    """
    try:
        dist.all_reduce(message, group=group)
    except RuntimeError as error:
        raise RepsrError(f"process {dist.get_rank()} lost the others, whose messages say why ({error})") from error


class _Mean(torch.autograd.Function):
    """Mean over processes. Every process's loss depends on every process's input, so gradients are averaged, too:
    after the average of all gradients, those are the gradients of the mean loss."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """The mean of `tensor`."""
        mean = tensor.clone()
        _sum(mean)
        return mean / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        """The mean of `gradient`."""
        mean = gradient.contiguous().clone()
        _sum(mean)
        return mean / dist.get_world_size()


def _mean_over_processes(tensor: Tensor) -> Tensor:
    return _Mean.apply(tensor)


@contextmanager
def joined(device: torch.device) -> Generator[Processes]:
    """The processes that torchrun started, or this one alone; NCCL between CUDA devices, else Gloo."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    hosts = cast("dist.ProcessGroup", dist.new_group(backend="gloo", timeout=TIMEOUT))
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), hosts)
    finally:
        dist.destroy_process_group()
