"""BMP, AVIF and GIF: every kind is what other readers say it is; what is written, they read."""

from __future__ import annotations

import io
import logging
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.container import read_container
from repsr_deploy.imaging.image_bytes import decode_image, encode_image
from repsr_deploy.imaging.image_file import read_picture, write_image
from tests.imaging.file_kinds import RGB, animated, by_pillow, opencv_avif, png, rle8_bmp

ALPHA = np.dstack((RGB, RGB[::-1, :, 0]))
DEEP = RGB.astype(np.uint16) * 256 + np.arange(37, dtype=np.uint16)[None, :, None]


def decoded(data: Any) -> Any:
    return decode_image(data).image_hwc


def seen_by_pillow(data: Any) -> Any:
    with Pillow.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB") if picture.mode == "P" else picture.convert("L"))


def bmp(bits: int, compression: int, masks: bytes, pixels: bytes, *, height: int, width: int = 3) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 3937, 7874, 0, 0) + masks
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(header)) + header + pixels


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_bmp_of_few_colours(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    data = by_pillow("BMP", mode)
    np.testing.assert_array_equal(decoded(data), seen_by_pillow(data))
    assert ("has a palette" in caplog.text) == (mode == "P")


def test_bmp_of_24_bits_from_top_or_bottom() -> None:
    data = by_pillow("BMP")
    np.testing.assert_array_equal(decoded(data), RGB)
    upside_down = bytearray(data)
    struct.pack_into("<i", upside_down, 22, -len(RGB))
    np.testing.assert_array_equal(decoded(upside_down), RGB[::-1])


@pytest.mark.parametrize("height", [2, -2])
def test_bmp_of_16_bits(height: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (2, 4), np.uint16)
    rows = (pixels if height < 0 else pixels[::-1]).tobytes()
    shown = pixels[:, :3].astype(int)
    five = np.stack((shown >> 10 & 31, shown >> 5 & 31, shown & 31), axis=-1)
    np.testing.assert_array_equal(decoded(bmp(16, 0, b"", rows, height=height)), np.rint(five * 255 / 31))
    six = np.stack((shown >> 11, shown >> 5 & 63, shown & 31), axis=-1)
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    np.testing.assert_array_equal(decoded(bmp(16, 3, masks, rows, height=height)), np.rint(six * 255 / [31, 63, 31]))


def test_bmp_with_alpha_has_a_mask_for_it(tmp_path: Path) -> None:
    write_image(tmp_path / "a.bmp", ALPHA)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").image_hwc, ALPHA)
    with Pillow.open(tmp_path / "a.bmp") as picture:
        np.testing.assert_array_equal(np.asarray(picture), ALPHA)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4), np.uint8)
    actual = decoded(bmp(32, 0, b"", pixels[::-1].tobytes(), height=2))
    np.testing.assert_array_equal(actual, pixels[..., 2::-1])  # the fourth byte of such a file means nothing


def test_bmp_of_run_lengths() -> None:
    data = rle8_bmp()
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert theirs is not None
    np.testing.assert_array_equal(decoded(data), theirs[..., ::-1])


@pytest.mark.parametrize("image", [RGB, RGB[..., 0]], ids=["rgb", "gray"])
def test_bmp_is_lossless(image: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "a.bmp", image)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").image_hwc, image)
    with Pillow.open(tmp_path / "a.bmp") as picture:
        np.testing.assert_array_equal(np.asarray(picture), image)


def test_bmp_holds_8_bits_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert decoded(encode_image(DEEP, "bmp")).dtype == np.uint8
    assert "BMP holds 8 bits; the image's 16 are reduced" in caplog.text


@pytest.mark.parametrize("depth", [10, 12])
@pytest.mark.parametrize("image", [RGB, RGB[..., 0], ALPHA], ids=["rgb", "gray", "rgba"])
def test_deep_avif_becomes_16_bits(image: Any, depth: int) -> None:
    """Exactly: the whole range of 10 or 12 bits is the whole range of 16."""
    stored = (image.astype(np.uint16) << depth - 8) | (image >> 3)
    stored.flat[0] = 2**depth - 1
    order = stored if image.ndim == 2 else stored[..., [2, 1, 0, 3][: image.shape[2]]]
    actual = decoded(opencv_avif(order, depth))
    assert actual.dtype == np.uint16
    np.testing.assert_array_equal(actual, np.rint(stored * (65535 / (2**depth - 1))))


@pytest.mark.parametrize("image", [DEEP, DEEP[..., 0]], ids=["rgb", "gray"])
def test_16_bits_become_12_in_avif_and_it_is_said(image: Any, caplog: pytest.LogCaptureFixture) -> None:
    data = encode_image(image, "avif", quality=100)
    actual = decoded(data)
    assert actual.dtype == np.uint16
    assert actual.shape == image.shape
    assert np.abs(actual.astype(int) - image).max() <= 65535 / 4095 / 2 + 1
    assert "AVIF holds 12 bits; the image's 16 are reduced" in caplog.text
    assert decoded(encode_image(actual, "avif", quality=100)).tolist() == actual.tolist()  # once


@pytest.mark.parametrize("image", [RGB, RGB[..., 0], ALPHA], ids=["rgb", "gray", "rgba"])
def test_avif_keeps_colours_in_order(image: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "a.avif", image)
    for actual in (read_picture(tmp_path / "a.avif").image_hwc, np.asarray(Pillow.open(tmp_path / "a.avif"))):
        assert actual.shape == image.shape
        assert np.abs(actual.astype(int) - image).mean() < 2
    write_image(tmp_path / "b.avif", image, quality=20)
    assert (tmp_path / "b.avif").stat().st_size < (tmp_path / "a.avif").stat().st_size / 2


def test_avif_keeps_colour_at_full_resolution() -> None:
    """Columns of red and blue in turn: at half the resolution both would be purple."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, ::2, 0] = image[:, 1::2, 2] = 255
    assert np.abs(decoded(encode_image(image, "avif", quality=95)).astype(int) - image).max() < 40


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_once(orientation: int) -> None:
    """Pillow writes an orientation as irot and imir, which readers apply; what EXIF still says has no say."""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = by_pillow("AVIF", quality=100, subsampling="4:4:4", exif=exif)
    assert read_container(data).orientation == orientation
    picture = Pillow.fromarray(RGB)
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    actual = decode_image(data)
    assert actual.image_hwc.shape == expected.shape
    assert np.abs(actual.image_hwc.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("mode", ["L", "P"])
def test_gif(mode: str) -> None:
    data = by_pillow("GIF", mode)
    with Pillow.open(io.BytesIO(data)) as picture:
        expected = np.asarray(picture.convert("L" if mode == "L" else "RGB"))
    np.testing.assert_array_equal(decoded(data), expected)
    np.testing.assert_array_equal(decoded(data[:-1]), expected)  # the last byte says that it is the last


def test_transparent_gif() -> None:
    image = ALPHA.copy()
    image[..., 3] = np.where(image[..., 3] > 128, 255, 0)
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, "GIF")
    actual = decoded(file.getvalue())
    np.testing.assert_array_equal(actual[..., 3], image[..., 3])


def test_gif_with_a_picture_beyond_its_screen() -> None:
    data = bytearray(by_pillow("GIF", "P"))
    data[6:10] = struct.pack("<HH", 5, 5)
    np.testing.assert_array_equal(decoded(bytes(data)), decoded(by_pillow("GIF", "P")))


def test_the_first_picture_of_an_animation(caplog: pytest.LogCaptureFixture) -> None:
    for form in ("GIF", "AVIF"):
        assert read_container(animated(form, "RGB")).animated
        assert np.abs(decoded(animated(form, "RGB")).astype(int) - RGB).mean() < 20
        assert "is animated: only its first picture is used" in caplog.text
        caplog.clear()


def test_gif_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.gif has extension '\.gif'; expected one of \.png"):
        write_image(tmp_path / "a.gif", RGB)
    with pytest.raises(UsageError, match="format is GIF, which is only read"):
        encode_image(RGB, "gif")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_gray_png_may_have_one_transparent_shade(depth: int) -> None:
    data = png(0, depth, transparent=True)
    gray, actual = decoded(png(0, depth)), decoded(data)
    shade = 1 if depth == 16 else 255 // (2**depth - 1)
    np.testing.assert_array_equal(actual[..., 0], gray)
    np.testing.assert_array_equal(actual[..., 1], np.where(gray == shade, 0, 65535 if depth == 16 else 255))
    if depth in (1, 8):  # of others Pillow takes another shade
        with Pillow.open(io.BytesIO(data)) as picture:
            np.testing.assert_array_equal(actual, np.asarray(picture.convert("LA")))


@pytest.mark.parametrize("depth", [8, 16])
def test_gray_with_alpha_in_png_stays_so(depth: int) -> None:
    actual = decoded(png(4, depth))
    assert actual.shape == (7, 13, 2)
    assert actual.dtype == (np.uint8 if depth == 8 else np.uint16)
    np.testing.assert_array_equal(decoded(encode_image(actual, "png")), actual)
