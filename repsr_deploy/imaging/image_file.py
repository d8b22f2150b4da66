"""PNG, JPEG and WebP files as arrays, through OpenCV."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.files import atomic_path
from repsr_deploy.imaging.container import Format, read_container

log = logging.getLogger(__name__)

Image = NDArray[Any]

FORMATS: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
"""Format of a file to be written, by its extension (in small letters)."""
MAX_SIDE: dict[Format, int] = {"png": 2**20, "jpeg": 65500, "webp": 16383}
"""Longest side that a format, or OpenCV's writer of it, takes."""
MAX_PIXELS = 2**29
"""Largest image that is decoded, unless asked for: 537 megapixels. OpenCV's own limit is 2**30."""
QUALITY = 95

_stderr_lock = threading.Lock()
_DECODER_LINE = re.compile(rb"libpng|jpeg|webp|^\[ *(WARN|ERROR)", re.IGNORECASE)


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode an image file, whatever its name.

    Returns:
        uint8 or uint16, as stored: H x W (gray), H x W x 3 (RGB) or H x W x 4 (RGB, alpha not premultiplied). The
        Exif orientation is applied.

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
    try:
        container = read_container(data)
    except ImageFileError as error:
        raise ImageFileError(f"cannot read {path}: {error}") from error
    if not 0 < container.width * container.height <= max_pixels:
        raise ImageFileError(
            f"{path} claims {container.width} x {container.height} pixels; expected 1 to {max_pixels} in all"
        )
    if container.animated:
        log.warning("%s is animated: only its first picture is used", path)
    return _oriented(_decode(data, path), container.orientation)


def write_image(path: str | Path, image_hwc: Image, *, quality: int = QUALITY) -> None:
    """Encode an image in the format of the file's extension, and write it whole or not at all.

    What a format cannot hold is converted, and said in the log: JPEG gets transparent images over white; JPEG and WebP
    get 8 bits of 16. JPEG keeps colour at full resolution (4:4:4).

    Args:
        path: its folder is made where it is missing.
        image_hwc: uint8 or uint16, H x W or H x W x C; C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha).
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        UsageError: another extension, quality or array.
        ImageFileError: too large for the format.
        RepsrError: the place cannot be written to, or is full.
    """
    path = Path(path)
    form = format_of(path)
    if not 1 <= quality <= 100:
        raise UsageError(f"quality is {quality}; expected 1 to 100")
    layout = image_hwc.ndim == 2 or (image_hwc.ndim == 3 and 1 <= image_hwc.shape[2] <= 4)
    if not layout or image_hwc.dtype.name not in ("uint8", "uint16"):
        raise UsageError(f"image is {image_hwc.dtype} of shape {image_hwc.shape}; expected uint8 or uint16, H x W x C")
    height, width = image_hwc.shape[:2]
    if max(height, width) > MAX_SIDE[form]:
        raise ImageFileError(
            f"cannot write {path}: {width} x {height} pixels; {form.upper()} holds at most {MAX_SIDE[form]} a side"
        )
    parameters = {
        "png": [],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
        "jpeg": [
            *(cv2.IMWRITE_JPEG_QUALITY, quality),
            *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        ],
    }[form]
    encoded = _encode(form, _storable(image_hwc, form, path), parameters, path)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(encoded.data)


def format_of(path: Path) -> Format:
    """Format that a file's extension names.

    Raises:
        UsageError: none that can be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path} has extension {path.suffix!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]


def _decode(data: bytes, path: Path) -> Image:
    try:
        with _decoder_messages() as messages:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError) as error:
        raise ImageFileError(f"cannot decode {path}: {_one_line(error)}") from error
    if image is None:
        why = messages[0] if messages else "its content is damaged"
        raise ImageFileError(f"cannot decode {path}: {why}; copy or download it again")
    if messages:
        log.warning("%s is damaged in places: %s", path, messages[0])
    if image.dtype.name not in ("uint8", "uint16"):
        raise ImageFileError(f"{path} holds {image.dtype} samples; expected 8 or 16 bits")
    return _swapped(image)


def _encode(form: Format, image: Image, parameters: Sequence[int], path: Path) -> NDArray[np.uint8]:
    suffix = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}[form]
    try:
        with _decoder_messages() as messages:
            done, encoded = cv2.imencode(suffix, _swapped(image), parameters)
    except (cv2.error, MemoryError) as error:
        raise ImageFileError(f"cannot encode {path}: {_one_line(error)}") from error
    if not done:
        shape = f"{image.shape[1]} x {image.shape[0]} pixels"
        raise ImageFileError(f"cannot encode {path}: {'; '.join(messages) or shape}; try another format")
    return np.asarray(encoded, np.uint8)


def _storable(image: Image, form: Format, path: Path) -> Image:
    """The image in samples and channels that a format holds."""
    if image.ndim == 3 and image.shape[2] == 2:
        image = image[..., [0, 0, 0, 1]]
    if image.ndim == 3 and image.shape[2] == 4 and form == "jpeg":
        log.warning("%s: JPEG holds no transparency; the image is put on white", path)
        image = _over_white(image)
    if image.dtype == np.uint16 and form != "png":
        log.warning("%s: %s holds 8 bits; the image's 16 are reduced", path, form.upper())
        image = cv2.convertScaleAbs(image, alpha=255 / 65535)
    return image


def _over_white(image: Image) -> Image:
    full_scale = np.float32(np.iinfo(image.dtype).max)
    alpha = image[..., 3:] / full_scale
    return np.rint(image[..., :3] * alpha + full_scale * (1 - alpha)).astype(image.dtype)


def _swapped(image: Image) -> Image:
    """RGB(A) to OpenCV's BGR(A), or back; gray stays."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 1:
        return image
    return cv2.cvtColor(image, cv2.COLOR_RGB2BGR if channels == 3 else cv2.COLOR_RGBA2BGRA)


def _oriented(image: Image, orientation: int) -> Image:
    """Turn an image as Exif orientation 1 to 8 says (Exif 2.3, table 6)."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


@contextmanager
def _decoder_messages() -> Generator[list[str]]:
    """Collect what libpng, libjpeg and OpenCV print on the process's stderr; whatever else was printed is passed on."""
    messages: list[str] = []
    with _stderr_lock, tempfile.TemporaryFile() as catch:
        sys.stderr.flush()
        real = os.dup(2)
        try:
            os.dup2(catch.fileno(), 2)
            yield messages
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            catch.seek(0)
            for line in catch:
                if _DECODER_LINE.search(line):
                    messages.append(line.decode(errors="replace").strip())
                else:
                    os.write(real, line)
            os.close(real)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
