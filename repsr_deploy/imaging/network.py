"""A network over image planes of any layout: gray, RGB, with or without alpha, whatever the network itself takes."""

from __future__ import annotations

import numpy as np

from repsr_deploy.imaging import alpha as transparency
from repsr_deploy.imaging import chroma
from repsr_deploy.imaging.samples import Image, Planes, checked_output, planes_from
from repsr_deploy.metrics.colour import OFFSET, rgb_from_ycbcr, ycbcr_from_rgb
from repsr_deploy.runtimes import Runtime

BLACK, WHITE = np.float32(OFFSET[0] / 255), np.float32(235 / 255)
"""Studio-range luma of black and white, / 255: what a `y` network sees."""

WHOLE_IMAGE_REACH = 16
"""How deep colours bleed under transparency, LR pixels, for a network that looks at the whole image."""


class PlaneNetwork:
    """Enlarges planes C x H x W of float32 in 0..1; C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha).

    A network of io `image` sees them rounded to 8 bits: 8-bit colours lose nothing, what lies invisible under
    transparency is filled in to 8 bits.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._info = runtime.info
        self._reach = WHOLE_IMAGE_REACH if runtime.info.halo is None else runtime.info.halo

    def halo(self, channels: int) -> int:
        """How far the whole computation looks: the network, and what is done beside it."""
        halo = self._reach
        if channels in (2, 4):
            halo = 2 * halo + 1  # colours bleed as far as the network then looks, and which of them do lies 1 around
        return max(halo, chroma.HALO) if self._info.colour == "y" and channels > 2 else halo

    def is_plain(self, image_hwc: Image) -> bool:
        """Whether the network sees all there is in an image, as it is: 8-bit colours, no transparency."""
        return image_hwc.dtype == np.uint8 and image_hwc.shape[2] == 3 and self._info.colour == "rgb"

    def enlarge_samples(self, image_hwc: Image) -> Planes | Image:
        """An image, or a part of one, as `enlarge` makes it, or as uint8 samples H x W x C that are done."""
        if self.is_plain(image_hwc) and (self._runtime.native_images or self._info.io == "image"):
            return self._runtime.run_images(image_hwc[None])[0]
        return self.enlarge(planes_from(image_hwc))

    def enlarge(self, planes: Planes) -> Planes:
        """C x H x W to C x scale*H x scale*W; to be checked for NaN, infinity and range (`samples.checked_output`)."""
        if len(planes) % 2:
            return self._enlarge_colour(planes)
        colour, alpha = planes[:-1], planes[-1]
        return np.concatenate(
            [self._enlarge_colour(transparency.bleed(colour, alpha, self._reach)), self._enlarge_alpha(alpha)[None]]
        )

    def _enlarge_colour(self, planes: Planes) -> Planes:
        """1 or 3 planes through a network that may take the other number."""
        match self._info.colour, len(planes):
            case ("rgb", 3):
                return self._run(planes)
            case ("rgb", _):  # the mean of what the network makes of three equal planes
                return self._run(np.repeat(planes, 3, axis=0)).mean(axis=0, keepdims=True)
            case ("y", 1):
                luma = self._run(planes * (WHITE - BLACK) + BLACK)
                return (luma - BLACK) / (WHITE - BLACK)
            case _:
                luma, *colours = np.moveaxis(ycbcr_from_rgb(np.moveaxis(planes, 0, -1)), -1, 0)
                enlarged = [self._run(luma[None])[0], *(chroma.enlarge(plane, self._info.scale) for plane in colours)]
                return np.moveaxis(rgb_from_ycbcr(np.stack(enlarged, axis=-1)), -1, 0)

    def _enlarge_alpha(self, alpha: Planes) -> Planes:
        """One plane through the same network; a constant one is left to no network, with the same result."""
        scale = self._info.scale
        if alpha.min() == alpha.max():
            return np.full((alpha.shape[0] * scale, alpha.shape[1] * scale), alpha[0, 0])
        enlarged = checked_output(self._enlarge_colour(alpha[None])[0], self._info.name)
        return transparency.within_neighbours(enlarged, alpha, scale)

    def _run(self, planes: Planes) -> Planes:
        return self._runtime.run(planes[None])[0]
