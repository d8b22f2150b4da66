"""Blurring and sharpening of float tensors N x C x H x W on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_train.degradations.kernels import gaussian

FFT_STEP = 32
"""Transforms are made a multiple of this long: lengths with large prime factors are slow, and every new length costs
a GPU the planning of its transform."""
WINDOW, WINDOW_SIGMA = 51, 8.0
"""Side and sigma of the Gaussian of unsharp masking, pixels. The "radius 50" of Real-ESRGAN is the side of OpenCV's
window, made odd; OpenCV then takes sigma = 0.3 ((51 - 1) / 2 - 1) + 0.8."""


def blur(image_nchw: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every channel with `kernel`, k x k with k odd; the image is mirrored about its border pixels.

    Images smaller than the kernel are mirrored again and again. Computed in the image's type by fast Fourier
    transform (error about 1e-7 of the range): a direct 21 x 21 convolution takes twice, 51 x 51 ten times as long.

    Raises:
        UsageError: `kernel` is not square with an odd side.
    """
    size = kernel.shape[-1]
    if kernel.shape != (size, size) or size % 2 == 0:
        raise UsageError(f"kernel has shape {tuple(kernel.shape)}; expected k x k with k odd")
    height, width = image_nchw.shape[-2:]
    padded = _mirrored(_mirrored(image_nchw, -2, size // 2), -1, size // 2)
    lengths = [-(-side // FFT_STEP) * FFT_STEP for side in padded.shape[-2:]]
    spectrum = torch.fft.rfft2(padded, s=lengths) * torch.fft.rfft2(kernel.to(padded), s=lengths).conj()
    return torch.fft.irfft2(spectrum, s=lengths)[..., :height, :width]


def usm_sharpen(image_nchw: Tensor, *, weight: float = 0.5, threshold: float = 10 / 255) -> Tensor:
    """Unsharp masking with a soft threshold, as Real-ESRGAN sharpens its ground truth; 0..1 in, 0..1 out.

    residual = image - blurred image; the mask, 1 where |residual| > threshold and 0 elsewhere, is itself blurred, and
    fades between the image and clip(image + weight * residual).
    """
    window = gaussian(WINDOW, (WINDOW_SIGMA, WINDOW_SIGMA))
    residual = image_nchw - blur(image_nchw, window)
    mask = blur((residual.abs() > threshold).to(image_nchw), window).clamp(0, 1)
    sharpened = (image_nchw + weight * residual).clamp(0, 1)
    return image_nchw + mask * (sharpened - image_nchw)


def _mirrored(image: Tensor, axis: int, margin: int) -> Tensor:
    """`margin` pixels more on both ends of an axis, mirrored about the border pixel."""
    size = image.shape[axis]
    period = max(2 * (size - 1), 1)
    place = torch.arange(-margin, size + margin, device=image.device) % period
    return image.index_select(axis, torch.minimum(place, period - place))
