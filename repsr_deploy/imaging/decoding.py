"""Samples of image files, format by format: through OpenCV, Pillow (GIF), and what `formats` decodes itself."""

from __future__ import annotations

import io
import logging
import os
import struct

import cv2
import numpy as np

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.bgr import from_bgr, turned
from repsr_deploy.imaging.container import Container, Data, decodable
from repsr_deploy.imaging.decoder_messages import with_messages
from repsr_deploy.imaging.formats import png
from repsr_deploy.imaging.formats.avif import avif_depth
from repsr_deploy.imaging.formats.base import FORMAT_NAMES, Format
from repsr_deploy.imaging.formats.bmp import decode_bmp
from repsr_deploy.imaging.formats.tiff_samples import decode_tiff
from repsr_deploy.imaging.samples import Allocate, Image

log = logging.getLogger(__name__)

BY_OPENCV: frozenset[Format] = frozenset({"png", "jpeg", "webp", "avif"})
_MOST_PIXELS = "OPENCV_IO_MAX_IMAGE_PIXELS"
"""OpenCV's limit, by its name in the environment, which it reads when it is imported."""
_LONGEST_SIDE = 10**6  # libpng's limit, which nothing changes; the other formats have less


def decoded(data: Data, container: Container, name: str, allocate: Allocate) -> Image:
    """Samples as seen, in the channels and type that the container says.

    Raises:
        ImageFileError: damaged, or above what OpenCV takes.
        cv2.error, MemoryError: no memory, or a defect of OpenCV.
    """
    if container.format in BY_OPENCV:
        return from_bgr(_by_opencv(data, container, name), container.orientation, container.channels, allocate)
    try:
        stored, _ = with_messages(lambda: _by_us(memoryview(data), container))
    except ImageFileError as error:
        raise ImageFileError(f"cannot decode {name}: {error}") from error
    _check(stored, container, name)
    upright = turned(stored, container.orientation)
    del stored
    image = allocate(upright.shape, upright.dtype)
    np.copyto(image, upright)
    return image


def _by_us(data: memoryview, container: Container) -> Image:
    match container.format:
        case "tiff":
            return decode_tiff(data)
        case "bmp":
            return decode_bmp(data)
        case _:
            return _first_of_gif(data, container)


def _first_of_gif(data: memoryview, container: Container) -> Image:
    from PIL.GifImagePlugin import GifImageFile

    size = struct.pack("<HH", container.width, container.height)  # a picture may be larger than the file's screen
    try:
        with GifImageFile(io.BytesIO(b"".join((data[:6], size, data[10:])))) as picture:
            rgba = np.asarray(picture.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise ImageFileError(f"its picture is damaged ({error}); copy or download it again") from error
    channels = {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[container.channels]
    return np.ascontiguousarray(rgba[..., channels[0]] if len(channels) == 1 else rgba[..., channels])


def _by_opencv(data: Data, container: Container, name: str) -> Image:
    """Samples as OpenCV gives them (BGR), of 8 or 16 bits."""
    _check_limits(container, name)
    encoded = np.frombuffer(decodable(data, container), np.uint8)
    image, messages = with_messages(lambda: cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED))
    if image is None:
        if container.format == "avif" and not cv2.haveImageWriter("a.avif"):
            raise ImageFileError(
                f"cannot decode {name}: OpenCV {cv2.__version__} here has no AVIF; install a newer one"
            )
        why = messages[0] if messages else "its content is damaged"
        raise ImageFileError(f"cannot decode {name}: {why}; copy or download it again")
    if messages:
        log.warning("%s is damaged in places: %s", name, messages[0])
    _check(image, container, name)
    if container.format == "avif" and container.sample_bytes == 2:
        image = _whole_range(image, avif_depth(memoryview(data)))
    transparent = png.transparent_gray(memoryview(data)) if container.format == "png" and image.ndim == 2 else None
    if transparent is not None and container.channels == 2:
        opacity = np.where(image == transparent, 0, 255 if image.dtype == np.uint8 else 65535).astype(image.dtype)
        image = cv2.merge((image, image, image, opacity))
    return image


def _check(image: Image, container: Container, name: str) -> None:
    """Raises: ImageFileError: samples of another type or size than the file says."""
    if image.dtype.name not in ("uint8", "uint16"):
        raise ImageFileError(f"{name} holds {image.dtype} samples; expected 8 or 16 bits")
    height, width = image.shape[:2]
    if (width, height) != (container.width, container.height):
        claimed = f"{container.width} x {container.height}"
        raise ImageFileError(f"{name} claims {claimed} pixels and holds {width} x {height}; save it again")


def _check_limits(container: Container, name: str) -> None:
    """Raises: ImageFileError: larger than OpenCV and libpng take."""
    text = os.environ.get(_MOST_PIXELS, "")
    most = int(text) if text.isdecimal() else 2**30
    width, height = container.width, container.height
    if max(width, height) > _LONGEST_SIDE or width * height > most:
        raise ImageFileError(
            f"{name} has {width} x {height} pixels; {FORMAT_NAMES[container.format]} is decoded at once up to "
            f"{_LONGEST_SIDE} a side and {most} in all; set {_MOST_PIXELS} higher, or save it as TIFF"
        )


def _whole_range(image: Image, depth: int) -> Image:
    """Samples of 10 or 12 bits as 16."""
    table = np.rint(np.arange(2**depth) * (65535 / (2**depth - 1))).astype(np.uint16)
    return table[np.minimum(image, 2**depth - 1)]
