"""Resizing between degradations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from repsr_train.degradations.resize import RESIZE_MODES, ResizeMode, resize


@pytest.mark.parametrize(("mode", "flag"), [("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC)])
@pytest.mark.parametrize("size", [(17, 50), (61, 20), (40, 31)])
def test_interpolation_is_opencvs(mode: ResizeMode, flag: int, size: tuple[int, int]) -> None:
    image_hwc = np.random.default_rng(0).random((40, 31, 3), dtype=np.float32)
    expected_hwc = cv2.resize(image_hwc, size[::-1], interpolation=flag)
    resized_nchw = resize(torch.from_numpy(image_hwc.transpose(2, 0, 1)[None]), size, mode)
    np.testing.assert_allclose(resized_nchw[0].permute(1, 2, 0), expected_hwc, atol=1e-5)


def test_area_is_the_mean_of_what_a_pixel_covers() -> None:
    image = torch.rand(1, 3, 24, 36)
    expected = image.view(1, 3, 6, 4, 12, 3).mean(dim=(3, 5))
    torch.testing.assert_close(resize(image, (6, 12), "area"), expected)
    torch.testing.assert_close(
        resize(image, (48, 72), "area"), image.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    )


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_a_picture_is_not_shifted(mode: ResizeMode) -> None:
    image = torch.rand(1, 1, 45, 63, dtype=torch.float64)
    for size in ((30, 40), (50, 99)):
        mirrored = resize(image.flip(2, 3), size, mode).flip(2, 3)
        torch.testing.assert_close(resize(image, size, mode), mirrored)
