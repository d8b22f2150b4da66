"""ICC profiles survive, from every format to every format; Pillow is the other reader and writer."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from repsr_deploy.imaging.batch import upscale_files
from repsr_deploy.imaging.container import Format, read_container
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.formats.base import MAX_PROFILE_BYTES
from repsr_deploy.imaging.image_bytes import decode_image, encode_image
from repsr_deploy.imaging.image_file import read_picture, write_image
from repsr_deploy.imaging.upscaler import Upscaler
from tests.imaging.file_kinds import RGB, SRGB, by_pillow, chunk, gray_profile, large_profile, png

FORMATS: tuple[Format, ...] = ("png", "jpeg", "webp")
LARGE = large_profile(200_001)  # four segments of JPEG, and an odd length, which WebP pads
ALPHA = np.dstack((RGB, RGB[::-1, :, 0]))


def seen_by_pillow(data: Any) -> tuple[bytes | None, Any]:
    with Pillow.open(io.BytesIO(data)) as picture:
        return picture.info.get("icc_profile"), np.asarray(picture)


def without_profile(data: bytes) -> Any:
    return decode_image(data).image_hwc


@pytest.mark.parametrize("profile", [SRGB, LARGE], ids=["sRGB", "large"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_profile_is_read(form: Format, profile: bytes) -> None:
    assert decode_image(by_pillow(form, icc_profile=profile)).icc_profile == profile
    assert decode_image(by_pillow(form)).icc_profile is None


@pytest.mark.parametrize("profile", [SRGB, LARGE], ids=["sRGB", "large"])
@pytest.mark.parametrize("image", [RGB, ALPHA, RGB.astype(np.uint16) * 257], ids=["rgb", "alpha", "16 bit"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_profile_is_written(form: Format, image: Any, profile: bytes) -> None:
    plain, encoded = bytes(encode_image(image, form)), encode_image(image, form, icc_profile=profile)
    read, pixels = seen_by_pillow(encoded)
    assert read == profile
    np.testing.assert_array_equal(pixels, seen_by_pillow(plain)[1])
    picture = decode_image(encoded)
    assert picture.icc_profile == profile
    np.testing.assert_array_equal(picture.image_hwc, without_profile(plain))
    assert read_container(encoded).channels == read_container(plain).channels


@pytest.mark.parametrize("seed", range(3))
def test_transparent_webp_of_any_quality_keeps_both(seed: int) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (random.integers(1, 40), random.integers(1, 40), 4), np.uint8)
    encoded = encode_image(image, "webp", quality=int(random.integers(1, 101)), icc_profile=SRGB)
    profile, pixels = seen_by_pillow(encoded)
    assert profile == SRGB
    np.testing.assert_array_equal(pixels[..., 3], image[..., 3])


@pytest.mark.parametrize(("form", "kept"), [("png", True), ("jpeg", True), ("webp", False)])
def test_gray_profiles_stay_with_gray_samples(form: Format, kept: bool, caplog: pytest.LogCaptureFixture) -> None:
    """WebP has no gray."""
    gray = gray_profile()
    encoded = encode_image(RGB[..., 0], form, icc_profile=gray)
    assert seen_by_pillow(encoded)[0] == (gray if kept else None)
    assert decode_image(encoded).icc_profile == (gray if kept else None)
    assert ("its ICC profile is for b'GRAY', not b'RGB ', and is left out" in caplog.text) == (not kept)


@pytest.mark.parametrize(
    ("image", "profile"),
    [(RGB, gray_profile()), (RGB[..., 0], SRGB), (RGB, b"no profile"), (RGB, SRGB[:36] + b"xxxx" + SRGB[40:])],
    ids=["gray for RGB", "RGB for gray", "none", "no signature"],
)
@pytest.mark.parametrize("form", FORMATS[:2])
def test_what_does_not_fit_is_left_out_and_said_so(
    form: Format, image: Any, profile: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        encoded = encode_image(image, form, icc_profile=profile, name="here.png")
    assert bytes(encoded) == bytes(encode_image(image, form))
    assert "here.png: its ICC profile" in caplog.text
    caplog.clear()
    stored = by_pillow(form, "RGB" if image.ndim == 3 else "L", icc_profile=profile)
    assert decode_image(stored).icc_profile is None
    assert "left out" in caplog.text


def test_the_profile_of_inks_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    inks = SRGB[:16] + b"CMYK" + SRGB[20:]
    assert decode_image(by_pillow("JPEG", "CMYK", icc_profile=inks)).icc_profile is None
    assert "its ICC profile is for b'CMYK'" in caplog.text


def icc_chunk(profile: bytes, rest: bytes = b"") -> bytes:
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(profile, 9) + rest)


def png_with(*chunks: bytes) -> bytes:
    data = png(2, 8)
    return data[:33] + b"".join(chunks) + data[33:]


@pytest.mark.parametrize(
    ("chunks", "kept"),
    [
        ([icc_chunk(SRGB)], SRGB),
        ([icc_chunk(SRGB), icc_chunk(LARGE)], SRGB),
        ([icc_chunk(SRGB, b"more")], SRGB),
        ([icc_chunk(large_profile(MAX_PROFILE_BYTES))], large_profile(MAX_PROFILE_BYTES)),
        ([icc_chunk(large_profile(MAX_PROFILE_BYTES) + b"\0")], None),
        ([icc_chunk(bytes(2**28))], None),
        ([chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB)[:-9])], None),
        ([chunk(b"iCCP", b"name\0\0no zlib")], None),
        ([chunk(b"iCCP", b"n" * 90)], None),
        ([chunk(b"iCCP", b"")], None),
    ],
    ids=["one", "two", "more behind", "largest", "too large", "bomb", "cut off", "no zlib", "no name", "empty"],
)
def test_profiles_of_strange_png(chunks: list[bytes], kept: bytes | None) -> None:
    picture = decode_image(png_with(*chunks))
    assert picture.icc_profile == kept
    np.testing.assert_array_equal(picture.image_hwc, without_profile(png(2, 8)))


def parts_of(profile: bytes, order: list[int], count: int) -> bytes:
    pieces = [profile[start : start + 300] for start in range(0, len(profile), 300)]
    return b"".join(
        struct.pack(">BBH", 0xFF, 0xE2, 16 + len(pieces[number]))
        + b"ICC_PROFILE\0"
        + bytes((number + 1, count))
        + piece
        for number in order
        for piece in [pieces[number]]
    )


@pytest.mark.parametrize(
    ("order", "count", "kept"),
    [
        ([0, 1], 2, True),
        ([1, 0], 2, True),
        ([0], 2, False),
        ([0, 0], 2, False),
        ([0, 1], 3, False),
        ([0, 1, 1], 3, False),
    ],
)
def test_profiles_of_strange_jpeg(order: list[int], count: int, kept: bool) -> None:
    data = by_pillow("JPEG")
    assert len(SRGB) in range(301, 601)
    picture = decode_image(data[:2] + parts_of(SRGB, order, count) + data[2:])
    assert picture.icc_profile == (SRGB if kept else None)
    np.testing.assert_array_equal(picture.image_hwc, without_profile(data))


def test_the_largest_profile_and_one_that_is_larger(caplog: pytest.LogCaptureFixture) -> None:
    largest = large_profile(MAX_PROFILE_BYTES)
    assert seen_by_pillow(encode_image(RGB, "jpeg", icc_profile=largest))[0] == largest
    encoded = encode_image(RGB, "jpeg", icc_profile=largest + b"1")
    assert bytes(encoded) == bytes(encode_image(RGB, "jpeg"))
    assert f"profile of {MAX_PROFILE_BYTES + 1} bytes is none that is known and is left out" in caplog.text


@pytest.mark.parametrize("source", ["jpeg", "webp"])
@pytest.mark.parametrize("target", ["a.png", "a.jpg", "a.webp"])
def test_files_keep_their_profile_when_enlarged(source: str, target: str, tmp_path: Path) -> None:
    """Everything that `repsr-upscale` does to a file."""
    (tmp_path / "in").write_bytes(by_pillow(source, icc_profile=LARGE))
    upscaler = Upscaler("photo-x2", runtime="onnxruntime", threads=1)
    (outcome,) = upscale_files(upscaler, [Job(tmp_path / "in", tmp_path / target)])
    assert outcome.error is None
    profile, pixels = seen_by_pillow((tmp_path / target).read_bytes())
    assert profile == LARGE
    assert pixels.shape == (82, 74, 3)


def test_files_of_a_picture(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", ALPHA, icc_profile=SRGB)
    picture = read_picture(tmp_path / "a.png")
    assert picture.icc_profile == SRGB
    np.testing.assert_array_equal(picture.image_hwc, ALPHA)
