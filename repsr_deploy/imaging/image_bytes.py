"""Image files in memory as pictures and back: one definition for files and for services."""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.imaging import metadata
from repsr_deploy.imaging.container import ALL_FORMATS, Container, Data, Format, read_container
from repsr_deploy.imaging.decoding import decoded
from repsr_deploy.imaging.encoding import encoded, storable_image
from repsr_deploy.imaging.formats.base import FORMAT_NAMES
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.samples import Allocate, Image

log = logging.getLogger(__name__)

MAX_SIDE: dict[Format, int] = {
    "png": 10**6, "jpeg": 65500, "webp": 16383, "tiff": 2**31 - 1, "bmp": 2**20, "avif": 32768,
}  # fmt: skip
"""Longest side that a format, or the library that writes or reads it, takes. GIF is not written."""
MAX_AREA: dict[Format, int] = {"avif": 2**28, "bmp": 2**29}
"""Most pixels, where that is less than the sides allow: libavif's readers take no more, and BMP has 2**31 bytes."""
MAX_PIXELS = 2**29
"""Largest image that is decoded, unless asked for: 537 megapixels. OpenCV's own limit is 2**30."""
QUALITY = 95
NAMELESS = "the image"
"""What messages call an image without a file."""


def read_header(data: Data, *, name: str = NAMELESS, formats: Collection[Format] = ALL_FORMATS) -> Container:
    """What a file says about its picture, without decoding.

    Args:
        formats: that are read.

    Raises:
        UnknownFormatError: empty, or of no such format.
        ImageFileError: cut off, damaged, or without pixels.
    """
    try:
        container = read_container(data, formats)
    except ImageFileError as error:
        raise type(error)(f"cannot read {name}: {error}") from error
    if not container.width * container.height:
        raise ImageFileError(f"{name} claims {container.width} x {container.height} pixels; expected 1 x 1 or more")
    return container


def decode_image(
    data: Data,
    *,
    name: str = NAMELESS,
    max_pixels: int | None = MAX_PIXELS,
    allocate: Allocate = np.empty,
    formats: Collection[Format] = ALL_FORMATS,
) -> Picture:
    """Decode an image.

    Args:
        data: an image file.
        name: what messages call it.
        max_pixels: None for any size.
        allocate: gives the array for the samples.
        formats: that are read.

    Returns:
        Samples as stored, 8 or 16 bits by the file's type, turned as the Exif orientation says, with what describes
        them: see `Picture`. Samples of 10 and 12 bits (AVIF) become 16, below 8 become 8; palettes become colours,
        CMYK becomes RGB by formula without a profile, and several pages or pictures become the first. That is said in
        the log, as is damage, and metadata that is left out because it is damaged.

    Raises:
        UnknownFormatError: empty, or of no such format.
        ImageFileError: cut off, damaged, above `max_pixels`, or too large for the memory.
    """
    container = read_header(data, name=name, formats=formats)
    width, height = container.width, container.height
    if max_pixels is not None and width * height > max_pixels:
        raise ImageFileError(f"{name} claims {width} x {height} pixels; expected at most {max_pixels} in all")
    _say(container, name)
    with _failures("decode", name, width, height):
        image = decoded(data, container, name, allocate)
    return metadata.described(image, container, name)


def encode_image(
    image_hwc: Image,
    form: Format,
    *,
    quality: int = QUALITY,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    name: str = NAMELESS,
) -> memoryview:
    """Encode an image with a profile and metadata: see `encode_picture`."""
    picture = Picture(image_hwc=image_hwc, icc_profile=icc_profile, exif=exif, xmp=xmp)
    return encode_picture(picture, form, quality=quality, name=name)


def encode_picture(picture: Picture, form: Format, *, quality: int = QUALITY, name: str = NAMELESS) -> memoryview:
    """Encode a picture with everything that describes it.

    What a format cannot hold is converted, and said in the log: JPEG gets transparent images over white; JPEG, WebP and
    BMP get 8 bits of 16, AVIF 12. JPEG, and AVIF of 8 bits, keep colour at full resolution (4:4:4). Sizes that EXIF and
    XMP tell become those of the image, and the orientation 1. A profile of another colour space is left out.

    Args:
        picture: its image uint8 or uint16, H x W or H x W x C; C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB,
            alpha).
        form: of the result.
        quality: of JPEG, WebP and AVIF, 1 to 100.
        name: what messages call it.

    Returns:
        The bytes of the file.

    Raises:
        UsageError: another quality, array or format.
        ImageFileError: too large for the format, or for the memory.
    """
    image = picture.image_hwc
    if not 1 <= quality <= 100:
        raise UsageError(f"quality is {quality}; expected 1 to 100")
    layout = image.ndim == 2 or (image.ndim == 3 and 1 <= image.shape[2] <= 4)
    if not layout or image.size == 0 or image.dtype.name not in ("uint8", "uint16"):
        raise UsageError(f"image is {image.dtype} of shape {image.shape}; expected uint8 or uint16, H x W x C")
    if form not in MAX_SIDE:
        raise UsageError(f"format is {FORMAT_NAMES[form]}, which is only read; expected another for {name}")
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE[form] or height * width > MAX_AREA.get(form, height * width):
        most = f"{MAX_SIDE[form]} a side" + (f" and {MAX_AREA[form]} in all" if form in MAX_AREA else "")
        raise ImageFileError(
            f"cannot write {name}: {width} x {height} pixels; {FORMAT_NAMES[form]} holds at most {most}"
        )
    with _failures("encode", name, width, height):
        stored = storable_image(image, form, quality, name)
        return encoded(metadata.storable(replace(picture, image_hwc=stored), form, name), form, quality, name)


def _say(container: Container, name: str) -> None:
    """What is not kept, in the log."""
    if container.animated:
        log.warning("%s is animated: only its first picture is used", name)
    if container.pages > 1:
        log.warning("%s has %d pages: only the first is used", name, container.pages)
    if container.cmyk:
        log.warning("%s is CMYK: it becomes RGB without a profile, and its colours are approximate", name)
    if container.palette:
        log.info("%s has a palette: its pixels become the palette's colours", name)
    for loss in container.losses:
        log.warning("%s %s", name, loss)


@contextmanager
def _failures(doing: str, name: str, width: int, height: int) -> Generator[None]:
    """What OpenCV raises, as ImageFileError."""
    try:
        yield
    except (cv2.error, MemoryError) as error:
        if isinstance(error, MemoryError) or getattr(error, "code", None) == cv2.Error.StsNoMem:
            why = f"no memory for {width} x {height} pixels; choose a smaller one"
        else:
            why = " ".join(str(getattr(error, "err", error)).split())[:300]
        raise ImageFileError(f"cannot {doing} {name}: {why}") from error
