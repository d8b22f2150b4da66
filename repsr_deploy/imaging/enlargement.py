"""What size a picture gets, and how: everything that is asked for beside the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.upscaler import Progress, Upscaler

Fit = Literal["inside", "cover", "stretch"]
Seamless = Literal["no", "wrap", "mirror"]
Depth = Literal["auto", "8", "16"]


@dataclass(frozen=True, kw_only=True)
class Enlargement:
    """How to enlarge a picture."""

    factor: float | None = None
    """None for the model's scale, or what `width` and `height` ask for."""
    width: int | None = None
    """Of the result, pixels. Of width and height, one alone keeps the ratio of sides."""
    height: int | None = None
    fit: Fit = "inside"
    """With both: the largest that fits inside, the smallest that covers them, or exactly these."""
    tta: bool = False
    """Self-ensemble: the mean of the results for the 8 flips and turns (EDSR, section 3.3)."""
    seamless: Seamless = "no"
    """What lies beyond the border: nothing, the opposite side (a texture that repeats), or the mirror image."""
    depth: Depth = "auto"
    """Bits of a sample of the result; auto for those of the picture."""


def enlarge(
    upscaler: Upscaler, image_hwc: Image, enlargement: Enlargement, *, progress: Progress | None = None
) -> Image:
    """Enlarge one image; see `Upscaler.upscale`."""
    return upscaler.upscale(image_hwc, factor=enlargement.factor, progress=progress)
