"""What the driver knows about an address, checked against what a tensor claims.

Not yet measured on a GPU.
"""

from __future__ import annotations

from ctypes import addressof, c_int, c_uint, c_uint64, c_void_p
from dataclasses import dataclass

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.driver import Driver
from repsr_kernels.gpu.primary import PrimaryContext

_ATTRIBUTES = (c_int * 5)(1, 2, 9, 11, 12)  # CU_POINTER_ATTRIBUTE_CONTEXT, MEMORY_TYPE, DEVICE_ORDINAL, RANGE_*
_HOST, _ON_DEVICE = 1, (2, 4)  # CU_MEMORYTYPE_HOST; DEVICE and UNIFIED


@dataclass(frozen=True)
class Allocation:
    """Memory that the driver knows."""

    context: int | None
    """None where it belongs to no context, as memory of asynchronous allocators does."""
    memory_type: int
    ordinal: int
    start: int
    bytes: int


def find_allocation(driver: Driver, address: int) -> Allocation | None:
    """What lies at an address; None where the driver knows nothing."""
    context, memory_type, ordinal, start, size = values = c_void_p(), c_uint(), c_int(), c_uint64(), c_uint64()
    places = (c_void_p * len(values))(*map(addressof, values))
    driver.call("cuPointerGetAttributes", c_uint(len(values)), _ATTRIBUTES, places, c_uint64(address))
    if memory_type.value == 0:
        return None
    return Allocation(context.value, memory_type.value, ordinal.value, start.value, size.value)


def check_memory(context: PrimaryContext, name: str, low: int, high: int) -> None:
    """Refuse addresses that a kernel on this GPU must not touch. One call of the driver for each allocation in them.

    Several allocations may follow each other: PyTorch's expandable segments do.

    Args:
        name: of the tensor in messages.
        low: address of the first byte.
        high: address of the byte behind the last.

    Raises:
        UsageError: memory of the host, of another GPU, of another context, of nobody, or an allocation that ends
            before the tensor.
        CudaError: the driver fails.
    """
    where = f"{name} lies at {low:#x} to {high:#x}"
    expected = f"expected memory of GPU {context.ordinal}"
    address = low
    while address < high:
        found = find_allocation(context.driver, address)
        if found is None and address > low:
            raise UsageError(
                f"{where}, but its memory ends at {address:#x}; expected an allocation as long as its shape"
            )
        if found is None:
            raise UsageError(f"{where}, where the NVIDIA driver knows of nothing; {expected} that was not freed")
        if found.memory_type not in _ON_DEVICE:
            kind = (
                "the host" if found.memory_type == _HOST else f"a type that cannot be addressed ({found.memory_type})"
            )
            raise UsageError(f"{where} in memory of {kind}; {expected}")
        if found.ordinal != context.ordinal:
            raise UsageError(f"{where} in memory of GPU {found.ordinal}; {expected}, which the tensor names")
        if found.context not in (None, context.handle.value):
            raise UsageError(
                f"{where} in memory of another context than the primary one of GPU {context.ordinal}; expected memory "
                "of PyTorch, of CuPy, or of PyCUDA within repsr_kernels.gpu.context"
            )
        address = max(found.start + found.bytes, address + 1)
