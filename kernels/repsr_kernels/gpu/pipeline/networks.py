"""What the pipeline asks of a network, whoever computes it."""

from __future__ import annotations

from typing import Protocol

from repsr_kernels.operations import Skip
from repsr_kernels.tensors import Tensor

Shape = tuple[int, int, int, int]
"""N, C, H, W."""


class NetworkLane(Protocol):
    """A network on one stream, with memory for one batch at a time. The CUDA context is current in every call.

    Lanes of one stream may share memory that they use while they run, because one of them runs at a time there.
    """

    @property
    def capturable(self) -> bool:
        """Whether `enqueue` may be recorded as part of a CUDA graph, once it has run for a shape."""
        ...

    def prepare(self, shape: Shape) -> tuple[Tensor, Tensor]:
        """Make ready for batches of a shape.

        Returns:
            Where the input is put, N x C x H x W or more channels, which are then 0; and where the features arrive,
            N x C s^2 x H x W. Both stay where they are until the next call with another shape.

        Raises:
            UsageError: it does not take this shape.
            MemoryError: no GPU memory.
        """
        ...

    def enqueue(self) -> None:
        """Put the network on the stream: it reads the input and writes the features.

        Raises:
            CudaError: it cannot run.
        """
        ...

    def close(self) -> None:
        """Free everything; nothing is running. A second call does nothing."""
        ...


class DeviceNetwork(Protocol):
    """A network up to its last convolution: `FusedUpsample` makes pictures of what it gives.

    For one pipeline at a time. The CUDA context is current in every call.
    """

    name: str
    """For messages."""
    scale: int
    skip: Skip
    channels: int
    """Colours: 1 or 3."""
    range: tuple[float, float]
    """What it calls black and white."""

    def lane(self, stream: int) -> NetworkLane:
        """A lane on the stream with this handle.

        Raises:
            MemoryError: no GPU memory.
        """
        ...

    def release(self) -> None:
        """Free what lanes share, when all of them are closed; a later lane takes it anew."""
        ...
