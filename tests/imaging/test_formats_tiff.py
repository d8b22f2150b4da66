"""TIFF of every layout is what tifffile, Pillow and OpenCV say it is; what is written, they read."""

from __future__ import annotations

import io
import itertools
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.image_bytes import decode_image, encode_image
from repsr_deploy.imaging.image_file import read_picture, write_image
from tests.imaging.file_kinds import RGB, by_pillow, by_tifffile

ALPHA = np.dstack((RGB, RGB[::-1, :, 0]))


def noise(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(sum(shape)).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def decoded(data: Any) -> Any:
    return decode_image(data).image_hwc


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_layout(channels: int, dtype: Any, order: str, big: bool) -> None:
    """Tiles and strips, together and in planes, plain and deflated behind a predictor, in both orders and sizes."""
    image = noise(37, 53, channels, dtype=dtype)
    for tile, way, planes in itertools.product((None, (16, 32)), (None, "zlib", "lzma"), (False, True)):
        options: dict[str, Any] = {"photometric": "rgb" if channels > 1 else "minisblack"}
        if channels > 1:
            options["planarconfig"] = "separate" if planes else "contig"
        if channels == 4:
            options["extrasamples"] = ["unassalpha"]
        stored = np.moveaxis(image, -1, 0) if planes and channels > 1 else image
        data = by_tifffile(
            stored, byteorder=order, bigtiff=big, tile=tile, compression=way, predictor=way is not None, **options
        )
        np.testing.assert_array_equal(decoded(data), image[..., 0] if channels == 1 else image)


@pytest.mark.parametrize("way", ["raw", "tiff_lzw", "packbits", "zstd", "lzma", "tiff_adobe_deflate", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_compression(mode: str, way: str) -> None:
    data = by_pillow("TIFF", mode, compression=way, tiffinfo={278: 16})
    with Pillow.open(io.BytesIO(data)) as picture:
        expected = np.asarray(picture.convert("RGB") if mode in ("CMYK", "YCbCr") else picture)
    np.testing.assert_array_equal(decoded(data), expected)


@pytest.mark.parametrize("way", ["raw", "tiff_lzw", "group3", "group4"])
def test_two_levels(way: str) -> None:
    data = by_pillow("TIFF", "1", compression=way)
    with Pillow.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(decoded(data), np.asarray(picture.convert("L")))


@pytest.mark.parametrize("depth", [2, 4, 8, 16])
def test_black_may_be_the_highest(depth: int) -> None:
    """By type: every depth below 8 fills 0 to 255, and 16 stays."""
    levels = 2**depth
    stored = np.arange(levels, dtype=np.uint16 if depth == 16 else np.uint8)[None, :512].repeat(3, axis=0)
    packed = stored
    if depth < 8:
        weights = 2 ** (depth * np.arange(8 // depth - 1, -1, -1))
        packed = (stored.reshape(3, -1, 8 // depth) * weights).sum(axis=2).astype(np.uint8)
    data = bytearray(by_tifffile(packed, photometric="miniswhite"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        (page,) = file.pages
        tags = page.tags  # type: ignore[union-attr]
        for name, value in (("BitsPerSample", depth), ("ImageWidth", stored.shape[1])):
            at, size = tags[name].valueoffset, tags[name].valuebytecount
            data[at : at + size] = value.to_bytes(size, "little")
    full_scale = 65535 if depth == 16 else 255
    np.testing.assert_array_equal(decoded(data), full_scale - stored.astype(int) * (full_scale // (levels - 1)))


def test_alpha_that_colours_are_multiplied_by() -> None:
    for dtype in (np.uint8, np.uint16):
        full_scale = np.iinfo(dtype).max
        image = noise(20, 30, 4, dtype=dtype)
        image[0, :, 3], image[1, :, 3] = 0, full_scale
        multiplied = image.copy()
        multiplied[..., :3] = np.rint(image[..., :3] * (image[..., 3:] / full_scale))
        actual = decoded(by_tifffile(multiplied, photometric="rgb", extrasamples=["assocalpha"]))
        np.testing.assert_array_equal(actual[..., 3], image[..., 3])
        np.testing.assert_array_equal(actual[1], image[1])
        assert not actual[0, :, :3].any()
        step = full_scale / np.maximum(image[..., 3:].astype(float), 1)  # what one step of the product is worth
        near = np.abs(actual[..., :3].astype(float) - image[..., :3]) <= step / 2 + 1
        assert near[image[..., 3] > 0].all()


def test_channels_of_no_known_meaning_are_left_out_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    image = noise(9, 8, 5)
    data = by_tifffile(image, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    np.testing.assert_array_equal(decoded(data), image[..., [0, 1, 2, 4]])
    assert "has 1 channels beside colour and alpha, which are left out" in caplog.text


def test_deep_inks(caplog: pytest.LogCaptureFixture) -> None:
    inks = noise(9, 8, 4, dtype=np.uint16)
    actual = decoded(by_tifffile(inks, photometric="separated"))
    light = 65535 - inks.astype(float)
    assert actual.dtype == np.uint16
    assert np.abs(actual - light[..., :3] * light[..., 3:] / 65535).max() <= 0.5
    assert "is CMYK: it becomes RGB" in caplog.text


def test_a_palette(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    palette = noise(3, 256, dtype=np.uint16)
    numbers = noise(11, 12)
    actual = decoded(by_tifffile(numbers, photometric="palette", colormap=palette))
    np.testing.assert_array_equal(actual, (palette >> 8).astype(np.uint8).T[numbers])
    assert "has a palette" in caplog.text
    gray = palette[:1].repeat(3, axis=0)
    assert decoded(by_tifffile(numbers, photometric="palette", colormap=gray)).ndim == 2


def test_damage_inside_a_deflated_strip_is_seen() -> None:
    """zlib finds a wrong checksum, where libtiff carries on."""
    data = bytearray(by_tifffile(noise(40, 40), compression="zlib", rowsperstrip=40))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        (page,) = file.pages
        start, size = page.dataoffsets[0], page.databytecounts[0]
    data[start + size - 2] ^= 1
    with pytest.raises(ImageFileError, match="does not inflate"):
        decoded(bytes(data))


def test_raw_photographs_are_not_their_previews() -> None:
    data = by_tifffile(RGB, photometric="rgb", subfiletype=1)
    with pytest.raises(ImageFileError, match="its first picture is a reduced one"):
        decoded(data)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (37, 53, 2), (37, 53, 3), (37, 53, 4), (1, 40000, 3), (900, 500)])
def test_what_is_written_others_read(shape: tuple[int, ...], dtype: Any, tmp_path: Path) -> None:
    image = noise(*shape, dtype=dtype)
    path = tmp_path / "写真.tif"
    write_image(path, image)
    np.testing.assert_array_equal(read_picture(path).image_hwc, image)
    with tifffile.TiffFile(path) as file:
        (page,) = file.pages
        np.testing.assert_array_equal(page.asarray(), image)
        extra = page.tags.get("ExtraSamples")  # type: ignore[union-attr]
        assert (None if extra is None else extra.value) == ((2,) if image.ndim == 3 and shape[2] in (2, 4) else None)
    if image.ndim == 2 or shape[2] == 3 or (shape[2] == 4 and dtype == np.uint16):  # of 8 bits it multiplies by alpha
        seen = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(seen, image if image.ndim == 2 else image[..., [2, 1, 0, 3][: shape[2]]])
    if dtype == np.uint8 or image.ndim == 2:
        with Pillow.open(path) as picture:
            np.testing.assert_array_equal(np.asarray(picture), image)


def test_it_is_smaller_than_its_samples() -> None:
    smooth = np.add.outer(np.arange(300), np.arange(400)).astype(np.uint16) * 90
    assert len(encode_image(smooth, "tiff")) < smooth.nbytes / 20
