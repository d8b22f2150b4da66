"""What describes a picture goes from every format to every format; Pillow and tifffile are the other readers."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from PIL import PngImagePlugin

from repsr_deploy.imaging.container import Format, read_container
from repsr_deploy.imaging.formats import exif as tags
from repsr_deploy.imaging.image_bytes import decode_image, encode_image, encode_picture
from repsr_deploy.imaging.image_file import read_picture, write_picture
from repsr_deploy.imaging.picture import Picture
from tests.imaging.file_kinds import RGB, SRGB, by_pillow, chunk, png
from tests.imaging.metadata_kinds import MAKER_NOTE, THUMBNAIL, exif_block, packet, turned_tiff

ALL: tuple[Format, ...] = ("png", "jpeg", "webp", "tiff", "avif")
XMP = packet('tiff:Orientation="6" tiff:ImageWidth="37" exif:PixelYDimension="41"', "<dc:title>é 写真</dc:title>")
NEW_XMP = packet('tiff:Orientation="1" tiff:ImageWidth="82" exif:PixelYDimension="74"', "<dc:title>é 写真</dc:title>")


def file_of(form: Format, exif: bytes | None = None, xmp: bytes | None = None, **options: Any) -> bytes:
    """A file that another writer makes, with an orientation of 6 in its EXIF block."""
    if form == "png" and xmp is not None:
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = info
    elif form == "tiff":
        return turned_tiff(RGB, xmp, options.get("icc_profile"))
    elif xmp is not None:
        options["xmp"] = xmp
    if exif is not None:
        options["exif"] = b"Exif\0\0" + exif
    return by_pillow(form, **options)


def avif_of(exif: bytes) -> bytes:
    """By OpenCV, which leaves a block as it is; Pillow rebuilds it."""
    image = RGB[..., ::-1].copy()
    kinds, bodies = [cv2.IMAGE_METADATA_EXIF], [np.frombuffer(exif, np.uint8)]
    return cv2.imencodeWithMetadata(".avif", image, kinds, bodies)[1].tobytes()


def doubled(picture: Picture) -> Picture:
    return replace(picture, image_hwc=picture.image_hwc.repeat(2, axis=0).repeat(2, axis=1))


def seen_by_pillow(data: Any) -> tuple[Pillow.Exif, bytes | None, bytes | None]:
    """EXIF, XMP and profile."""
    with Pillow.open(io.BytesIO(data)) as picture:
        picture.load()
        xmp = picture.info.get("xmp", picture.info.get("XML:com.adobe.xmp"))
        return picture.getexif(), xmp.encode() if isinstance(xmp, str) else xmp, picture.info.get("icc_profile")


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("source", ALL)
def test_from_every_format_to_every_format(source: Format, target: Format) -> None:
    """Of a picture that is turned by a quarter, and made twice as large."""
    data = file_of(source, exif_block(), XMP, icc_profile=SRGB)
    picture = decode_image(data)
    assert picture.image_hwc.shape == (37, 41, 3)
    exif, xmp, profile = seen_by_pillow(encode_picture(doubled(picture), target))
    assert profile == SRGB
    assert xmp == NEW_XMP
    assert exif.get(tags.ORIENTATION, 1) == 1
    assert (exif[0x010F].rstrip("\0"), exif[0x0110].rstrip("\0")) == ("Maker", "Model")
    assert exif.get_ifd(tags.GPS_IFD)[2] == (47, 22, 8)
    inner = exif.get_ifd(tags.EXIF_IFD)
    assert inner[0x927C] == MAKER_NOTE
    assert inner[0x9003].rstrip("\0") == "2026:01:02 03:04:05"
    assert (inner[tags.PIXEL_X], inner[tags.PIXEL_Y]) == (82, 74)
    if "tiff" not in (source, target):  # there they are no tags of the description
        assert (exif[tags.WIDTH], exif[tags.HEIGHT]) == (82, 74)


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("source", ["png", "jpeg", "webp", "avif"])
def test_makers_notes_stay_where_they_are(source: Format, target: Format) -> None:
    """In a TIFF, places count from the file's start: so it starts with the block."""
    block = exif_block()
    picture = decode_image(avif_of(block) if source == "avif" else file_of(source, block))
    assert picture.exif is not None
    assert picture.exif.index(MAKER_NOTE) == block.index(MAKER_NOTE)
    assert THUMBNAIL not in picture.exif
    data = bytes(encode_picture(picture, target))
    stored = data if target == "tiff" else read_container(data).exif
    assert stored is not None
    assert stored.index(MAKER_NOTE) == block.index(MAKER_NOTE)


@pytest.mark.parametrize("target", ALL)
def test_nothing_is_made_up(target: Format) -> None:
    exif, xmp, profile = seen_by_pillow(encode_image(RGB, target))
    assert (xmp, profile) == (None, None)
    assert target == "tiff" or not dict(exif)
    picture = decode_image(encode_image(RGB, target))
    assert (picture.exif, picture.xmp, picture.icc_profile, picture.cicp, picture.png_chunks) == (
        None, None, None, None, (),
    )  # fmt: skip


@pytest.mark.parametrize("target", ALL)
def test_parameters(target: Format) -> None:
    """A block and a packet given by themselves, and gray and transparent pictures with them."""
    for image in (RGB[..., 0], np.dstack((RGB, RGB[..., 0])), RGB.astype(np.uint16) * 257):
        exif, xmp, _ = seen_by_pillow(encode_image(image, target, exif=exif_block(), xmp=XMP))
        assert exif.get(tags.ORIENTATION, 1) == 1
        assert exif.get_ifd(tags.EXIF_IFD)[tags.PIXEL_X] == 37
        assert xmp is not None


def damaged_block() -> bytes:
    """Its EXIF directory lies nowhere."""
    block = bytearray(exif_block())
    struct.pack_into("<I", block, block.index(struct.pack("<HHI", tags.EXIF_IFD, 4, 1)) + 8, 2**31)
    return bytes(block)


@pytest.mark.parametrize("source", ["png", "jpeg", "webp", "avif"])
def test_damaged_metadata_is_left_out_and_said_so(source: Format, caplog: pytest.LogCaptureFixture) -> None:
    data = avif_of(damaged_block()) if source == "avif" else file_of(source, damaged_block(), b"<a")
    picture = decode_image(data, name="here")
    assert (picture.exif, picture.xmp) == (None, None)
    assert "here: its EXIF data is damaged and is left out" in caplog.text
    assert ("here: its XMP is damaged and is left out" in caplog.text) == (source != "avif")


@pytest.mark.parametrize("target", ALL)
def test_damaged_metadata_is_not_written(target: Format, caplog: pytest.LogCaptureFixture) -> None:
    data = encode_image(RGB, target, exif=damaged_block(), xmp=b"<a")
    assert bytes(data) == bytes(encode_image(RGB, target))
    assert "its EXIF data is damaged and is left out" in caplog.text
    assert "its XMP is damaged and is left out" in caplog.text


def test_damaged_tags_of_a_tiff(caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(turned_tiff(RGB, None, None))
    at = data.index(struct.pack("<HHI", 0x8769, 4, 1))
    struct.pack_into("<I", data, at + 8, 2**31)
    picture = decode_image(data)
    np.testing.assert_array_equal(picture.image_hwc, np.rot90(RGB, -1))
    assert picture.exif is None
    assert "has damaged EXIF tags, which are left out" in caplog.text


def test_what_jpeg_has_no_room_for(caplog: pytest.LogCaptureFixture) -> None:
    """Segments have 64 kB."""
    note = MAKER_NOTE + bytes(70_000)
    given = Pillow.Exif()
    given[tags.EXIF_IFD] = {0x927C: note}
    picture = decode_image(by_pillow("PNG", exif=given))
    assert picture.exif is not None
    large = replace(picture, xmp=packet("", "<dc:title>" + "a" * 70_000 + "</dc:title>"))
    exif, xmp, _ = seen_by_pillow(encode_picture(large, "jpeg"))
    assert (dict(exif), xmp) == ({}, None)
    assert "its EXIF data of 70" in caplog.text
    assert "its XMP of 70" in caplog.text
    for form in ("png", "webp", "tiff", "avif"):
        exif, xmp, _ = seen_by_pillow(encode_picture(large, form))
        assert exif.get_ifd(tags.EXIF_IFD)[0x927C] == note
        assert xmp == large.xmp


def test_xmp_in_several_segments_is_its_first_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    data = file_of("jpeg", xmp=packet('xmpNote:HasExtendedXMP="0123" tiff:Make="A"'))
    body = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + b"<more/>"
    picture = decode_image(data[:2] + struct.pack(">BBH", 0xFF, 0xE1, len(body) + 2) + body + data[2:])
    assert "has further XMP, which is left out" in caplog.text
    assert picture.xmp is not None
    assert b'tiff:Make="A"' in picture.xmp
    assert b"HasExtendedXMP" not in picture.xmp


def test_bmp_has_no_metadata_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    encode_image(RGB, "bmp", exif=exif_block(), xmp=XMP, icc_profile=SRGB, name="a.bmp")
    assert "a.bmp: its metadata (EXIF, XMP or ICC profile) cannot be kept in BMP" in caplog.text


DENSITIES: dict[str, dict[str, Any]] = {
    "png": {"dpi": (300, 150)}, "jpeg": {"dpi": (300, 150)}, "tiff": {"dpi": (300, 150)},
}  # fmt: skip


@pytest.mark.parametrize("target", DENSITIES)
@pytest.mark.parametrize("source", DENSITIES)
def test_density(source: Format, target: Format) -> None:
    picture = decode_image(by_pillow(source, dpi=(300, 150)))
    with Pillow.open(io.BytesIO(encode_picture(doubled(picture), target))) as seen:
        assert seen.info["dpi"] == pytest.approx((300, 150), rel=1e-4)


def test_densities_of_other_units() -> None:
    metric = bytearray(by_pillow("JPEG", dpi=(100, 50)))
    metric[13] = 2  # by the centimetre
    assert decode_image(metric).density == pytest.approx((254, 127))
    metric[13] = 0  # a ratio
    assert decode_image(metric).density is None
    assert decode_image(by_pillow("TIFF", resolution_unit=3, x_resolution=100, y_resolution=50)).density == (254, 127)


TEXTS = (
    chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"cHRM", struct.pack(">8I", *range(31000, 31008))),
    chunk(b"sRGB", b"\1"), chunk(b"tEXt", b"Title\0cat"), chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"long")),
    chunk(b"iTXt", b"Author\0\0\0en\0\0" + "é".encode()), chunk(b"cLLI", bytes(8)),
)  # fmt: skip


def test_png_keeps_what_only_png_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = png(2, 8)
    gone = (chunk(b"tIME", bytes(7)), chunk(b"sBIT", b"\5\5\5"), chunk(b"tEXt", b"Raw profile type iptc\0\n"))
    (tmp_path / "a.png").write_bytes(data[:33] + b"".join((*TEXTS, *gone)) + data[33:])
    picture = read_picture(tmp_path / "a.png")
    write_picture(tmp_path / "b.png", doubled(picture))
    result = (tmp_path / "b.png").read_bytes()
    assert all(text in result for text in TEXTS)
    assert not any(kind in result for kind in (b"tIME", b"sBIT", b"Raw profile"))
    with Pillow.open(tmp_path / "b.png") as seen:
        assert (seen.info["Title"], seen.info["Comment"], seen.info["Author"]) == ("cat", "long", "é")
        assert seen.info["gamma"] == 0.45455
    with caplog.at_level(logging.INFO):
        write_picture(tmp_path / "b.webp", picture)
    assert "its PNG chunks cHRM, cLLI, gAMA, iTXt, sRGB, tEXt, zTXt cannot be kept in WebP" in caplog.text


def test_exif_as_png_had_it_before_it_had_a_chunk_for_it() -> None:
    body = b"\nexif\n%8d\n" % (6 + len(exif_block())) + (b"Exif\0\0" + exif_block()).hex().encode() + b"\n"
    data = png(2, 8)
    for text in (
        chunk(b"tEXt", b"Raw profile type exif\0" + body),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(body)),
    ):
        picture = decode_image(data[:33] + text + data[33:])
        assert picture.image_hwc.shape == (13, 7, 3)
        assert picture.exif is not None
        assert MAKER_NOTE in picture.exif
        assert picture.png_chunks == ()


def test_xmp_deflated_in_png() -> None:
    data = png(2, 8)
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet()))
    assert decode_image(data[:33] + text + data[33:]).xmp == packet()
    bomb = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2**26)))
    assert decode_image(data[:33] + bomb + data[33:]).xmp is None


@pytest.mark.parametrize("deep", [False, True])
def test_colours_by_number_go_between_png_and_avif(deep: bool, caplog: pytest.LogCaptureFixture) -> None:
    """BT.2020 with the transfer of HDR (PQ): 9 and 16."""
    image = RGB.astype(np.uint16) * 257 if deep else RGB
    data = bytes(encode_picture(Picture(image_hwc=image, cicp=(9, 16)), "png"))
    assert chunk(b"cICP", b"\x09\x10\0\1") in data
    there = encode_picture(decode_image(data), "avif", quality=100)
    assert bytes(there).count(b"colrnclx\0\x09\0\x10") == 1
    picture = decode_image(there)
    assert picture.cicp == (9, 16)
    assert decode_image(encode_picture(picture, "png")).cicp == (9, 16)
    assert "H.273" not in caplog.text
    encode_picture(picture, "jpeg", name="a.jpg")
    assert "a.jpg: the numbers of its colour space, 9 and 16 of H.273 cannot be kept in JPEG" in caplog.text


def test_big_tiff_has_metadata_too() -> None:
    file = io.BytesIO()
    tifffile.imwrite(
        file, RGB, photometric="rgb", bigtiff=True, byteorder=">", description="cat", metadata=None, iccprofile=SRGB,
        software="writer", extratags=[(700, 1, len(XMP), XMP, True)],
    )  # fmt: skip
    picture = decode_image(file.getvalue())
    assert picture.icc_profile == SRGB
    exif, xmp, profile = seen_by_pillow(encode_picture(picture, "jpeg"))
    assert (exif[0x010E].rstrip("\0"), exif[0x0131].rstrip("\0")) == ("cat", "writer")
    assert xmp is not None
    assert profile == SRGB
