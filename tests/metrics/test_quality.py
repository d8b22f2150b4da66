"""PSNR against hand arithmetic, SSIM against scikit-image, and errors of protocol that must show."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data
from skimage.metrics import structural_similarity

from repsr_deploy.errors import UsageError
from repsr_deploy.metrics.colour import luma
from repsr_deploy.metrics.quality import Metric, Quality, measure, psnr, ssim
from repsr_deploy.metrics.resize import imresize


def damaged(photo: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, 9, photo.shape)
    return np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)


def test_psnr_by_hand() -> None:
    zero = np.zeros((2, 4), np.uint8)
    one_off = zero.copy()
    one_off[1, 2] = 4  # mean squared error 16 / 8 = 2
    assert psnr(one_off, zero) == pytest.approx(10 * math.log10(65025 / 2), abs=1e-12)
    assert psnr(np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8)) == 0
    assert psnr(zero, one_off) == psnr(one_off, zero)  # uint8 differences would wrap round
    assert psnr(zero, zero) == math.inf


def test_y_of_a_gray_shift_by_hand() -> None:
    """Gray + 1 moves Y by 219 / 255."""
    reference = np.full((20, 20, 3), 100, np.uint8)
    quality = measure(reference + np.uint8(1), reference, border=2, metrics=["psnr_y", "psnr_rgb"])
    assert quality.psnr_y == pytest.approx(20 * math.log10(255 / (219 / 255)), abs=1e-9)
    assert quality.psnr_rgb == pytest.approx(20 * math.log10(255), abs=1e-9)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_ssim_equals_scikit_image(name: str) -> None:
    photo: NDArray[np.uint8] = getattr(data, name)()[40:171, 33:190]
    other = damaged(photo)
    reference_ssim: Any = structural_similarity
    options: dict[str, Any] = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "truncate": 3.5,  # radius int(3.5 * 1.5 + 0.5) = 5: 11 x 11
        "data_range": 255,
    }
    expected_y = reference_ssim(luma(photo), luma(other), **options)
    assert ssim(luma(photo), luma(other)) == pytest.approx(expected_y, abs=1e-9)
    expected_rgb = reference_ssim(photo.astype(float), other.astype(float), channel_axis=2, **options)
    assert ssim(photo, other) == pytest.approx(expected_rgb, abs=1e-9)
    assert abs(reference_ssim(luma(photo), luma(other), data_range=255) - expected_y) > 1e-3  # 7 x 7 box window


def test_identical_pictures() -> None:
    photo = data.coffee()[:60, :70]
    assert measure(photo, photo, border=2) == Quality(psnr_y=math.inf, ssim_y=1.0, psnr_rgb=math.inf, ssim_rgb=1.0)


def test_border_is_left_out_and_no_more() -> None:
    reference = np.full((40, 40, 3), 128, np.uint8)
    image = reference.copy()
    image[:3], image[-3:], image[:, :3], image[:, -3:] = 0, 0, 0, 0
    assert measure(image, reference, border=3).psnr_rgb == math.inf
    assert measure(image, reference, border=2).psnr_rgb != math.inf
    for corner in [(3, 3), (3, 36), (36, 3), (36, 36)]:
        spoiled = reference.copy()
        spoiled[corner] = 0
        assert measure(spoiled, reference, border=3).psnr_rgb != math.inf


@pytest.mark.parametrize("metric", ["psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"])
def test_one_metric_alone_is_the_same_number(metric: Metric) -> None:
    photo = data.chelsea()[:90, :80]
    other = damaged(photo)
    alone = measure(other, photo, border=4, metrics=(metric,))
    assert alone == Quality(**{metric: getattr(measure(other, photo, border=4), metric)})


def test_planted_errors_of_protocol_change_the_number() -> None:
    """Each mistake that papers made moves PSNR-Y by at least 0.05 dB, five times the tolerance of our check values."""
    photo = data.astronaut()[:, :, :3]
    low = imresize(photo, 1 / 2)
    enlarged = imresize(low, 2)
    opencv: Any = cv2.resize(low, (512, 512), interpolation=cv2.INTER_CUBIC)

    def psnr_y(image: NDArray[np.uint8], reference: NDArray[np.uint8] = photo, border: int = 2) -> float:
        value = measure(image, reference, border=border, metrics=["psnr_y"]).psnr_y
        assert value is not None
        return value

    def bgr(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image[..., ::-1]

    right = psnr_y(enlarged)
    full_range = [cv2.cvtColor(image[2:-2, 2:-2], cv2.COLOR_RGB2YCrCb)[..., 0] for image in (enlarged, photo)]
    wrong = {
        "no antialiasing": psnr_y(imresize(cv2.resize(photo, (256, 256), interpolation=cv2.INTER_CUBIC), 2)),
        "OpenCV's bicubic back": psnr_y(opencv),
        "BGR in one picture": psnr_y(bgr(enlarged)),
        "BGR in both": psnr_y(bgr(enlarged), bgr(photo)),
        "full-range Y": psnr(*full_range),
        "RGB": measure(enlarged, photo, border=2).psnr_rgb or 0.0,
        "shifted by a pixel": psnr_y(np.roll(enlarged, 1, axis=1)),
    }
    for mistake, value in wrong.items():
        assert abs(value - right) > 0.05, f"{mistake}: {value:.3f} dB, right: {right:.3f} dB"


def test_wrong_crop_changes_the_number() -> None:
    """On a picture whose border is the hardest part, scale 3 cropped by 0 or 6 instead of 3."""
    photo = data.coffee()[:99, :99].copy()
    photo[:3] = 255 - photo[:3]
    enlarged = imresize(imresize(photo, 1 / 3), 3)
    values = [measure(enlarged, photo, border=border).psnr_y or 0.0 for border in (0, 3, 6)]
    assert abs(values[0] - values[1]) > 0.05
    assert abs(values[2] - values[1]) > 0.05


def test_impossible_comparisons_are_refused() -> None:
    photo = data.coffee()[:40, :40]
    with pytest.raises(UsageError, match="float64"):
        measure(photo / 255.0, photo, border=2)
    with pytest.raises(UsageError, match="shapes"):
        measure(photo[:-1], photo, border=2)
    with pytest.raises(UsageError, match="shapes"):
        measure(photo[..., 0], photo[..., 0], border=2)
    with pytest.raises(UsageError, match="border of 20"):
        measure(photo, photo, border=20)
    with pytest.raises(UsageError, match="too small for SSIM"):
        measure(photo, photo, border=15)
