"""Samples of images."""

from __future__ import annotations

import numpy as np

from repsr_deploy.imaging.samples import as_uint8


def test_16_bits_are_rounded_to_the_nearest_of_8() -> None:
    every = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(as_uint8(every), np.rint(every.astype(np.float64) / 65535 * 255).astype(np.uint8))


def test_8_bits_stay() -> None:
    image_hwc = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(as_uint8(image_hwc), image_hwc)
