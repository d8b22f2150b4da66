"""Plans cover every pixel once, with the context that is asked for, on the grid of tiles, within their memory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.strips.plan import BLOCK_BYTES, MOST_STRIP_BYTES, Plan, plan_strips
from repsr_deploy.imaging.strips.turn import TURNS
from repsr_deploy.imaging.tiling import Box


def strip_bytes(plan: Plan, width: int, pixel_bytes: int) -> int:
    return max(strip.rows[1] - strip.rows[0] for strip in plan.strips) * width * pixel_bytes


def block_bytes(plan: Plan, scale: int, pixel_bytes: int) -> int:
    """Of the largest, with its context."""
    return max(block.tile.source.pixels for block in plan.blocks) * scale**2 * pixel_bytes


@pytest.mark.parametrize("orientation", TURNS)
def test_a_plan_covers_every_pixel_once(orientation: int) -> None:
    random, turn = np.random.default_rng(orientation), TURNS[orientation]
    for _ in range(60):
        height, width, halo, scale = (int(x) for x in random.integers((1, 1, 0, 1), (200, 200, 14, 5)))
        least_rows, least_columns = (int(x) for x in random.integers(1, 60, 2))
        plan = plan_strips(
            width, height, pixel_bytes=3, scale=scale, halo=halo, turn=turn, least=(least_rows, least_columns),
            block_bytes=int(random.integers(1000, 20_000)),
        )  # fmt: skip
        seen_width, seen_height = turn.size(width, height)
        covered = np.zeros((seen_height, seen_width), int)
        samples = np.arange(height * width).reshape(height, width)
        seen = turn.image(samples[..., None])[..., 0]
        for strip in plan.strips:
            for block in strip.blocks:
                core, source = block.tile.core, block.tile.source
                covered[core.slices] += 1
                assert core.top * scale % plan.tile_length == core.left * scale % plan.tile_width == 0
                assert core.bottom * scale % plan.tile_length == 0 or core.bottom == seen_height
                assert core.right * scale % plan.tile_width == 0 or core.right == seen_width
                assert source.top <= max(0, core.top - halo)
                assert source.left <= max(0, core.left - halo)
                assert source.bottom >= min(seen_height, core.bottom + halo)
                assert source.right >= min(seen_width, core.right + halo)
                assert source.bottom - source.top >= min(least_rows, seen_height)
                assert source.right - source.left >= min(least_columns, seen_width)
                assert strip.rows == (block.stored.top, block.stored.bottom)
                turned = turn.image(samples[block.stored.slices][..., None])[..., 0]
                np.testing.assert_array_equal(turned, seen[source.slices])
        assert (covered == 1).all()
        starts, ends = zip(*(strip.rows for strip in plan.strips), strict=True)
        assert [*starts] == sorted(starts)
        assert [*ends] == sorted(ends)
        assert plan.rows_done(0) == 0
        assert plan.rows_done(len(plan.blocks)) == height


def test_turns_are_those_of_exif() -> None:
    """Where the first row and the first column of the stored picture are seen (Exif 2.32, table 6)."""
    stored = np.array([[1, 2], [3, 4], [5, 6]])[..., None]
    seen = {
        1: [[1, 2], [3, 4], [5, 6]], 2: [[2, 1], [4, 3], [6, 5]], 3: [[6, 5], [4, 3], [2, 1]],
        4: [[5, 6], [3, 4], [1, 2]], 5: [[1, 3, 5], [2, 4, 6]], 6: [[5, 3, 1], [6, 4, 2]],
        7: [[6, 4, 2], [5, 3, 1]], 8: [[2, 4, 6], [1, 3, 5]],
    }  # fmt: skip
    for orientation, expected in seen.items():
        turn = TURNS[orientation]
        assert turn.image(stored)[..., 0].tolist() == expected
        corner = turn.box(Box(0, 0, 1, 1), 2, 3)
        assert expected[corner.top][corner.left] == 1


@pytest.mark.parametrize(
    ("width", "height", "pixel_bytes", "scale"),
    [
        (40_000, 25_000, 3, 2), (40_000, 25_000, 8, 4), (200_000, 5000, 3, 2), (30_000, 40_000, 1, 3),
        (1, 40_000_000, 3, 2), (40_000_000, 1, 3, 2), (1_000_000, 1000, 3, 2), (3, 9_000_000, 8, 4), (9000, 9000, 6, 8),
    ],
)  # fmt: skip
def test_memory_is_bounded_for_every_form(width: int, height: int, pixel_bytes: int, scale: int) -> None:
    plan = plan_strips(width, height, pixel_bytes=pixel_bytes, scale=scale, halo=12)
    assert block_bytes(plan, scale, pixel_bytes) <= BLOCK_BYTES
    assert strip_bytes(plan, width, pixel_bytes) <= (BLOCK_BYTES if width <= 200_000 else MOST_STRIP_BYTES)
    assert plan.tile_width % 16 == plan.tile_length % 16 == 0
    assert plan.tile_width * plan.tile_length <= 256**2
    tiles = math.ceil(width * scale / plan.tile_width) * math.ceil(height * scale / plan.tile_length)
    assert tiles * plan.tile_width * plan.tile_length <= 17 * width * height * scale**2


def test_little_is_computed_twice() -> None:
    plan = plan_strips(40_000, 25_000, pixel_bytes=3, scale=2, halo=6)
    assert sum(block.tile.source.pixels for block in plan.blocks) < 1.04 * 40_000 * 25_000


def test_rows_that_are_too_wide_are_refused() -> None:
    with pytest.raises(ImageFileError, match=r"28 rows of it.*2136 MiB"):
        plan_strips(10_000_000, 100, pixel_bytes=8, scale=4, halo=12)
