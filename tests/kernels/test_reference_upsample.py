"""The reference of `FusedUpsample` against PyTorch, formulas of the standards in float64, and numbers done by hand."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from repsr_kernels import reference
from repsr_kernels.operations import Crop, FusedUpsample
from repsr_kernels.reference.upsample import enlarged, shuffled
from repsr_kernels.tensors import Type, on_host
from repsr_kernels.yuv import LUMA_WEIGHTS, MatrixName, Siting, YuvColour, YuvFrame


def _floats(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0.5, 0.4, shape).astype(np.float32)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_shuffle_is_that_of_pytorch(scale: int, channels: int) -> None:
    features = _floats(2, channels * scale**2, 5, 7)
    expected = torch.pixel_shuffle(torch.from_numpy(features), scale).numpy()
    assert np.array_equal(shuffled(features, scale), expected)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (7, 9)])
def test_skips_are_those_of_pytorch(scale: int, size: tuple[int, int]) -> None:
    image = _floats(2, 3, *size)
    batch = torch.from_numpy(image)
    nearest = torch.nn.functional.interpolate(batch, scale_factor=scale, mode="nearest").numpy()
    assert np.array_equal(enlarged(image, scale, "nearest"), nearest)
    exact = torch.nn.functional.interpolate(batch.double(), scale_factor=scale, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(enlarged(image, scale, "bilinear"), exact.numpy(), rtol=0, atol=4e-7)


def _picture(features_nchw: NDArray[Any], kind: Type, **options: Any) -> NDArray[Any]:
    """Of one pixel after the other, all of a row; features N x 1 x 1 x W."""
    made = np.zeros(features_nchw.shape, np.uint8 if kind == "uint8" else np.float32)
    reference.run(FusedUpsample(features=on_host(features_nchw, "nchw"), out=on_host(made, "nchw"), scale=1, **options))
    return made[0, 0, 0]


def test_values_become_bytes_as_done_by_hand() -> None:
    levels = np.array([-255, -0.0, 0.5, 1.5, 2.5, 127.5, 254.6, 255, 510, np.inf, -np.inf, np.nan])
    found = _picture((levels / 255).astype(np.float32).reshape(1, 1, 1, -1), "uint8")
    assert found.tolist() == [0, 0, 0, 2, 2, 128, 255, 255, 255, 255, 0, 0]


def test_floats_are_clamped_and_keep_what_is_no_number() -> None:
    values = np.array([[[[-1, -0.0, 1e-45, 0.25, 1, 1.5, np.inf, -np.inf, np.nan]]]], np.float32)
    found = _picture(values, "fp32")
    assert np.array_equal(found, np.array([0, 0, 1e-45, 0.25, 1, 1, 1, 0, np.nan], np.float32), equal_nan=True)
    assert not np.signbit(found).any()


def test_range_and_image_are_the_networks() -> None:
    features = np.array([[[[0.0, 0.5, -0.25, 1.0]]]], np.float32)
    image = np.array([[[[0, 51, 255, 255]]]], np.uint8)  # as -1, -0.6, 1, 1
    options: dict[str, Any] = {"image": on_host(image, "nchw"), "skip": "nearest", "range": (-1.0, 1.0)}
    np.testing.assert_allclose(_picture(features, "fp32", **options), [0, 0.45, 0.875, 1], atol=1e-7)
    assert _picture(features, "uint8", **options).tolist() == [0, 115, 223, 255]
    seen = np.array([[[[-1, -0.6, 1, 1]]]], np.float32)
    same = _picture(features, "fp32", **(options | {"image": on_host(seen, "nchw")}))
    np.testing.assert_allclose(same, [0, 0.45, 0.875, 1], atol=1e-7)


def test_samples_of_the_crop_that_are_not_finite_are_counted() -> None:
    features = _floats(2, 12, 4, 5)
    features[0, 0, 0, 0] = np.nan  # beyond the crop
    features[0, 5, 2, 3] = np.inf
    features[1, 11, 3, 4] = -np.inf
    features[1, 0, 1, 1] = np.nan
    counter = np.array([40], np.uint64)
    out = np.zeros((2, 3, 6, 8), np.float32)
    reference.run(FusedUpsample(
        features=on_host(features, "nchw"), out=on_host(out, "nchw"), scale=2,
        crop=Crop(top=1, left=1, rows=3, columns=4), nonfinite=counter.ctypes.data,
    ))  # fmt: skip
    assert counter[0] == 43


@pytest.mark.parametrize("skip", ["nearest", "bilinear"])
def test_a_crop_is_that_part_of_the_whole(skip: Any) -> None:
    features, image = _floats(1, 27, 6, 7), np.random.default_rng(1).integers(0, 256, (6, 7, 3), np.uint8)
    whole, part = np.zeros((18, 21, 3), np.uint8), np.zeros((9, 6, 3), np.uint8)
    for out, crop in ((whole, None), (part, Crop(top=2, left=4, rows=3, columns=2))):
        reference.run(FusedUpsample(
            features=on_host(features, "nchw"), image=on_host(image, "nhwc"), out=on_host(out, "nhwc"), scale=3,
            skip=skip, crop=crop,
        ))  # fmt: skip
    assert np.array_equal(part, whole[6:15, 12:18])


def _frame(colours_hwc: NDArray[np.float32], colour: YuvColour, bits: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Luma H x W and chroma H' x W' x 2 of a picture, as stored."""
    height, width, _ = colours_hwc.shape
    kind = np.uint8 if bits == 8 else np.uint16
    luma, chroma = np.zeros((height, width, 1), kind), np.zeros((-(-height // 2), -(-width // 2), 2), kind)
    frame = YuvFrame(on_host(luma, "nhwc"), on_host(chroma, "nhwc"), colour=colour)
    features = np.ascontiguousarray(colours_hwc.transpose(2, 0, 1))
    reference.run(FusedUpsample(features=on_host(features, "nchw"), out=frame, scale=1))
    return luma[..., 0], chroma


@pytest.mark.parametrize("matrix", LUMA_WEIGHTS)
def test_known_colours_have_the_codes_of_the_standards(matrix: MatrixName) -> None:
    red, _, blue = LUMA_WEIGHTS[matrix]
    colours = np.repeat([[(1, 1, 1), (0, 0, 0), (1, 0, 0), (0, 0, 1)]], 2, axis=1)  # white, black, red, blue
    luma, chroma = _frame(colours.astype(np.float32), YuvColour(matrix=matrix, siting="center"), 8)
    assert luma[0, ::2].tolist() == [235, 16, round(16 + 219 * red), round(16 + 219 * blue)]
    assert chroma[0, :2].tolist() == [[128, 128], [128, 128]]
    assert (chroma[0, 2, 1], chroma[0, 3, 0]) == (240, 240)  # Cr of red, Cb of blue
    luma, chroma = _frame(colours.astype(np.float32), YuvColour(matrix=matrix, full_range=True, siting="center"), 10)
    assert (luma >> 6)[0, :4:2].tolist() == [1023, 0]
    assert (chroma >> 6)[0, :2].tolist() == [[512, 512], [512, 512]]
    assert not (luma & 63).any()
    assert not (chroma & 63).any()


@pytest.mark.parametrize(("siting", "rows", "columns"), [
    ("left", (0, 0.5, 0.5), (0.25, 0.5, 0.25)),
    ("center", (0, 0.5, 0.5), (0, 0.5, 0.5)),
    ("top-left", (0.25, 0.5, 0.25), (0.25, 0.5, 0.25)),
])  # fmt: skip
def test_chroma_is_that_of_the_pixels_around_it(
    siting: Siting, rows: tuple[float, ...], columns: tuple[float, ...]
) -> None:
    colours = np.random.default_rng(5).random((7, 9, 3)).astype(np.float32)
    _, chroma = _frame(colours, YuvColour(matrix="bt709", siting=siting), 10)
    around = np.pad(colours.astype(np.float64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    red, green, blue = (
        sum(
            wy * wx * around[y : y + 7 : 2, x : x + 9 : 2, channel]
            for y, wy in enumerate(rows)
            for x, wx in enumerate(columns)
        )
        for channel in range(3)
    )
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = np.stack([(blue - luma) / 1.8556, (red - luma) / 1.5748], axis=-1) * 896 + 512
    assert np.abs((chroma >> 6) - expected).max() < 0.501


def test_memory_of_the_counter_is_added_to_for_video_too() -> None:
    features = np.full((3, 2, 3), np.nan, np.float32)
    luma, chroma = np.zeros((2, 3, 1), np.uint8), np.zeros((1, 2, 2), np.uint8)
    counter = ctypes.c_uint64(2)
    reference.run(FusedUpsample(
        features=on_host(features, "nchw"), scale=1, nonfinite=ctypes.addressof(counter),
        out=YuvFrame(on_host(luma, "nhwc"), on_host(chroma, "nhwc"), colour=YuvColour(matrix="bt601")),
    ))  # fmt: skip
    assert (luma == 16).all()
    assert (chroma == 128).all()
    assert counter.value == 2 + 18
