"""What size a picture gets, and how: everything that is asked for beside the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.borders import Seamless
from repsr_deploy.imaging.samples import Image, converted
from repsr_deploy.imaging.sizes import Size, checked_factor, scaled
from repsr_deploy.imaging.upscaler import Progress, Upscaler

__all__ = ["Depth", "Enlargement", "Fit", "Seamless", "enlarge", "result_size"]

Fit = Literal["inside", "cover", "stretch"]
Depth = Literal["auto", "8", "16"]

MAX_SIDE = 2**20
"""Longest side that may be asked for: what PNG files hold here."""


@dataclass(frozen=True, kw_only=True)
class Enlargement:
    """How to enlarge a picture.

    Raises:
        UsageError: values that are impossible, alone or together.
    """

    factor: float | None = None
    """None for the model's scale, or what `width` and `height` ask for."""
    width: int | None = None
    """Of the result, pixels. Of width and height, one alone keeps the ratio of sides."""
    height: int | None = None
    fit: Fit = "inside"
    """With both: the ratio kept, as large as fits inside; the ratio kept, as small as covers them, and cut to them
    around the centre (CSS `object-fit: cover`); or exactly these."""
    tta: bool = False
    """Self-ensemble: the mean of the results for the 8 flips and turns (EDSR, section 3.3)."""
    seamless: Seamless = "no"
    """What lies beyond the border: nothing, the opposite side (a texture that repeats), or the mirror image."""
    depth: Depth = "auto"
    """Bits of a sample of the result; auto for those of the picture."""

    def __post_init__(self) -> None:
        for name, kinds in (("fit", Fit), ("seamless", Seamless), ("depth", Depth)):
            if getattr(self, name) not in get_args(kinds):
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(get_args(kinds))}")
        if self.factor is not None:
            checked_factor(self.factor)
            if self.width is not None or self.height is not None:
                raise UsageError("both a factor and a size are given; expected a factor, or width and height")
        for name, side in (("width", self.width), ("height", self.height)):
            if side is not None and not 1 <= side <= MAX_SIDE:
                raise UsageError(f"{name} of the result is {side}; expected 1 to {MAX_SIDE} pixels")
        if self.fit != "inside" and (self.width is None or self.height is None):
            raise UsageError(f"fit is {self.fit}, and width and height are not both given; expected both")
        if self.fit == "cover" and self.seamless != "no":
            raise UsageError(
                f"fit is cover and seamless is {self.seamless}, but a texture that is cut no longer repeats; expected "
                "fit stretch or inside"
            )


def result_size(size: tuple[int, int], enlargement: Enlargement, scale: int) -> tuple[int, int]:
    """(width, height) of the result for a picture of such a (width, height); `scale` is the model's."""
    width, height = size
    made = _resized_size((height, width), enlargement, scale)
    if enlargement.fit == "cover":
        made = _wanted(made, enlargement)
    return made[1], made[0]


def enlarge(
    upscaler: Upscaler, image_hwc: Image, enlargement: Enlargement, *, progress: Progress | None = None
) -> Image:
    """Enlarge one image as asked for; see `Upscaler.upscale` for images, steps and errors.

    Returns:
        The same layout, of `result_size` and of the samples of `depth`. What is asked for in 16 bits of 8, or as a
        mean of views, is computed in float32 and rounded once, at the end.

    Raises:
        UsageError: also 16 bits from a model of io `image`, which gives 8.
    """
    size = _resized_size((image_hwc.shape[0], image_hwc.shape[1]), enlargement, upscaler.info.scale)
    kind = _kind(image_hwc, enlargement.depth)
    made = (upscaler.ensembled if enlargement.tta else upscaler).upscale(
        _working_samples(upscaler, image_hwc, enlargement, kind),
        size=size,
        seamless=enlargement.seamless,
        progress=progress,
    )
    if enlargement.fit == "cover":
        made = _centre(made, _wanted(size, enlargement))
    return np.ascontiguousarray(converted(made, kind))


def _resized_size(size: Size, enlargement: Enlargement, scale: int) -> Size:
    """What the picture is enlarged to as a whole, before anything is cut off it."""
    height, width = size
    wanted = enlargement.height, enlargement.width
    if wanted == (None, None):
        return scaled(size, float(scale) if enlargement.factor is None else enlargement.factor)
    if enlargement.fit == "stretch":
        return _wanted(size, enlargement)
    # of two sides, the one that grows less decides what fits inside; compared as fractions, without rounding
    ratios = [(new, old) for new, old in zip(wanted, size, strict=True) if new is not None]
    new, old = ratios[0]
    if len(ratios) == 2:
        other = ratios[1]
        is_less = other[0] * old < new * other[1]
        if is_less == (enlargement.fit == "inside"):
            new, old = other
    return _times(height, new, old), _times(width, new, old)


def _times(side: int, new: int, old: int) -> int:
    """`side * new / old`, rounded half up, at least 1; exact in whole numbers."""
    return max(1, (2 * side * new + old) // (2 * old))


def _wanted(size: Size, enlargement: Enlargement) -> Size:
    """The size asked for, its missing sides from `size`."""
    return enlargement.height or size[0], enlargement.width or size[1]


def _centre(image: Image, size: Size) -> Image:
    top, left = ((have - keep) // 2 for have, keep in zip(image.shape, size, strict=False))
    return image[top : top + size[0], left : left + size[1]]


def _kind(image: Image, depth: Depth) -> str:
    """Type of the result's samples."""
    return image.dtype.name if depth == "auto" else f"uint{depth}"


def _working_samples(upscaler: Upscaler, image: Image, enlargement: Enlargement, kind: str) -> Image:
    """The image in the samples that it is enlarged in."""
    if upscaler.info.io == "image":
        if kind != "uint8":
            raise UsageError(
                f"the result is to have {kind} samples, and {upscaler.info.name} takes and gives 8 bits (io image); "
                "expected --depth 8, or a model exported with --io float"
            )
        return converted(image, "uint8")
    if enlargement.tta or (kind == "uint16" and image.dtype != np.uint16):
        return converted(image, "float32")
    return image
