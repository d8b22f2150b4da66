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

from repsr_deploy.runtimes.base import output_shape
from repsr_deploy.runtimes.tensorrt.execution import Dims, Execution, Loaded
from repsr_kernels.gpu.driver import CudaError, CudaGraph
from repsr_kernels.tensors import NUMPY

log = logging.getLogger(__name__)

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
    which then is one launch. TensorRT for RTX does that itself, in one context for all shapes.

    Args:
        cuda: the module `pycuda.driver`.
    """

    def __init__(self, cuda: Any, loaded: Loaded) -> None:
        self._cuda, self._loaded = cuda, loaded
        self._stream: Any = cuda.Stream(_NON_BLOCKING)
        self._input = self._output = _NOTHING
        self._execution = Execution(cuda, loaded)
        self._records = self._execution.recordable
        self._prepared: OrderedDict[Dims, _Prepared] = OrderedDict()
        self._shared: Any = None
        self._shared_shape: Dims | None = None

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The engine's output for a batch, in the engine's type; bf16 as its bits.

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
        inspector = self._loaded.engine.create_engine_inspector()
        inspector.execution_context = self._prepare(batch).context
        return inspector.get_engine_information(self._loaded.api.trt.LayerInformationFormat.JSON)

    def close(self) -> None:
        """Free everything."""
        self._forget()
        self._input = self._output = _NOTHING
        self._shared = self._stream = None
        self._execution.release()

    def _prepare(self, batch: NDArray[Any]) -> _Prepared:
        shape, made = batch.shape, output_shape(self._loaded.info, batch)
        made_type = NUMPY[self._loaded.type_of(self._loaded.output)]
        self._reserve(batch.nbytes, math.prod(made) * made_type.itemsize)
        prepared = self._prepared.pop(shape, None)
        if prepared is None:
            while len(self._prepared) >= SHAPES_KEPT:
                _close(self._prepared.popitem(last=False)[1])
            source, result = self._input.view(shape, batch.dtype), self._output.view(made, made_type)
            prepared = _Prepared(self._context(), source, result)
        self._prepared[shape] = prepared  # at the end: most recently used
        if not prepared.used or (prepared.context is self._shared and self._shared_shape != shape):
            self._execution.bind(prepared.context, shape, int(self._input.device), int(self._output.device))
            self._shared_shape = shape
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
        context = self._execution.context()
        if not self._execution.recordable:
            self._shared = context
        return context

    def _enqueue(self, prepared: _Prepared) -> None:
        self._cuda.memcpy_htod_async(self._input.device, prepared.source, self._stream)
        self._execution.enqueue(prepared.context, self._stream.handle)
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
