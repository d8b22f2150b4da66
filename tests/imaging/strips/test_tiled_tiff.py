"""The files of results: read by every reader, with all that the source says about its picture."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image as Pillow
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from repsr_deploy.imaging.strips.writer import TiledTiff
from tests.imaging.file_kinds import SRGB, gray_profile
from tests.imaging.strips.small_cases import image_of, run, upscaler_of, write_tiff

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:ImageWidth="41" tiff:Make="maker"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def tags_of(path: Path) -> dict[int, Any]:
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        return {tag.code: tag.value for tag in page.tags}


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_reader_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int, dtype: Any, big: bool
) -> None:
    if big:
        monkeypatch.setattr("repsr_deploy.imaging.strips.writer._CLASSIC_BYTES", 0)
    image, target = image_of(41, 30, channels, dtype), tmp_path / "b.tif"
    run(write_tiff(tmp_path / "a.tif", image), target)
    expected = upscaler_of().upscale(image)
    assert target.read_bytes()[:4] == (b"II+\0" if big else b"II*\0")
    np.testing.assert_array_equal(tifffile.imread(target).reshape(expected.shape), expected)
    by_vips = pyvips.Image.new_from_file(str(target)).numpy()
    np.testing.assert_array_equal(by_vips.reshape(expected.shape), expected)
    if channels != 2 and (channels, dtype) != (4, np.uint8):  # these OpenCV drops, and multiplies with
        by_opencv: Any = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
        by_opencv = by_opencv.reshape(expected.shape)
        order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
        np.testing.assert_array_equal(by_opencv[..., order], expected)
    if dtype == np.uint8 or channels == 1:  # Pillow has no colours of 16 bits
        with Pillow.open(target) as opened:
            np.testing.assert_array_equal(np.asarray(opened).reshape(expected.shape), expected)
    tags = tags_of(target)
    assert (338 in tags) is (channels in (2, 4))
    assert tags[339] == ((1,) * channels if channels > 1 else 1)


def test_a_big_tiff_where_a_classic_one_might_not_do() -> None:
    def form(width: int, height: int) -> TiledTiff:
        return TiledTiff(
            width=width, height=height, channels=3, dtype=np.dtype(np.uint8), tile_width=256, tile_length=256
        )  # fmt: skip

    assert not form(37_000, 37_000).big
    assert form(37_837, 37_837).big  # 4.3 GB
    assert form(80_000, 50_000).big


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_what_is_said_about_the_picture_is_kept(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / f"a{suffix}", tmp_path / "b.tif"
    exif = Pillow.Exif()
    exif[271], exif[272], exif[315] = "maker", "model", "artist"
    exif.get_ifd(0x8769).update({33434: (1, 250), 34855: 400, 40962: 41, 40963: 30, 37500: b"notes of the maker"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 14.5)})
    options: dict[str, Any] = {"xmp": XMP} if suffix == ".jpg" else {}
    if suffix == ".tif":
        directory = ImageFileDirectory_v2()
        for tag, value in exif.items():
            directory[tag] = value
        directory[700] = XMP
        options["tiffinfo"] = directory
    else:
        options["exif"] = exif
    Pillow.fromarray(image_of(30, 41, 3)).save(source, icc_profile=SRGB, dpi=(300, 150), **options)
    run(source, target)
    with Pillow.open(target) as opened:
        kept = opened.getexif()
        assert opened.info["icc_profile"] == SRGB
        assert opened.info["dpi"] == pytest.approx((300, 150), rel=1e-4)
        assert (kept[271], kept[272], kept[315]) == ("maker", "model", "artist")
        inner, gps = kept.get_ifd(0x8769), kept.get_ifd(0x8825)
    if suffix != ".tif":
        assert inner == {33434: (1, 250), 34855: 400, 40962: 82, 40963: 60, 37500: b"notes of the maker"}
        assert gps == {1: "N", 2: (48.0, 8.0, 14.5)}
    if suffix != ".png":
        assert tags_of(target)[700] == XMP.replace(b'"41"', b'"82"')
    again = tmp_path / "c.tif"
    run(target, again)  # as a source that has all of it
    with Pillow.open(again) as opened:
        assert opened.info["icc_profile"] == SRGB
        assert (opened.getexif()[315], opened.getexif().get_ifd(0x8825)) == ("artist", gps)
        assert opened.getexif().get_ifd(0x8769).get(40962) == (None if suffix == ".tif" else 164)


def test_big_endian_exif_of_all_kinds(tmp_path: Path) -> None:
    image = image_of(20, 20, 1)
    write_tiff(
        tmp_path / "a.tif", image, byteorder=">", description="a description",
        extratags=[
            (42033, 2, 0, "123456", True), (50000, 12, 2, (0.1, -1e300), True), (50001, 8, 3, (-1, 2, -3), True),
            (50002, 11, 1, 0.25, True), (50003, 9, 1, -70_000, True), (50004, 10, 1, (-1, 3), True),
        ],
    )  # fmt: skip
    run(tmp_path / "a.tif", tmp_path / "b.tif")
    before, after = tags_of(tmp_path / "a.tif"), tags_of(tmp_path / "b.tif")
    for tag in (270, 42033, 50000, 50001, 50002, 50003, 50004):
        assert after[tag] == before[tag], tag


def test_descriptions_of_the_shape_are_no_longer_true(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", image_of(20, 20, 3), photometric="rgb", metadata={"axes": "YXS"})
    assert "shape" in tags_of(tmp_path / "a.tif")[270]
    run(tmp_path / "a.tif", tmp_path / "b.tif")
    assert 270 not in tags_of(tmp_path / "b.tif")


def test_only_a_fitting_profile_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for channels, profile, kept in (
        (1, gray_profile(), True), (2, gray_profile(), True), (4, SRGB, True), (3, gray_profile(), False),
    ):  # fmt: skip
        write_tiff(tmp_path / "a.tif", image_of(20, 20, channels), iccprofile=profile)
        run(tmp_path / "a.tif", tmp_path / "b.tif")
        assert tags_of(tmp_path / "b.tif").get(34675) == (profile if kept else None)
    assert "is left out" in caplog.text


def test_damaged_metadata_is_left_out_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = image_of(20, 20, 3)
    Pillow.fromarray(image).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\xff\xff", xmp=b"<x", quality=95)
    with caplog.at_level(logging.WARNING):
        run(tmp_path / "a.jpg", tmp_path / "b.tif")
    assert "Exif metadata is damaged" in caplog.text
    assert "XMP metadata is damaged" in caplog.text
    assert 700 not in tags_of(tmp_path / "b.tif")


GEO_KEYS = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)


@pytest.mark.parametrize("is_point", [False, True])
def test_every_place_stays_where_it_is_on_earth(tmp_path: Path, is_point: bool) -> None:
    keys = (*GEO_KEYS[:11], 2 if is_point else 1, *GEO_KEYS[12:])
    matrix = np.array([[0.5, 0.1, 0, 700], [0.2, -0.4, 0, 900], [0, 0, 1, 0], [0, 0, 0, 1]])
    write_tiff(
        tmp_path / "a.tif", image_of(20, 20, 3),
        extratags=[
            (33550, 12, 3, (0.5, 0.4, 0.0), True), (33922, 12, 6, (3.0, 5.0, 0.0, 700.0, 900.0, 0.0), True),
            (34264, 12, 16, tuple(matrix.ravel()), True), (34735, 3, len(keys), keys, True),
            (34737, 2, 0, "WGS 84|", True),
        ],
    )  # fmt: skip
    run(tmp_path / "a.tif", tmp_path / "b.tif", upscaler_of(4))
    after = tags_of(tmp_path / "b.tif")
    assert after[34735] == keys
    assert after[34737] == "WGS 84|"
    assert after[33550] == (0.125, 0.1, 0.0)
    corner = 0.5 if is_point else 0.0  # where pixels are points, the picture's corner lies half of one outside
    for old in ((0.0, 0.0), (3.0, 5.0), (19.5, 7.25)):
        new = [(side + corner) * 4 - corner for side in old]
        column, row, _, x, y, _ = after[33922]
        by_tiepoint = (x + (new[0] - column) * 0.125, y - (new[1] - row) * 0.1)
        assert by_tiepoint == pytest.approx((700 + (old[0] - 3) * 0.5, 900 - (old[1] - 5) * 0.4))
        place = np.array(after[34264]).reshape(4, 4) @ [*new, 0, 1]
        assert place.tolist() == pytest.approx((matrix @ [*old, 0, 1]).tolist())


def test_a_picture_that_is_turned_lies_nowhere_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tiff(
        tmp_path / "a.tif", image_of(20, 20, 3),
        extratags=[(33550, 12, 3, (0.5, 0.4, 0.0), True), (274, 3, 1, 6, True)],
    )  # fmt: skip
    run(tmp_path / "a.tif", tmp_path / "b.tif")
    assert 33550 not in tags_of(tmp_path / "b.tif")
    assert "where on Earth" in caplog.text
