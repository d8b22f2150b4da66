"""What the formats share: the container, its limits, and the words for files that are not whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from repsr_deploy.errors import ImageFileError

WebFormat = Literal["png", "jpeg", "webp"]
"""What every browser shows, and services speak."""
Format = Literal["png", "jpeg", "webp", "tiff", "bmp", "avif", "gif"]
FORMAT_NAMES: dict[Format, str] = {
    "png": "PNG", "jpeg": "JPEG", "webp": "WebP", "tiff": "TIFF", "bmp": "BMP", "avif": "AVIF", "gif": "GIF",
}  # fmt: skip
WEB_FORMATS: tuple[WebFormat, ...] = ("png", "jpeg", "webp")

MAX_PARTS = 2**17
"""Most chunks or segments of a file: files of pictures have tens of thousands at most, and each takes a microsecond."""
MAX_PROFILE_BYTES = 255 * 65519
"""Largest ICC profile that is kept: what JPEG holds. The usual ones have 0.5 to 4 kB, those of printers 2 MB."""
MAX_METADATA_BYTES = 2**24
"""Largest EXIF block, XMP packet, and sum of texts that are kept."""
INCH_M = 0.0254

Chunk = tuple[bytes, bytes]
"""Kind and body of a chunk."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """A whole image file, as it stands before decoding."""

    format: Format
    width: int
    """As stored, before the orientation."""
    height: int
    channels: int
    """That the decoder gives: 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha)."""
    sample_bytes: int = 1
    """That the decoder gives: 1 or 2."""
    orientation: int = 1
    """Exif orientation, 1 (as stored) to 8."""
    animated: bool = False
    cmyk: bool = False
    """Inks, of which the decoder makes RGB by formula, not by the profile."""
    palette: bool = False
    """Numbers of colours, of which the decoder makes the colours."""
    pages: int = 1
    """Pictures of full size, of which the decoder gives the first; animations have one page."""
    icc_profile: bytes | None = None
    """As the file has it, whole, of whatever colour space; None without one, or with one that makes no sense."""
    exif: bytes | None = None
    """A TIFF block, as the file has it; of a TIFF file, one made of its descriptive tags."""
    xmp: bytes | None = None
    """As the file has it."""
    density: tuple[float, float] | None = None
    """Pixels an inch, across and down."""
    cicp: tuple[int, int] | None = None
    """Colour primaries and transfer characteristics by number (ITU-T H.273, tables 2 and 3)."""
    png_chunks: tuple[Chunk, ...] = ()
    """Chunks that only PNG has, and that a larger picture may keep."""
    losses: tuple[str, ...] = ()
    """What is in the file and is not kept, in words that follow the file's name."""

    @property
    def seen_size(self) -> tuple[int, int]:
        """(width, height) after the orientation."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def starts_with(data: memoryview, prefix: bytes) -> bool:
    """What `bytes.startswith` says, without a copy of the data."""
    return bytes(data[: len(prefix)]) == prefix


def kept_bytes(data: memoryview | bytes | None) -> bytes | None:
    """Metadata of a size that is kept, else None."""
    return bytes(data) if data is not None and 0 < len(data) <= MAX_METADATA_BYTES else None


def is_gray(reds: Sequence[int] | bytes, greens: Sequence[int] | bytes, blues: Sequence[int] | bytes) -> bool:
    """Whether a palette has no colour."""
    return bytes(reds) == bytes(greens) == bytes(blues)


def cut_off(data: memoryview) -> ImageFileError:
    """A file that ends too early."""
    return ImageFileError(f"it is cut off after {len(data)} bytes; copy or download it again")


def damaged(what: str) -> ImageFileError:
    """A file that contradicts its format."""
    return ImageFileError(f"it is damaged: {what}; copy or download it again")


def too_many_parts(kind: str) -> ImageFileError:
    """A file that would take long to walk."""
    return ImageFileError(f"it has more than {MAX_PARTS} {kind}; expected fewer, so save it again")
