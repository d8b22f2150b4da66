"""Execution contexts of an engine: what runs it on a stream, with memory that is given.

Not yet measured on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes.tensorrt.api import Api
from repsr_deploy.runtimes.tensorrt.precision import TYPE_NAMES
from repsr_kernels.gpu.driver import CudaError
from repsr_kernels.tensors import Type

Dims = tuple[int, ...]

_TYPES: dict[str, Type] = {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16", "UINT8": "uint8"}


@dataclass(frozen=True)
class Loaded:
    """An engine on the GPU."""

    api: Api
    runtime: Any
    """TensorRT's own; it lives as long as the engine."""
    engine: Any
    info: ModelInfo
    """What its model says about itself."""
    input: str
    """Name of the only input."""
    output: str

    def type_of(self, name: str) -> Type:
        """In which an input or output lies in memory."""
        said: str = self.engine.get_tensor_dtype(name).name
        return _TYPES[TYPE_NAMES.get(said, said)]


class Execution:
    """Contexts that share scratch memory: one of them runs at a time. The CUDA context is current in every call.

    A CUDA graph holds the addresses of all memory, and what it was recorded from must not change: contexts are cheap,
    and each graph has one of its own, as NVIDIA advises. Those of TensorRT for RTX record graphs by themselves, for
    every shape, and have scratch memory of their own.

    Args:
        cuda: the module `pycuda.driver`.
    """

    def __init__(self, cuda: Any, loaded: Loaded) -> None:
        self.loaded = loaded
        self.recordable = not loaded.api.records_graphs
        """Whether what a context runs is to be recorded by others."""
        self._cuda = cuda
        self._scratch: Any = None

    def context(self) -> Any:
        """A new context.

        Raises:
            MemoryError: there is no memory for it.
            CudaError: TensorRT fails.
        """
        context = self.loaded.api.create_context(self.loaded.engine)
        if context is None:
            raise self._failure("cannot create an execution context")
        if self.recordable:
            size = int(self.loaded.engine.device_memory_size_v2)
            self._scratch = self._scratch or self._cuda.mem_alloc(max(size, 1))
            context.set_device_memory(int(self._scratch), size)
        return context

    def bind(self, context: Any, shape: Dims, source: int, result: int) -> None:
        """Tell a context the shape, and the addresses of input and output.

        Raises:
            CudaError: it does not take them.
        """
        done = context.set_input_shape(self.loaded.input, shape)
        for name, address in ((self.loaded.input, source), (self.loaded.output, result)):
            done = done and context.set_tensor_address(name, address)
        if not done:
            raise self._failure(f"does not take the shape {shape}")

    def enqueue(self, context: Any, stream: int) -> None:
        """Put a bound context on the stream with this handle.

        Raises:
            MemoryError, CudaError: it cannot run.
        """
        if not context.execute_async_v3(stream):
            raise self._failure("cannot run")

    def release(self) -> None:
        """Free the scratch memory; all contexts are gone, and a later one takes it anew."""
        self._scratch = None

    def _failure(self, what: str) -> Exception:
        reason = self.loaded.api.errors()
        text = f"{self.loaded.api.program} {what}: {reason}"
        return (MemoryError if "outofmemory" in reason.lower().replace(" ", "") else CudaError)(text)
