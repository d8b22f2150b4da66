"""A picture in memory: its samples, and what says how they are meant."""

from __future__ import annotations

from dataclasses import dataclass

from repsr_deploy.imaging.samples import Image


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """An image with everything of its file that is kept."""

    image_hwc: Image
    """uint8 or uint16: H x W (gray), H x W x 3 (RGB) or H x W x 4 (RGB, alpha not premultiplied)."""
    icc_profile: bytes | None = None
    exif: bytes | None = None
    """A TIFF block, without what precedes it in a file (`Exif\\0\\0`); its orientation has been applied and is 1."""
    xmp: bytes | None = None
    """An XMP packet, UTF-8."""
