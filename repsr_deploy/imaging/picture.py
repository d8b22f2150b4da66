"""A picture in memory: its samples, and what says how they are meant."""

from __future__ import annotations

from dataclasses import dataclass

from repsr_deploy.imaging.formats.base import Chunk
from repsr_deploy.imaging.samples import Image


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """An image with everything of its file that is kept.

    `dataclasses.replace(picture, image_hwc=larger)` is the same picture in another size; sizes that EXIF and XMP tell
    are set right when it is written.
    """

    image_hwc: Image
    """uint8 or uint16: H x W (gray), or H x W x C with 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha) channels, alpha not
    premultiplied."""
    icc_profile: bytes | None = None
    exif: bytes | None = None
    """A TIFF block, without what precedes it in a file (`Exif\\0\\0`); its orientation has been applied and is 1."""
    xmp: bytes | None = None
    """An XMP packet, UTF-8."""
    density: tuple[float, float] | None = None
    """Pixels an inch, across and down, of the file."""
    cicp: tuple[int, int] | None = None
    """Colour primaries and transfer characteristics by number (ITU-T H.273), as PNG and AVIF have them; None for
    those that the profile says, or sRGB."""
    png_chunks: tuple[Chunk, ...] = ()
    """Kinds and bodies of chunks that only PNG has: gamma, chromaticities, texts."""
