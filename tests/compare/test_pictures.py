"""The pictures of a comparison against formulas, and the part of a large one that is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from repsr_deploy.compare import crop
from repsr_deploy.compare.crop import shown_part
from repsr_deploy.compare.pictures import CHECK, GAP, TOPS, bicubic, difference, legend, on_checkerboard, side_by_side
from repsr_deploy.metrics.resize import imresize

RNG = np.random.default_rng(11)
LAYOUTS = [(), (1,), (2,), (3,), (4,)]


def noise(*shape: int, dtype: str = "uint8") -> Any:
    return RNG.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bicubic_is_that_of_the_metrics(layout: tuple[int, ...], dtype: str) -> None:
    picture = noise(9, 13, *layout) // 4 + 96  # nothing that is clipped between the passes
    picture = picture if dtype == "uint8" else picture.astype(np.uint16) * 257
    made = bicubic(picture, 21, 40)
    channels = layout[0] if layout else 1
    assert made.shape == (21, 40, channels)
    assert made.dtype == np.uint8
    exact = imresize(picture.reshape(9, 13, -1) / np.iinfo(dtype).max, output_size=(21, 40)).clip(0, 1) * 255
    plain = slice(0, channels) if channels in (1, 3) else slice(channels - 1, channels)
    assert np.abs(made[..., plain] - exact[..., plain]).max() <= 1.5  # rounded to 8 bits before, and in each pass


def test_bicubic_does_not_show_what_is_hidden() -> None:
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[:, :4] = (200, 100, 50, 255)
    picture[:, 4:, :3] = (0, 255, 255)  # invisible
    made = bicubic(picture, 24, 24)
    seen = made[..., 3] > 0
    assert seen[:, :11].all()
    assert np.abs(made[seen][:, :3].astype(int) - (200, 100, 50)).max() <= 2


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_side_by_side(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    one, other = noise(6, 7, *left), noise(6, 7, *right)
    both = side_by_side(one, other)
    assert both.shape[:2] == (6, 14 + GAP)
    assert both.shape[2] == (3 if {left, right} & {(3,), (4,)} else 1)
    np.testing.assert_array_equal(both[:, :7], np.broadcast_to(on_checkerboard(one), (6, 7, both.shape[2])))
    np.testing.assert_array_equal(both[:, -7:], np.broadcast_to(on_checkerboard(other), (6, 7, both.shape[2])))


def test_checkerboard_is_seen_through_transparency_alone() -> None:
    picture = noise(40, 50, 4)
    board = np.indices((40, 50)) // CHECK
    squares = np.where(board.sum(axis=0) % 2 == 0, 255, 204).astype(np.uint8)
    ground = PillowImage.fromarray(squares).convert("RGBA")
    expected = np.asarray(PillowImage.alpha_composite(ground, PillowImage.fromarray(picture)).convert("RGB"))
    assert np.abs(on_checkerboard(picture).astype(int) - expected).max() <= 1
    opaque = noise(5, 5, 3)
    np.testing.assert_array_equal(on_checkerboard(opaque), opaque)


def test_difference_is_that_of_the_worst_channel() -> None:
    one, other = noise(30, 20, 3), noise(30, 20, 3)
    found = difference(one, other)
    apart = np.abs(one.astype(int) - other).max(axis=2)
    assert found.most == apart.max()
    assert found.mean == pytest.approx(apart.mean())
    assert found.top == 255
    ranks = {tuple(colour): rank for rank, colour in enumerate(colours_of_map().tolist())}
    shown = np.array([[ranks[tuple(colour)] for colour in row] for row in found.map_hwc.tolist()])
    np.testing.assert_array_equal(shown, apart)


def colours_of_map() -> Any:
    """The 256 colours, taken from maps of known differences; all of them must be different."""
    steps = np.arange(256, dtype=np.uint8)[None].repeat(3, axis=0)
    colours = difference(steps, np.zeros_like(steps)).map_hwc[0]
    assert len(np.unique(colours, axis=0)) == 256
    return colours


@pytest.mark.parametrize("most", [0, 1, 4, 5, 16, 31, 100, 255])
def test_scale_of_a_map_fits_what_is_there(most: int) -> None:
    one = np.zeros((50, 60), np.uint8)
    one[10:20] = most
    found = difference(one, np.zeros_like(one))
    assert (found.top, found.most) == (min(top for top in TOPS if top >= most), most)
    one[0, 0] = 255  # one pixel of 3000 is no reason to make the map dark
    assert difference(one, np.zeros_like(one)).top == found.top


def test_difference_counts_transparency_and_not_what_it_hides() -> None:
    one = np.zeros((4, 4, 4), np.uint8)
    other = one.copy()
    other[..., :3] = 255
    assert difference(one, other).most == 0
    other[1, 1, 3] = 60
    assert difference(one, other).most == 60


def test_gray_and_16_bits_are_compared_as_they_look() -> None:
    gray = noise(8, 8)
    assert difference(gray.astype(np.uint16) * 257, np.repeat(gray[..., None], 3, axis=2)).most == 0


def test_legend_has_the_colours_of_a_map() -> None:
    colours = [tuple(each) for each in colours_of_map().tolist()]
    assert legend()[0] == colours[0]
    assert max(legend()[0]) < 8
    assert legend()[-1] == colours[-1]
    assert set(legend()) <= set(colours)


def test_small_pictures_are_shown_whole() -> None:
    before, after = noise(10, 12, 3), noise(25, 30, 3)
    shown = shown_part(before, after)
    assert shown[0] is not None
    np.testing.assert_array_equal(shown[0], before)
    np.testing.assert_array_equal(shown[1], after)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (100, 90, 200, 180),
        (97, 40, 291, 120),
        (300, 7, 480, 11),
        (50, 211, 77, 325),
        (60, 61, 240, 241),
        (3, 90, 9, 271),
    ],
)
def test_the_same_part_of_both_is_shown(
    height: int, width: int, rows: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop, "SHOWN_PIXELS", 2500)
    monkeypatch.setattr(crop, "SHOWN_SIDE", 200)

    def places(lines: int, of: int) -> Any:
        """Where the borders of pixels lie, in pixels of the original."""
        return np.arange(lines) * of / lines

    before = np.stack(np.meshgrid(places(height, height), places(width, width), indexing="ij"), axis=2)
    after = np.stack(np.meshgrid(places(rows, height), places(columns, width), indexing="ij"), axis=2)
    one, other = shown_part(before, after)
    assert other.shape[0] * other.shape[1] <= 2500
    assert max(other.shape) <= 200
    for axis, (old, new) in enumerate(((height, rows), (width, columns))):
        starts = one[0, 0, axis], other[0, 0, axis]
        ends = one[-1, -1, axis] + 1, other[-1, -1, axis] + old / new
        assert starts[0] == pytest.approx(starts[1], abs=0.15)
        assert ends[0] == pytest.approx(ends[1], abs=0.15)
        middle = (starts[0] + ends[0]) / 2
        assert middle == pytest.approx(old / 2, abs=max(1, old / 12))
    assert other.shape[0] * other.shape[1] >= 1200 or min(rows, columns) < 20
