"""Video frames as RGB and back, against float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph
from numpy.typing import NDArray

from repsr_deploy.errors import VideoFileError
from repsr_deploy.video.colour import Colour, assumed_matrix, colour_of, image_of, to_frame
from repsr_deploy.video.pixel_formats import layout_of, planes_of
from repsr_deploy.video.tags import Range
from tests.video.colour_reference import codes_from, enlarged, reduced, rgb_from, rounded

RNG = np.random.default_rng(8)
FACTORS = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1), "410": (4, 4)}
RANGES: tuple[Range, Range] = ("tv", "pc")
COLOURS = [Colour(matrix=5), *(Colour(matrix=matrix, range=range_) for matrix in (1, 6, 9) for range_ in RANGES)]
FORMATS = [
    "yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "yuv420p9le", "yuv420p10le", "yuv422p10le",
    "yuv444p10le", "yuv420p12le", "yuv444p12le", "yuv420p16le", "yuv444p16le",
]  # fmt: skip
SIZES = [(37, 29), (1, 1), (2, 1), (1, 3), (5, 4)]
BARS = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)]


def random_frame(pix_fmt: str, size: tuple[int, int]) -> av.VideoFrame:
    """Any codes at all, most of them of no colour."""
    frame = av.VideoFrame(*size, pix_fmt)
    for plane in planes_of(frame):
        plane[...] = RNG.integers(0, 2 ** layout_of(pix_fmt).bits, plane.shape)
    return frame


def expected_rgb(frame: av.VideoFrame, colour: Colour) -> NDArray[np.float64]:
    """0..1, not clipped."""
    luma, blue, red = (plane.astype(np.float64) for plane in planes_of(frame)[:3])
    layout, location = layout_of(frame.format.name), colour.chroma_location
    chroma = [enlarged(plane, layout.factors, location, luma.shape) for plane in (blue, red)]
    return rgb_from(np.stack([luma, *chroma], -1), colour.matrix, colour.range == "pc", layout.bits)


def expected_codes(rgb: NDArray[np.float64], colour: Colour, pix_fmt: str) -> list[NDArray[np.int64]]:
    layout, top = layout_of(pix_fmt), 2 ** layout_of(pix_fmt).bits - 1
    codes = codes_from(rgb, colour.matrix, colour.range == "pc", layout.bits)
    chroma = [reduced(codes[..., part], layout.factors, colour.chroma_location) for part in (1, 2)]
    return [rounded(plane, top) for plane in (codes[..., 0], *chroma)]


def difference(a: NDArray[Any], b: NDArray[Any]) -> int:
    return int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max())


@pytest.mark.parametrize("colour", COLOURS, ids=lambda colour: f"{colour.matrix}-{colour.range}")
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_rgb_is_what_the_standards_say(pix_fmt: str, colour: Colour) -> None:
    colour = replace(colour, chroma_location=RNG.choice(["left", "center", "topleft", "top", "bottomleft", "bottom"]))
    for size in SIZES:
        frame = random_frame(pix_fmt, size)
        image = image_of(frame, colour)
        assert image.dtype == (np.uint8 if layout_of(pix_fmt).bits == 8 else np.uint16)
        full_scale = int(np.iinfo(image.dtype).max)
        expected = rounded(expected_rgb(frame, colour) * full_scale, full_scale)
        assert image.shape == (size[1], size[0], 3)
        assert difference(image, expected) <= 1
        assert np.sum(image != expected) <= 2 + 0.05 * image.size, (
            "rounded to the nearest but where float32 cannot tell"
        )


@pytest.mark.parametrize("colour", COLOURS, ids=lambda colour: f"{colour.matrix}-{colour.range}")
@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_codes_are_what_the_standards_say(pix_fmt: str, colour: Colour, kind: Any) -> None:
    colour = replace(colour, chroma_location=RNG.choice(["left", "center", "topleft", "top", "bottomleft", "bottom"]))
    for width, height in SIZES:
        full_scale = int(np.iinfo(kind).max)
        image = RNG.integers(0, full_scale + 1, (height, width, 3)).astype(kind)
        planes = planes_of(to_frame(image, colour, pix_fmt))
        expected = expected_codes(image / full_scale, colour, pix_fmt)
        for plane, codes in zip(planes, expected, strict=True):
            assert plane.shape == codes.shape
            assert difference(plane, codes) <= 1
            assert np.sum(plane != codes) <= 2 + 0.05 * plane.size


@pytest.mark.parametrize("colour", COLOURS, ids=lambda colour: f"{colour.matrix}-{colour.range}")
@pytest.mark.parametrize("location", ["left", "center", "topleft"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"])
def test_colour_bars_come_back(pix_fmt: str, location: str, colour: Colour) -> None:
    """Within one code, all of it in 4:4:4; with less chroma everywhere but beside the edges, where chroma is softer."""
    colour = replace(colour, chroma_location=location)
    bar = 12
    rgb = np.repeat(np.array([[0.75, 1.0], [0.25, 0.9]])[:, :, None, None] * np.array(BARS), bar, 2).reshape(
        -1, 8 * bar, 3
    )
    rgb = np.repeat(rgb, bar, 0)
    frame = av.VideoFrame(rgb.shape[1], rgb.shape[0], pix_fmt)
    for plane, codes in zip(planes_of(frame), expected_codes(rgb, colour, pix_fmt), strict=True):
        plane[...] = codes
    back = to_frame(image_of(frame, colour), colour, pix_fmt)
    for number, (before, after) in enumerate(zip(planes_of(frame), planes_of(back), strict=True)):
        factor_x, factor_y = layout_of(pix_fmt).factors if number else (1, 1)
        away = np.ix_(
            _away_from_edges(before.shape[0], bar // factor_y), _away_from_edges(before.shape[1], bar // factor_x)
        )
        inside = away if layout_of(pix_fmt).factors != (1, 1) else np.s_[:, :]
        assert difference(before[inside], after[inside]) <= 1


@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_eight_bits_of_rgb_are_finer_than_those_of_tv_range(matrix: int) -> None:
    """What is a colour at all comes back exactly."""
    colour = Colour(matrix=matrix, range="tv", chroma_location="left")
    rgb = RNG.uniform(0.02, 0.98, (40, 50, 3))
    frame = av.VideoFrame(50, 40, "yuv444p")
    for plane, codes in zip(planes_of(frame), expected_codes(rgb, colour, "yuv444p"), strict=True):
        plane[...] = codes
    back = to_frame(image_of(frame, colour), colour, "yuv444p")
    for before, after in zip(planes_of(frame), planes_of(back), strict=True):
        assert np.array_equal(before, after)


def _away_from_edges(count: int, bar: int) -> NDArray[np.intp]:
    place = np.arange(count) % bar
    return np.flatnonzero((place >= 2) & (place < bar - 2))


@pytest.mark.parametrize(("bars", "matrix"), [("smptebars", 6), ("smptehdbars", 1)])
def test_ffmpeg_s_colour_bars_have_the_known_colours(bars: str, matrix: int) -> None:
    """75 % bars of SMPTE EG 1 and RP 219: 191 of 255."""
    graph = Graph()
    source = graph.add(bars, "size=336x64")
    graph.link_nodes(source, graph.add("format", "yuv444p"), graph.add("buffersink")).configure()
    image = image_of(graph.vpull(), Colour(matrix=matrix))[8]
    changes = np.flatnonzero(np.any(np.diff(image.astype(int), axis=0), axis=1))
    seen = {tuple(image[place].tolist()) for place in np.append(changes, len(image) - 1)}
    for red, green, blue in BARS[1:7]:
        bar = np.array([red, green, blue]) * 191
        assert min(np.abs(np.array(colour) - bar).max() for colour in seen) <= 1, bar


@pytest.mark.parametrize("range_", ["tv", "pc"])
def test_ten_bits_stay_ten_bits(range_: Range) -> None:
    """A ramp of all levels, through RGB and back: every code."""
    colour = Colour(matrix=9, range=range_, chroma_location="left", transfer=16)
    codes = np.arange(64, 941) if range_ == "tv" else np.arange(1024)
    frame = av.VideoFrame(len(codes), 4, "yuv420p10le")
    luma, *chroma = planes_of(frame)
    luma[...] = codes
    for plane in chroma:
        plane[...] = 512
    image = image_of(frame, colour)
    assert len(np.unique(image[..., 0])) == len(codes) > 256
    back = planes_of(to_frame(image, colour, "yuv420p10le"))
    assert np.array_equal(back[0], luma)
    assert all(np.array_equal(plane, np.full_like(plane, 512)) for plane in back[1:])


def test_codes_beyond_black_and_white_are_clipped() -> None:
    frame = av.VideoFrame(2, 2, "yuv444p")
    for plane, codes in zip(planes_of(frame), ([[0, 15], [236, 255]], 128, 128), strict=True):
        plane[...] = codes
    assert image_of(frame, Colour(matrix=1)).tolist() == [[[0] * 3] * 2, [[255] * 3] * 2]


@pytest.mark.parametrize("transfer", [1, 16, 18])
def test_hdr_is_a_signal_like_any_other(transfer: int) -> None:
    frame = random_frame("yuv420p10le", (16, 16))
    colour = Colour(matrix=9, primaries=9, transfer=transfer)
    assert np.array_equal(image_of(frame, colour), image_of(frame, Colour(matrix=9)))


PACKED = {
    "nv12": "yuv420p", "nv21": "yuv420p", "yuyv422": "yuv422p", "uyvy422": "yuv422p", "p010le": "yuv420p10le",
    "p210le": "yuv422p10le", "p012le": "yuv420p12le", "p016le": "yuv420p16le",
    "yuv420p10be": "yuv420p10le", "y210le": "yuv422p10le", "nv24": "yuv444p",
}  # fmt: skip


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("size", [(36, 28), (37, 29), (2, 2)])
def test_the_order_of_samples_changes_nothing(packed: str, size: tuple[int, int]) -> None:
    """Both ways: packing is without loss."""
    colour = Colour(matrix=5, chroma_location="left")
    if PACKED[packed].startswith("yuv422") and size[0] % 2:
        size = (size[0] + 1, size[1])  # pixels come in pairs
    image = RNG.integers(0, 65536, (size[1], size[0], 3)).astype(np.uint16)
    planar, other = to_frame(image, colour, PACKED[packed]), to_frame(image, colour, packed)
    assert other.format.name == packed
    assert np.array_equal(image_of(planar, colour), image_of(other, colour))


@pytest.mark.parametrize("pix_fmt", ["gbrp", "rgb24", "bgr24", "bgr0", "rgba", "gbrap"])
def test_rgb_video_is_exact(pix_fmt: str) -> None:
    image = RNG.integers(0, 256, (7, 5, 4)).astype(np.uint8)
    colour = Colour(matrix=0, range="pc")
    back = image_of(to_frame(image, colour, pix_fmt), colour)
    assert np.array_equal(back, image if layout_of(pix_fmt).alpha else image[..., :3])


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_rgb_video_is_exact(bits: int) -> None:
    codes = RNG.integers(0, 2**bits, (7, 5, 3))
    image = np.rint(codes * (65535 / (2**bits - 1))).astype(np.uint16)
    colour = Colour(matrix=0, range="pc")
    frame = to_frame(image, colour, f"gbrp{bits}le")
    assert np.array_equal(np.stack(planes_of(frame), 2), codes)
    assert np.array_equal(image_of(frame, colour), image)


def test_rgb_of_tv_range_is_understood() -> None:
    frame = av.VideoFrame(2, 1, "gbrp")
    for plane in planes_of(frame):
        plane[...] = [[16, 235]]
    assert image_of(frame, Colour(matrix=0, range="tv")).tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize(
    ("pix_fmt", "range_"), [("gray", "pc"), ("gray", "tv"), ("gray10le", "pc"), ("gray12le", "tv")]
)
def test_gray_stays_gray(pix_fmt: str, range_: Range) -> None:
    top = 2 ** layout_of(pix_fmt).bits - 1
    codes = np.linspace(*((0, top) if range_ == "pc" else (top / 16 + 1, top * 0.9)), 40).astype(int)
    colour = Colour(range=range_)
    frame = av.VideoFrame(40, 2, pix_fmt)
    planes_of(frame)[0][...] = codes
    image = image_of(frame, colour)
    assert image.ndim == 2
    assert np.array_equal(planes_of(to_frame(image, colour, pix_fmt))[0][0], codes)
    coloured = to_frame(image, replace(colour, matrix=1), "yuv420p10le")
    assert all(np.all(plane == 512) for plane in planes_of(coloured)[1:])


def test_an_rgb_picture_becomes_its_luma_in_gray_video() -> None:
    image = RNG.integers(0, 256, (9, 7, 3)).astype(np.uint8)
    codes = planes_of(to_frame(image, Colour(matrix=1, range="tv"), "gray"))[0]
    assert difference(codes, rounded(codes_from(image / 255, 1, False, 8)[..., 0], 255)) == 0


@pytest.mark.parametrize("pix_fmt", ["yuva420p", "yuva444p10le", "yuva444p12le", "gbrap"])
def test_alpha_is_kept(pix_fmt: str) -> None:
    image = RNG.integers(0, 65536, (6, 8, 4)).astype(np.uint16)
    colour = Colour(matrix=1, range="tv")
    frame = to_frame(image, colour, pix_fmt)
    top = 2 ** layout_of(pix_fmt).bits - 1
    assert np.array_equal(planes_of(frame)[3], rounded(image[..., 3] / 65535 * top, top))
    back = image_of(frame, colour)
    assert np.array_equal(rounded(back[..., 3] / np.iinfo(back.dtype).max * top, top), planes_of(frame)[3])
    assert np.all(planes_of(to_frame(image[..., :3], colour, pix_fmt))[3] == top), "opaque without alpha"


def test_frames_carry_their_tags() -> None:
    colour = Colour(matrix=9, primaries=9, transfer=16, range="tv", chroma_location="topleft")
    for pix_fmt in ("yuv420p10le", "p010le"):
        frame = to_frame(np.zeros((4, 4, 3), np.uint16), colour, pix_fmt)
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (9, 9, 16, 1)
        assert colour_of(frame, "topleft") == colour


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((720, 576), 6), ((720, 480), 6), ((1280, 544), 1), ((720, 577), 1), ((1920, 1080), 1), ((16, 16), 6)],
)
def test_a_matrix_that_is_not_said_is_what_players_take(size: tuple[int, int], matrix: int) -> None:
    """And it is said afterwards: enlarged, the video might be taken for another."""
    frame = av.VideoFrame(*size, "yuv420p")
    colour = colour_of(frame, "unspecified")
    assert colour == Colour(matrix=matrix, range="tv")
    assert assumed_matrix(*size) == matrix
    assert to_frame(np.zeros((1200, 1400, 3), np.uint8), colour, "yuv420p").colorspace == matrix


@pytest.mark.parametrize(
    ("pix_fmt", "range_"), [("yuvj420p", "pc"), ("yuv420p", "tv"), ("rgb24", "pc"), ("gray", "pc")]
)
def test_a_range_that_is_not_said_is_that_of_the_format(pix_fmt: str, range_: Range) -> None:
    assert colour_of(av.VideoFrame(2, 2, pix_fmt), "left").range == range_


def test_rgb_becomes_bt709_in_yuv_and_yuv_loses_its_matrix_in_rgb() -> None:
    rgb = Colour(matrix=0, primaries=1, transfer=13, range="pc")
    assert rgb.in_format("yuv420p") == replace(rgb, matrix=1, range="tv")
    assert rgb.in_format("gbrp") == rgb
    yuv = Colour(matrix=6, range="tv", chroma_location="left")
    assert yuv.in_format("rgb24") == Colour(matrix=0, range="pc")
    assert yuv.in_format("yuv444p10le") == yuv


@pytest.mark.parametrize("matrix", [4, 7, 8, 10, 14])
def test_a_matrix_that_is_not_known_is_refused(matrix: int) -> None:
    with pytest.raises(VideoFileError, match=f"code {matrix}"):
        image_of(av.VideoFrame(2, 2, "yuv420p"), Colour(matrix=matrix))


@pytest.mark.parametrize("pix_fmt", ["xyz12le", "grayf32le", "gbrpf32le", "bayer_rggb8", "rgbaf16le"])
def test_a_format_that_is_not_known_is_refused(pix_fmt: str) -> None:
    with pytest.raises(VideoFileError, match=pix_fmt):
        layout_of(pix_fmt)
