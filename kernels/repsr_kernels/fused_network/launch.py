"""The network on a GPU of compute capability 8.0 or later.

Not yet measured on a GPU.
"""

from __future__ import annotations

import weakref
from ctypes import byref, c_int, c_size_t, c_uint64, c_void_p
from typing import Any

from repsr_kernels.errors import RuntimeUnavailableError, UsageError
from repsr_kernels.fused_network.operation import FusedNetwork, PlacedWeights, params_of
from repsr_kernels.fused_network.plan import chosen_tile, shared_bytes
from repsr_kernels.fused_network.variants import BLOCK, grid_of, variant_of
from repsr_kernels.fused_network.weights import NetworkWeights
from repsr_kernels.gpu.arrays import ReadOnly
from repsr_kernels.gpu.launch import Prepared
from repsr_kernels.gpu.memory import check_memory
from repsr_kernels.gpu.modules import function_of
from repsr_kernels.gpu.primary import PrimaryContext, primary_context
from repsr_kernels.tensors import Tensor

_OLDEST = 80  # mma.m16n8k16 of halves: PTX ISA
_MULTIPROCESSORS, _SHARED_BYTES = 16, 97  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
_DYNAMIC_SHARED_BYTES = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


def upload(weights: NetworkWeights, ordinal: int = 0) -> PlacedWeights:
    """Weights in memory of a GPU, freed with what is returned.

    Raises:
        RuntimeUnavailableError: there is no such GPU.
        MemoryError: the GPU has no memory left.
        CudaError: the driver fails.
    """
    context = primary_context(ordinal)
    packed = weights.packed
    with context.entered():
        owner = _Memory(context, packed.nbytes)
        context.driver.call(
            "cuMemcpyHtoD_v2", c_uint64(owner.address), c_void_p(packed.ctypes.data), c_size_t(packed.nbytes)
        )
    size = packed.nbytes
    memory = Tensor(owner.address, "uint8", (1, 1, 1, size), (size, size, size, 1), device=ordinal, owner=owner)
    return PlacedWeights(weights=weights, memory=memory)


class _Memory:
    """An allocation that goes with this object."""

    def __init__(self, context: PrimaryContext, size: int) -> None:
        address = c_uint64()
        context.driver.call("cuMemAlloc_v2", byref(address), c_size_t(size))
        self.address = address.value
        weakref.finalize(
            self, _free, context, self.address
        ).atexit = False  # a process gives back everything at its end


def _free(context: PrimaryContext, address: int) -> None:
    if not context.is_lost:
        with context.entered():
            context.driver.call("cuMemFree_v2", c_uint64(address))


def prepare(operation: FusedNetwork) -> Prepared:
    """Check a network on pictures against what the driver knows, and have its kernel compiled and loaded.

    Raises:
        UsageError: memory that is not the GPU's, or may not be written; another context in this thread.
        RuntimeUnavailableError: no such GPU, one below compute capability 8.0, no driver, or no compiler.
        MemoryError: the GPU has no memory for the kernel.
        CudaError: the GPU failed, now or before.
    """
    context = _context_of(operation)
    with context.entered():
        return _prepared(context, operation)


def launch(operation: FusedNetwork, stream: Any = None) -> None:
    """Do this on a GPU, on a stream: returns before it is done.

    Args:
        operation: on tensors of a GPU, which stay until the work is done; weights from `upload`.
        stream: a handle, a stream of PyCUDA, PyTorch or CuPy; None for the default stream.

    Raises:
        As `prepare` and `Prepared.enqueue`.
    """
    context = _context_of(operation)
    with context.entered():
        _prepared(context, operation).enqueue(stream)


def _context_of(operation: FusedNetwork) -> PrimaryContext:
    ordinal = operation.out.device
    if ordinal is None:
        raise UsageError("tensors lie in the memory of the host; expected a GPU's")
    context = primary_context(ordinal)
    if context.device.architecture < _OLDEST:
        raise RuntimeUnavailableError(
            f"{context.device.name} has compute capability {context.device.compute_capability}; the fused network "
            "needs 8.0: use a runtime for the network and the fused upsampling kernel behind it"
        )
    return context


def _prepared(context: PrimaryContext, operation: FusedNetwork) -> Prepared:
    named = {"image": operation.image, "weights": operation.network.memory, "out": operation.out}
    for name, tensor in named.items():
        check_memory(context, name, *tensor.extent)
    if isinstance(operation.out.owner, ReadOnly):
        raise UsageError("out lies in memory that its owner lends for reading only; expected other memory")
    weights = operation.network.weights
    _, _, height, width = operation.image.shape
    multiprocessors, limit = (_attribute(context, attribute) for attribute in (_MULTIPROCESSORS, _SHARED_BYTES))
    tile = chosen_tile(weights.scale, weights.body, limit, multiprocessors, height, width)
    variant = variant_of(weights, tile)
    function = function_of(context, variant)
    context.driver.call("cuFuncSetAttribute", function, c_int(_DYNAMIC_SHARED_BYTES), c_int(limit))
    params = params_of(operation, tile)
    grid = grid_of(params.count * params.down * params.across, multiprocessors)
    size = shared_bytes(weights.body, tile)
    return Prepared(context, variant.name, function, grid, BLOCK, params, shared_bytes=size, keep=operation)


def _attribute(context: PrimaryContext, attribute: int) -> int:
    value = c_int()
    context.driver.call("cuDeviceGetAttribute", byref(value), c_int(attribute), context.driver.handle(context.ordinal))
    return value.value
