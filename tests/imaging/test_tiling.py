"""Tiles cover every pixel once, are even, and give the same picture as no tiles: bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skimage.data

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.tiling import FAST_TILE, MIN_TILE, Box, plan_tiles, tile_for_budget
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import open_runtime
from tests.runtimes.models import plain_model, spec_of

TILES = [16, 17, 32, 50, 64, 100, 128]


def test_a_plan_covers_every_pixel_once_with_even_tiles() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        height, width, halo = (int(x) for x in random.integers((1, 1, 0), (200, 200, 20)))
        tile = int(random.integers(MIN_TILE, 120))
        tiles = plan_tiles(height, width, tile=tile, halo=halo)
        covered = np.zeros((height, width), int)
        for part in tiles:
            covered[part.core.slices] += 1
            core, source = part.core, part.source
            assert (source.top, source.left) == (max(core.top - halo, 0), max(core.left - halo, 0))
            assert (source.bottom, source.right) == (min(core.bottom + halo, height), min(core.right + halo, width))
            whole = np.arange(height * width).reshape(height, width)
            np.testing.assert_array_equal(whole[source.slices][part.crop.slices], whole[core.slices])
        assert (covered == 1).all()
        for sides in ({t.core.bottom - t.core.top for t in tiles}, {t.core.right - t.core.left for t in tiles}):
            assert max(sides) - min(sides) <= 1
            assert max(sides) <= tile
        assert len(tiles) == -(-height // tile) * -(-width // tile)


def test_a_box_in_other_coordinates() -> None:
    box = Box(4, 6, 10, 9)
    assert box.scaled(3) == Box(12, 18, 30, 27)
    assert box.within(Box(1, 2, 20, 20)) == Box(3, 4, 9, 7)


def test_a_tile_fits_its_budget() -> None:
    for budget in (10**6, 10**8, 123456789):
        for halo in (0, 6, 30):
            tile = tile_for_budget(budget, bytes_per_pixel=300, halo=halo)
            fits, one_more_fits = ((side + 2 * halo) ** 2 * 300 <= budget for side in (tile, tile + 1))
            assert fits or tile == MIN_TILE
            assert not one_more_fits or tile == FAST_TILE
    assert tile_for_budget(10**7, bytes_per_pixel=300, halo=6) == 170
    assert tile_for_budget(10**12, bytes_per_pixel=300, halo=6) == FAST_TILE
    assert tile_for_budget(1, bytes_per_pixel=300, halo=6) == MIN_TILE


@pytest.mark.parametrize("tile", [15, 1, 0, -64])
def test_a_sliver_is_refused(tile: int) -> None:
    with pytest.raises(UsageError, match=f"tile is {tile} pixels; expected at least 16"):
        plan_tiles(100, 100, tile=tile, halo=6)


def _photograph(name: str) -> Any:
    """An odd-sized cut of a photograph."""
    return {
        "coffee": skimage.data.coffee()[40:253, 60:341],
        "chelsea": skimage.data.chelsea()[:131, :97],
        "rocket": skimage.data.rocket()[200:401, 300:317],
    }[name]


@pytest.mark.parametrize(
    ("name", "scale", "blocks", "channels", "threads"),
    [
        ("coffee", 2, 4, 16, 2),
        ("coffee", 3, 2, 13, 1),
        ("chelsea", 4, 4, 16, 2),
        ("chelsea", 2, 1, 32, 1),
        ("chelsea", 1, 2, 8, 2),
        ("rocket", 3, 6, 24, 2),
        ("rocket", 2, 10, 4, 1),
    ],
)
def test_tiled_equals_untiled_bit_for_bit(name: str, scale: int, blocks: int, channels: int, threads: int) -> None:
    """On float images: a difference in the last bit would show, which rounding to uint8 hides."""
    model = plain_model(spec_of(scale, blocks, channels), seed=scale).SerializeToString()
    runtime = open_runtime(model, threads=threads)
    image = (_photograph(name) / 255).astype(np.float32)
    untiled = runtime.run(image.transpose(2, 0, 1)[None].copy())[0].transpose(1, 2, 0)
    assert untiled.std() > 0.05  # a saturated network would agree with anything
    assert ((untiled > 0) & (untiled < 1)).mean() > 0.5
    for tile in TILES:
        tiled = Upscaler(runtime, tile=tile).upscale(image)
        assert tiled.tobytes() == np.ascontiguousarray(untiled).tobytes(), (
            f"tile {tile}: {np.abs(tiled - untiled).max()}"
        )


@pytest.mark.parametrize("tile", TILES)
def test_a_halo_one_too_small_is_seen(tile: int) -> None:
    """The planted error: the comparison above must be able to fail."""
    spec = spec_of(2, 4, 16)
    runtime = open_runtime(plain_model(spec).SerializeToString())
    image = (_photograph("coffee") / 255).astype(np.float32)
    untiled = Upscaler(runtime, tile=4096).upscale(image)
    tiled = untiled.copy()
    for part in plan_tiles(*image.shape[:2], tile=tile, halo=spec.halo - 1):
        output = runtime.run(image[part.source.slices].transpose(2, 0, 1)[None].copy())[0]
        tiled[part.core.scaled(2).slices] = output[:, *part.crop.scaled(2).slices].transpose(1, 2, 0)
    assert (tiled != untiled).any()
