"""The rectangles in which the pipeline computes a frame: those that would leave or overwrite pixels are refused."""

from __future__ import annotations

import pytest

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.pipeline import Tile
from repsr_kernels.gpu.pipeline.tiles import checked_tiles, whole, yielded
from repsr_kernels.operations import Crop
from tests.kernels.gpu.pipeline.examples import tiles_of


def crop(top: int, left: int, rows: int, columns: int) -> Crop:
    return Crop(top=top, left=left, rows=rows, columns=columns)


def tile(core: Crop, source: Crop | None = None) -> Tile:
    return Tile(core=core, source=source or core)


@pytest.mark.parametrize(("height", "width", "side"), [(1, 1, 16), (17, 90, 16), (64, 64, 20), (33, 50, 100)])
def test_plans_of_the_upscaler_are_good(height: int, width: int, side: int) -> None:
    tiles = tiles_of(height, width, side)
    assert checked_tiles(tiles, height, width) == tuple(tiles)
    assert yielded(tiles) == whole(height, width)[0].core
    rows = [item for item in tiles if item.core.top == tiles[0].core.top]
    assert checked_tiles(rows, height, width) == tuple(rows)
    assert all(item.crop.top >= 0 and item.crop.left >= 0 for item in tiles)


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ([], "no tiles"),
        ([tile(crop(0, 0, 8, 8)), tile(crop(0, 8, 8, 7))], "computed from 8 x 8 and 8 x 7 pixels"),
        ([tile(crop(0, 0, 8, 31))], "source .* does not lie in"),
        ([tile(crop(-1, 0, 8, 8))], "source .* does not lie in"),
        ([tile(crop(0, 0, 9, 8), crop(0, 0, 8, 8))], "core .* does not lie in"),
        ([tile(crop(0, 0, 0, 8), crop(0, 0, 8, 8))], "core .* does not lie in"),
        ([tile(crop(0, 0, 8, 8)), tile(crop(0, 7, 8, 8))], "overlap or leave gaps"),
        ([tile(crop(0, 0, 8, 8)), tile(crop(0, 9, 8, 8))], "overlap or leave gaps"),
        ([tile(crop(0, 0, 8, 8)), tile(crop(8, 8, 8, 8))], "overlap or leave gaps"),
        ([tile(crop(0, 0, 8, 8)), tile(crop(0, 0, 8, 8))], "overlap or leave gaps"),
        # as many pixels as the whole has
        (
            [tile(crop(0, 0, 8, 8)), tile(crop(0, 0, 8, 8)), tile(crop(8, 0, 8, 8)), tile(crop(8, 8, 8, 8))],
            "overlap or leave gaps",
        ),
    ],
)
def test_others_are_refused(tiles: list[Tile], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        checked_tiles(tiles, 20, 30)
