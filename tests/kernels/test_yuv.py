"""Colours and chroma of video frames, against numbers of the ITU's recommendations and against OpenCV."""

from __future__ import annotations

from typing import Any, get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from repsr_kernels.errors import UsageError
from repsr_kernels.reference.yuv import SITED_ON, codes_of, doubled, halved, rgb_of
from repsr_kernels.tensors import on_host
from repsr_kernels.yuv import MatrixName, Siting, YuvColour, YuvFrame

MATRICES: tuple[MatrixName, ...] = get_args(MatrixName)
SITINGS: tuple[Siting, ...] = get_args(Siting)
BT709 = YuvColour(matrix="bt709")
BARS = np.array(
    [[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32
)  # white, yellow, cyan, green, magenta, red, blue, black
BAR_CODES: dict[tuple[MatrixName, bool, int], list[list[int]]] = {
    # 100 % colour bars, 8 bits of BT.601 and BT.709: Y', Cb, Cr as every test signal generator has them
    ("bt601", False, 8): [
        [235, 128, 128], [210, 16, 146], [170, 166, 16], [145, 54, 34],
        [106, 202, 222], [81, 90, 240], [41, 240, 110], [16, 128, 128],
    ],
    ("bt709", False, 8): [
        [235, 128, 128], [219, 16, 138], [188, 154, 16], [173, 42, 26],
        [78, 214, 230], [63, 102, 240], [32, 240, 118], [16, 128, 128],
    ],
}  # fmt: skip
EQUATIONS: dict[MatrixName, tuple[tuple[float, float, float], float, float]] = {
    "bt601": ((0.299, 0.587, 0.114), 1.772, 1.402),  # BT.601-7, 2.5.1 and 2.5.2
    "bt709": ((0.2126, 0.7152, 0.0722), 1.8556, 1.5748),  # BT.709-6, items 3.2 and 3.3
    "bt2020": ((0.2627, 0.6780, 0.0593), 1.8814, 1.4746),  # BT.2020-2, table 4
}
COLOURS = [
    pytest.param(YuvColour(matrix=matrix, full_range=full), bits, id=f"{matrix}-{'full' if full else 'limited'}-{bits}")
    for matrix in MATRICES
    for full in (False, True)
    for bits in (8, 10)
]


def as_pixels(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours K x 3 as a picture 1 x 3 x 1 x K."""
    return colours.T[None, :, None]


@pytest.mark.parametrize("key", BAR_CODES)
def test_colour_bars_have_the_known_codes(key: tuple[MatrixName, bool, int]) -> None:
    matrix, full, bits = key
    codes = codes_of(as_pixels(BARS), YuvColour(matrix=matrix, full_range=full), bits)
    np.testing.assert_array_equal(np.rint(codes)[0, :, 0].T, BAR_CODES[key])


@pytest.mark.parametrize(("colour", "bits"), COLOURS)
def test_codes_are_what_the_recommendations_say(colour: YuvColour, bits: int) -> None:
    rgb = np.random.default_rng(1).random((500, 3)).astype(np.float32)
    (kr, kg, kb), of_blue, of_red = EQUATIONS[colour.matrix]
    red, green, blue = rgb.T.astype(float)
    luma = kr * red + kg * green + kb * blue
    signals = luma, (blue - luma) / of_blue, (red - luma) / of_red
    if colour.full_range:
        top = 2**bits - 1
        expected = [top * luma, *(top * chroma + 2 ** (bits - 1) for chroma in signals[1:])]
    else:
        unit = 2 ** (bits - 8)
        expected = [(219 * luma + 16) * unit, *((224 * chroma + 128) * unit for chroma in signals[1:])]
    found = codes_of(as_pixels(rgb), colour, bits)
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=0, atol=2e-7 * 2**bits)
    np.testing.assert_allclose(rgb_of(found, colour, bits), as_pixels(rgb), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("colour", "bits"), COLOURS)
def test_colours_are_solved_for_as_an_inverse(colour: YuvColour, bits: int) -> None:
    matrix = colour.colours(bits)
    np.testing.assert_allclose(matrix @ colour.codes(bits)[0], np.eye(3), rtol=0, atol=1e-15)
    assert matrix[0, 1] == matrix[2, 2] == 0
    assert matrix[0, 0] == matrix[1, 0] == matrix[2, 0]


@pytest.mark.parametrize(("colour", "bits"), COLOURS)
def test_gray_stays_gray(colour: YuvColour, bits: int) -> None:
    gray = np.repeat(np.arange(256, dtype=np.float32)[:, None] / np.float32(255), 3, axis=1)
    codes = np.rint(codes_of(as_pixels(gray), colour, bits))
    assert np.all(codes[:, 1:] == 2 ** (bits - 1))
    red, green, blue = rgb_of(codes, colour, bits)[0]
    np.testing.assert_array_equal(red, green)
    np.testing.assert_array_equal(green, blue)
    assert red[0, 0] == 0
    assert 1 - 2**-24 <= red[0, -1] <= 1
    unit = 2 ** (bits - 8)
    ends = [0, 2**bits - 1] if colour.full_range else [16 * unit, 235 * unit]
    assert codes[0, 0, 0, [0, -1]].tolist() == ends


@pytest.mark.parametrize(("colour", "bits"), COLOURS)
def test_codes_survive_a_round_trip(colour: YuvColour, bits: int) -> None:
    rgb = np.random.default_rng(2).random((2000, 3)).astype(np.float32)
    codes = np.rint(codes_of(as_pixels(rgb), colour, bits))
    back = rgb_of(codes, colour, bits)
    levels = 2**bits if colour.full_range else 219 * 2 ** (bits - 8)
    np.testing.assert_allclose(back, as_pixels(rgb), rtol=0, atol=1.5 / levels)
    np.testing.assert_array_equal(np.rint(codes_of(back, colour, bits)), codes)


def test_full_range_bt601_is_that_of_jpeg_in_opencv() -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (1, 4000, 3), np.uint8)
    pixels = as_pixels(rgb[0].astype(np.float32) / 255)
    codes = codes_of(pixels, YuvColour(matrix="bt601", full_range=True), 8)[0, :, 0]
    luma, red, blue = np.moveaxis(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)[0].astype(float), 1, 0)
    np.testing.assert_allclose(codes, [luma, blue, red], atol=1)  # OpenCV rounds its coefficients


@pytest.mark.parametrize("siting", SITINGS)
def test_chroma_of_a_ramp_lies_where_it_is_sited(siting: Siting) -> None:
    rows, columns = np.mgrid[:14, :18].astype(np.float32)
    ramp = 3 * columns - 5 * rows + 100
    row_shift, column_shift = (0 if on else 0.5 for on in SITED_ON[siting])
    expected = 3 * (columns[::2, ::2] + column_shift) - 5 * (rows[::2, ::2] + row_shift) + 100
    np.testing.assert_array_equal(halved(ramp, siting)[1:, 1:], expected[1:, 1:])
    np.testing.assert_array_equal(doubled(halved(ramp, siting), siting, 14, 18)[3:-2, 3:-2], ramp[3:-2, 3:-2])


def test_sitings_are_those_of_h273() -> None:
    """Left is what MPEG-2 and H.264 assume, centre is JPEG's, top left that of UHD: figure 1 of H.273."""
    assert {siting: SITED_ON[siting] for siting in SITINGS} == {
        "left": (False, True), "center": (False, False), "top-left": (True, True),
    }  # fmt: skip


@pytest.mark.parametrize("siting", SITINGS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (7, 1), (2, 3), (9, 8)])
def test_constant_chroma_stays_constant_up_to_the_border(siting: Siting, height: int, width: int) -> None:
    flat = np.full((2, height, width), 77.25, np.float32)
    chroma = halved(flat, siting)
    assert chroma.shape == (2, (height + 1) // 2, (width + 1) // 2)
    assert np.all(chroma == 77.25)
    np.testing.assert_array_equal(doubled(chroma, siting, height, width), flat)


@pytest.mark.parametrize("siting", SITINGS)
def test_chroma_of_a_part_sees_the_pixels_around_it(siting: Siting) -> None:
    planes = np.random.default_rng(4).random((2, 3, 11, 13)).astype(np.float32)
    whole = halved(planes, siting)
    np.testing.assert_array_equal(halved(planes, siting, 4, 6, 5, 3), whole[..., 2:5, 3:5])
    np.testing.assert_array_equal(
        halved(planes, siting, 3, 5)[..., 1:-1, 1:-1], halved(planes[..., 3:, 5:], siting)[..., 1:-1, 1:-1]
    )
    assert not np.array_equal(halved(planes, siting, 3, 5, 3, 3), halved(planes[..., 3:6, 5:8], siting))


def frame(height: int, width: int, kind: Any = np.uint8) -> YuvFrame:
    luma, chroma = np.zeros((height, width, 1), kind), np.zeros((-(-height // 2), -(-width // 2), 2), kind)
    return YuvFrame(on_host(luma, "nhwc"), on_host(chroma, "nhwc"), colour=BT709)


def test_frames_know_bits_shape_and_parts() -> None:
    assert (frame(5, 7).bits, frame(5, 7).shape) == (8, (1, 3, 5, 7))
    assert frame(4, 4, np.uint16).bits == 10
    part = frame(9, 12).part(2, 4, 4, 6)
    assert (part.shape, part.chroma.shape) == ((1, 3, 4, 6), (1, 2, 2, 3))
    assert frame(9, 12).part(2, 4, 7, 8).chroma.shape == (1, 2, 4, 4)  # an odd end at the edge


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: YuvColour(matrix="bt470"), "bt470"),  # pyright: ignore[reportArgumentType]
        (lambda: YuvColour(matrix="bt709", siting="right"), "right"),  # pyright: ignore[reportArgumentType]
        (lambda: frame(4, 4, np.float32), "fp32"),
        (lambda: YuvFrame(frame(4, 4).luma, frame(4, 4, np.uint16).chroma, colour=BT709), "uint16"),
        (lambda: YuvFrame(frame(4, 6).luma, frame(4, 4).chroma, colour=BT709), r"\(1, 2, 2, 3\)"),
        (lambda: YuvFrame(frame(4, 4).chroma, frame(4, 4).chroma, colour=BT709), "luma"),
        (lambda: frame(8, 8).part(1, 0, 2, 2), "row 1"),
        (lambda: frame(8, 8).part(0, 3, 2, 2), "column 3"),
        (lambda: frame(8, 8).part(0, 0, 3, 2), "3 x 2"),
        (lambda: frame(8, 8).part(6, 0, 4, 2), "8 x 8"),
    ],
)
def test_what_is_no_frame_is_refused(make: Any, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        make()
