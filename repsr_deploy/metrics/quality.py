"""PSNR and SSIM by the protocol of the super-resolution literature."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import UsageError
from repsr_deploy.metrics.colour import luma

Metric = Literal["psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"]
METRICS: tuple[Metric, ...] = get_args(Metric)

PEAK = 255.0
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How near a picture is to its reference; None where not measured."""

    psnr_y: float | None = None
    """dB; infinite when identical."""
    ssim_y: float | None = None
    """At most 1, when identical."""
    psnr_rgb: float | None = None
    ssim_rgb: float | None = None


def measure(
    image_hwc: NDArray[np.uint8],
    reference_hwc: NDArray[np.uint8],
    *,
    border: int,
    metrics: Collection[Metric] = METRICS,
) -> Quality:
    """Compare two RGB pictures H x W x 3 of uint8 without their outermost `border` pixels (by convention, the scale).

    Raises:
        UsageError: other types or shapes, or nothing is left inside the border (for SSIM, less than its window).
    """
    if image_hwc.dtype != np.uint8 or reference_hwc.dtype != np.uint8:
        raise UsageError(f"pictures have types {image_hwc.dtype} and {reference_hwc.dtype}; expected uint8, rounded")
    if image_hwc.shape != reference_hwc.shape or reference_hwc.shape[2:] != (3,):
        raise UsageError(
            f"pictures have shapes {image_hwc.shape} and {reference_hwc.shape}; expected the same H x W x 3 twice"
        )
    image, reference = (_inside(picture, border) for picture in (image_hwc, reference_hwc))
    values: dict[str, float] = {}
    if "psnr_y" in metrics or "ssim_y" in metrics:
        image_y, reference_y = luma(image), luma(reference)
        if "psnr_y" in metrics:
            values["psnr_y"] = psnr(image_y, reference_y)
        if "ssim_y" in metrics:
            values["ssim_y"] = ssim(image_y, reference_y)
    if "psnr_rgb" in metrics:
        values["psnr_rgb"] = psnr(image, reference)
    if "ssim_rgb" in metrics:
        values["ssim_rgb"] = ssim(image, reference)
    return Quality(**values)


def psnr(image: NDArray[Any], reference: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio, dB, of arrays of the same shape in 0..255; infinite when they are identical."""
    difference = image.astype(np.float64) - reference
    return decibels(float(np.mean(np.square(difference, out=difference))), PEAK)


def decibels(mean_square: float, peak: float = 1.0) -> float:
    """PSNR of a mean square error; infinite for none, NaN for NaN."""
    share = mean_square / peak**2
    return math.inf if share == 0 else -10 * math.log10(share)


def ssim(image: NDArray[Any], reference: NDArray[Any]) -> float:
    """Structural similarity of two arrays in 0..255, H x W or H x W x C, mean over pixels and channels.

    Wang et al., "Image quality assessment", IEEE TIP 13(4), 2004: Gaussian window 11 x 11, sigma 1.5, K 0.01 and 0.03,
    population covariance, only where the whole window lies inside the picture.

    Raises:
        UsageError: the picture is smaller than the window.
    """
    if min(image.shape[:2]) < SSIM_WINDOW:
        raise UsageError(f"picture of {image.shape[1]}x{image.shape[0]} is too small for SSIM; expected 11x11 or more")
    first, second = image.astype(np.float64), reference.astype(np.float64)
    c1, c2 = (SSIM_K1 * PEAK) ** 2, (SSIM_K2 * PEAK) ** 2
    mean1, mean2 = _window_mean(first), _window_mean(second)
    variance1 = _window_mean(first * first) - mean1 * mean1
    variance2 = _window_mean(second * second) - mean2 * mean2
    covariance = _window_mean(first * second) - mean1 * mean2
    luminance = (2 * mean1 * mean2 + c1) / (mean1 * mean1 + mean2 * mean2 + c1)
    structure = (2 * covariance + c2) / (variance1 + variance2 + c2)
    return float(np.mean(luminance * structure))


def _window_mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean under the Gaussian window at each place where it fits."""
    kernel = cv2.getGaussianKernel(SSIM_WINDOW, SSIM_SIGMA, cv2.CV_64F)
    radius = SSIM_WINDOW // 2
    return _inside(cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel), radius)


def _inside(image: NDArray[Any], border: int) -> NDArray[Any]:
    height, width = image.shape[:2]
    if border < 0 or min(height, width) <= 2 * border:
        raise UsageError(f"picture of {width}x{height} has nothing inside a border of {border} pixels")
    return image[border : height - border, border : width - border]
