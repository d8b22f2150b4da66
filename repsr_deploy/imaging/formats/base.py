"""What the formats share: the container, its limits, and the words for files that are not whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from repsr_deploy.errors import ImageFileError

Format = Literal["png", "jpeg", "webp"]

MAX_PARTS = 2**17
"""Most chunks or segments of a file: files of pictures have tens of thousands at most, and each takes a microsecond."""
MAX_PROFILE_BYTES = 255 * 65519
"""Largest ICC profile that is kept: what JPEG holds. The usual ones have 0.5 to 4 kB, those of printers 2 MB."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """A whole image file, as it stands before decoding."""

    format: Format
    width: int
    """As stored, before the orientation."""
    height: int
    channels: int
    """That the decoder gives: 1 (gray), 3 (RGB) or 4 (RGB, alpha)."""
    sample_bytes: int = 1
    """That the decoder gives: 1 or 2."""
    orientation: int = 1
    """Exif orientation, 1 (as stored) to 8."""
    animated: bool = False
    cmyk: bool = False
    """Inks, of which the decoder makes RGB by formula, not by the profile."""
    icc_profile: bytes | None = None
    """As the file has it, whole, of whatever colour space; None without one, or with one that makes no sense."""

    @property
    def seen_size(self) -> tuple[int, int]:
        """(width, height) after the orientation."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def starts_with(data: memoryview, prefix: bytes) -> bool:
    """What `bytes.startswith` says, without a copy of the data."""
    return bytes(data[: len(prefix)]) == prefix


def cut_off(data: memoryview) -> ImageFileError:
    """A file that ends too early."""
    return ImageFileError(f"it is cut off after {len(data)} bytes; copy or download it again")


def damaged(what: str) -> ImageFileError:
    """A file that contradicts its format."""
    return ImageFileError(f"it is damaged: {what}; copy or download it again")


def too_many_parts(kind: str) -> ImageFileError:
    """A file that would take long to walk."""
    return ImageFileError(f"it has more than {MAX_PARTS} {kind}; expected fewer, so save it again")
