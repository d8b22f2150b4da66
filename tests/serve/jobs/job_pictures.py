"""Files of pictures for tests."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
from numpy.typing import NDArray


def encoded(image_hwc: NDArray[Any], extension: str) -> bytes:
    """A picture's file."""
    done, data = cv2.imencode(extension, image_hwc)
    assert done
    return data.tobytes()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, and is whole but for its pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
