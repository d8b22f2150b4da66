"""Studio-range BT.601 against MATLAB's published values."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from repsr_deploy.metrics.colour import luma, rgb_from_ycbcr, ycbcr_from_rgb

# Studio-range values of the colour bars in ITU-R BT.601 at 100 %: R, G, B, Y, Cb, Cr, rounded to whole numbers.
COLOUR_BARS = [
    (255, 255, 255, 235, 128, 128),
    (255, 255, 0, 210, 16, 146),
    (0, 255, 255, 170, 166, 16),
    (0, 255, 0, 145, 54, 34),
    (255, 0, 255, 106, 202, 222),
    (255, 0, 0, 81, 90, 240),
    (0, 0, 255, 41, 240, 110),
    (0, 0, 0, 16, 128, 128),
]


@pytest.mark.parametrize("bar", COLOUR_BARS, ids=str)
def test_colour_bars(bar: tuple[int, ...]) -> None:
    pixel = np.array([[bar[:3]]], np.uint8)
    assert round(luma(pixel).item()) == bar[3]
    converted = ycbcr_from_rgb(pixel / 255.0) * 255
    np.testing.assert_allclose(converted[0, 0], bar[3:], atol=0.501)


def test_luma_is_exact_and_unrounded() -> None:
    pixel = np.array([[[10, 200, 77]]], np.uint8)
    expected = (65.481 * 10 + 128.553 * 200 + 24.966 * 77) / 255 + 16
    assert luma(pixel).item() == pytest.approx(expected, abs=1e-12)
    assert luma(pixel).dtype == np.float64


def test_luma_is_the_first_channel_of_ycbcr() -> None:
    photo = data.astronaut()[:64, :65]
    np.testing.assert_allclose(luma(photo), ycbcr_from_rgb(photo / 255.0)[..., 0] * 255, atol=1e-10)


def test_planted_errors_are_seen() -> None:
    """BGR order and OpenCV's full range each give another Y."""
    photo = data.coffee()
    assert np.abs(luma(photo) - luma(photo[..., ::-1])).max() > 10
    assert np.abs(luma(photo) - cv2.cvtColor(photo, cv2.COLOR_RGB2YCrCb)[..., 0]).max() > 10


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
def test_round_trip(dtype: Any, tolerance: float) -> None:
    image = np.random.default_rng(1).random((31, 17, 3)).astype(dtype)
    ycbcr = ycbcr_from_rgb(image)
    assert ycbcr.dtype == dtype
    assert ycbcr[..., 0].min() >= 16 / 255 - tolerance
    assert ycbcr[..., 0].max() <= 235 / 255 + tolerance
    result = rgb_from_ycbcr(ycbcr)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, image, rtol=0, atol=tolerance)


def test_every_uint8_colour_survives_float32() -> None:
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    image = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, len(levels), 3)
    back = rgb_from_ycbcr(ycbcr_from_rgb(image.astype(np.float32) / 255))
    np.testing.assert_array_equal(np.rint(back * 255), image)


def test_a_tile_converts_as_the_whole() -> None:
    image = data.chelsea().astype(np.float32) / 255
    tile = np.s_[37:71, 101:114]
    np.testing.assert_array_equal(ycbcr_from_rgb(image)[tile], ycbcr_from_rgb(image[tile].copy()))
    np.testing.assert_array_equal(rgb_from_ycbcr(image)[tile], rgb_from_ycbcr(image[tile].copy()))
