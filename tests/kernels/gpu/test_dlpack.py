"""What comes by DLPack: real arrays of the host, and structures made for what those cannot say."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Sequence
from ctypes import c_char_p, c_int, c_int64, c_void_p, py_object, pythonapi
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu import dlpack
from repsr_kernels.gpu.arrays import ReadOnly, on_device, place_lent
from repsr_kernels.gpu.dlpack import CPU, CUDA, ROCM, take
from repsr_kernels.tensors import Order, Tensor, Type

_new_capsule = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", pythonapi))
_DELETER = ctypes.CFUNCTYPE(None, c_void_p)


class Array(ctypes.Structure):
    """DLTensor of dlpack.h, written down a second time."""

    _fields_ = (
        ("data", c_void_p), ("device_type", c_int), ("device_id", c_int), ("ndim", c_int),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(c_int64)), ("strides", ctypes.POINTER(c_int64)), ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


class Old(ctypes.Structure):
    """DLManagedTensor"""

    _fields_ = (("array", Array), ("context", c_void_p), ("deleter", _DELETER))


class New(ctypes.Structure):
    """DLManagedTensorVersioned"""

    _fields_ = (
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", c_void_p), ("deleter", _DELETER),
        ("flags", ctypes.c_uint64), ("array", Array),
    )  # fmt: skip


class Producer:
    """Hands over an array that it describes as it is told."""

    def __init__(
        self,
        *,
        version: tuple[int, int] | None = (1, 1),
        shape: Sequence[int] = (2, 3, 5),
        strides: Sequence[int] | None = None,
        kind: tuple[int, int, int] = (2, 32, 1),
        device: tuple[int, int] = (CPU, 0),
        flags: int = 0,
        byte_offset: int = 0,
    ) -> None:
        self.device, self.given_back = device, 0
        self.asked: list[dict[str, Any]] = []
        self._memory = np.zeros(4096, np.uint8)
        self.address = int(self._memory.ctypes.data)
        self._shape = (c_int64 * len(shape))(*shape)
        self._strides = None if strides is None else (c_int64 * len(strides))(*strides)
        self._deleter = _DELETER(self._delete)
        code, bits, lanes = kind
        array = Array(
            self.address, *device, len(shape), code, bits, lanes, self._shape, self._strides, byte_offset
        )  # fmt: skip
        self._is_old = version is None
        if version is None:
            self._managed: Old | New = Old(array, None, self._deleter)
        else:
            self._managed = New(*version, None, self._deleter, flags, array)

    def _delete(self, address: int) -> None:
        assert address == ctypes.addressof(self._managed)
        self.given_back += 1

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, **options: Any) -> Any:
        if self._is_old and "max_version" in options:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.asked.append(options)
        name = b"dltensor" if self._is_old else b"dltensor_versioned"
        return _new_capsule(ctypes.addressof(self._managed), name, None)


def placed(array: Any, *, type: Type | None = None, order: Order = "rgb") -> Tensor:  # noqa: A002
    """An array of the host as a tensor, by the way that arrays of GPUs take."""
    return place_lent(take(array), "nhwc", type=type, order=order, device=None)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "uint16"])
def test_real_arrays(library: str, dtype: str) -> None:
    array = (np.random.default_rng(0).random((2, 7, 9, 3)) * 200).astype(dtype)[
        :, 1:6, 8 : 2 : -1 if library == "numpy" else 1
    ]
    if library == "torch":
        array = (np.random.default_rng(0).random((2, 7, 9, 3)) * 200).astype(dtype)[:, 1:6, 2:8]
    given: Any = array if library == "numpy" else torch.from_numpy(array)
    tensor = placed(given)
    assert tensor.type == {"float32": "fp32", "float16": "fp16"}.get(dtype, dtype)
    np.testing.assert_array_equal(tensor.numpy().transpose(0, 2, 3, 1), array)
    assert tensor.address == array.ctypes.data
    assert not isinstance(tensor.owner, ReadOnly)


def test_bfloat16() -> None:
    values = torch.randn(1, 4, 5, 3).bfloat16()
    tensor = placed(values)
    assert tensor.type == "bf16"
    found = tensor.numpy().transpose(0, 2, 3, 1).view(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(found, values.float().numpy())


def test_bfloat16_in_integers() -> None:
    array = np.arange(60, dtype=np.uint16).reshape(4, 5, 3)
    assert placed(array, type="bf16").type == "bf16"
    with pytest.raises(UsageError, match="array is uint16, which is not fp16; expected uint16, or bf16 for uint16"):
        placed(array, type="fp16")


def test_the_order_of_colours() -> None:
    array = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(placed(array, order="bgr").numpy()[0], array.transpose(2, 0, 1)[::-1])


def test_memory_for_reading_only() -> None:
    array = np.zeros((4, 5, 3), np.float32)
    array.flags.writeable = False
    assert isinstance(placed(array).owner, ReadOnly)
    assert isinstance(placed(array).part(0, 0, 2, 2).owner, ReadOnly)
    assert isinstance(placed(Producer(flags=1)).owner, ReadOnly)
    assert not isinstance(placed(Producer(flags=2)).owner, ReadOnly)  # 2: the memory is a copy


@pytest.mark.parametrize("version", [None, (1, 0), (1, 9)])
def test_memory_is_given_back_once_when_nobody_has_it(version: tuple[int, int] | None) -> None:
    producer = Producer(version=version)
    tensor = placed(producer)
    part = tensor.part(0, 0, 1, 1)
    del tensor
    gc.collect()
    assert producer.given_back == 0
    del part
    gc.collect()
    assert producer.given_back == 1


def test_numpy_gets_its_memory_back() -> None:
    import sys

    array = np.zeros((4, 5, 3), np.float32)
    before = sys.getrefcount(array)
    tensor = placed(array)
    assert sys.getrefcount(array) == before + 1
    del tensor
    assert sys.getrefcount(array) == before


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_places(version: tuple[int, int] | None) -> None:
    rows = placed(Producer(version=version))  # without strides: row after row
    assert rows.shape == (1, 5, 2, 3)
    assert rows.strides[1:] == (1, 15, 5)
    other = Producer(version=version, strides=(20, 6, 1), byte_offset=8)
    tensor = placed(other)
    assert tensor.strides[1:] == (1, 20, 6)
    assert tensor.address == other.address + 8


def test_what_is_asked_of_owners() -> None:
    new, old = Producer(), Producer(version=None)
    take(new, stream=7)
    take(old, stream=7)
    assert new.asked == [{"max_version": (1, 0), "stream": 7}]
    assert old.asked == [{"stream": 7}]


@pytest.mark.parametrize(
    ("producer", "message"),
    [
        (Producer(kind=(2, 64, 1)), r"elements of DLPack's type 2, 64 bits, 1 lanes; expected fp32, fp16, bf16, uint8"),
        (Producer(kind=(0, 8, 1)), r"elements of DLPack's type 0, 8 bits, 1 lanes"),
        (Producer(kind=(2, 32, 4)), r"elements of DLPack's type 2, 32 bits, 4 lanes"),
        (Producer(version=(2, 0)), r"array comes by DLPack 2.0; expected 1.x"),
        (Producer(shape=(5, 3)), r"array has shape \(5, 3\), .* expected 3 or 4 axes"),
        (Producer(shape=(0, 5, 3)), r"tensor has shape \(1, 3, 0, 5\)"),
    ],
)
def test_what_is_refused_is_given_back(producer: Producer, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        placed(producer)
    gc.collect()
    assert producer.given_back == 1


def test_owners_that_refuse() -> None:
    with pytest.raises(UsageError, match="Tensor does not hand over its memory by DLPack: Can't export tensors that"):
        take(torch.zeros(3, requires_grad=True))


def test_a_capsule_is_used_once() -> None:
    class Again:
        capsule = Producer().__dlpack__()

        def __dlpack__(self, **_: Any) -> Any:
            return self.capsule

    class Useless:
        def __dlpack__(self, **_: Any) -> Any:
            return 42

    again = Again()
    take(again)
    with pytest.raises(UsageError, match="expected a capsule of DLPack, not used before"):
        take(again)
    with pytest.raises(UsageError, match=r"Useless.__dlpack__ gave 42; expected a capsule"):
        take(Useless())


def test_another_library_sees_the_capsule_as_used() -> None:
    array = np.zeros(3, np.float32)
    capsule = array.__dlpack__()

    class Holder:
        def __dlpack__(self, **_: Any) -> Any:
            return capsule

    take(Holder())
    with pytest.raises(RuntimeError, match=r"(?i)capsule|dltensor"):
        torch.from_dlpack(capsule)


@pytest.mark.parametrize(
    ("device", "name"),
    [((CPU, 0), "the host"), ((dlpack.CUDA_HOST, 0), "pinned memory of the host"), ((ROCM, 0), "a ROCm GPU"),
     ((8, 0), "a device of DLPack's type 8")],
)  # fmt: skip
def test_memory_of_other_devices(device: tuple[int, int], name: str) -> None:
    producer = Producer(device=device)
    with pytest.raises(UsageError, match=f"array lies in the memory of {name}; expected an NVIDIA GPU's"):
        on_device(producer, "nhwc")
    assert producer.asked == []


def test_arrays_of_a_gpu() -> None:
    producer = Producer(device=(CUDA, 1), shape=(4, 5, 3), kind=(1, 8, 1))
    tensor = on_device(producer, "nhwc")
    assert (tensor.device, tensor.address, tensor.type) == (1, producer.address, "uint8")
    assert tensor.shape == (1, 3, 4, 5)
    on_device(producer, "nhwc", stream=0x7E00)
    assert [asked["stream"] for asked in producer.asked] == [1, 0x7E00]  # 1: DLPack's word for the default stream


def test_a_host_array_is_refused() -> None:
    with pytest.raises(UsageError, match="array lies in the memory of the host"):
        on_device(np.zeros((4, 5, 3), np.uint8), "nhwc")
    with pytest.raises(UsageError, match="array is list; expected one with __dlpack__ or __cuda_array_interface__"):
        on_device([[1]], "nhwc")
