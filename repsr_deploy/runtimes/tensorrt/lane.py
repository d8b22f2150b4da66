"""What one run at a time needs on the GPU: a stream, memory on both sides, execution contexts and CUDA graphs.

Not yet measured on a GPU.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes.base import output_shape
from repsr_deploy.runtimes.tensorrt.api import Api
from repsr_kernels.gpu.driver import CudaError, CudaGraph

log = logging.getLogger(__name__)

Dims = tuple[int, ...]

SHAPES_KEPT = 16
"""Shapes that stay prepared. A tiled picture has at most nine: corners, edges and interior."""
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: the stream does not wait for the default stream


@dataclass
class _Prepared:
    """Everything that a run of one shape needs."""

    context: Any
    source: NDArray[Any]
    """Where the input is put: pinned memory."""
    result: NDArray[Any]
    """Where the output arrives: pinned memory."""
    graph: CudaGraph | None = None
    used: bool = False


@dataclass(frozen=True)
class _Memory:
    """Equally many bytes pinned in the host's memory and on the device."""

    host: NDArray[np.uint8]
    device: Any

    @classmethod
    def take(cls, cuda: Any, size: int) -> _Memory:
        return cls(cuda.pagelocked_empty((size,), np.uint8), cuda.mem_alloc(size))

    def view(self, shape: Dims, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The first host bytes as an array."""
        return self.host[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


_NOTHING = _Memory(np.empty(0, np.uint8), None)


class Lane:
    """One stream and what runs on it. Not for two threads at once; the CUDA context is current in every call.

    A shape's first run is launched call by call; when it comes again, copies and kernels are recorded as a CUDA graph,
    which then is one launch. A graph holds the addresses of all memory, so that each has an execution context of its
    own, as NVIDIA advises; they share their scratch memory. TensorRT for RTX does all that itself, in one context.

    Args:
        cuda: the module `pycuda.driver`.
        engine: a deserialized engine.
        info: what its model says about itself.
        names: of its input and output.
    """

    def __init__(self, cuda: Any, api: Api, engine: Any, info: ModelInfo, names: tuple[str, str]) -> None:
        self._cuda, self._api, self._engine, self._info, self._names = cuda, api, engine, info, names
        self._stream: Any = cuda.Stream(_NON_BLOCKING)
        self._input = self._output = _NOTHING
        self._records = not api.records_graphs
        self._scratch_bytes = int(engine.device_memory_size_v2)
        self._scratch: Any = cuda.mem_alloc(max(self._scratch_bytes, 1)) if self._records else None
        self._prepared: OrderedDict[Dims, _Prepared] = OrderedDict()
        self._shared: Any = None
        self._shared_shape: Dims | None = None

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The engine's output for a batch.

        Raises:
            MemoryError: there is no memory for it.
            CudaError: TensorRT or the driver fails.
        """
        prepared = self._prepare(batch)
        np.copyto(prepared.source, batch)
        if prepared.used and prepared.graph is None and self._records:
            self._record(prepared)
        if prepared.graph is None:
            self._enqueue(prepared)
        else:
            prepared.graph.launch(self._stream.handle)
        self._stream.synchronize()
        prepared.used = True
        return prepared.result.copy()

    def inspect(self, batch: NDArray[Any]) -> str:
        """What TensorRT says about the engine's layers for a batch of this shape, as JSON."""
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._prepare(batch).context
        return inspector.get_engine_information(self._api.trt.LayerInformationFormat.JSON)

    def close(self) -> None:
        """Free everything."""
        self._forget()
        self._input = self._output = _NOTHING
        self._shared = self._scratch = self._stream = None

    def _prepare(self, batch: NDArray[Any]) -> _Prepared:
        shape, dtype, made = batch.shape, batch.dtype, output_shape(self._info, batch)
        self._reserve(batch.nbytes, math.prod(made) * dtype.itemsize)
        prepared = self._prepared.pop(shape, None)
        if prepared is None:
            while len(self._prepared) >= SHAPES_KEPT:
                _close(self._prepared.popitem(last=False)[1])
            prepared = _Prepared(self._context(), self._input.view(shape, dtype), self._output.view(made, dtype))
        self._prepared[shape] = prepared  # at the end: most recently used
        if not prepared.used or (prepared.context is self._shared and self._shared_shape != shape):
            self._bind(prepared.context, shape)
        return prepared

    def _reserve(self, input_bytes: int, output_bytes: int) -> None:
        """Make room; what was prepared holds addresses of the old memory and is forgotten."""
        if input_bytes > self._input.host.size or output_bytes > self._output.host.size:
            self._forget()
            sizes = max(input_bytes, self._input.host.size), max(output_bytes, self._output.host.size)
            self._input = self._output = _NOTHING  # the old memory is freed before new is taken
            self._input, self._output = (_Memory.take(self._cuda, size) for size in sizes)

    def _context(self) -> Any:
        if self._shared is not None:
            return self._shared
        context = self._api.create_context(self._engine)
        if context is None:
            raise _failure(self._api, "cannot create an execution context")
        if self._api.records_graphs:
            self._shared = context
        else:
            context.set_device_memory(int(self._scratch), self._scratch_bytes)
        return context

    def _bind(self, context: Any, shape: Dims) -> None:
        """Tell a context the shape and where input and output lie."""
        (source, result), memory = self._names, (self._input, self._output)
        done = context.set_input_shape(source, shape)
        for name, place in zip((source, result), memory, strict=True):
            done = done and context.set_tensor_address(name, int(place.device))
        if not done:
            raise _failure(self._api, f"does not take the shape {shape}")
        self._shared_shape = shape

    def _enqueue(self, prepared: _Prepared) -> None:
        self._cuda.memcpy_htod_async(self._input.device, prepared.source, self._stream)
        if not prepared.context.execute_async_v3(self._stream.handle):
            raise _failure(self._api, f"cannot run on a batch of shape {prepared.source.shape}")
        self._cuda.memcpy_dtoh_async(prepared.result, self._output.device, self._stream)

    def _record(self, prepared: _Prepared) -> None:
        try:
            prepared.graph = CudaGraph.record(self._stream.handle, lambda: self._enqueue(prepared))
        except (CudaError, self._cuda.Error) as error:
            self._records = False
            log.warning("this engine runs without CUDA graphs: %s", error)

    def _forget(self) -> None:
        while self._prepared:
            _close(self._prepared.popitem()[1])


def _close(prepared: _Prepared) -> None:
    if prepared.graph is not None:
        prepared.graph.close()


def _failure(api: Api, what: str) -> Exception:
    reason = api.errors()
    if "outofmemory" in reason.lower().replace(" ", ""):
        return MemoryError(f"{api.program} {what}: {reason}")
    return CudaError(f"{api.program} {what}: {reason}")
