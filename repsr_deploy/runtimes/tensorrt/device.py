"""An engine as `GpuPipeline` drives it: from and to the GPU's memory.

Not yet measured on a GPU.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from repsr_deploy.errors import UsageError
from repsr_deploy.model_info import Skip
from repsr_deploy.runtimes.tensorrt.execution import Execution, Loaded
from repsr_kernels.tensors import ITEM_BYTES, Tensor, planar

if TYPE_CHECKING:
    from repsr_kernels.gpu.pipeline import NetworkLane

Shape = tuple[int, int, int, int]


class EngineNetwork:
    """An engine of io `features` (`repsr_kernels.gpu.pipeline.DeviceNetwork`).

    Its lanes share scratch memory, so that they belong on one stream.

    Args:
        cuda: the module `pycuda.driver`.
    """

    def __init__(self, cuda: Any, loaded: Loaded) -> None:
        info = loaded.info
        if info.io != "features":
            raise UsageError(f"{info.name} gives pictures (io {info.io}); expected io features")
        self.skip: Skip = info.skip
        self.name, self.scale, self.range = info.name, info.scale, info.range
        self.channels = 3 if info.colour == "rgb" else 1
        self._cuda = cuda
        self._execution = Execution(cuda, loaded)

    def release(self) -> None:
        """See `DeviceNetwork.release`."""
        self._execution.release()

    def lane(self, stream: int) -> NetworkLane:
        """See `DeviceNetwork.lane`."""
        return EngineLane(self._cuda, self._execution, stream)


class EngineLane:
    """See `NetworkLane`."""

    def __init__(self, cuda: Any, execution: Execution, stream: int) -> None:
        self._cuda, self._execution, self._stream = cuda, execution, stream
        self.capturable = execution.recordable
        self._context: Any = None
        self._memory: list[Any] = [None, None]
        self._tensors: tuple[Tensor, Tensor] | None = None

    def prepare(self, shape: Shape) -> tuple[Tensor, Tensor]:
        """See `NetworkLane.prepare`."""
        if self._tensors is not None and self._tensors[0].shape == shape:
            return self._tensors
        loaded = self._execution.loaded
        count, channels, height, width = shape
        made = (count, channels * loaded.info.scale**2, height, width)
        self._tensors, self._memory = None, [None, None]  # the old memory is freed before new is taken
        self._context = self._context or self._execution.context()
        tensors: list[Tensor] = []
        for index, (name, dims) in enumerate(((loaded.input, shape), (loaded.output, made))):
            kind = loaded.type_of(name)
            self._memory[index] = self._cuda.mem_alloc(math.prod(dims) * ITEM_BYTES[kind])
            tensors.append(planar(int(self._memory[index]), kind, dims, device=0))
        self._execution.bind(self._context, shape, tensors[0].address, tensors[1].address)
        self._tensors = (tensors[0], tensors[1])
        return self._tensors

    def enqueue(self) -> None:
        """See `NetworkLane.enqueue`."""
        self._execution.enqueue(self._context, self._stream)

    def close(self) -> None:
        """See `NetworkLane.close`."""
        self._tensors = self._context = None
        self._memory = [None, None]
