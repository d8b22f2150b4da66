"""PNG, JPEG and WebP files as arrays."""

from __future__ import annotations

from pathlib import Path

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.files import atomic_path
from repsr_deploy.imaging.container import Format
from repsr_deploy.imaging.image_bytes import (
    MAX_PIXELS,
    QUALITY,
    Image,
    decode_image,
    encode_image,
)
from repsr_deploy.imaging.picture import Picture

__all__ = [
    "FORMATS", "MAX_PIXELS", "QUALITY", "Image", "Picture", "decode_image", "encode_image", "format_of", "read_image",
    "read_picture", "write_image",
]  # fmt: skip

FORMATS: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
"""Format of a file to be written, by its extension (in small letters)."""


def read_picture(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode an image file, whatever its name: see `decode_image`.

    Raises:
        ImageFileError: missing, unreadable, no PNG, JPEG or WebP, cut off, damaged, or above `max_pixels`.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageFileError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; expected an image file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"cannot read {path}: {error.strerror}; expected a readable image file") from error
    return decode_image(data, name=str(path), max_pixels=max_pixels)


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """The samples of an image file, without its profile: see `read_picture`."""
    return read_picture(path, max_pixels=max_pixels).image_hwc


def write_image(
    path: str | Path, image_hwc: Image, *, quality: int = QUALITY, icc_profile: bytes | None = None
) -> None:
    """Encode an image in the format of the file's extension (see `encode_image`), and write it whole or not at all.

    Args:
        path: its folder is made where it is missing.

    Raises:
        UsageError: another extension, quality or array.
        ImageFileError: too large for the format.
        RepsrError: the place cannot be written to, or is full.
    """
    path = Path(path)
    form = format_of(path)
    encoded = encode_image(image_hwc, form, quality=quality, icc_profile=icc_profile, name=str(path))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(encoded)


def format_of(path: Path) -> Format:
    """Format that a file's extension names.

    Raises:
        UsageError: none that can be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path} has extension {path.suffix!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]
