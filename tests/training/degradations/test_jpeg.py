"""JPEG against a real encoder and decoder."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.metrics.quality import psnr
from repsr_train.degradations.jpeg import jpeg

Uint8 = NDArray[np.uint8]

PHOTOS: dict[str, Uint8] = {
    "astronaut": skimage.data.astronaut(),
    "odd": skimage.data.coffee()[:233, :317],
    "cat": skimage.data.chelsea(),
}
MEAN_LEVELS = 0.3
"""Largest mean difference, in 1/255: coefficients that lie halfway between two steps may be rounded to either side.
With another way of rounding it is 0.4, with chroma that is enlarged by repetition up to 1."""
PSNR_DB = 0.02


def batch(image_hwc: Uint8) -> Tensor:
    return torch.from_numpy(image_hwc.transpose(2, 0, 1)[None].astype(np.float32)) / 255


def picture(image_nchw: Tensor) -> Uint8:
    return (image_nchw[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)


def opencv(image_hwc: Uint8, quality: int) -> Uint8:
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
    bgr_hwc = cv2.cvtColor(image_hwc, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr_hwc, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
    decoded_hwc = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded_hwc is not None
    return np.asarray(cv2.cvtColor(decoded_hwc, cv2.COLOR_BGR2RGB), np.uint8)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("quality", [10, 30, 45, 50, 75, 90, 95, 100])
def test_it_does_what_libjpeg_does(name: str, quality: int) -> None:
    photo_hwc = PHOTOS[name]
    ours_hwc, real_hwc = picture(jpeg(batch(photo_hwc), [quality])), opencv(photo_hwc, quality)
    difference = np.abs(ours_hwc.astype(np.int16) - real_hwc)
    assert difference.mean() < MEAN_LEVELS
    assert np.abs(difference[:, -20:].mean() - difference.mean()) < MEAN_LEVELS  # borders, where blocks are filled up
    assert np.abs(difference[-20:].mean() - difference.mean()) < MEAN_LEVELS
    assert abs(psnr(ours_hwc, photo_hwc) - psnr(real_hwc, photo_hwc)) < PSNR_DB


def test_the_comparison_sees_another_quality() -> None:
    photo_hwc = PHOTOS["cat"]
    for other in (48, 52):
        difference = np.abs(picture(jpeg(batch(photo_hwc), [50])).astype(np.int16) - opencv(photo_hwc, other))
        assert difference.mean() > MEAN_LEVELS


@pytest.mark.parametrize("shape", [(1, 1), (8, 16), (15, 17), (16, 33), (23, 9)])
def test_small_and_odd_sizes(shape: tuple[int, int]) -> None:
    photo_hwc = np.ascontiguousarray(PHOTOS["astronaut"][100 : 100 + shape[0], 180 : 180 + shape[1]])
    ours_hwc, real_hwc = picture(jpeg(batch(photo_hwc), [80])), opencv(photo_hwc, 80)
    assert ours_hwc.shape == photo_hwc.shape
    assert np.abs(ours_hwc.astype(np.int16) - real_hwc).mean() < 1


def test_each_sample_has_its_own_quality() -> None:
    images = torch.rand(3, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    qualities = [30, 95, 61]
    together = jpeg(images, qualities)
    for image, quality, result in zip(images, qualities, together, strict=True):
        assert torch.equal(jpeg(image[None], [quality])[0], result)
    assert (together[1] - images[1]).abs().mean() < (together[0] - images[0]).abs().mean()


def test_the_result_is_8_bit_within_range_and_the_input_may_leave_it() -> None:
    images = torch.randn(2, 3, 37, 29, generator=torch.Generator().manual_seed(0)) + 0.5
    result = jpeg(images, [40, 90])
    levels = result * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    assert 0 <= result.min() <= result.max() <= 1
    assert torch.equal(result, jpeg(images.clamp(0, 1), [40, 90]))


def test_memory_layout_does_not_matter() -> None:
    images = torch.rand(2, 3, 33, 47, generator=torch.Generator().manual_seed(0))
    assert torch.equal(jpeg(images.contiguous(memory_format=torch.channels_last), [50, 60]), jpeg(images, [50, 60]))


@pytest.mark.parametrize("quality", [[0], [101], [50, 50], []])
def test_impossible_qualities_are_refused(quality: list[int]) -> None:
    with pytest.raises(UsageError, match="quality"):
        jpeg(torch.zeros(1, 3, 16, 16), quality)
