"""Orientation, order of channels and transparency, against NumPy's own indexing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from repsr_deploy.imaging.bgr import BAND_PIXELS, channels_of, from_bgr, over_white, to_bgr


def noise(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(sum(shape)).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def turned(image: Any, orientation: int) -> Any:
    quarters = {3: 2, 6: -1, 7: 2, 8: 1}.get(orientation, 0)
    image = np.rot90(image, quarters)
    if orientation in (5, 7):
        return image.swapaxes(0, 1)
    return np.flip(image, {2: (1,), 4: (0,)}.get(orientation, ()))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (7, 4, 4), (1, 9, 3)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_turn_of_every_layout(orientation: int, shape: tuple[int, ...], dtype: Any) -> None:
    image = noise(*shape, dtype=dtype)
    arrays: list[Any] = []

    def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        arrays.append(np.zeros(shape, dtype))
        return arrays[0]

    before = image.copy()
    seen = from_bgr(to_bgr(image), orientation, channels_of(image), allocate)
    np.testing.assert_array_equal(seen, turned(image, orientation))
    np.testing.assert_array_equal(image, before)
    assert seen is arrays[0]
    assert seen.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_stored_in_colours(dtype: Any) -> None:
    gray, alpha = noise(5, 7, dtype=dtype), noise(7, 5, dtype=dtype).T
    stored = np.dstack((gray, gray, gray, alpha))
    np.testing.assert_array_equal(from_bgr(stored, 1, 1, np.empty), gray)
    np.testing.assert_array_equal(from_bgr(stored, 6, 2, np.empty), turned(np.dstack((gray, alpha)), 6))


def test_order_of_channels() -> None:
    image = noise(3, 4, 4)
    np.testing.assert_array_equal(to_bgr(image), image[..., [2, 1, 0, 3]])
    np.testing.assert_array_equal(to_bgr(image[..., :3].copy()), image[..., 2::-1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (3, BAND_PIXELS + 1), (BAND_PIXELS // 100 + 3, 100)])
def test_white_under_transparency(shape: tuple[int, int], dtype: Any) -> None:
    """In bands as at once, and as arithmetic says, to half a step."""
    image = noise(*shape, 4, dtype=dtype)
    image[:1, :1, 3] = 0
    full_scale = int(np.iinfo(dtype).max)
    colour, alpha = image[..., :3].astype(float), image[..., 3:] / full_scale
    exact = colour * alpha + full_scale * (1 - alpha)
    assert np.abs(over_white(image) - exact).max() <= 0.501 + full_scale * 2**-22
    assert (over_white(image)[0, 0] == full_scale).all()
    np.testing.assert_array_equal(over_white(image[..., [0, 3]]), over_white(image)[..., :1])
