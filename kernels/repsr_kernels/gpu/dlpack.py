"""DLPack: arrays handed over as structures of C, by capsules that a consumer empties and later gives back.

The layout is that of dlpack.h 1.0 and of the unversioned structure before it; <https://dmlc.github.io/dlpack/latest/>.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

from repsr_kernels.errors import UsageError
from repsr_kernels.tensors import Type

CPU, CUDA, CUDA_HOST, ROCM, CUDA_MANAGED = 1, 2, 3, 10, 13  # DLDeviceType
DEFAULT_STREAM = 1
"""What DLPack calls CUDA's default stream; 0 may be another one."""
VERSION = (1, 0)
"""The newest that is understood: minor versions only add."""
_READ_ONLY = 1  # DLPACK_FLAG_BITMASK_READ_ONLY
_UNSIGNED, _FLOAT, _BFLOAT = 1, 2, 4  # DLDataTypeCode
_TYPES: dict[tuple[int, int], Type] = {
    (_FLOAT, 32): "fp32", (_FLOAT, 16): "fp16", (_BFLOAT, 16): "bf16",
    (_UNSIGNED, 8): "uint8", (_UNSIGNED, 16): "uint16",
}  # fmt: skip


class _Array(ctypes.Structure):
    """DLTensor"""

    _fields_ = (
        ("data", c_void_p), ("device_type", c_int32), ("device_id", c_int32), ("ndim", c_int32),
        ("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16),
        ("shape", POINTER(c_int64)), ("strides", POINTER(c_int64)), ("byte_offset", c_uint64),
    )  # fmt: skip


class _Managed(ctypes.Structure):
    """DLManagedTensor"""

    _fields_ = (("array", _Array), ("context", c_void_p), ("deleter", c_void_p))


class _ManagedVersioned(ctypes.Structure):
    """DLManagedTensorVersioned"""

    _fields_ = (
        ("major", c_uint32), ("minor", c_uint32), ("context", c_void_p), ("deleter", c_void_p), ("flags", c_uint64),
        ("array", _Array),
    )  # fmt: skip


_Structure = type[_Managed] | type[_ManagedVersioned]
_KINDS: tuple[tuple[bytes, bytes, _Structure], ...] = (
    (b"dltensor_versioned", b"used_dltensor_versioned", _ManagedVersioned),
    (b"dltensor", b"used_dltensor", _Managed),
)
"""Names of full and of emptied capsules, which do not copy them, and what they point to."""
_DELETER = ctypes.PYFUNCTYPE(None, c_void_p)

_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer_of = ctypes.PYFUNCTYPE(c_void_p, ctypes.py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
_set_name = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))


class Loan:
    """Whose end gives the memory back to its owner."""


@dataclass(frozen=True, kw_only=True)
class Lent:
    """An array that someone handed over."""

    address: int
    type: Type
    shape: tuple[int, ...]
    strides_bytes: tuple[int, ...]
    device_type: int
    device_id: int
    read_only: bool
    loan: Loan
    """The memory is the owner's as long as this lives, at least."""


def take(array: Any, **options: Any) -> Lent:
    """What an object with `__dlpack__` hands over.

    Args:
        options: for its `__dlpack__`, as `stream`.

    Raises:
        UsageError: it refuses, or hands over something that no kernel takes; it has its memory back then.
    """
    try:
        capsule = _exported(array, options)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"{type(array).__name__} does not hand over its memory by DLPack: {error}") from error
    for name, used, structure in _KINDS:
        if _is_valid(capsule, name):
            managed = structure.from_address(_pointer_of(capsule, name))
            _set_name(capsule, used)  # from now on the memory is given back by us, not by the capsule
            return _received(managed)
    raise UsageError(
        f"{type(array).__name__}.__dlpack__ gave {capsule!r}; expected a capsule of DLPack, not used before"
    )


def _exported(array: Any, options: dict[str, Any]) -> Any:
    try:
        return array.__dlpack__(max_version=VERSION, **options)
    except TypeError:  # of an owner from before DLPack 1.0
        return array.__dlpack__(**options)


def _received(managed: _Managed | _ManagedVersioned) -> Lent:
    loan = Loan()
    weakref.finalize(loan, _give_back, ctypes.addressof(managed), managed.deleter)
    if isinstance(managed, _Managed):
        return _lent(managed.array, loan, read_only=False)
    if managed.major > VERSION[0]:
        raise UsageError(f"array comes by DLPack {managed.major}.{managed.minor}; expected {VERSION[0]}.x")
    return _lent(managed.array, loan, read_only=bool(managed.flags & _READ_ONLY))


def _lent(array: _Array, loan: Loan, *, read_only: bool) -> Lent:
    kind = _TYPES.get((array.code, array.bits))
    if kind is None or array.lanes != 1:
        raise UsageError(
            f"array has elements of DLPack's type {array.code}, {array.bits} bits, {array.lanes} lanes; expected "
            f"{', '.join(_TYPES.values())}"
        )
    shape = tuple(array.shape[: array.ndim])
    if array.strides:
        strides = tuple(array.strides[: array.ndim])
    else:  # none said: row after row
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(array.ndim))
    size = array.bits // 8
    return Lent(
        address=(array.data or 0) + array.byte_offset,
        type=kind,
        shape=shape,
        strides_bytes=tuple(stride * size for stride in strides),
        device_type=array.device_type,
        device_id=array.device_id,
        read_only=read_only,
        loan=loan,
    )


def _give_back(address: int, deleter: int | None) -> None:
    if deleter:
        _DELETER(deleter)(address)
