"""Image files as pictures."""

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
    encode_picture,
)
from repsr_deploy.imaging.picture import Picture

__all__ = [
    "FORMATS", "MAX_PIXELS", "QUALITY", "READ_ONLY", "Image", "Picture", "decode_image", "encode_image", "format_of",
    "read_image", "read_picture", "write_image", "write_picture",
]  # fmt: skip

FORMATS: dict[str, Format] = {
    ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".jpe": "jpeg", ".jfif": "jpeg", ".webp": "webp", ".tif": "tiff",
    ".tiff": "tiff", ".bmp": "bmp", ".avif": "avif", ".gif": "gif",
}  # fmt: skip
"""Format of a picture by its file's extension (in small letters): which files of a folder are pictures."""
READ_ONLY: frozenset[Format] = frozenset({"gif"})
"""Formats of still pictures that are read and not written."""


def read_picture(path: str | Path, *, max_pixels: int | None = MAX_PIXELS) -> Picture:
    """Decode an image file, whatever its name: see `decode_image`.

    Raises:
        ImageFileError: missing, unreadable, of no known format, cut off, damaged, or above `max_pixels`.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no file" if path.exists() else "does not exist"
        raise ImageFileError(f"{path} {what}; expected an image file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"cannot read {path}: {error.strerror}; expected a readable image file") from error
    return decode_image(data, name=str(path), max_pixels=max_pixels)


def read_image(path: str | Path, *, max_pixels: int | None = MAX_PIXELS) -> Image:
    """The samples of an image file, without what describes them: see `read_picture`."""
    return read_picture(path, max_pixels=max_pixels).image_hwc


def write_picture(path: str | Path, picture: Picture, *, quality: int = QUALITY) -> None:
    """Encode a picture in the format of the file's extension (see `encode_picture`), and write it whole or not at all.

    Args:
        path: its folder is made where it is missing.

    Raises:
        UsageError: another extension, quality or array.
        ImageFileError: too large for the format.
        RepsrError: the place cannot be written to, or is full.
    """
    path = Path(path)
    file_bytes = encode_picture(picture, format_of(path), quality=quality, name=str(path))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(file_bytes)


def write_image(
    path: str | Path, image_hwc: Image, *, quality: int = QUALITY, icc_profile: bytes | None = None
) -> None:
    """Write an image that nothing but a profile describes: see `write_picture`."""
    write_picture(path, Picture(image_hwc=image_hwc, icc_profile=icc_profile), quality=quality)


def format_of(path: Path) -> Format:
    """Format that a file's extension names.

    Raises:
        UsageError: none that can be written.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None or form in READ_ONLY:
        known = ", ".join(suffix for suffix, form in FORMATS.items() if form not in READ_ONLY)
        raise UsageError(f"{path} has extension {path.suffix!r}; expected one of {known}")
    return form
