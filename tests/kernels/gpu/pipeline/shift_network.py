"""A network that the kernels themselves compute: each of its features is a colour, moved by a pixel or not at all.

Beyond the border lies 0, as under the zero padding of a convolution, so that it looks one pixel around (`HALO`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from ctypes import c_size_t, c_ubyte, c_uint64, c_void_p
from dataclasses import replace
from typing import Any

import numpy as np

from repsr_kernels import reference
from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.driver import CudaMemoryError, load_driver
from repsr_kernels.gpu.launch import Prepared, prepare
from repsr_kernels.operations import FusedUpsample, Picture, Preprocess, Skip
from repsr_kernels.tensors import ITEM_BYTES, NUMPY, Tensor, Type, on_host, planar

HALO = 1
MOVES = ((0, 0), (1, -1), (-1, 0), (0, 1), (1, 1), (0, -1), (-1, 1), (1, 0), (-1, -1))
"""By how many rows and columns; feature k of each colour takes number k, counted round."""
LARGEST_SIDE = 512
"""It takes no larger image."""

Shape = tuple[int, int, int, int]


class ShiftNetwork:
    """See `DeviceNetwork`. What it is to do wrong can be changed at any time."""

    name = "shifts"
    channels = 3

    def __init__(
        self,
        cuda: Any,
        *,
        scale: int = 2,
        skip: Skip = "nearest",
        type: Type = "fp32",  # noqa: A002
        capturable: bool = True,
    ) -> None:
        self.skip: Skip = skip
        self.type: Type = type
        self.scale = scale
        self.range = (-0.5, 2.5)
        """Wide enough for features and skip together."""
        self.capturable = capturable
        self.broken_runs: set[int] = set()
        """Runs, counted from 0, in which it raises."""
        self.broken_values = 0
        """How many of the first values of each run are NaN."""
        self.runs = self.lanes = 0
        self.released = False
        self.largest_side = LARGEST_SIDE
        self.memory_bytes: int | None = None
        """What one of its tensors may take; None for all that the GPU has."""
        self.cuda = cuda

    def lane(self, stream: int) -> ShiftLane:
        """See `DeviceNetwork.lane`."""
        self.lanes += 1
        return ShiftLane(self, stream)

    def release(self) -> None:
        """See `DeviceNetwork.release`."""
        assert self.lanes == 0
        self.released = True


class ShiftLane:
    """See `NetworkLane`."""

    def __init__(self, network: ShiftNetwork, stream: int) -> None:
        self._network, self._stream = network, stream
        self._memory: list[Any] = []
        self._tensors: tuple[Tensor, Tensor] | None = None
        self._launches: list[Prepared] = []

    @property
    def capturable(self) -> bool:
        """See `NetworkLane.capturable`."""
        return self._network.capturable

    def prepare(self, shape: Shape) -> tuple[Tensor, Tensor]:
        """See `NetworkLane.prepare`."""
        network, cuda = self._network, self._network.cuda
        if max(shape) > network.largest_side:
            raise UsageError(f"{network.name} takes sides up to {network.largest_side}, not {shape}")
        if self._tensors is None or self._tensors[0].shape != shape:
            count, channels, height, width = shape
            self._memory.clear()
            tensors = [
                self._placed(dims) for dims in (shape, (count, channels * network.scale**2, height, width))
            ]  # fmt: skip
            cuda.Context.synchronize()  # the stream would not wait for what the default one does
            self._tensors = tensors[0], tensors[1]
            self._launches = [prepare(move) for move in moves(*self._tensors, network.scale)]
        return self._tensors

    def enqueue(self) -> None:
        """See `NetworkLane.enqueue`."""
        network = self._network
        run, network.runs = network.runs, network.runs + 1
        for launch in self._launches:
            launch.enqueue(self._stream)
        if run in network.broken_runs:
            raise ZeroDivisionError(f"run {run}")
        if network.broken_values:
            self._break(network.broken_values)

    def close(self) -> None:
        """See `NetworkLane.close`."""
        self._network.lanes -= 1
        self._memory.clear()
        self._launches.clear()
        self._tensors = None

    def _placed(self, shape: Shape) -> Tensor:
        kind = self._network.type
        size = math.prod(shape) * ITEM_BYTES[kind]
        if self._network.memory_bytes is not None and size > self._network.memory_bytes:
            raise CudaMemoryError(f"no memory for {size} bytes")
        memory = self._network.cuda.mem_alloc(size)
        self._network.cuda.memset_d8(memory, 0, size)
        self._memory.append(memory)
        return planar(int(memory), kind, shape, device=0, owner=memory)

    def _break(self, values: int) -> None:
        """All bits set is NaN in every type."""
        assert self._tensors is not None
        features = self._tensors[1]
        size = c_size_t(values * ITEM_BYTES[features.type])
        load_driver().call(
            "cuMemsetD8Async", c_uint64(features.address), c_ubyte(0xFF), size, c_void_p(self._stream)
        )  # fmt: skip


def moves(given: Tensor, features: Tensor, scale: int) -> Iterator[FusedUpsample]:
    """The network: out of features that are 0 at first."""
    count, channels, height, width = given.shape
    of_image, of_plane, of_row, _ = features.strides
    for number in range(scale**2):
        down, right = MOVES[number % len(MOVES)]
        if abs(down) >= height or abs(right) >= width:
            continue
        group = replace(
            features,
            address=features.address + number * of_plane * ITEM_BYTES[features.type],
            shape=(count, channels, height, width),
            strides=(of_image, scale**2 * of_plane, of_row, 1),
        )
        rows, columns = height - abs(down), width - abs(right)
        yield FusedUpsample(
            features=given.part(max(0, -down), max(0, -right), rows, columns),
            out=group.part(max(0, down), max(0, right), rows, columns),
            scale=1,
        )


def features_of(given: Tensor, scale: int) -> Tensor:
    """What the network makes of its input, in the memory of the host."""
    count, channels, height, width = given.shape
    array = np.zeros((count, channels * scale**2, height, width), NUMPY[given.type])
    features = on_host(array, "nchw", type=given.type)
    for move in moves(given, features, scale):
        reference.run(move)
    return features


def expected(network: ShiftNetwork, source: Picture, out: Picture) -> None:
    """What the pipeline is to make of frames: the references of the kernels, in the memory of the host, untiled."""
    given = on_host(np.empty(source.shape, NUMPY[network.type]), "nchw", type=network.type)
    reference.run(Preprocess(source=source, out=given, range=network.range))
    image = source if isinstance(source, Tensor) else given
    reference.run(
        FusedUpsample(
            features=features_of(given, network.scale),
            image=None if network.skip == "none" else image,
            out=out,
            scale=network.scale,
            skip=network.skip,
            range=network.range,
        )
    )
