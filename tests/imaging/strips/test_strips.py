"""A picture in strips is the picture as a whole, bit by bit, whatever its kind; and what is refused, and how."""

from __future__ import annotations

import os
import re
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from PIL import ImageOps

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.imaging.enlargement import Enlargement
from repsr_deploy.imaging.network import PlaneNetwork
from repsr_deploy.imaging.strips import LARGE_PIXELS, check_strips, is_large
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import open_runtime
from tests.imaging.file_kinds import png_header
from tests.imaging.strips.small_cases import image_of, run, upscaler_of, write_tiff
from tests.runtimes.models import image_model, plain_model, spec_of, with_info


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_strips_are_the_whole_picture_to_the_bit(tmp_path: Path, channels: int, dtype: Any) -> None:
    target = tmp_path / "large.tif"
    for scale, height, width in ((2, 61, 43), (3, 37, 40), (2, 3, 500), (4, 300, 3), (1, 50, 31), (2, 1, 1)):
        image = image_of(height, width, channels, dtype)
        expected = upscaler_of(scale).upscale(image)
        source = write_tiff(tmp_path / "a.tif", image)
        outcome = run(source, target, upscaler_of(scale), block_bytes=1700 * channels * image.itemsize)
        np.testing.assert_array_equal(tifffile.imread(target).reshape(expected.shape), expected)
        assert outcome.size == (width, height)
        assert outcome.new_size == (width * scale, height * scale)
        assert outcome.resumed_at_row is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "large.tif"]


def test_a_luma_network_has_its_own_halo(tmp_path: Path) -> None:
    image = image_of(70, 45, 4)
    run(write_tiff(tmp_path / "a.tif", image), tmp_path / "b.tif", upscaler_of(2, "y"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), upscaler_of(2, "y").upscale(image))


def test_context_is_what_makes_them_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pixel of halo less, and the comparison above fails."""
    halo = PlaneNetwork.halo

    def less(network: PlaneNetwork, channels: int) -> int:
        return halo(network, channels) - 1

    monkeypatch.setattr(PlaneNetwork, "halo", less)
    image = image_of(60, 40, 3)
    run(write_tiff(tmp_path / "a.tif", image), tmp_path / "b.tif")
    monkeypatch.undo()
    assert not np.array_equal(tifffile.imread(tmp_path / "b.tif"), upscaler_of().upscale(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_orientation_is_applied_once(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[274] = orientation
    source, target = tmp_path / f"a{suffix}", tmp_path / "b.tif"
    Pillow.fromarray(image_of(61, 87, 3)).save(source, exif=exif)
    with Pillow.open(source) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened))
    outcome = run(source, target)
    assert outcome.size == upright.shape[1::-1]
    np.testing.assert_array_equal(tifffile.imread(target), upscaler_of().upscale(upright))
    with Pillow.open(target) as opened:
        assert opened.getexif()[274] == 1


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", {}), (".jpg", {"quality": 90}), (".tif", {"compression": "tiff_lzw"}), (".tif", {"big_tiff": True}),
        (".tif", {"compression": "jpeg"}),
    ],
)  # fmt: skip
def test_what_other_programs_write_is_read(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    source = tmp_path / f"[a, b] ü\n{suffix}[n=-1]"  # libvips alone would look for options in such a name
    Pillow.fromarray(image_of(50, 33, 3)).save(
        source, format={".tif": "TIFF", ".jpg": "JPEG"}.get(suffix, "PNG"), **options
    )
    decoded: Any = cv2.imdecode(np.fromfile(source, np.uint8), cv2.IMREAD_COLOR)
    run(source, tmp_path / "b.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), upscaler_of().upscale(decoded[..., ::-1]))


@pytest.mark.parametrize("options", [{"tile": (32, 16)}, {"rowsperstrip": 7, "byteorder": ">"}, {"bigtiff": True}])
def test_tiles_strips_and_byte_orders(tmp_path: Path, options: dict[str, Any]) -> None:
    image = image_of(70, 45, 3, np.uint16)
    run(write_tiff(tmp_path / "a.tif", image, compression="zlib", predictor=True, **options), tmp_path / "b.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), upscaler_of().upscale(image))


def test_a_palette_becomes_rgb_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = Pillow.fromarray(image_of(20, 20, 3)).quantize(16)
    source.save(tmp_path / "a.png")
    run(tmp_path / "a.png", tmp_path / "b.tif")
    expected = upscaler_of().upscale(np.asarray(source.convert("RGB")))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), expected)
    assert "palette" in caplog.text


def test_only_the_first_of_several_pictures_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pages = [Pillow.fromarray(image_of(20, 30, 3, seed=seed)) for seed in (0, 1)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    run(tmp_path / "a.tif", tmp_path / "b.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), upscaler_of().upscale(np.asarray(pages[0])))
    assert "2 pictures" in caplog.text


def test_damage_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    before = threading.active_count()
    Pillow.fromarray(image_of(90, 60, 3)).save(tmp_path / "a.png")
    Pillow.fromarray(image_of(90, 60, 3)).save(tmp_path / "a.jpg", quality=95)
    write_tiff(tmp_path / "a.tif", image_of(90, 60, 3), compression="zlib")
    whole = [(tmp_path / f"a.{suffix}").read_bytes() for suffix in ("png", "jpg", "tif")]
    flipped = bytearray(whole[0])
    flipped[len(flipped) // 2] ^= 1
    for data in (*(data[: len(data) // 2] for data in whole), bytes(flipped), b"", b"text"):
        (tmp_path / "damaged").write_bytes(data)
        with pytest.raises(ImageFileError, match="damaged"):
            run(tmp_path / "damaged", tmp_path / "b.tif", block_bytes=10**6)  # as one block, of which none gets done
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png", "a.tif", "damaged"]
    assert threading.active_count() == before


def test_what_cannot_be_read_in_strips_is_refused(tmp_path: Path) -> None:
    image = image_of(40, 40, 3)
    Pillow.fromarray(image).convert("CMYK").save(tmp_path / "cmyk.tif")
    tifffile.imwrite(tmp_path / "float.tif", image.astype(np.float32), photometric="rgb")
    tifffile.imwrite(tmp_path / "five.tif", image_of(40, 40, 5), photometric="rgb", planarconfig="contig")
    Pillow.fromarray(image).save(tmp_path / "progressive.jpg", progressive=True)
    Pillow.fromarray(image).save(tmp_path / "a.webp")
    for name, reason in {
        "cmyk.tif": "samples are cmyk", "float.tif": "float", "five.tif": "5 samples a pixel",
        "progressive.jpg": "progressive", "a.webp": "expected a PNG, TIFF or JPEG", "missing.png": "No such file",
    }.items():  # fmt: skip
        with pytest.raises(ImageFileError, match=f"{re.escape(name)}.*{reason}"):
            run(tmp_path / name, tmp_path / "b.tif")


def test_a_tiff_of_one_strip_is_read_unless_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, target = image_of(200, 90, 3), tmp_path / "b.tif"
    monkeypatch.setattr("repsr_deploy.imaging.strips.source._MOST_PART_BYTES", 50_000)
    run(write_tiff(tmp_path / "plain.tif", image, rowsperstrip=200), target, block_bytes=10**5)
    np.testing.assert_array_equal(tifffile.imread(target), upscaler_of().upscale(image))
    run(write_tiff(tmp_path / "many.tif", image, compression="zlib", rowsperstrip=50), target, block_bytes=10**5)
    np.testing.assert_array_equal(tifffile.imread(target), upscaler_of().upscale(image))
    for options in ({"compression": "zlib", "rowsperstrip": 200}, {"tile": (192, 96)}):
        with pytest.raises(ImageFileError, match=r"one\.tif cannot be read in strips: .* MiB"):
            run(write_tiff(tmp_path / "one.tif", image, **options), target)


def test_what_cannot_be_done_in_strips_is_refused(tmp_path: Path) -> None:
    target, upscaler = tmp_path / "b.tif", upscaler_of()
    check_strips(target, upscaler, Enlargement())
    check_strips(tmp_path / "B.TIFF", upscaler, Enlargement(factor=2))
    for enlargement, reason in (
        (Enlargement(factor=3), "2 times"), (Enlargement(width=100), "size"), (Enlargement(tta=True), "tta"),
        (Enlargement(seamless="wrap"), "seamless"), (Enlargement(depth="16"), "depth"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=reason):
            check_strips(target, upscaler, enlargement)
    with pytest.raises(UsageError, match=r"b\.png.*\.tif"):
        check_strips(tmp_path / "b.png", upscaler, Enlargement())
    whole = Upscaler(open_runtime(with_info(plain_model(spec_of()), halo=None).SerializeToString(), "onnxruntime"))
    with pytest.raises(UsageError, match="whole image"):
        check_strips(target, whole, Enlargement())
    source = write_tiff(tmp_path / "a.tif", image_of(10, 10, 3, np.uint16))
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(UsageError, match="folder"):
        run(source, tmp_path / "folder.tif")
    eight_bits = Upscaler(open_runtime(image_model(plain_model(spec_of())).SerializeToString(), "onnxruntime"))
    with pytest.raises(UsageError, match="8 bits"):
        run(source, target, eight_bits)
    assert not target.exists()


def test_large_pictures_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    side = 12_000
    assert side**2 > LARGE_PIXELS > (side - 500) ** 2

    def tiff(order: str, version: int) -> bytes:
        mark = b"II" if order == "<" else b"MM"
        if version == 42:
            entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, side) for tag in (256, 257))
            return mark + struct.pack(f"{order}HIH", 42, 8, 2) + entries + bytes(4)
        entries = b"".join(struct.pack(f"{order}HHQQ", tag, 16, 1, side) for tag in (256, 257))
        return mark + struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, 2) + entries + bytes(8)

    app = b"\xff\xe1" + struct.pack(">H", 1000) + bytes(998)
    frame = b"\xff\xff\xc2" + struct.pack(">HBHHB", 17, 8, side, side, 3) + bytes(9)
    large = {
        "png": png_header(side, side), "jpeg": b"\xff\xd8" + app + frame,
        **{f"tiff{order}{version}": tiff(order, version) for order in "<>" for version in (42, 43)},
    }  # fmt: skip
    small = {
        "png": png_header(side - 500, side - 500), "empty": b"", "text": b"a text", "short png": png_header(9, 9)[:20],
        "jpeg without frame": b"\xff\xd8" + app, "short tiff": tiff("<", 42)[:20], "zlib": zlib.compress(b"abc"),
    }  # fmt: skip
    for cases, expected in ((large, True), (small, False)):
        for name, data in cases.items():
            (tmp_path / name).write_bytes(data)
            assert is_large(tmp_path / name) is expected, name
    assert not is_large(tmp_path)
    assert not is_large(tmp_path / "missing")
    assert not is_large(tmp_path / ("x" * 300))
    os.mkfifo(tmp_path / "pipe")
    assert not is_large(tmp_path / "pipe")
