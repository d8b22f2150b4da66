"""Animation files for tests, byte by byte, and what Pillow sees in files."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow

from tests.imaging.file_kinds import PNG_SIGNATURE, chunk

Frames = list[Any]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A frame as a file has it: an image (RGBA, RGB or gray) at a place."""

    image: Any
    left: int = 0
    top: int = 0
    disposal: int = 0
    over: bool = False
    delay: tuple[int, int] = (1, 10)


def apng(size: tuple[int, int], parts: list[Part], *, plays: int = 0, hidden: Any = None) -> bytes:
    """An animated PNG of (width, height) from its parts; `hidden` is a still picture before them."""
    first = _still_png(hidden if hidden is not None else parts[0].image)
    header = struct.pack(">II", *size) + first[b"IHDR"][8:]
    out = PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"acTL", struct.pack(">II", len(parts), plays))
    sequence = 0
    if hidden is not None:
        out += chunk(b"IDAT", first[b"IDAT"])
    for number, part in enumerate(parts):
        height, width = part.image.shape[:2]
        place = (width, height, part.left, part.top)
        out += chunk(b"fcTL", struct.pack(">IIIIIHHBB", sequence, *place, *part.delay, part.disposal, part.over))
        sequence += 1
        data = _still_png(part.image)[b"IDAT"]
        if number == 0 and hidden is None:
            out += chunk(b"IDAT", data)
        else:
            half = len(data) // 2
            for piece in (data[:half], data[half:]):
                out += chunk(b"fdAT", struct.pack(">I", sequence) + piece)
                sequence += 1
    return out + chunk(b"IEND", b"")


def webp(size: tuple[int, int], parts: list[Part], *, plays: int = 0) -> bytes:
    """A lossless animated WebP; places must be even, delays are in 1/1000 s."""
    sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
    body = riff(b"VP8X", bytes((0x12, 0, 0, 0)) + sides) + riff(b"ANIM", struct.pack("<IH", 0, plays))
    for part in parts:
        height, width = part.image.shape[:2]
        file = io.BytesIO()
        Pillow.fromarray(part.image).save(file, "WEBP", lossless=True, exact=True)
        numbers = (part.left // 2, part.top // 2, width - 1, height - 1, part.delay[0])
        head = b"".join(number.to_bytes(3, "little") for number in numbers)
        flags = part.disposal | (0 if part.over else 2)
        body += riff(b"ANMF", head + bytes((flags,)) + file.getvalue()[12:])
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def riff(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def saved(path: Path, frames: Frames, **options: Any) -> Path:
    """A file that Pillow writes, in the format of its extension."""
    first, *others = (Pillow.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, **options)
    return path


def seen(path: Path, mode: str = "RGBA") -> Frames:
    """What Pillow sees in every frame."""
    with Pillow.open(path) as file:
        return [np.asarray(frame.convert(mode)) for frame in _sought(file)]


def times(path: Path) -> list[float]:
    """Durations, in milliseconds."""
    with Pillow.open(path) as file:
        return [frame.info.get("duration", 0) for frame in _sought(file)]


def loop(path: Path) -> int | None:
    with Pillow.open(path) as file:
        return file.info.get("loop")


def _sought(file: Any) -> Iterator[Any]:
    for index in range(file.n_frames):
        file.seek(index)
        file.load()
        yield file


def _still_png(image: Any) -> dict[bytes, bytes]:
    swap = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    stored = image if image.ndim == 2 else cv2.cvtColor(image, swap[image.shape[2]])
    data = cv2.imencode(".png", stored)[1].tobytes()
    found: dict[bytes, bytes] = {}
    position = 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        found[kind] = found.get(kind, b"") + data[position + 8 : position + 8 + length]
        position += 12 + length
    return found
