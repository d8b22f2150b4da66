"""Blurring and sharpening against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from scipy import ndimage

from repsr_deploy.errors import UsageError
from repsr_train.degradations.filters import blur, usm_sharpen
from repsr_train.degradations.kernels import gaussian, sinc


@pytest.mark.parametrize("size", [1, 7, 21])
@pytest.mark.parametrize("shape", [(40, 53), (31, 22), (21, 64)])
def test_blur_is_filter2d_with_mirrored_borders(size: int, shape: tuple[int, int]) -> None:
    random = np.random.default_rng(size)
    image_hwc = random.random((*shape, 3), dtype=np.float32)
    kernel = random.random((size, size))  # not symmetric: a convolution or a transposed kernel would show
    expected_hwc = cv2.filter2D(image_hwc, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    image_nchw = torch.from_numpy(image_hwc.transpose(2, 0, 1)[None])
    blurred_nchw = blur(image_nchw, torch.from_numpy(kernel))
    assert blurred_nchw.dtype == torch.float32
    np.testing.assert_allclose(blurred_nchw[0].permute(1, 2, 0), expected_hwc, atol=2e-6 * kernel.sum())


def test_images_smaller_than_the_kernel_are_mirrored_again() -> None:
    random = np.random.default_rng(0)
    kernel = sinc(21, 1.2)
    for shape in ((5, 3), (1, 9), (1, 1)):
        image = random.random(shape)
        expected = ndimage.correlate(image, kernel.numpy(), mode="mirror")
        blurred = blur(torch.from_numpy(image)[None, None], kernel)[0, 0]
        np.testing.assert_allclose(blurred, expected, atol=1e-12)


def test_samples_and_channels_do_not_mix() -> None:
    image_nchw = torch.zeros(2, 3, 17, 17, dtype=torch.float64)
    image_nchw[1, 2, 8, 8] = 1
    kernel = gaussian(7, (1.5, 0.5), 0.4)
    blurred_nchw = blur(image_nchw, kernel)
    torch.testing.assert_close(blurred_nchw[1, 2, 5:12, 5:12], kernel)
    assert blurred_nchw[0].abs().max() < 1e-15
    assert blurred_nchw[1, :2].abs().max() < 1e-15


def test_kernels_with_even_or_unequal_sides_are_refused() -> None:
    for shape in ((4, 4), (3, 5)):
        with pytest.raises(UsageError, match="k x k"):
            blur(torch.zeros(1, 3, 8, 8), torch.ones(shape))


@pytest.mark.parametrize(("rows", "columns"), [(512, 512), (61, 77)])
def test_sharpening_is_unsharp_masking_with_opencvs_window(rows: int, columns: int) -> None:
    image_hwc = skimage.data.astronaut()[:rows, :columns].astype(np.float32) / 255
    blurred = cv2.GaussianBlur(image_hwc, (51, 51), 0, borderType=cv2.BORDER_REFLECT_101)
    residual = image_hwc - blurred
    mask = (np.abs(residual) * 255 > 10).astype(np.float32)
    soft = cv2.GaussianBlur(mask, (51, 51), 0, borderType=cv2.BORDER_REFLECT_101)
    expected_hwc = soft * np.clip(image_hwc + 0.5 * residual, 0, 1) + (1 - soft) * image_hwc

    sharpened_nchw = usm_sharpen(torch.from_numpy(image_hwc.transpose(2, 0, 1)[None]))
    # a residual that equals the threshold but for rounding moves one value of the mask, by 1/400 of its window
    np.testing.assert_allclose(sharpened_nchw[0].permute(1, 2, 0), expected_hwc, atol=1e-3)
    assert np.abs(sharpened_nchw[0].permute(1, 2, 0).numpy() - expected_hwc).mean() < 1e-6
    assert sharpened_nchw.min() >= 0
    assert sharpened_nchw.max() <= 1
    assert np.abs(expected_hwc - image_hwc).mean() > 0.005  # that is: something was sharpened


def test_flat_areas_are_left_alone() -> None:
    flat_nchw = torch.full((1, 3, 64, 64), 0.4)
    flat_nchw[..., 32:] += 9 / 255  # below the threshold
    torch.testing.assert_close(usm_sharpen(flat_nchw), flat_nchw, rtol=0, atol=1e-6)
