"""The way of NumPy and OpenCV does the same work: or its times would say nothing."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest

from repsr_deploy.bench.kernels.usual import finish_image, opencv_threads, shuffled
from repsr_deploy.model_info import Skip
from repsr_kernels.reference.upsample import summed


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("skip", get_args(Skip))
def test_picture_is_that_of_the_reference(scale: int, channels: int, skip: Skip) -> None:
    random = np.random.default_rng(scale)
    features = random.uniform(-0.5, 1.0, (channels * scale**2, 13, 17)).astype(np.float32)
    image = random.random((channels, 13, 17), dtype=np.float32)
    kept = features.copy(), image.copy()
    out = np.full((13 * scale, 17 * scale, channels), 7, np.uint8)
    finish_image(features, image, scale, skip, out)
    expected = np.clip(summed(features[None].astype(np.float64), image[None].astype(np.float64), scale, skip), 0, 1)[0]
    apart = np.abs(out - 255 * expected.transpose(1, 2, 0))
    assert apart.max() < 0.5 + 1e-4  # the nearest level, but for what float32 rounds
    assert np.array_equal(features, kept[0])
    assert np.array_equal(image, kept[1])


def test_shuffle_places_every_channel() -> None:
    features = np.arange(3 * 9 * 2 * 5, dtype=np.float32).reshape(27, 2, 5)
    picture = shuffled(features, 3)
    for channel, y, x in np.ndindex(3, 6, 15):
        assert picture[channel, y, x] == features[channel * 9 + y % 3 * 3 + x % 3, y // 3, x // 3]


def test_threads_of_opencv_are_left_as_they_were() -> None:
    before = cv2.getNumThreads()
    with opencv_threads(1):
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == before
