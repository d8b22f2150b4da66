"""JPEG compression of a batch on its device: everything lossy that an encoder and a decoder do (ITU-T T.81, JFIF).

4:2:0 with the standard tables, rounded wherever libjpeg-turbo rounds, whose default decoder smooths the chroma that it
enlarges ("fancy upsampling"). Entropy coding loses nothing and is left out. Not differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from repsr_deploy.errors import UsageError

BLOCK = 8
LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""T.81 table K.1."""
CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * BLOCK,) * 4,
)
"""T.81 table K.2."""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
"""JFIF: full-range BT.601; 128 is added to Cb and Cr."""
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def jpeg(image_nchw: Tensor, quality: Sequence[int]) -> Tensor:
    """Compress and decompress N x 3 x H x W of RGB in 0..1, sample n with `quality[n]`, 1..100 as libjpeg counts.

    Sizes that are no multiple of 16 are continued with their border pixels, as encoders do, and cut again. The result
    has the same shape and, like any decoded file, holds multiples of 1/255.

    Raises:
        UsageError: a quality out of range, or not one for each sample.
    """
    if len(quality) != len(image_nchw) or any(not 1 <= value <= 100 for value in quality):
        raise UsageError(f"quality is {list(quality)} for {len(image_nchw)} samples; expected 1 to 100 for each")
    height, width = image_nchw.shape[-2:]
    levels = (image_nchw * 255).round().clamp(0, 255)
    padded = F.pad(levels, (0, -width % (2 * BLOCK), 0, -height % (2 * BLOCK)), mode="replicate")
    ycc = _mix(padded, TO_YCC, offset=128).round()
    luma = _code(ycc[:, :1], _tables(LUMA_TABLE, quality, levels))
    chroma = _doubled(_code(_halved(ycc[:, 1:]), _tables(CHROMA_TABLE, quality, levels)))
    restored = torch.cat([luma, chroma - 128], dim=1)[..., :height, :width]
    return _mix(restored, TO_RGB, offset=0).round().clamp(0, 255) / 255


def _tables(standard: Sequence[Sequence[int]], quality: Sequence[int], like: Tensor) -> Tensor:
    """Steps of quantisation, N x 1 x 64, scaled from the standard table as libjpeg does."""
    scale = torch.tensor([5000 // value if value < 50 else 200 - 2 * value for value in quality])
    steps = (torch.tensor(standard).flatten() * scale[:, None, None] + 50) // 100
    return steps.clamp(1, 255).to(like)


def _code(planes: Tensor, steps: Tensor) -> Tensor:
    """Transform 8 x 8 blocks of N x C x H x W samples, round the coefficients to multiples of `steps`, and back."""
    count, channels, height, width = planes.shape
    grid = (count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    transform = _transform().to(planes)
    blocks = planes.reshape(grid).transpose(3, 4).reshape(count, -1, BLOCK * BLOCK) - 128
    # libjpeg's integer transform keeps eighths, so halfway cases are common, and it rounds them away from zero
    eighths = (blocks @ transform.T * 8).round()
    multiples = ((eighths.abs() + 4 * steps) / (8 * steps)).floor() * eighths.sign()
    decoded = ((multiples * steps) @ transform + 128).round().clamp(0, 255)
    rows = (count, channels, height // BLOCK, width // BLOCK, BLOCK, BLOCK)
    return decoded.view(rows).transpose(3, 4).reshape(planes.shape)


@cache
def _transform() -> Tensor:
    """Orthonormal two-dimensional DCT-II of a flattened block, 64 x 64, float64."""
    index = torch.arange(BLOCK, dtype=torch.float64)
    basis = torch.cos((2 * index + 1) * index[:, None] * (math.pi / (2 * BLOCK))) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    return torch.kron(basis, basis)


def _mix(image_nchw: Tensor, matrix: Sequence[Sequence[float]], *, offset: float) -> Tensor:
    """Colours by a 3 x 3 matrix; `offset` is added to the second and third channel."""
    weights = torch.tensor(matrix).to(image_nchw)
    shift = torch.tensor((0.0, offset, offset)).to(image_nchw)
    return torch.einsum("oc,nchw->nohw", weights, image_nchw) + shift.view(1, 3, 1, 1)


def _halved(planes: Tensor) -> Tensor:
    """Means of 2 x 2 samples; libjpeg rounds halves down in even and up in odd columns, so that no tint remains."""
    count, channels, height, width = planes.shape
    sums = planes.reshape(count, channels, height // 2, 2, width // 2, 2).sum(dim=(3, 5))
    bias = torch.arange(width // 2, device=planes.device) % 2 + 1
    return ((sums + bias) / 4).floor()


def _doubled(planes: Tensor) -> Tensor:
    """Twice as large by the triangle filter: each new sample is 3/4 of the nearer and 1/4 of the further old one."""
    padded = F.pad(planes, (1, 1, 1, 1), mode="replicate")
    near, above, below = 3 * padded[..., 1:-1, :], padded[..., :-2, :], padded[..., 2:, :]
    rows = torch.stack([near + above, near + below], dim=-2).flatten(-3, -2)
    near, left, right = 3 * rows[..., 1:-1], rows[..., :-2], rows[..., 2:]
    return (torch.stack([near + left + 8, near + right + 7], dim=-1).flatten(-2) / 16).floor()
