"""Image files of samples, format by format: through OpenCV, and what `formats` writes itself."""

from __future__ import annotations

import io
import logging

import cv2
import numpy as np

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.bgr import channels_of, over_white, to_bgr
from repsr_deploy.imaging.decoder_messages import with_messages
from repsr_deploy.imaging.formats.avif import with_code_points
from repsr_deploy.imaging.formats.base import FORMAT_NAMES, Format
from repsr_deploy.imaging.formats.exif import without_orientation
from repsr_deploy.imaging.formats.png import png_of_samples
from repsr_deploy.imaging.formats.tiff_writer import tiff_pieces
from repsr_deploy.imaging.metadata import with_metadata
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.samples import Image, as_uint8

log = logging.getLogger(__name__)

_GRAY_ALPHA: tuple[Format, ...] = ("png", "tiff")
_16_BITS: tuple[Format, ...] = ("png", "tiff", "avif")
_AVIF_DEPTH = 12
_LOSSLESS = 100
"""Quality at which OpenCV keeps all of an AVIF."""
_AVIF_SPEED = 8
"""Of libaom, 0 to 10: slower ones save few bytes and take many times as long."""


def storable_image(image: Image, form: Format, quality: int, name: str) -> Image:
    """The image in samples and channels that a format holds; what is lost is said in the log."""
    if channels_of(image) in (2, 4) and form == "jpeg":
        log.warning("%s: JPEG holds no transparency; the image is put on white", name)
        image = over_white(image)
    if channels_of(image) == 2 and form not in _GRAY_ALPHA:
        image = image[..., [0, 0, 0, 1]]
    if image.dtype == np.uint16 and form not in _16_BITS:
        log.warning("%s: %s holds 8 bits; the image's 16 are reduced", name, FORMAT_NAMES[form])
        image = as_uint8(image)
    if image.dtype == np.uint16 and form == "avif":
        log.warning("%s: AVIF holds %d bits; the image's 16 are reduced", name, _AVIF_DEPTH)
        if channels_of(image) > 1 and quality < _LOSSLESS:
            log.warning("%s: AVIF of so many bits has colour at half the resolution below quality %d", name, _LOSSLESS)
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image


def encoded(picture: Picture, form: Format, quality: int, name: str) -> memoryview:
    """The file of a picture that `storable_image` and `metadata.storable` have made.

    Raises:
        ImageFileError: the writer gives up, as it does without memory.
        cv2.error, MemoryError: no memory.
    """
    image = picture.image_hwc
    if form == "tiff":
        return memoryview(
            b"".join(
                tiff_pieces(
                    image, profile=picture.icc_profile, exif=picture.exif, xmp=picture.xmp, density=picture.density
                )
            )
        )
    if form == "avif":
        return _avif(picture, quality, name)
    if channels_of(image) == 2:
        return with_metadata(memoryview(_gray_alpha_png(image)), form, picture)
    suffix, parameters = {
        "png": (".png", []),
        "bmp": (".bmp", []),
        "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, quality]),
        "jpeg": (
            ".jpg",
            [
                *(cv2.IMWRITE_JPEG_QUALITY, quality),
                *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
            ],
        ),
    }[form]
    (done, file), messages = with_messages(lambda: cv2.imencode(suffix, to_bgr(image), parameters))
    return with_metadata(_checked(done, file, messages, form, name), form, picture)


def _avif(picture: Picture, quality: int, name: str) -> memoryview:
    """Through Pillow, which writes colour at full resolution; 12 bits through OpenCV, which alone writes them."""
    result = (
        _shallow_avif(picture, quality) if picture.image_hwc.dtype == np.uint8 else _deep_avif(picture, quality, name)
    )
    return result if picture.cicp is None else with_code_points(result, picture.cicp)


def _shallow_avif(picture: Picture, quality: int) -> memoryview:
    from PIL import Image as Pillow

    block = picture.exif and without_orientation(picture.exif)  # which Pillow takes as a reason to rebuild the block
    parts = {"exif": block, "xmp": picture.xmp, "icc_profile": picture.icc_profile}
    options = {option: part for option, part in parts.items() if part is not None}
    file = io.BytesIO()
    image = Pillow.fromarray(picture.image_hwc)
    subsampling = "4:0:0" if image.mode == "L" else "4:4:4"
    image.save(file, "AVIF", quality=quality, subsampling=subsampling, speed=_AVIF_SPEED, **options)
    return file.getbuffer()


def _deep_avif(picture: Picture, quality: int, name: str) -> memoryview:
    image = _levels(_AVIF_DEPTH)[picture.image_hwc]
    parameters = [
        *(cv2.IMWRITE_AVIF_QUALITY, quality),
        *(cv2.IMWRITE_AVIF_DEPTH, _AVIF_DEPTH),
        *(cv2.IMWRITE_AVIF_SPEED, _AVIF_SPEED),
    ]
    parts = {
        cv2.IMAGE_METADATA_EXIF: picture.exif, cv2.IMAGE_METADATA_XMP: picture.xmp,
        cv2.IMAGE_METADATA_ICCP: picture.icc_profile,
    }  # fmt: skip
    kinds = [kind for kind, part in parts.items() if part is not None]
    bodies = [np.frombuffer(part, np.uint8) for part in parts.values() if part is not None]
    (done, file), messages = with_messages(
        lambda: cv2.imencodeWithMetadata(".avif", to_bgr(image), kinds, bodies, parameters)
    )
    return _checked(done, file, messages, "avif", name)


def _levels(depth: int) -> Image:
    """What each sample of 16 bits is in fewer."""
    return np.rint(np.arange(2**16) * ((2**depth - 1) / 65535)).astype(np.uint16)


def _checked(done: bool, file: Image, messages: list[str], form: Format, name: str) -> memoryview:
    if not done:  # what is wrong with an image has been checked: OpenCV says so when memory runs out, too
        why = messages[0] if messages else "no reason is given"
        raise ImageFileError(
            f"cannot encode {name} as {FORMAT_NAMES[form]}: {why}; choose another format or a smaller image"
        )
    return np.asarray(file, np.uint8).ravel().data


def _gray_alpha_png(image: Image) -> bytes:
    """OpenCV writes none: rows as differences to the pixel before (filter 1), which are deflated."""
    height, width = image.shape[:2]
    stored = image.astype(f">u{image.itemsize}").view(np.uint8).reshape(height, -1)
    step = 2 * image.itemsize
    rows = np.ones((height, 1 + stored.shape[1]), np.uint8)
    rows[:, 1:] = stored
    rows[:, 1 + step :] -= stored[:, :-step]
    return png_of_samples(rows.tobytes(), width, height, 8 * image.itemsize, 4)
