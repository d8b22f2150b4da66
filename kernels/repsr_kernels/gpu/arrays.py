"""Arrays of PyCUDA, PyTorch, CuPy and others as tensors, without a copy.

Not yet measured on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu import dlpack
from repsr_kernels.gpu.memory import find_allocation
from repsr_kernels.gpu.primary import primary_context
from repsr_kernels.gpu.streams import let_wait, stream_handle
from repsr_kernels.tensors import ITEM_BYTES, Layout, Order, Tensor, Type, place

_TYPES: dict[str, Type] = {"<f4": "fp32", "<f2": "fp16", "|u1": "uint8", "<u2": "uint16"}
_DEVICES = {dlpack.CPU: "the host", dlpack.CUDA_HOST: "pinned memory of the host", dlpack.ROCM: "a ROCm GPU"}


@dataclass(frozen=True)
class ReadOnly:
    """The owner of memory that nobody may write to."""

    owner: Any


def on_device(
    array: Any,
    layout: Layout,
    *,
    type: Type | None = None,  # noqa: A002 # the field's word
    order: Order = "rgb",
    stream: Any = None,
) -> Tensor:
    """An array in the memory of an NVIDIA GPU as a tensor, in place.

    It is taken by DLPack where it has that (PyTorch, CuPy), because only DLPack has bfloat16, else by its
    `__cuda_array_interface__` (PyCUDA, Numba). The tensor keeps the memory from being freed; by DLPack it is given back
    when the last tensor of it is gone.

    Args:
        array: N x C x H x W or C x H x W for `nchw`, N x H x W x C or H x W x C for `nhwc`; any strides.
        type: `bf16` for an array of uint16 that holds such numbers; None for what the array says.
        order: of the colours in memory; the tensor's are always red, green, blue.
        stream: where the tensor will be used, as `launch` takes it. What the array's library has put on its own stream
            is finished first, where the array says which stream that is; nobody waits here.

    Raises:
        UsageError: no such array; memory of something else; a mask; another type; other axes.
        RuntimeUnavailableError: no NVIDIA GPU or driver.
        CudaError: the driver fails.
    """
    if hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
        return _by_dlpack(array, layout, type, order, stream_handle(stream))
    if hasattr(array, "__cuda_array_interface__"):
        return _by_interface(array, layout, type, order, stream_handle(stream))
    raise UsageError(
        f"array is {array.__class__.__name__}; expected one with __dlpack__ or __cuda_array_interface__, as of PyCUDA, "
        "PyTorch or CuPy"
    )


def _by_dlpack(array: Any, layout: Layout, wish: Type | None, order: Order, stream: int) -> Tensor:
    device, ordinal = (int(number) for number in array.__dlpack_device__())
    if device not in (dlpack.CUDA, dlpack.CUDA_MANAGED):
        kind = _DEVICES.get(device, f"a device of DLPack's type {device}")
        raise UsageError(f"array lies in the memory of {kind}; expected an NVIDIA GPU's")
    lent = dlpack.take(array, stream=stream or dlpack.DEFAULT_STREAM)
    return place_lent(lent, layout, type=wish, order=order, device=ordinal)


def place_lent(
    lent: dlpack.Lent,
    layout: Layout,
    *,
    type: Type | None,  # noqa: A002
    order: Order,
    device: int | None,
) -> Tensor:
    """What came by DLPack as a tensor, which gives it back in the end.

    Raises:
        UsageError: another type or other axes.
    """
    owner = ReadOnly(lent.loan) if lent.read_only else lent.loan
    kind = _held(lent.type, type)
    return place(
        lent.address, kind, lent.shape, lent.strides_bytes, layout, order=order, device=device, owner=owner
    )  # fmt: skip


def _by_interface(array: Any, layout: Layout, wish: Type | None, order: Order, stream: int) -> Tensor:
    told: dict[str, Any] = array.__cuda_array_interface__
    address, read_only = told["data"]
    if told["version"] not in (2, 3) or told.get("mask") is not None:
        raise UsageError(
            f"array has version {told['version']} of __cuda_array_interface__, mask {told.get('mask')!r}; expected "
            "version 2 or 3, and no mask"
        )
    if told["typestr"] not in _TYPES:
        raise UsageError(f"array has elements of type {told['typestr']!r}; expected one of {', '.join(_TYPES)}")
    kind = _held(_TYPES[told["typestr"]], wish)
    shape = tuple(told["shape"])
    strides = told.get("strides") or _of_rows(shape, ITEM_BYTES[kind])
    ordinal = _ordinal_of(address)
    if (producer := told.get("stream")) is not None:
        context = primary_context(ordinal)
        with context.entered():
            let_wait(context.driver, stream, producer)
    owner = ReadOnly(array) if read_only else array
    return place(address, kind, shape, strides, layout, order=order, device=ordinal, owner=owner)


def _ordinal_of(address: int) -> int:
    """Of the GPU whose memory lies there: the interface does not say it."""
    context = primary_context(0)
    with context.entered():
        found = find_allocation(context.driver, address)
    if found is None:
        raise UsageError(
            f"array lies at {address:#x}, where the NVIDIA driver knows of nothing; expected a GPU's memory"
        )
    return found.ordinal


def _held(found: Type, wish: Type | None) -> Type:
    """What the elements are, where someone may know better than the array."""
    if wish in (None, found) or (wish == "bf16" and found == "uint16"):
        return wish or found
    raise UsageError(f"array is {found}, which is not {wish}; expected {found}, or bf16 for uint16")


def _of_rows(shape: tuple[int, ...], item_bytes: int) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) * item_bytes for axis in range(len(shape)))
