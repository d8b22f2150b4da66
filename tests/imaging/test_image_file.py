"""Image files: every format, depth, layout and orientation survives; every kind of broken file is one clear line."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image as Pillow

from repsr_deploy.errors import ImageFileError, RepsrError, UsageError
from repsr_deploy.imaging.container import read_container
from repsr_deploy.imaging.image_file import read_image, write_image

RGB = skimage.data.astronaut()[20:151, 150:247]


def layout(name: str, dtype: Any) -> Any:
    image = RGB if dtype == np.uint8 else RGB.astype(np.uint16) * 256 + np.arange(97, dtype=np.uint16)[:, None]
    alpha = np.broadcast_to(np.linspace(0, np.iinfo(dtype).max, 97).astype(dtype)[:, None], (131, 97, 1))
    return {"gray": image[..., 0], "rgb": image, "rgba": np.concatenate([image, alpha], axis=2)}[name]


def pillow_bytes(form: str, image: Any = RGB, **options: Any) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, form, **options)
    return file.getvalue()


def by_pillow(path: Path, form: str) -> Any:
    with Pillow.open(path) as image:
        assert image.format == form
        return np.asarray(image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", ["gray", "rgb", "rgba"])
def test_png_is_lossless(name: str, dtype: Any, tmp_path: Path) -> None:
    image = layout(name, dtype)
    path = tmp_path / "ordner ü" / "写真.png"
    write_image(path, image)
    actual = read_image(path)
    assert actual.dtype == dtype
    np.testing.assert_array_equal(actual, image)
    if dtype == np.uint8:  # another reader sees the same colours in the same order
        np.testing.assert_array_equal(by_pillow(path, "PNG"), image)


@pytest.mark.parametrize(("suffix", "form"), [(".jpg", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP")])
def test_lossy_formats_keep_colours_in_order(suffix: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, RGB, quality=95)
    for actual in (read_image(path), by_pillow(path, form)):
        assert np.abs(actual.astype(int) - RGB).mean() < 3
        assert np.abs(actual[..., ::-1].astype(int) - RGB).mean() > 20
    size = path.stat().st_size
    write_image(path, RGB, quality=30)
    assert path.stat().st_size < size / 2


def test_gray_jpeg_stays_gray(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", RGB[..., 0])
    assert read_image(tmp_path / "a.jpg").shape == RGB.shape[:2]


def test_format_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "lies.jpg"
    path.write_bytes(pillow_bytes("PNG"))
    np.testing.assert_array_equal(read_image(path), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_orientation_is_applied_once(form: str, orientation: int, tmp_path: Path) -> None:
    from PIL import ImageOps

    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a"
    path.write_bytes(pillow_bytes(form, RGB, exif=exif, **({"lossless": True} if form == "WEBP" else {})))
    with Pillow.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB")).astype(int)
    actual = read_image(path)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).mean() < (1 if form == "JPEG" else 1e-9)
    write_image(tmp_path / "b.png", actual)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), actual)


def test_transparency_in_jpeg_is_put_on_white_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = np.zeros((16, 16, 4), np.uint8)
    image[:8, :, 3] = 255
    with caplog.at_level(logging.WARNING):
        write_image(tmp_path / "a.jpg", image)
    assert "JPEG holds no transparency" in caplog.text
    actual = read_image(tmp_path / "a.jpg")
    assert actual[:6].max() < 10
    assert actual[-6:].min() > 245


def test_16_bits_in_jpeg_become_8_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        write_image(tmp_path / "a.webp", RGB.astype(np.uint16) * 257, quality=100)
    assert "WebP holds 8 bits" in caplog.text
    assert np.abs(read_image(tmp_path / "a.webp").astype(int) - RGB).mean() < 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_with_alpha_stays_so(suffix: str, dtype: Any, tmp_path: Path) -> None:
    image = np.ascontiguousarray(layout("rgba", dtype)[..., [0, 3]])
    path = tmp_path / f"a{suffix}"
    write_image(path, image)
    actual = read_image(path)
    assert actual.dtype == dtype
    np.testing.assert_array_equal(actual, image)
    if dtype == np.uint8:
        np.testing.assert_array_equal(by_pillow(path, "PNG" if suffix == ".png" else "TIFF"), image)


@pytest.mark.parametrize(("suffix", "kept"), [(".webp", True), (".avif", True), (".bmp", True), (".jpg", False)])
def test_gray_with_alpha_where_there_is_no_such_thing(suffix: str, kept: bool, tmp_path: Path) -> None:
    image = np.ascontiguousarray(layout("rgba", np.uint8)[..., [0, 3]])
    write_image(tmp_path / f"a{suffix}", image)
    actual = read_image(tmp_path / f"a{suffix}")
    if kept:
        assert np.abs(actual[..., 3].astype(int) - image[..., 1]).max() <= (2 if suffix == ".avif" else 0)
        assert np.abs(np.diff(actual[..., :3].astype(int), axis=2)).max() <= 6  # as gray as the format gives
    else:
        assert actual.ndim == 2


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_every_cut_is_seen(form: str, options: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = pillow_bytes(form, **options)
    container = read_container(data)
    assert (container.width, container.height) == (97, 131)
    read_container(data + b"trailing bytes are harmless")
    random = np.random.default_rng(0)
    for length in [1, 2, 3, 8, 12, 13, 20, 30, len(data) - 1, *random.integers(30, len(data), 60)]:
        with pytest.raises(ImageFileError):
            read_container(data[:length])
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(ImageFileError, match=r"cannot read .*cut: it is cut off after \d+ bytes"):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_damage_is_seen(tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a"
    data = bytearray(pillow_bytes("PNG"))
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageFileError, match="the checksum of PNG chunk b'IDAT' is wrong"):
        read_image(path)
    data = bytearray(pillow_bytes("JPEG", quality=95))
    data[len(data) // 2 : len(data) // 2 + 60] = bytes(60)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        read_image(path)
    assert "is damaged in places: Corrupt JPEG data" in caplog.text
    assert capfd.readouterr().err == ""


def _png(width: int, height: int, samples: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(samples)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"no image\n", "it starts with b'no image'"),
        (b"GIF80a" + bytes(20), "expected a PNG, JPEG, WebP, TIFF, BMP, AVIF or GIF image"),
        (_png(100_000, 100_000, b"x"), "claims 100000 x 100000 pixels; expected at most 536870912"),
        (_png(0, 5, b"x"), "claims 0 x 5 pixels"),
        (_png(300, 300, bytes(5000)), "cannot decode"),
    ],
)
def test_no_image(data: bytes, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(ImageFileError, match=words):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_a_limit_of_pixels(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", RGB)
    read_image(tmp_path / "a.png", max_pixels=97 * 131)
    with pytest.raises(ImageFileError, match="97 x 131 pixels; expected at most 12706"):
        read_image(tmp_path / "a.png", max_pixels=97 * 131 - 1)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageFileError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt"])
def test_a_format_that_is_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected one of \.png, \.jpg, \.jpeg, .*\.avif$"):
        write_image(tmp_path / name, RGB)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="WebP holds at most 16383 a side"):
        write_image(tmp_path / "a.webp", np.zeros((4, 16384, 3), np.uint8))
    with pytest.raises(UsageError, match="quality is 0"):
        write_image(tmp_path / "a.jpg", RGB, quality=0)
    with pytest.raises(UsageError, match="expected uint8 or uint16"):
        write_image(tmp_path / "a.png", RGB.astype(np.float32))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RepsrError, match="cannot write"):
        write_image(tmp_path / "file" / "a.png", RGB)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file"]


def test_paths_may_be_text(tmp_path: Path) -> None:
    image = np.arange(75, dtype=np.uint8).reshape(5, 5, 3)
    write_image(str(tmp_path / "picture.png"), image)
    np.testing.assert_array_equal(read_image(str(tmp_path / "picture.png")), image)
