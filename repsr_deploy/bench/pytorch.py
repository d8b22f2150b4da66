"""PyTorch as one more runtime: the network as it is trained, or folded, without a compiler."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

from repsr_deploy.bench.contestant import CHANNELS_LAST, PYTORCH
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.nets.network import Network
from repsr_deploy.runtimes.base import Batch, CheckedRuntime


class PyTorchRuntime(CheckedRuntime):
    """A network in PyTorch's eager mode on the CPU, in fp32.

    Args:
        net: of any form; it is changed to evaluation mode, fp32 and the layout.
        threads: threads of one run; None for PyTorch's own choice.
        channels_last: keep tensors as N x H x W x C in memory.
    """

    precision: Precision = "fp32"

    def __init__(self, net: Network, threads: int | None = None, *, channels_last: bool = False) -> None:
        spec = net.spec
        self.name = CHANNELS_LAST if channels_last else PYTORCH
        self.info = ModelInfo(
            name=spec.name, scale=spec.scale, halo=spec.halo, colour=spec.colour, width=spec.folded.width
        )
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._net: Any = net.float().eval().to(memory_format=self._layout)  # type: ignore[call-overload]
        self._threads = threads or torch.get_num_threads()

    def _run(self, batch: Batch) -> Batch:
        with _threads(self._threads), torch.inference_mode():
            batch_nchw = torch.from_numpy(batch).to(memory_format=self._layout)
            return self._net(batch_nchw).clamp(*self.info.range).contiguous().numpy()


@contextmanager
def _threads(count: int) -> Generator[None]:
    """PyTorch's threads are those of the whole process: others must find them as they were."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
