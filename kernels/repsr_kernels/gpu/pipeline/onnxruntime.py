"""Sessions of ONNX Runtime's CUDA and TensorRT providers as the pipeline drives them: bound to memory, on its stream.

Not yet measured on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from repsr_kernels.gpu.driver import CudaError, CudaMemoryError
from repsr_kernels.gpu.pipeline.networks import NetworkLane, Shape
from repsr_kernels.operations import Skip
from repsr_kernels.tensors import ITEM_BYTES, NUMPY, Tensor, Type, planar

_TYPES: dict[str, Type] = {"tensor(float)": "fp32", "tensor(float16)": "fp16"}
_OUT_OF_MEMORY = ("failed to allocate memory", "out of memory", "bad_alloc")


class OrtNetwork:
    """A model with features as its only output (`networks.DeviceNetwork`).

    Args:
        open_session: a session that computes on the stream with the handle that it is given: of a provider with the
            option `user_compute_stream`.
        cuda: the module `pycuda.driver`.
        device: where ONNX Runtime is told that the memory lies.
        skip, range: as `FusedUpsample`'s.
    """

    def __init__(
        self,
        open_session: Callable[[int], Any],
        cuda: Any,
        *,
        name: str,
        scale: int,
        skip: Skip,
        channels: int = 3,
        range: tuple[float, float] = (0.0, 1.0),  # noqa: A002 # the protocol's word
        device: str = "cuda",
    ) -> None:
        self.skip: Skip = skip
        self.name, self.scale, self.channels, self.range = name, scale, channels, range
        self._open_session, self._cuda, self._device = open_session, cuda, device
        self._sessions: dict[int, Any] = {}

    def lane(self, stream: int) -> NetworkLane:
        """See `DeviceNetwork.lane`. There is one session for each stream."""
        if stream not in self._sessions:
            self._sessions[stream] = self._open_session(stream)
        return OrtLane(self._sessions[stream], self._cuda, self.scale, self._device)

    def release(self) -> None:
        """See `DeviceNetwork.release`."""
        self._sessions.clear()


class OrtLane:
    """See `NetworkLane`."""

    capturable = False  # a session may take memory in any run

    def __init__(self, session: Any, cuda: Any, scale: int, device: str) -> None:
        import onnxruntime

        self._session, self._cuda, self._scale, self._device = session, cuda, scale, device
        self._options: Any = onnxruntime.RunOptions()
        # the stream orders what follows; waiting for it here would leave the GPU without work
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._binding: Any = None
        self._memory: list[Any] = []
        self._tensors: tuple[Tensor, Tensor] | None = None

    def prepare(self, shape: Shape) -> tuple[Tensor, Tensor]:
        """See `NetworkLane.prepare`."""
        if self._tensors is None or self._tensors[0].shape != shape:
            self.close()
            count, channels, height, width = shape
            self._binding = self._session.io_binding()
            given = self._placed(self._session.get_inputs()[0], shape, self._binding.bind_input)
            made = (count, channels * self._scale**2, height, width)
            self._tensors = given, self._placed(self._session.get_outputs()[0], made, self._binding.bind_output)
        return self._tensors

    def enqueue(self) -> None:
        """See `NetworkLane.enqueue`."""
        try:
            self._session.run_with_iobinding(self._binding, self._options)
        except Exception as error:  # ONNX Runtime's errors share no base class
            kind = CudaMemoryError if any(words in str(error).lower() for words in _OUT_OF_MEMORY) else CudaError
            reason = " ".join(str(error).split())
            raise kind(f"ONNX Runtime cannot run the network: {reason[:300]}") from error

    def close(self) -> None:
        """See `NetworkLane.close`."""
        self._tensors = self._binding = None
        self._memory.clear()

    def _placed(self, port: Any, shape: Shape, bind: Callable[..., None]) -> Tensor:
        """Memory for an input or output, and the session told of it."""
        kind = _TYPES[port.type]
        memory = self._cuda.mem_alloc(math.prod(shape) * ITEM_BYTES[kind])
        self._memory.append(memory)
        bind(port.name, self._device, 0, np.dtype(NUMPY[kind]).type, list(shape), int(memory))
        return planar(int(memory), kind, shape, device=0, owner=memory)
