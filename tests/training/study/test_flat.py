"""Errors of flat regions, with shifts planted in them."""

from __future__ import annotations

import numpy as np
import pytest

from repsr_train.study.flat import flat_square_sum, flat_tiles, tile_errors


def half_textured() -> np.ndarray:
    """45 x 71 pixels: 2 x 4 whole tiles, noise in the left half of them, nearly flat in the right."""
    random = np.random.default_rng(0)
    image_hwc = random.integers(120, 122, (45, 71, 3), np.uint8)
    image_hwc[:, :32] = random.integers(0, 256, (45, 32, 3), np.uint8)
    return image_hwc


def test_flat_tiles_are_those_without_texture_in_any_colour() -> None:
    image_hwc = half_textured()
    np.testing.assert_array_equal(flat_tiles(image_hwc), [[False, False, True, True]] * 2)
    image_hwc[:16, 48:64, 2] = np.arange(16)  # a gradient in blue alone
    np.testing.assert_array_equal(flat_tiles(image_hwc), [[False, False, True, False], [False, False, True, True]])


def test_the_error_of_a_tile_is_how_far_its_mean_colour_is_off() -> None:
    reference_hwc = half_textured()
    output_hwc = reference_hwc.copy()
    output_hwc[16:32, 32:48] += np.array([3, 0, 0], np.uint8)
    output_hwc[:16:2, 48:64] += 1  # every second row: half a level on the mean
    output_hwc[44, 70] = 0  # beyond the last whole tile
    errors = tile_errors(output_hwc, reference_hwc)
    assert errors[1, 2] == pytest.approx(3 / np.sqrt(3))
    assert errors[0, 3] == pytest.approx(0.5)
    assert np.count_nonzero(errors) == 2
    square_sum, tiles = flat_square_sum(output_hwc, reference_hwc)
    assert (square_sum, tiles) == (pytest.approx(3 + 0.25), 4)


def test_noise_that_cancels_and_errors_in_texture_do_not_count() -> None:
    reference_hwc = half_textured()
    output_hwc = reference_hwc.copy()
    output_hwc[:, 32::2] += 1
    output_hwc[:, 33::2] -= 1
    output_hwc[:, :32] = 0
    square_sum, tiles = flat_square_sum(output_hwc[:, :64], reference_hwc[:, :64])
    assert (square_sum, tiles) == (pytest.approx(0), 4)
