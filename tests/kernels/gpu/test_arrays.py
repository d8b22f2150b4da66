"""Arrays of PyCUDA and of whoever follows its interface, in place; arrays of PyTorch and CuPy where they are."""

from __future__ import annotations

import gc
import importlib
import weakref
from typing import Any

import numpy as np
import pytest

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.arrays import ReadOnly, on_device
from repsr_kernels.gpu.launch import launch
from repsr_kernels.operations import Preprocess


class Described:
    """An array with this description."""

    def __init__(self, **described: Any) -> None:
        self.__cuda_array_interface__ = described


def array_at(memory: Any, **changes: Any) -> Described:
    """4 x 5 x 3 bytes."""
    return Described(**{"shape": (4, 5, 3), "typestr": "|u1", "data": (int(memory), False), "version": 3} | changes)


def gpuarrays() -> Any:
    """The module `pycuda.gpuarray`."""
    return importlib.import_module("pycuda.gpuarray")


@pytest.mark.gpu
def test_arrays_of_pycuda(cuda: Any) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
    source, out = gpuarrays().to_gpu(picture), gpuarrays().empty((1, 3, 6, 7), np.float32)
    tensor = on_device(source, "nhwc", order="bgr")
    assert (tensor.device, tensor.type, tensor.shape, tensor.strides) == (0, "uint8", (1, 3, 6, 7), (0, -1, 21, 3))
    assert tensor.address == int(source.gpudata) + 2
    launch(Preprocess(source=tensor, out=on_device(out, "nchw"), range=(0.0, 255.0)))
    np.testing.assert_array_equal(out.get()[0], picture.transpose(2, 0, 1)[::-1])


@pytest.mark.gpu
def test_parts_of_arrays(cuda: Any) -> None:
    whole = gpuarrays().empty((3, 8, 9), np.float16)
    tensor = on_device(whole[:, 2:6, 1:4], "nchw")
    assert tensor.shape == (1, 3, 4, 3)
    assert tensor.strides[1:] == (72, 9, 1)
    assert tensor.address == int(whole.gpudata) + 2 * (2 * 9 + 1)


@pytest.mark.gpu
def test_a_tensor_keeps_the_memory(cuda: Any) -> None:
    array = gpuarrays().empty((4, 5, 3), np.uint8)
    there = weakref.ref(array)
    tensor = on_device(array, "nhwc").part(0, 0, 2, 2)
    del array
    gc.collect()
    assert there() is not None
    del tensor
    gc.collect()
    assert there() is None


@pytest.mark.gpu
def test_strides_and_types(cuda: Any) -> None:
    memory = cuda.mem_alloc(4096)
    assert on_device(array_at(memory, strides=None, version=2), "nhwc").strides[1:] == (1, 15, 3)
    assert on_device(array_at(memory, strides=(64, 4, 1)), "nhwc").strides[1:] == (1, 64, 4)
    for typestr, name in (("<f4", "fp32"), ("<f2", "fp16"), ("|u1", "uint8"), ("<u2", "uint16")):
        assert on_device(array_at(memory, typestr=typestr), "nhwc").type == name
    assert on_device(array_at(memory, typestr="<u2"), "nhwc", type="bf16").type == "bf16"


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": object()}, "mask .*; expected version 2 or 3, and no mask"),
        ({"version": 1}, "array has version 1 of __cuda_array_interface__"),
        ({"typestr": "<f8"}, "array has elements of type '<f8'; expected one of <f4, <f2, "),
        ({"typestr": ">f4"}, "array has elements of type '>f4'"),
        ({"shape": (4, 5)}, r"array has shape \(4, 5\)"),
        ({"strides": (15, 3, 1), "typestr": "<u2"}, "strides of .* bytes; expected multiples of 2"),
    ],
)
def test_arrays_that_are_refused(cuda: Any, changes: dict[str, Any], message: str) -> None:
    memory = cuda.mem_alloc(4096)
    with pytest.raises(UsageError, match=message):
        on_device(array_at(memory, **changes), "nhwc")


@pytest.mark.gpu
@pytest.mark.usefixtures("cuda")
def test_memory_that_nobody_knows() -> None:
    memory = np.zeros(4096, np.uint8)
    with pytest.raises(UsageError, match=r"array lies at 0x\w+, where the NVIDIA driver knows of nothing"):
        on_device(array_at(memory.ctypes.data), "nhwc")


@pytest.mark.gpu
def test_memory_for_reading_only(cuda: Any) -> None:
    memory, result = cuda.mem_alloc(4096), cuda.mem_alloc(4096)
    source = on_device(array_at(memory, data=(int(memory), True)), "nhwc")
    assert isinstance(source.owner, ReadOnly)
    out = array_at(result, shape=(3, 4, 5), typestr="<f4")
    launch(Preprocess(source=source, out=on_device(out, "nchw")))
    out.__cuda_array_interface__["data"] = (int(result), True)
    with pytest.raises(UsageError, match="out lies in memory that its owner lends for reading only"):
        launch(Preprocess(source=source, out=on_device(out, "nchw")))
    cuda.Context.synchronize()


@pytest.mark.gpu
def test_what_is_under_way_on_the_owners_stream_comes_first(cuda: Any) -> None:
    """The upload is put on one stream, the kernel on another one, and nobody waits on the host."""
    memory, result = cuda.mem_alloc(60), cuda.mem_alloc(240)
    cuda.memset_d8(memory, 0, 60)
    cuda.Context.synchronize()
    uploading, computing = cuda.Stream(1), cuda.Stream(1)
    picture = cuda.pagelocked_empty((4, 5, 3), np.uint8)
    picture[...] = np.arange(60).reshape(4, 5, 3)
    cuda.memcpy_htod_async(memory, picture, uploading)
    source = on_device(array_at(memory, stream=uploading.handle), "nhwc", stream=computing)
    out = on_device(array_at(result, shape=(3, 4, 5), typestr="<f4"), "nchw", stream=computing)
    launch(Preprocess(source=source, out=out, range=(0.0, 255.0)), computing)
    found = cuda.pagelocked_empty((3, 4, 5), np.float32)
    cuda.memcpy_dtoh_async(found, result, computing)
    computing.synchronize()
    np.testing.assert_array_equal(found, picture.transpose(2, 0, 1))


def library(name: str) -> Any:
    """PyTorch or CuPy, with the GPU that they can use, or a visible skip."""
    module = pytest.importorskip(name)
    there = module.cuda.is_available() if name == "torch" else module.cuda.runtime.getDeviceCount() > 0
    return module if there else pytest.skip(f"{name} finds no GPU")


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_pytorch(dtype: str) -> None:
    torch = library("torch")
    picture = np.random.default_rng(0).integers(0, 256, (1, 6, 7, 3), np.uint8)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        source = torch.from_numpy(picture).cuda(non_blocking=True)
        out = torch.full((1, 3, 6, 7), torch.nan, dtype=getattr(torch, dtype), device="cuda")
        operation = Preprocess(
            source=on_device(source, "nhwc", stream=stream),
            out=on_device(out, "nchw", stream=stream),
            range=(0.0, 255.0),
        )
        launch(operation, stream)
        found = out.float().cpu().numpy()
    np.testing.assert_array_equal(found, picture.transpose(0, 3, 1, 2))


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_cupy() -> None:
    cupy = library("cupy")
    picture = np.random.default_rng(0).integers(0, 256, (1, 6, 7, 3), np.uint8)
    source, out = cupy.asarray(picture), cupy.empty((1, 3, 6, 7), np.float32)
    launch(Preprocess(source=on_device(source, "nhwc"), out=on_device(out, "nchw"), range=(0.0, 255.0)))
    np.testing.assert_array_equal(out.get(), picture.transpose(0, 3, 1, 2))
