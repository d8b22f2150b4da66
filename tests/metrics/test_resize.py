"""`imresize` against two independent scalar references and stored arrays."""

from __future__ import annotations

import math
import threading
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from repsr_deploy.errors import UsageError
from repsr_deploy.metrics.resize import imresize

SCALES = [Fraction(2), Fraction(3), Fraction(4), Fraction(1, 2), Fraction(1, 3), Fraction(1, 4), Fraction(3, 2)]
SIZES = [(13, 9), (7, 24), (1, 5), (3, 2), (16, 12)]


def cubic(x: float | Fraction) -> float | Fraction:
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    if x <= 2:
        return -Fraction(1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2
    return 0


def line_by_documentation(line: list[Any], scale: Fraction, antialias: bool = True) -> list[Any]:
    """One line of pixels by the steps of MATLAB's documentation, one-based, in exact rational numbers.

    The answer is the mathematically exact one, so it carries no rounding of any floating-point order of summation.
    """
    size = len(line)
    narrow = min(scale, Fraction(1)) if antialias else Fraction(1)
    result: list[Any] = []
    for x in range(1, math.ceil(size * scale) + 1):
        u = Fraction(x) / scale + Fraction(1, 2) * (1 - 1 / scale)
        total, weight_sum = Fraction(0), Fraction(0)
        for index in range(math.floor(u - 2 / narrow) - 1, math.ceil(u + 2 / narrow) + 2):
            weight = narrow * cubic(narrow * (u - index))
            mirrored = (index - 1) % (2 * size)
            pixel = line[mirrored] if mirrored < size else line[2 * size - 1 - mirrored]
            total += weight * pixel
            weight_sum += weight
        result.append(total / weight_sum)
    return result


def to_uint8(value: Fraction) -> int:
    """MATLAB's uint8(): halves away from zero, then saturated."""
    magnitude = math.floor(abs(value) + Fraction(1, 2))
    return min(magnitude, 255) if value > 0 else 0


def by_documentation(image: NDArray[np.uint8], scale: Fraction, *, antialias: bool = True) -> NDArray[np.uint8]:
    """H x W uint8: columns of pixels (the first dimension) first, each pass rounded."""
    columns = [line_by_documentation([int(v) for v in column], scale, antialias) for column in image.T]
    first_pass = [[to_uint8(v) for v in column] for column in columns]
    rows = [
        line_by_documentation([column[y] for column in first_pass], scale, antialias) for y in range(len(columns[0]))
    ]
    return np.array([[to_uint8(v) for v in row] for row in rows], np.uint8)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_uint8_equals_exact_arithmetic(size: tuple[int, int], scale: Fraction) -> None:
    image = noise(*size, seed=sum(size))
    expected = by_documentation(image, scale)
    np.testing.assert_array_equal(imresize(image, scale), expected)
    np.testing.assert_array_equal(imresize(image, float(scale)), expected)


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_float_equals_exact_arithmetic_unrounded(scale: Fraction) -> None:
    line = np.random.default_rng(5).normal(size=(11, 1))
    expected = [float(v) for v in line_by_documentation([Fraction(v) for v in line[:, 0]], scale)]
    result = imresize(line, scale, output_size=(len(expected), 1))
    np.testing.assert_allclose(result[:, 0], expected, rtol=0, atol=1e-13)


def test_known_step_edge() -> None:
    """Worked by hand: at x2 the weights are -9, 111, 29 and -3 of 128, and their mirror."""
    step = np.array([[0, 0, 0, 128, 128, 128]], np.float64)
    expected = [[0, 0, 0, -3, -9, 26, 102, 137, 131, 128, 128, 128]]
    np.testing.assert_array_equal(imresize(step, 2, output_size=(1, 12)), expected)


def test_known_reduction() -> None:
    """Worked by hand: at x1/2 the eight weights are -3, -9, 29, 111 of 256 and their mirror."""
    impulse = np.zeros((16, 1))
    impulse[7] = 256
    result = imresize(impulse, 0.5, output_size=(8, 1))
    np.testing.assert_array_equal(result[:, 0], [0, 0, -9, 111, 29, -3, 0, 0])


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(1, 3), Fraction(1, 4)], ids=str)
def test_planted_errors_are_seen(scale: Fraction) -> None:
    """No antialiasing, OpenCV's bicubic and swapped passes each give other pixels."""
    image = data.astronaut()[100:124, 200:236, 0]
    right = imresize(image, scale)
    assert np.mean(right != by_documentation(image, scale, antialias=False)) > 0.2
    opencv = cv2.resize(image, right.shape[::-1], interpolation=cv2.INTER_CUBIC)
    assert np.mean(right != opencv) > 0.2


def test_order_of_passes_matters_and_is_rows_first() -> None:
    image = noise(30, 30)
    assert np.any(imresize(image, Fraction(1, 2)) != imresize(image.T, Fraction(1, 2)).T)


def test_different_scales_reduce_first() -> None:
    image = noise(20, 20)
    both = imresize(image, output_size=(40, 10))
    np.testing.assert_array_equal(both, imresize(imresize(image, output_size=(20, 10)), output_size=(40, 10)))
    assert np.any(both != imresize(imresize(image, output_size=(40, 20)), output_size=(40, 10)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_type_channels_and_constants_survive(dtype: Any) -> None:
    image = np.full((17, 23, 3), 200, dtype)
    image[..., 1] = 7
    for scale in (2, 1 / 3, 0.777):
        result = imresize(image, scale)
        assert result.dtype == dtype
        assert result.shape == (math.ceil(17 * scale), math.ceil(23 * scale), 3)
        np.testing.assert_allclose(result[..., 0], 200, atol=1e-4)
        np.testing.assert_allclose(result[..., 1], 7, atol=1e-4)


def test_colour_channels_are_independent_and_input_untouched() -> None:
    image = data.coffee()[:102, :78]
    before = image.copy()
    result = imresize(image, 1 / 3)
    for channel in range(3):
        np.testing.assert_array_equal(result[..., channel], imresize(image[..., channel], 1 / 3))
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(imresize(image[::-1, ::-1], 1 / 3), result[::-1, ::-1])


def test_uint16_is_not_cut_to_uint8() -> None:
    image = noise(24, 24).astype(np.uint16) * 257
    result = imresize(image, 0.5)
    assert result.max() > 255
    np.testing.assert_allclose(result, imresize(image.astype(np.float64), 0.5).clip(0, 65535), atol=2)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [(9, 1 / 3, 3), (10, 1 / 3, 4), (30, 0.1, 3), (3, 2 / 3, 2), (100, 0.07, 7), (1, 0.01, 1)],
)
def test_output_size_is_the_ceiling(size: int, scale: float, expected: int) -> None:
    assert imresize(np.zeros((size, size), np.uint8), scale).shape == (expected, expected)


def test_threads_do_not_disturb_each_other() -> None:
    image = data.chelsea()
    expected = imresize(image, 0.5)
    results: list[NDArray[Any]] = []
    threads = [threading.Thread(target=lambda: results.append(imresize(image, 0.5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(np.array_equal(result, expected) for result in results)


@pytest.mark.parametrize("scale", [0, -1, math.nan, math.inf])
def test_impossible_scale_is_refused(scale: float) -> None:
    with pytest.raises(UsageError, match="scale is"):
        imresize(noise(4, 4), scale)


def test_other_impossible_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="neither scale nor output size"):
        imresize(noise(4, 4))
    with pytest.raises(UsageError, match="output size is 0"):
        imresize(noise(4, 4), output_size=(0, 4))
    with pytest.raises(UsageError, match="shape"):
        imresize(np.zeros((0, 4), np.uint8), 2)
    with pytest.raises(UsageError, match="int32"):
        imresize(np.zeros((4, 4), np.int32), 2)
