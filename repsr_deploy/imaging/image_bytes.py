"""PNG, JPEG and WebP in memory as arrays and back, through OpenCV: one definition for files and for services."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

import cv2
import numpy as np

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.imaging.bgr import channels_of, from_bgr, over_white, to_bgr
from repsr_deploy.imaging.container import Container, Data, Format, decodable, read_container
from repsr_deploy.imaging.decoder_messages import decoder_messages
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.profile import fitting_profile, with_profile
from repsr_deploy.imaging.samples import Allocate, Image

log = logging.getLogger(__name__)

MAX_SIDE: dict[Format, int] = {"png": 2**20, "jpeg": 65500, "webp": 16383}
"""Longest side that a format, or OpenCV's writer of it, takes."""
MAX_PIXELS = 2**29
"""Largest image that is decoded, unless asked for: 537 megapixels. OpenCV's own limit is 2**30."""
QUALITY = 95
NAMELESS = "the image"
"""What messages call an image without a file."""


def read_header(data: Data, *, name: str = NAMELESS) -> Container:
    """What a file says about its picture, without decoding.

    Raises:
        UnknownFormatError: empty, or no PNG, JPEG or WebP.
        ImageFileError: cut off, damaged, or without pixels.
    """
    try:
        container = read_container(data)
    except ImageFileError as error:
        raise type(error)(f"cannot read {name}: {error}") from error
    if not container.width * container.height:
        raise ImageFileError(f"{name} claims {container.width} x {container.height} pixels; expected 1 x 1 or more")
    return container


def decode_image(
    data: Data, *, name: str = NAMELESS, max_pixels: int = MAX_PIXELS, allocate: Allocate = np.empty
) -> Picture:
    """Decode an image.

    Args:
        data: a PNG, JPEG or WebP file.
        name: what messages call it.
        allocate: gives the array for the samples.

    Returns:
        Samples as stored, turned as the Exif orientation says; the profile as stored, where it is one of such samples.
        CMYK becomes RGB by formula, without a profile, and that is said in the log, as is damage.

    Raises:
        UnknownFormatError: empty, or no PNG, JPEG or WebP.
        ImageFileError: cut off, damaged, above `max_pixels`, or too large for the memory.
    """
    container = read_header(data, name=name)
    width, height = container.width, container.height
    if width * height > max_pixels:
        raise ImageFileError(f"{name} claims {width} x {height} pixels; expected at most {max_pixels} in all")
    if container.animated:
        log.warning("%s is animated: only its first picture is used", name)
    if container.cmyk:
        log.warning("%s is CMYK: it becomes RGB without a profile, and its colours are approximate", name)
    with _failures("decode", name, width, height):
        image = from_bgr(_decode(data, container, name), container.orientation, allocate)
    return Picture(image_hwc=image, icc_profile=fitting_profile(container.icc_profile, channels_of(image), name))


def encode_image(
    image_hwc: Image,
    form: Format,
    *,
    quality: int = QUALITY,
    icc_profile: bytes | None = None,
    name: str = NAMELESS,
) -> memoryview:
    """Encode an image.

    What a format cannot hold is converted, and said in the log: JPEG gets transparent images over white; JPEG and WebP
    get 8 bits of 16. JPEG keeps colour at full resolution (4:4:4). A profile of a colour space that is not written is
    left out.

    Args:
        image_hwc: uint8 or uint16, H x W or H x W x C; C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha).
        form: of the result.
        quality: of JPEG and WebP, 1 to 100.
        name: what messages call it.

    Returns:
        The bytes of the file.

    Raises:
        UsageError: another quality or array.
        ImageFileError: too large for the format, or for the memory.
    """
    if not 1 <= quality <= 100:
        raise UsageError(f"quality is {quality}; expected 1 to 100")
    layout = image_hwc.ndim == 2 or (image_hwc.ndim == 3 and 1 <= image_hwc.shape[2] <= 4)
    if not layout or image_hwc.size == 0 or image_hwc.dtype.name not in ("uint8", "uint16"):
        raise UsageError(f"image is {image_hwc.dtype} of shape {image_hwc.shape}; expected uint8 or uint16, H x W x C")
    height, width = image_hwc.shape[:2]
    if max(height, width) > MAX_SIDE[form]:
        raise ImageFileError(
            f"cannot write {name}: {width} x {height} pixels; {form.upper()} holds at most {MAX_SIDE[form]} a side"
        )
    with _failures("encode", name, width, height):
        image = _storable(image_hwc, form, name)
        encoded = _encode(image, form, quality, name)
    profile = fitting_profile(icc_profile, 3 if form == "webp" else channels_of(image), name)
    return encoded if profile is None else with_profile(encoded, form, profile)


def _decode(data: Data, container: Container, name: str) -> Image:
    """Samples as OpenCV gives them."""
    with decoder_messages() as messages:
        image = cv2.imdecode(np.frombuffer(decodable(data, container), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        why = messages[0] if messages else "its content is damaged"
        raise ImageFileError(f"cannot decode {name}: {why}; copy or download it again")
    if messages:
        log.warning("%s is damaged in places: %s", name, messages[0])
    if image.dtype.name not in ("uint8", "uint16"):
        raise ImageFileError(f"{name} holds {image.dtype} samples; expected 8 or 16 bits")
    height, width = image.shape[:2]
    if (width, height) != (container.width, container.height):
        claimed = f"{container.width} x {container.height}"
        raise ImageFileError(f"{name} claims {claimed} pixels and holds {width} x {height}; save it again")
    return image


def _encode(image: Image, form: Format, quality: int, name: str) -> memoryview:
    suffix, parameters = {
        "png": (".png", []),
        "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, quality]),
        "jpeg": (
            ".jpg",
            [
                *(cv2.IMWRITE_JPEG_QUALITY, quality),
                *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
            ],
        ),
    }[form]
    with decoder_messages() as messages:
        done, encoded = cv2.imencode(suffix, to_bgr(image), parameters)
    if not done:  # what is wrong with an image has been checked: OpenCV says so when memory runs out, too
        why = messages[0] if messages else "no reason is given"
        raise ImageFileError(f"cannot encode {name} as {form.upper()}: {why}; choose another format or a smaller image")
    return np.asarray(encoded, np.uint8).ravel().data


def _storable(image: Image, form: Format, name: str) -> Image:
    """The image in samples and channels that a format holds."""
    if channels_of(image) == 2:
        image = image[..., [0, 0, 0, 1]]
    if channels_of(image) == 4 and form == "jpeg":
        log.warning("%s: JPEG holds no transparency; the image is put on white", name)
        image = over_white(image)
    if image.dtype == np.uint16 and form != "png":
        log.warning("%s: %s holds 8 bits; the image's 16 are reduced", name, form.upper())
        image = cv2.convertScaleAbs(image, alpha=255 / 65535)
    return image


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
