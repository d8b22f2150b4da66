"""What describes a picture besides its samples: kept true when the picture changes, and put into files.

EXIF and XMP never stop a picture: what is damaged, or what a format cannot hold, is left out, and that is said.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from repsr_deploy.imaging.bgr import channels_of
from repsr_deploy.imaging.formats import exif, jpeg, png, webp, xmp
from repsr_deploy.imaging.formats.base import FORMAT_NAMES, Container, Format
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.profile import fitting_profile
from repsr_deploy.imaging.samples import Image

log = logging.getLogger(__name__)

_LARGEST_EXIF: dict[Format, int] = {"jpeg": jpeg.MAX_EXIF_BYTES}
_LARGEST_XMP: dict[Format, int] = {"jpeg": jpeg.MAX_XMP_BYTES}
_NO_METADATA: tuple[Format, ...] = ("bmp",)
_NO_GRAY: tuple[Format, ...] = ("webp",)
_CODE_POINTS: tuple[Format, ...] = ("png", "avif")
"""Formats that say which colours are meant by number."""


def described(image_hwc: Image, container: Container, name: str) -> Picture:
    """A decoded image, turned upright, with what its file says about it."""
    height, width = image_hwc.shape[:2]
    return Picture(
        image_hwc=image_hwc,
        icc_profile=fitting_profile(container.icc_profile, channels_of(image_hwc), name),
        exif=_renewed_exif(container.exif, width, height, name),
        xmp=_renewed_xmp(container.xmp, width, height, name),
        density=container.density,
        cicp=container.cicp,
        png_chunks=container.png_chunks,
    )


def storable(picture: Picture, form: Format, name: str) -> Picture:
    """A picture with what a format can say about it, true for its size; what is lost is said in the log."""
    height, width = picture.image_hwc.shape[:2]
    block = _renewed_exif(picture.exif, width, height, name)
    packet = _renewed_xmp(picture.xmp, width, height, name)
    channels = 3 if form in _NO_GRAY else channels_of(picture.image_hwc)
    profile = fitting_profile(picture.icc_profile, channels, name)
    code_points, chunks = picture.cicp, picture.png_chunks
    lost: list[str] = []
    if block is not None and len(block) > _LARGEST_EXIF.get(form, len(block)):
        block = lost.append(f"its EXIF data of {len(block)} bytes")
    if packet is not None and len(packet) > _LARGEST_XMP.get(form, len(packet)):
        packet = lost.append(f"its XMP of {len(packet)} bytes")
    if code_points is not None and form not in _CODE_POINTS:
        code_points = lost.append(f"the numbers of its colour space, {code_points[0]} and {code_points[1]} of H.273")
    if form in _NO_METADATA and any((block, packet, profile)):
        lost.append("its metadata (EXIF, XMP or ICC profile)")
        block = packet = profile = None
    for what in lost:
        log.warning("%s: %s cannot be kept in %s", name, what, FORMAT_NAMES[form])
    if chunks and form != "png":
        kinds = ", ".join(sorted({kind.decode("latin-1") for kind, _ in chunks}))
        log.info("%s: its PNG chunks %s cannot be kept in %s", name, kinds, FORMAT_NAMES[form])
        chunks = ()
    return replace(picture, icc_profile=profile, exif=block, xmp=packet, cicp=code_points, png_chunks=chunks)


def with_metadata(encoded: memoryview, form: Format, picture: Picture) -> memoryview:
    """A PNG, JPEG or WebP of samples alone as one that says all that `storable` has left; others as they are."""
    profile, block, packet, density = picture.icc_profile, picture.exif, picture.xmp, picture.density
    if not any((profile, block, packet, density, picture.cicp, picture.png_chunks)):
        return encoded
    match form:
        case "png":
            return memoryview(
                png.png_with(
                    encoded, profile=profile, exif=block, xmp=packet, density=density, cicp=picture.cicp,
                    chunks=picture.png_chunks,
                )
            )  # fmt: skip
        case "jpeg":
            return memoryview(jpeg.jpeg_with(encoded, profile=profile, exif=block, xmp=packet, density=density))
        case "webp":
            return memoryview(webp.webp_with(encoded, profile=profile, exif=block, xmp=packet))
        case _:
            return encoded


def _renewed_exif(block: bytes | None, width: int, height: int, name: str) -> bytes | None:
    result = None if block is None else exif.renewed(block, width, height)
    if block is not None and result is None:
        log.warning("%s: its EXIF data is damaged and is left out", name)
    return result


def _renewed_xmp(packet: bytes | None, width: int, height: int, name: str) -> bytes | None:
    result = None if packet is None else xmp.renewed(packet, width, height)
    if packet is not None and result is None:
        log.warning("%s: its XMP is damaged and is left out", name)
    return result
