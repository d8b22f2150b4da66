"""What a file says before decoding is what the decoder gives, for every kind; hostile files are refused quickly."""

from __future__ import annotations

import io
import logging
import random
import re
import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.container import UnknownFormatError, read_container
from repsr_deploy.imaging.formats import jpeg
from repsr_deploy.imaging.formats.base import MAX_PARTS
from repsr_deploy.imaging.image_bytes import decode_image
from tests.imaging.damage import decode_all, given_by_decoder, said
from tests.imaging.file_kinds import (
    PNG_SIGNATURE,
    RGB,
    animated,
    by_pillow,
    chunk,
    every_kind,
    png,
    png_header,
)

WIDE = png_header(10, 10)
END = chunk(b"IEND", b"")


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def frame(width: int = 8, height: int = 8, precision: int = 8) -> bytes:
    return segment(0xC0, struct.pack(">BHHB", precision, height, width, 1) + b"\1\x11\0")


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


@pytest.mark.parametrize("kind", every_kind())
def test_the_header_says_what_the_decoder_gives(kind: str) -> None:
    data = every_kind()[kind]
    container = read_container(data)
    assert given_by_decoder(decode_image(data).image_hwc) == said(data)
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    assert stored.shape[:2] == (container.height, container.width)
    assert container.animated == ("animated" in kind)
    assert container.cmyk == ("CMYK" in kind)
    assert container.orientation == (6 if "turned" in kind or "extended" in kind else 1)


def mutated(chance: random.Random, files: list[bytes]) -> bytes:
    """A file with a few bytes changed, moved or lost, mostly near its start; checksums of PNG are set right."""
    data = bytearray(chance.choice(files))
    for _ in range(chance.choice([1, 1, 2, 5])):
        start = chance.randrange(min(len(data), 80) if chance.random() < 0.7 else len(data))
        match chance.randrange(5):
            case 0:
                data[start] ^= 1 << chance.randrange(8)
            case 1:
                data[start] = chance.choice([0, 1, 127, 128, 255])
            case 2 if len(data) > 60:
                del data[start : start + chance.choice([1, 2, 4, 12, 50])]
            case 3:
                other = chance.randrange(len(data))
                data[start:start] = data[other : other + chance.choice([1, 4, 12, 30, 50])]
            case _:
                other = bytearray(chance.choice(files))
                data[start:] = other[chance.randrange(len(other)) :]
        if len(data) < 12:
            break
    if data.startswith(b"\x89PNG"):
        position = 8
        while position + 12 + int.from_bytes(data[position : position + 4]) <= len(data):
            end = position + 8 + int.from_bytes(data[position : position + 4])
            data[end : end + 4] = struct.pack(">I", zlib.crc32(data[position + 4 : end]))
            position = end + 4
    return bytes(data)


def test_damaged_files_of_every_kind(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """Nothing but ImageFileError comes out; what is decoded is as large as was said; nobody else's stderr is used."""
    caplog.set_level(logging.CRITICAL)
    chance, files = random.Random(7), list(every_kind().values())
    decoded, refused = decode_all(mutated(chance, files) for _ in range(4000))
    assert decoded > 300
    assert refused > 300
    assert capfd.readouterr().err == ""


STARTS = (b"", WIDE, b"\xff\xd8\xff", b"\xff\xd8" + frame(), b"RIFF\x40\0\0\0WEBPVP8X", webp((b"VP8L", b"/1234")))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(start: bytes, rest: bytes) -> None:
    try:
        container = read_container(start + rest)
    except ImageFileError:
        return
    assert 0 <= container.width < 2**32
    assert container.channels in (1, 2, 3, 4)
    assert 1 <= container.orientation <= 8


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GIF80a", "starts with b'GIF80a'; expected a PNG"),
        (WIDE + struct.pack(">I4s", 2**31, b"IDAT") + bytes(50), "chunk b'IDAT' claims 2147483648 bytes"),
        (WIDE + struct.pack(">I4s", 2**31 - 1, b"IDAT") + bytes(50), "cut off after"),
        (WIDE + WIDE[8:] + END, "two PNG chunks b'IHDR'"),
        (PNG_SIGNATURE + END, "starts with PNG chunk b'IEND' of 0 bytes"),
        (PNG_SIGNATURE + chunk(b"IHDR", bytes(12)) + END, "b'IHDR' of 12 bytes"),
        (png_header(5, 5, 3, 2) + END, "no colour type 2 with 3 bits"),
        (png_header(5, 5, 8, 7) + END, "no colour type 7 with 8 bits"),
        (WIDE + chunk(b"IDAT", b"") + chunk(b"ABCD", b"") + END, "b'ABCD' is none that must be understood"),
        (b"\xff\xd8\xff\xd9", "no JPEG frame"),
        (b"\xff\xd8" + frame() + frame() + b"\xff\xd9", "two JPEG frames"),
        (b"\xff\xd8" + frame(precision=12) + b"\xff\xd9", "12 bits a sample"),
        (b"\xff\xd8\xff\xe3\0\1\xff\xd9", "JPEG segment claims 1 bytes"),
        (b"\xff\xd8\xff\xe3\0\2\0\0\xff\xd9", "no JPEG marker at byte 6"),
        (b"\xff\xd8" + frame() + b"\xff\xff\xff", "cut off"),
        (webp((b"abcd", b"")), "no picture"),
        (webp((b"VP8X", b"")), "cut off"),
        (webp((b"VP8 ", b"1234")), "cut off"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, words: str) -> None:
    with pytest.raises(ImageFileError, match=re.escape(words)) as caught:
        read_container(data)
    assert isinstance(caught.value, UnknownFormatError) == (words.startswith("starts with b"))


def many(part: bytes) -> bytes:
    return part * (2**24 // len(part))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (WIDE + many(chunk(b"teXt", b"")), f"more than {MAX_PARTS} PNG chunks"),
        (WIDE + many(chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**26)))), "cut off"),
        (WIDE + many(chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + bytes(65535 * 12))), "cut off"),
        (b"\xff\xd8" + many(segment(0xE3, b"")), f"more than {MAX_PARTS} JPEG segments"),
        (b"\xff\xd8" + many(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(60000))), "cut off"),
        (b"\xff\xd8" + many(segment(0xE2, b"ICC_PROFILE\0\1\1")), f"more than {MAX_PARTS} JPEG segments"),
        (b"\xff\xd8" + many(b"\xff"), "cut off"),
        (b"\xff\xd8" + many(b"\xff\xd0"), f"more than {MAX_PARTS} JPEG segments"),
        (b"\xff\xd8" + segment(0xDA, b"") + many(b"\xff\0"), "cut off"),
        (b"\xff\xd8" + segment(0xDA, b"") + many(b"\xff"), "cut off"),
        (b"\xff\xd8" + many(segment(0xDA, b"") + b"ab"), f"more than {jpeg.MAX_SCANS} scans"),
        (b"RIFF" + struct.pack("<I", 2**24) + b"WEBP" + many(b"abcd\0\0\0\0"), f"more than {MAX_PARTS} WebP chunks"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_file_takes_long(data: bytes, words: str) -> None:
    start = time.process_time()
    with pytest.raises(ImageFileError, match=words):
        read_container(memoryview(data))
    assert time.process_time() - start < 3  # 0.2 s at most; what is quadratic takes hours


def test_a_damaged_animation_is_refused() -> None:
    """OpenCV 5.0 crashes on a first frame that cannot be inflated, when it sees the animation."""
    data = bytearray(animated("PNG"))
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4])
    body = zlib.compress(b"\x09" * len(zlib.decompress(data[start : start + length])))
    data[start - 8 : start + length + 4] = chunk(b"IDAT", body)
    assert read_container(data).animated
    with pytest.raises(ImageFileError, match="bad adaptive filter value"):
        decode_image(data)


def test_an_animation_is_its_first_picture(caplog: pytest.LogCaptureFixture) -> None:
    np.testing.assert_array_equal(decode_image(animated("PNG")).image_hwc, RGB)
    assert "is animated: only its first picture is used" in caplog.text


def test_chunks_without_pixels_do_not_reach_the_decoder(capfd: pytest.CaptureFixture[str]) -> None:
    """A gamma chunk of a wrong size makes libpng complain, whoever reads it."""
    data = png(2, 8)
    strange = data[:33] + chunk(b"gAMA", b"1") + chunk(b"zTXt", b"\0\0\0") + data[33:]
    np.testing.assert_array_equal(decode_image(strange).image_hwc, decode_image(data).image_hwc)
    assert capfd.readouterr().err == ""


def test_inks_become_rgb_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    data = by_pillow("JPEG", "CMYK", quality=95)
    expected = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB")).astype(int)
    actual = decode_image(data).image_hwc
    assert np.abs(actual - expected).max() <= 2
    assert "is CMYK" in caplog.text
