"""What operations refuse, when they are made: each error names what was wrong."""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from repsr_kernels.errors import UsageError
from repsr_kernels.operations import Crop, FusedUpsample, Preprocess
from repsr_kernels.params import FusedUpsampleParams, PreprocessParams, View, params_of
from repsr_kernels.tensors import LONGEST_SIDE, Tensor, Type, apart, on_host, place
from repsr_kernels.yuv import YuvColour, YuvFrame

COLOUR = YuvColour(matrix="bt709")
BASE = 1 << 40
"""Memory that nobody reads: operations look at addresses only."""


def planar(*shape: int, kind: Type = "fp32", at: int = BASE, device: int | None = None, strides: Any = None) -> Tensor:
    """A contiguous tensor N x C x H x W."""
    _, channels, height, width = shape
    usual = (channels * height * width, height * width, width, 1)
    return Tensor(at, kind, (shape[0], channels, height, width), strides or usual, device=device)


def frame(height: int, width: int, at: int = 4 * BASE, device: int | None = None) -> YuvFrame:
    """An NV12 frame without gaps."""
    half = (-(-height // 2), -(-width // 2))
    luma = Tensor(at, "uint8", (1, 1, height, width), (0, 0, width, 1), device=device)
    chroma = Tensor(at + height * width, "uint8", (1, 2, *half), (0, 1, 2 * half[1], 2), device=device)
    return YuvFrame(luma, chroma, colour=COLOUR)


def upsampling(**changes: Any) -> FusedUpsample:
    """x2 of 3 colours from 6 x 8 pixels, with a skip, and what is changed of it."""
    usual: dict[str, Any] = {
        "features": planar(1, 12, 6, 8), "image": planar(1, 3, 6, 8, kind="uint8", at=2 * BASE), "skip": "nearest",
        "out": planar(1, 3, 12, 16, kind="uint8", at=3 * BASE), "scale": 2,
    }  # fmt: skip
    return FusedUpsample(**(usual | changes))


def preprocessing(**changes: Any) -> Preprocess:
    """6 x 8 pixels of 3 colours, and what is changed of it."""
    usual: dict[str, Any] = {"source": planar(1, 3, 6, 8, kind="uint8"), "out": planar(1, 3, 6, 8, at=2 * BASE)}
    return Preprocess(**(usual | changes))


UPSAMPLING_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"skip": "cubic"}, "skip is 'cubic'; expected one of none, nearest, bilinear"),
    ({"scale": 5}, "scale is 5; expected one of 1, 2, 3, 4"),
    ({"scale": 0}, "scale is 0"),
    ({"scale": 4}, "features are fp32 with 12 channels; expected fp32, fp16, bf16 with 16 or 48 at scale 4"),
    ({"scale": 1}, "features are fp32 with 12 channels"),
    ({"features": planar(1, 12, 6, 8, kind="uint8")}, "features are uint8"),
    ({"features": planar(1, 13, 6, 8)}, "13 channels"),
    ({"features": planar(1, 12, 6, 8, strides=(0, 200, 20, 2))}, "columns or channels to lie side by side"),
    ({"skip": "none"}, "an image for a skip, none without"),
    ({"image": None}, "skip is nearest, image is None"),
    ({"image": planar(1, 3, 6, 7, kind="uint8", at=2 * BASE)}, r"shape \(1, 3, 6, 7\).*\(1, 3, 6, 8\)"),
    ({"image": planar(1, 1, 6, 8, kind="uint8", at=2 * BASE)}, r"shape \(1, 1, 6, 8\)"),
    ({"image": planar(2, 3, 6, 8, kind="uint8", at=2 * BASE)}, r"shape \(2, 3, 6, 8\)"),
    ({"image": planar(1, 3, 6, 8, kind="uint16", at=2 * BASE)}, "image is uint16"),
    ({"crop": Crop(top=0, left=0, rows=7, columns=8)}, "rows=7.* does not lie in features of 6 x 8"),
    ({"crop": Crop(top=-1, left=0, rows=2, columns=2)}, "top=-1"),
    ({"crop": Crop(top=0, left=7, rows=2, columns=2)}, "left=7"),
    ({"crop": Crop(top=0, left=0, rows=0, columns=2)}, "rows=0"),
    ({"crop": Crop(top=1, left=0, rows=3, columns=8)}, r"out is uint8 of shape \(1, 3, 12, 16\); .*\(1, 3, 6, 16\)"),
    ({"out": planar(1, 3, 12, 15, kind="uint8", at=3 * BASE)}, r"\(1, 3, 12, 15\)"),
    ({"out": planar(1, 1, 12, 16, kind="uint8", at=3 * BASE)}, r"\(1, 1, 12, 16\)"),
    ({"out": planar(1, 3, 12, 16, kind="uint16", at=3 * BASE)}, "out is uint16"),
    ({"out": frame(12, 14)}, r"a video frame of 8 bits of shape \(1, 3, 12, 14\)"),
    ({"range": (1.0, 1.0)}, r"range is \(1.0, 1.0\); expected black below white"),
    ({"range": (1.0, 0.0)}, "range"),
    ({"range": (0.0, float("inf"))}, "range"),
    ({"range": (float("nan"), 1.0)}, "range"),
    ({"range": (0.0, 1e39)}, "finite and apart in float32"),
    ({"range": (-3e38, 3e38)}, "finite and apart in float32"),
    ({"range": (1.0, 1.0 + 1e-9)}, "finite and apart in float32"),
    ({"range": (0.0, 1e-40)}, "finite and apart in float32"),
    ({"nonfinite": 12}, "nonfinite lies at 0xc; expected a multiple of 8 above 0"),
    ({"nonfinite": 0}, "nonfinite"),
    ({"features": planar(1, 12, 6, 8, device=0)}, "different memories: GPU 0, the host"),
    ({"out": planar(1, 3, 12, 16, at=BASE + 64)}, "overlaps"),
    ({"out": planar(1, 3, 12, 16, kind="uint8", at=2 * BASE)}, "overlaps"),
    ({"out": planar(1, 3, 12, 16, kind="uint8", at=3 * BASE, strides=(0, 192, 15, 1))}, "elements overlap"),
    ({"out": planar(1, 3, 12, 16, kind="uint8", at=3 * BASE, strides=(0, 0, 16, 1))}, "elements overlap"),
]  # fmt: skip

PREPROCESSING_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"padding": "mirror"}, "padding is 'mirror'; expected one of zero, edge, reflect, wrap"),
    ({"source": planar(1, 3, 6, 8)}, "source is fp32"),
    ({"source": planar(1, 2, 6, 8, kind="uint8")}, r"shape \(1, 2, 6, 8\); expected uint8 with 1 or 3 channels"),
    ({"out": planar(1, 3, 6, 8, kind="uint8", at=2 * BASE)}, "out is uint8"),
    ({"out": planar(2, 3, 6, 8, at=2 * BASE)}, "of 1 images with 3 or more channels"),
    ({"out": planar(1, 2, 6, 8, at=2 * BASE)}, r"out is fp32 of shape \(1, 2, 6, 8\)"),
    ({"source": frame(6, 8), "out": planar(1, 1, 6, 8)}, "3 or more channels"),
    ({"out": planar(1, 3, 6, 8, at=2 * BASE, strides=(0, 200, 20, 2))}, "columns or channels to lie side by side"),
    ({"top": 2**30}, "top is 1073741824; expected at most 1073741823"),
    ({"left": -(2**30) - 1}, "left is -1073741825"),
    ({"range": (2.0, 1.0)}, "range"),
    ({"out": planar(1, 3, 6, 8, at=2 * BASE, device=1)}, "GPU 1, the host"),
    ({"source": frame(6, 8, device=0)}, "GPU 0, the host"),
    ({"out": planar(1, 3, 6, 8, at=BASE + 12)}, "overlaps"),
    ({"source": frame(6, 8), "out": planar(1, 3, 6, 8, at=4 * BASE + 68)}, "overlaps"),
    ({"out": planar(1, 3, 6, 8, at=2 * BASE, strides=(0, 48, 7, 1))}, "elements overlap"),
]


@pytest.mark.parametrize(("changes", "named"), UPSAMPLING_REFUSED)
def test_upsampling_that_cannot_be_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        upsampling(**changes)


@pytest.mark.parametrize(("changes", "named"), PREPROCESSING_REFUSED)
def test_preprocessing_that_cannot_be_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        preprocessing(**changes)


def test_luma_and_chroma_may_not_be_written_to_one_place() -> None:
    one = frame(12, 16)
    shifted = replace(one.chroma, address=one.luma.address + 12 * 16 - 1)
    with pytest.raises(UsageError, match="overlaps"):
        upsampling(out=YuvFrame(one.luma, shifted, colour=COLOUR))


def test_read_only_arrays_are_not_written() -> None:
    array = np.zeros((3, 6, 8), np.float32)
    array.flags.writeable = False
    with pytest.raises(UsageError, match="read-only"):
        preprocessing(out=on_host(array, "nchw"))


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"skip": "bilinear"}, {"skip": "none", "image": None}, {"nonfinite": 8 * BASE},
        {"out": frame(12, 16)}, {"features": planar(1, 12, 6, 8, strides=(0, 1, 96, 12))},
        {"features": planar(1, 3, 6, 8), "scale": 1, "out": planar(1, 3, 6, 8, at=3 * BASE)},
        {"crop": Crop(top=1, left=2, rows=3, columns=5), "out": planar(1, 3, 6, 10, at=3 * BASE)},
        {"out": planar(1, 3, 12, 16, at=3 * BASE, strides=(0, -1, 100, 3))},
        {"out": planar(1, 3, 12, 16, at=3 * BASE, strides=(0, 5000, -20, 1))},  # upside down
    ],
)  # fmt: skip
def test_upsampling_that_can_be_is_accepted(changes: dict[str, Any]) -> None:
    operation = upsampling(**changes)
    params = params_of(operation)
    assert isinstance(params, FusedUpsampleParams)
    assert (params.scale, params.channels, params.count) == (operation.scale, 3, 1)
    assert params.rows * operation.scale == operation.out.shape[2]


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"source": frame(6, 8)}, {"out": planar(1, 8, 2, 3, at=2 * BASE), "top": -5, "left": 4},
        {"top": 2**30 - 1, "left": -(2**30)}, {"range": (-1.0, 1.0)}, {"range": (-0.0, 255.0)},
    ],
)  # fmt: skip
def test_preprocessing_that_can_be_is_accepted(changes: dict[str, Any]) -> None:
    operation = preprocessing(**changes)
    params = params_of(operation)
    assert isinstance(params, PreprocessParams)
    assert (params.top, params.left) == (operation.top, operation.left)
    assert (params.low, params.low + params.span) == operation.range


def test_sides_beyond_32_bits_are_refused() -> None:
    features = planar(1, 1, 1, 2**30, kind="fp16", strides=(0, 0, 0, 1))
    out = planar(1, 1, 2, LONGEST_SIDE, kind="uint8", at=3 * BASE)
    with pytest.raises(UsageError, match=f"{2**31} x 2 pixels"):
        FusedUpsample(features=replace(features, shape=(1, 4, 1, 2**30)), out=out, scale=2)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Tensor(BASE, "fp64", (1, 1, 1, 1), (0, 0, 0, 0)), "fp64"),  # pyright: ignore[reportArgumentType]
        (lambda: Tensor(BASE, "fp32", (1, 1, 1), (0, 0, 0)), "four sides"),  # pyright: ignore[reportArgumentType]
        (lambda: planar(1, 1, 0, 4), r"\(1, 1, 0, 4\)"),
        (lambda: planar(1, 1, -3, 4), r"\(1, 1, -3, 4\)"),
        (lambda: planar(1, 1, 1, 2**31), "2147483647"),
        (lambda: planar(1, 1, 2, 2, at=0), "0x0"),
        (lambda: planar(1, 1, 2, 2, at=BASE + 2), "multiple of 4"),
        (lambda: planar(1, 1, 2, 2, at=-8), "above 0"),
        (lambda: planar(1, 1, 2, 2, strides=(0, 0, 2**62, 1)), "63 bits"),
        (lambda: planar(1, 1, 2, 2, strides=(0, 0, -BASE, 1)), "63 bits"),
        (lambda: planar(1, 1, 8, 8).part(0, 0, 9, 1), "9 x 1 pixels at row 0, column 0 does not lie in 8 x 8"),
        (lambda: planar(1, 1, 8, 8).part(0, 0, 0, 1), "0 x 1"),
        (lambda: planar(1, 1, 8, 8, device=0).numpy(), "GPU 0"),
        (lambda: on_host(np.zeros((2, 2)), "nchw"), "float64"),
        (lambda: on_host(np.zeros((1, 2, 2)), "nchw"), "float64"),
        (lambda: on_host(np.zeros((1, 2, 2), np.int8), "nchw"), "int8"),
        (lambda: on_host(np.zeros((1, 2, 2), ">f4"), "nchw"), "as this machine reads it"),
        (lambda: on_host(np.zeros((1, 2, 2), np.float32), "nchw", type="bf16"), "cannot hold bf16"),
        (lambda: on_host(np.zeros((1, 2, 2), np.uint8), "hwc"), "'hwc'"),  # pyright: ignore[reportArgumentType]
        (lambda: on_host(np.zeros((1, 2, 2), np.uint8), "nhwc", order="grb"), "'grb'"),  # pyright: ignore[reportArgumentType]
        (lambda: on_host(np.zeros((2, 2), np.uint8), "nhwc"), "3 or 4 axes"),
        (lambda: on_host(np.zeros((0, 2, 3), np.uint8), "nhwc"), r"\(1, 3, 0, 2\)"),
        (lambda: on_host(np.zeros((2, 9), np.uint8)[:, :8].view(np.float32)[None, :, :1], "nchw"), "multiples of 4"),
        (lambda: place(BASE, "fp8", (1, 2, 2), (4, 2, 1), "nchw"), "fp8"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_what_is_no_tensor_is_refused(make: Callable[[], object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        make()


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_an_array_is_the_tensor_whatever_its_strides(layout: Any, order: Any) -> None:
    array = np.random.default_rng(5).integers(0, 256, (2, 5, 7, 3), np.uint8)[:, ::-2, 1::2]
    if layout == "nchw":
        array = array.transpose(0, 3, 1, 2)
    expected = array if layout == "nchw" else array.transpose(0, 3, 1, 2)
    tensor = on_host(array, layout, order=order)
    np.testing.assert_array_equal(tensor.numpy(), expected if order == "rgb" else expected[:, ::-1])
    np.testing.assert_array_equal(tensor.part(1, 1, 2, 2).numpy(), tensor.numpy()[..., 1:3, 1:3])
    single = on_host(array[1], layout, order=order)
    assert single.shape == (1, *tensor.shape[1:])
    np.testing.assert_array_equal(single.numpy(), tensor.numpy()[1:])


def test_an_array_lives_as_long_as_views_of_its_tensor() -> None:
    memory = np.ones((1, 2, 2), np.float32)
    alive = weakref.ref(memory)
    view = on_host(memory, "nchw").numpy()[:, :, 1:]
    del memory
    gc.collect()
    assert alive() is not None
    del view
    gc.collect()
    assert alive() is None


def test_extents_tell_what_lies_apart() -> None:
    first = planar(1, 3, 4, 4)
    assert first.extent == (BASE, BASE + 4 * 48)
    assert replace(first, address=BASE + 4 * 47, strides=(0, -16, -4, -1)).extent == first.extent
    assert apart(first, replace(first, address=BASE + 4 * 48))
    assert not apart(first, replace(first, address=BASE + 4 * 47))
    assert apart(first, replace(first, device=0))


def test_structures_are_those_of_c() -> None:
    assert (ctypes.sizeof(View), ctypes.sizeof(FusedUpsampleParams), ctypes.sizeof(PreprocessParams)) == (48, 312, 248)
