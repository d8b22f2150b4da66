"""The eight fixed test degradations of Reflash Dropout (Kong et al., arXiv 2112.12089, section 4).

`blur`: Gaussian of sigma 2 on 21 x 21 before the reduction. `noise`: Gaussian of sigma 20/255 after it. `jpeg`:
quality 50 at the end, by a real encoder (OpenCV, 4:2:0). Only the noise is random. The paper reduces with Pillow's
antialiased bicubic; here it is the MATLAB-style `reduce` of the project's evaluation, which moves the scores of bicubic
by 0.005 to 0.03 dB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from repsr_deploy.errors import UsageError
from repsr_deploy.files import sha256
from repsr_deploy.metrics.evaluate import reduce
from repsr_train.degradations.filters import blur
from repsr_train.degradations.kernels import gaussian

Kind = Literal["clean", "blur", "noise", "jpeg", "blur+noise", "blur+jpeg", "noise+jpeg", "blur+noise+jpeg"]
KINDS: tuple[Kind, ...] = get_args(Kind)

BLUR_SIZE, BLUR_SIGMA = 21, 2.0
"""HR pixels."""
NOISE_SIGMA = 20.0
"""Levels of 8 bits."""
QUALITY = 50

Uint8 = NDArray[np.uint8]


def degraded(hr_hwc: Uint8, scale: int, kind: Kind, seed: int | Sequence[int]) -> Uint8:
    """The degraded LR picture of a reference.

    Args:
        hr_hwc: RGB, H x W x 3, sides divisible by `scale`.
        scale: whole factor; the paper tests 4.
        kind: which degradations, one of `KINDS`; "clean" is `reduce` alone.
        seed: of the noise; `noise_seed` gives one that repeats.

    Returns:
        RGB, H/scale x W/scale x 3, rounded to uint8 after each step.

    Raises:
        UsageError: an unknown kind, or sides not divisible by the scale.
    """
    if kind not in KINDS:
        raise UsageError(f"degradation is {kind!r}; expected one of {', '.join(KINDS)}")
    if hr_hwc.shape[0] % scale or hr_hwc.shape[1] % scale:
        raise UsageError(f"picture has shape {hr_hwc.shape}; expected sides divisible by {scale}")
    steps = kind.split("+")
    lr_hwc = reduce(_blurred(hr_hwc) if "blur" in steps else hr_hwc, scale)
    if "noise" in steps:
        lr_hwc = _noisy(lr_hwc, np.random.default_rng(seed))
    return _compressed(lr_hwc) if "jpeg" in steps else lr_hwc


def noise_seed(name: str, kind: Kind) -> int:
    """The seed for a picture's noise: its own for every picture and degradation, the same on every machine."""
    return int(sha256(f"{name}/{kind}".encode())[:16], 16)


def _blurred(image_hwc: Uint8) -> Uint8:
    image_nchw = torch.from_numpy(image_hwc.transpose(2, 0, 1)[None].astype(np.float64))
    blurred_nchw = blur(image_nchw, gaussian(BLUR_SIZE, (BLUR_SIGMA, BLUR_SIGMA)))
    return blurred_nchw[0].permute(1, 2, 0).round().clamp(0, 255).numpy().astype(np.uint8)


def _noisy(image_hwc: Uint8, random: np.random.Generator) -> Uint8:
    noisy = image_hwc + random.normal(scale=NOISE_SIGMA, size=image_hwc.shape)
    return np.rint(noisy).clip(0, 255).astype(np.uint8)


def _compressed(image_hwc: Uint8) -> Uint8:
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
    bgr_hwc = np.ascontiguousarray(image_hwc[..., ::-1])
    _, data = cv2.imencode(".jpg", bgr_hwc, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *sampling])
    decoded_hwc = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded_hwc is not None  # our own data
    return np.ascontiguousarray(decoded_hwc[..., ::-1], dtype=np.uint8)
