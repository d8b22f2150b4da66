"""Operations on a GPU: checked, compiled and loaded once, launched by one call of the driver.

Kernels are launched by the driver's own function, because PyCUDA launches only onto streams that it made itself.
Not yet measured on a GPU.
"""

from __future__ import annotations

import ctypes
from ctypes import c_size_t, c_uint, c_void_p
from typing import Any

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.arrays import ReadOnly
from repsr_kernels.gpu.driver import CudaError
from repsr_kernels.gpu.memory import check_memory
from repsr_kernels.gpu.modules import function_of
from repsr_kernels.gpu.primary import PrimaryContext, primary_context
from repsr_kernels.gpu.streams import stream_handle
from repsr_kernels.operations import FusedUpsample, Picture, Preprocess
from repsr_kernels.params import params_of
from repsr_kernels.tensors import Tensor
from repsr_kernels.variants import Dim3, grid_of, variant_of

_END, _BUFFER_POINTER, _BUFFER_SIZE = 0, 1, 2  # CU_LAUNCH_PARAM_*
_COUNTER_BYTES = 8


class Prepared:
    """An operation that was checked, ready to be launched any number of times.

    Args:
        context: where it runs; current.
        function: the kernel, loaded there (`modules.function_of`).
        grid, block: numbers of blocks and threads, x, y, z.
        params: the only parameter of the kernel, by value.
        shared_bytes: shared memory that a block is given beyond what the kernel declares.
        keep: owners of the memory that it works on.
    """

    def __init__(
        self,
        context: PrimaryContext,
        name: str,
        function: c_void_p,
        grid: Dim3,
        block: Dim3,
        params: ctypes.Structure,
        *,
        shared_bytes: int = 0,
        keep: object,
    ) -> None:
        self._context, self._name, self._keep = context, name, keep
        self._params, self._params_bytes = params, c_size_t(ctypes.sizeof(params))
        told = _BUFFER_POINTER, ctypes.addressof(self._params), _BUFFER_SIZE, ctypes.addressof(self._params_bytes), _END
        self._before = function, *map(c_uint, (*grid, *block, shared_bytes))
        self._behind = None, (c_void_p * len(told))(*told)

    def enqueue(self, stream: Any = None) -> None:
        """Put it on a stream; it can be recorded in a CUDA graph.

        The primary context is current in this thread, as it is within `PrimaryContext.entered`, `GpuContext.current`,
        or behind PyTorch's and CuPy's own calls. The memory must stay until the work is done.

        Args:
            stream: as `streams.stream_handle` takes it; None for the default stream.

        Raises:
            CudaError: the driver refuses; or the GPU failed so that this process cannot use it any more.
        """
        self._context.check()
        handle = c_void_p(stream_handle(stream))
        try:
            self._context.driver.call("cuLaunchKernel", *self._before, handle, *self._behind)
        except CudaError as error:
            self._context.look(error)
            raise CudaError(f"{self._name} cannot be launched: {error}", error.status) from error


def prepare(operation: FusedUpsample | Preprocess) -> Prepared:
    """Check an operation on a GPU against what the driver knows, and have its kernel compiled and loaded.

    Costs one call of the driver for each tensor. Nothing may be recorded in this thread meanwhile.

    Raises:
        UsageError: memory that is not the GPU's, or ends before its tensor; memory that may not be written; a counter
            that does not lie on a multiple of 8 bytes; another context in this thread.
        RuntimeUnavailableError: no such GPU, no driver, no compiler, or a driver too old for what it makes.
        MemoryError: the GPU has no memory for the kernel.
        CudaError: the GPU failed, now or before.
    """
    context = _context_of(operation)
    with context.entered():
        return _prepared(context, operation)


def launch(operation: FusedUpsample | Preprocess, stream: Any = None) -> None:
    """Do this on a GPU, on a stream: returns before it is done.

    Whoever repeats an operation on the same memory has it checked once by `prepare`.

    Args:
        operation: on tensors of a GPU, which stay until the work is done.
        stream: a handle, a stream of PyCUDA, PyTorch or CuPy; None for the default stream.

    Raises:
        As `prepare` and `Prepared.enqueue`.
    """
    context = _context_of(operation)
    with context.entered():
        _prepared(context, operation).enqueue(stream)


def _context_of(operation: FusedUpsample | Preprocess) -> PrimaryContext:
    ordinal = operation.out.device
    if ordinal is None:
        raise UsageError("tensors lie in the memory of the host; expected a GPU's, or repsr_kernels.cpu to run this")
    return primary_context(ordinal)


def _prepared(context: PrimaryContext, operation: FusedUpsample | Preprocess) -> Prepared:
    read, written = _tensors(operation)
    for name, tensor in (*read, *written):
        check_memory(context, name, *tensor.extent)
    for name, tensor in written:
        if isinstance(tensor.owner, ReadOnly):
            raise UsageError(f"{name} lies in memory that its owner lends for reading only; expected other memory")
    if isinstance(operation, FusedUpsample) and operation.nonfinite is not None:
        counter = operation.nonfinite
        if counter % _COUNTER_BYTES:
            raise UsageError(f"nonfinite lies at {counter:#x}; expected a multiple of {_COUNTER_BYTES}")
        check_memory(context, "nonfinite", counter, counter + _COUNTER_BYTES)
    variant = variant_of(operation)
    grid, block = grid_of(operation)
    params = params_of(operation)
    return Prepared(context, variant.name, function_of(context, variant), grid, block, params, keep=operation)


def _tensors(operation: FusedUpsample | Preprocess) -> tuple[list[tuple[str, Tensor]], list[tuple[str, Tensor]]]:
    """What is read, and what is written, each with its name."""
    if isinstance(operation, Preprocess):
        return _named("source", operation.source), _named("out", operation.out)
    read = [*_named("features", operation.features), *_named("image", operation.image)]
    return read, _named("out", operation.out)


def _named(name: str, picture: Picture | None) -> list[tuple[str, Tensor]]:
    if picture is None:
        return []
    if isinstance(picture, Tensor):
        return [(name, picture)]
    return [(f"luma of {name}", picture.luma), (f"chroma of {name}", picture.chroma)]
