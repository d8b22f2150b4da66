"""Files of every further format, whole, cut off, damaged and lying: what the header says is what the decoder gives."""

from __future__ import annotations

import logging
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.container import ALL_FORMATS, WEB_FORMATS, UnknownFormatError, read_container
from repsr_deploy.imaging.image_bytes import decode_image, encode_image
from repsr_deploy.imaging.image_file import FORMATS, read_picture, write_image
from tests.imaging.damage import decode_all, given_by_decoder, said
from tests.imaging.file_kinds import RGB, by_pillow, by_tifffile, chunk, every_kind, other_kinds, png_header


@pytest.mark.parametrize("kind", other_kinds())
def test_the_header_says_what_the_decoder_gives(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    data = other_kinds()[kind]
    caplog.set_level(logging.INFO)
    container = read_container(data)
    assert container.format == kind.split(maxsplit=1)[0]
    assert given_by_decoder(decode_image(data).image_hwc) == said(data)
    assert container.animated == ("animated" in kind) == ("is animated: only its first" in caplog.text)
    assert container.pages == (2 if "pages" in kind else 1)
    assert ("has 2 pages: only the first is used" in caplog.text) == ("pages" in kind)
    assert container.cmyk == ("CMYK" in kind) == ("is CMYK: it becomes RGB" in caplog.text)
    assert container.palette == (" P" in kind or kind in ("bmp rle8", "gif RGBA", "gif animated"))
    assert ("has a palette" in caplog.text) == container.palette


@pytest.mark.parametrize("kind", other_kinds())
def test_a_service_refuses_it_by_its_first_bytes(kind: str) -> None:
    with pytest.raises(UnknownFormatError, match=r"it starts with b.*; expected a PNG, JPEG or WebP image$"):
        read_container(other_kinds()[kind], WEB_FORMATS)


@pytest.mark.parametrize("kind", other_kinds())
def test_a_cut_file_is_refused_or_its_picture_whole(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A file may end after its picture (second pages, terminators): then the picture is what it was."""
    data = other_kinds()[kind]
    expected = decode_image(data).image_hwc
    refused = 0
    lengths = {*range(0, 40, 3), *range(40, len(data), max(1, len(data) // 12)), len(data) - 2, len(data) - 1}
    for length in sorted(lengths):
        try:
            actual = decode_image(data[:length]).image_hwc
        except ImageFileError:
            refused += 1
        else:
            np.testing.assert_array_equal(actual, expected)
    assert refused >= len(lengths) * (0.4 if "pages" in kind else 0.6)
    assert capfd.readouterr().err == ""


def mutated(chance: random.Random, files: list[bytes]) -> bytes:
    """A file with a few bytes changed, moved or lost, at its start or end, where directories and boxes are."""
    data = bytearray(chance.choice(files))
    for _ in range(chance.choice([1, 1, 2, 4])):
        last = len(data) - 1
        start = chance.choice([chance.randrange(last), chance.randrange(min(last, 120)), last - chance.randrange(200)])
        match chance.randrange(5):
            case 0:
                data[start] ^= 1 << chance.randrange(8)
            case 1:
                data[start] = chance.choice([0, 1, 127, 128, 255])
            case 2:
                data[start : start + 4] = struct.pack("<I", chance.choice([0, 1, 8, 2**31, 2**32 - 1, last]))
            case 3:
                del data[start : start + chance.choice([1, 2, 12])]
            case _:
                other = chance.choice(files)
                data[start:start] = other[:: max(1, len(other) // 12)]
        if len(data) < 300:
            break
    return bytes(data)


def test_damaged_files_of_every_kind(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """Nothing but ImageFileError comes out; what is decoded is as large as was said; nobody else's stderr is used."""
    caplog.set_level(logging.CRITICAL)
    chance, files = random.Random(3), list(other_kinds().values())
    decoded, refused = decode_all(mutated(chance, files) for _ in range(1000))
    assert decoded > 100
    assert refused > 300
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"GIF89a", b"\0\0\0\x20ftypavif"])
def test_any_bytes_behind_a_magic(start: bytes) -> None:
    chance = random.Random(len(start))
    for _ in range(50):
        with pytest.raises(ImageFileError):
            decode_image(start + chance.randbytes(chance.randrange(400)))


def with_tags(data: bytes, **changes: tuple[int, int]) -> bytes:
    """A little-endian TIFF whose first directory has other numbers: (tag, number)."""
    result = bytearray(data)
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for tag, number in changes.values():
        (entry,) = (at + 2 + 12 * i for i in range(count) if struct.unpack_from("<H", data, at + 2 + 12 * i)[0] == tag)
        struct.pack_into("<HHII", result, entry, tag, 4, 1, number)
    return bytes(result)


PLAIN = by_tifffile(RGB, photometric="rgb", rowsperstrip=len(RGB))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (with_tags(PLAIN, a=(256, 100_000), b=(257, 100_000)), "claims 100000 x 100000 pixels; expected at most"),
        (with_tags(PLAIN, a=(256, 0)), "claims 0 x 41 pixels"),
        (with_tags(PLAIN, a=(256, 2**32 - 1)), "claims 4294967295 x 41 pixels"),
        (with_tags(PLAIN, a=(257, 82), b=(278, 82)), "has 4551 bytes, expected 9102"),
        (with_tags(PLAIN, a=(273, 2**32 - 9)), "cut off after"),
        (with_tags(PLAIN, a=(277, 60_000)), "60000 samples"),
        (with_tags(PLAIN, a=(278, 1)), "has 1 strips or tiles, expected 41"),
        (with_tags(PLAIN, a=(259, 34712)), "compressed in way 34712"),
        (with_tags(PLAIN, a=(262, 8)), "its colours are CIELab"),
        (PLAIN[:4] + struct.pack("<I", len(PLAIN) - 1) + PLAIN[8:], "cut off after"),
        (PLAIN[:4] + struct.pack("<I", 2**32 - 1) + PLAIN[8:], "cut off after"),
        (by_tifffile(RGB.astype(np.float32), photometric="rgb"), "floating point or signed"),
        (by_tifffile(RGB[..., 0].astype(np.int16)), "floating point or signed"),
        (by_tifffile(RGB[..., 0].astype(np.uint32)), "samples have 32 bits; expected 8 or 16"),
        (b"BM" + bytes(8) + struct.pack("<IIiiHHIIiiII", 54, 40, 9**6, 9**6, 1, 24, 0, 0, 0, 0, 0, 0), "cut off after"),
        (b"BM" + bytes(8) + struct.pack("<IIiiHHIIiiII", 54, 40, 5, 5, 1, 24, 4, 0, 0, 0, 0, 0), "compression 4"),
        (b"BM" + bytes(8) + struct.pack("<IIiiHHIIiiII", 54, 99, 5, 5, 1, 24, 4, 0, 0, 0, 0, 0), "header of 99 bytes"),
        (b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b";", "has no picture"),
        (b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"!\xfe" + b"\1x" * 9, "cut off after"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, words: str) -> None:
    with pytest.raises(ImageFileError, match=words):
        decode_image(data, name="here")


def test_no_file_takes_long() -> None:
    """Places of items that take no bytes each, and empty blocks."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(body), kind) + body

    places = box(b"iloc", bytes(6) + struct.pack(">H", 2**16 - 1) + b"\0\1\0\0\xff\xff" * (2**16 - 1))
    avif = box(b"ftyp", b"avif" + bytes(4) + b"avif") + box(b"meta", bytes(4) + places)
    blocks = b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"!\xfe\0" * 2**20
    for data, words in ((avif, "more than 131072 AVIF extents"), (blocks, "more than 131072 GIF blocks")):
        start = time.process_time()
        with pytest.raises(ImageFileError, match=words):
            read_container(data)
        assert time.process_time() - start < 3  # 0.2 s at most


def test_a_directory_that_follows_itself() -> None:
    data = bytearray(PLAIN)
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * count, at)
    assert read_container(bytes(data)).pages == 1
    np.testing.assert_array_equal(decode_image(bytes(data)).image_hwc, RGB)


def test_limits_are_those_of_this_reader_and_not_of_libraries() -> None:
    """Pillow refuses what is above twice its own limit, for a whole process: it must not, and must stay as it is."""
    code = """
import PIL.Image
from tests.imaging.file_kinds import other_kinds
from repsr_deploy.imaging.image_bytes import decode_image
from repsr_deploy.errors import ImageFileError
kinds = other_kinds()
PIL.Image.MAX_IMAGE_PIXELS = 10
for data in kinds.values():
    decode_image(data)
    try:
        decode_image(data, max_pixels=20)
    except ImageFileError as error:
        assert "expected at most 20" in str(error)
    else:
        raise AssertionError
assert PIL.Image.MAX_IMAGE_PIXELS == 10
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("suffix", [suffix for suffix, form in FORMATS.items() if form not in ("gif", "jpeg")])
@pytest.mark.parametrize("size", [(1, 1), (40000, 1), (1, 40000)], ids=str)
def test_thin_pictures(suffix: str, size: tuple[int, int], tmp_path: Path) -> None:
    image = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), np.uint8)
    path = tmp_path / f"a{suffix}"
    if suffix in (".webp", ".avif") and max(size) > 1:
        with pytest.raises(ImageFileError, match=r"40000 .*pixels; (WebP|AVIF) holds at most"):
            write_image(path, image)
        return
    write_image(path, image)
    actual = read_picture(path, max_pixels=None).image_hwc
    assert actual.shape == image.shape
    if suffix not in (".webp", ".avif"):
        np.testing.assert_array_equal(actual, image)


@pytest.mark.parametrize(("width", "height"), [(10**6 + 1, 1), (2**15, 2**15 + 1)])
def test_more_than_opencv_takes(width: int, height: int) -> None:
    """By the header alone, with words that say what to do."""
    data = png_header(width, height, 1, 0) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(ImageFileError, match=rf"here has {width} x {height} pixels; PNG is decoded") as error:
        decode_image(data, name="here", max_pixels=None)
    assert "1000000 a side and 1073741824 in all; set OPENCV_IO_MAX_IMAGE_PIXELS higher" in str(error.value)


def test_the_widest_png(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 10**6), np.uint8)
    write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").image_hwc, image)
    with pytest.raises(ImageFileError, match="PNG holds at most 1000000 a side"):
        write_image(tmp_path / "b.png", np.zeros((1, 10**6 + 1), np.uint8))


def test_names_do_not_matter(tmp_path: Path) -> None:
    for kind in ("tiff rgb raw", "bmp RGB", "gif P", "avif RGB"):
        path = tmp_path / "lies.png"
        path.write_bytes(other_kinds()[kind])
        np.testing.assert_array_equal(read_picture(path).image_hwc, decode_image(other_kinds()[kind]).image_hwc)


def test_formats() -> None:
    assert set(FORMATS.values()) == set(ALL_FORMATS)
    assert {"png", "jpeg", "webp"} == set(WEB_FORMATS) == {kind.split(maxsplit=1)[0] for kind in every_kind()}
    assert by_pillow("PNG")[:4] == bytes(encode_image(RGB, "png")[:4])
