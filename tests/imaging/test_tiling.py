"""Tiles cover every pixel once, are even, and give the same picture as no tiles: bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skimage.data

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.tiling import FAST_TILE, MIN_TILE, Box, Tile, plan_tiles, tile_for_budget
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import Candidate, open_runtime
from tests.runtimes.here import STORED, every_case
from tests.runtimes.models import plain_model, spec_of

TILES = [16, 17, 32, 50, 64, 100, 128]


def test_a_plan_covers_every_pixel_once_with_even_tiles() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        height, width, halo = (int(x) for x in random.integers((1, 1, 0), (200, 200, 20)))
        tile = int(random.integers(MIN_TILE, 120))
        least = (int(random.integers(1, height + 1)), int(random.integers(1, width + 1)))
        most = tuple(max(2 * halo + MIN_TILE, low, int(random.integers(1, 200))) for low in least)
        tiles = plan_tiles(height, width, tile=tile, halo=halo, least=least, most=(most[0], most[1]))
        covered = np.zeros((height, width), int)
        whole = np.arange(height * width).reshape(height, width)
        for part in tiles:
            covered[part.core.slices] += 1
            check_source(part, height, width, halo)
            np.testing.assert_array_equal(whole[part.source.slices][part.crop.slices], whole[part.core.slices])
            for side, low, high in zip(shape(part.source), least, most, strict=True):
                assert low <= side <= high
        assert (covered == 1).all()
        assert len({shape(part.source) for part in tiles}) == 1
        for sides in zip(*(shape(part.core) for part in tiles), strict=True):
            assert max(sides) - min(sides) <= 1
            assert max(sides) <= tile


def check_source(part: Tile, height: int, width: int, halo: int) -> None:
    """A source lies inside the image and reaches as far around its core as the network looks."""
    core, source = part.core, part.source
    assert (source.top, source.left) >= (0, 0)
    assert source.bottom <= height
    assert source.right <= width
    assert source.top <= max(core.top - halo, 0)
    assert source.left <= max(core.left - halo, 0)
    assert source.bottom >= min(core.bottom + halo, height)
    assert source.right >= min(core.right + halo, width)


def shape(box: Box) -> tuple[int, int]:
    return box.bottom - box.top, box.right - box.left


def test_no_more_tiles_and_pixels_than_needed() -> None:
    tiles = plan_tiles(100, 250, tile=64, halo=6)
    assert len(tiles) == 2 * 4
    assert shape(tiles[0].source) == (50 + 12, 63 + 12)
    assert shape(plan_tiles(100, 250, tile=300, halo=6)[0].source) == (100, 250)
    assert len(plan_tiles(100, 250, tile=300, halo=6, most=(100, 250))) == 1
    assert len(plan_tiles(100, 250, tile=300, halo=6, most=(99, 249))) == 4  # 87 rows and 237 columns beside the halo


def test_shapes_that_an_engine_does_not_take() -> None:
    with pytest.raises(
        UsageError, match="image is 40 x 30 pixels, and the engine was built for at least 64 x 32; build"
    ):
        plan_tiles(30, 40, tile=64, halo=6, least=(32, 64))
    assert len(plan_tiles(32, 64, tile=64, halo=6, least=(32, 64))) == 1
    with pytest.raises(
        UsageError, match=r"at most 40 pixels, which leaves a tile 4 beside the 18 .*; expected 16 or more"
    ):
        plan_tiles(41, 20, tile=64, halo=18, most=(40, 40))
    assert len(plan_tiles(40, 20, tile=64, halo=18, most=(40, 40))) == 1


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
    assert tile_for_budget(10**12, bytes_per_pixel=300, halo=6, longest=1920) == 1920


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
@pytest.mark.parametrize(("stored", "candidate"), every_case("fp32", "int8"))
def test_tiled_equals_untiled_bit_for_bit(
    stored: Precision, candidate: Candidate, name: str, scale: int, blocks: int, channels: int, threads: int
) -> None:
    """On float images: a difference in the last bit would show, which rounding to uint8 hides."""
    model = STORED[stored](plain_model(spec_of(scale, blocks, channels), seed=scale)).SerializeToString()
    runtime = open_runtime(model, candidate.runtime, threads=threads, precision=candidate.precision)
    image = (_photograph(name) / 255).astype(np.float32)
    untiled = runtime.run(image.transpose(2, 0, 1)[None].copy())[0].transpose(1, 2, 0)
    assert untiled.std() > 0.05  # a saturated network would agree with anything
    assert ((untiled > 0) & (untiled < 1)).mean() > 0.5
    for tile in TILES if candidate == Candidate("onnxruntime", "fp32") else TILES[1::2]:
        tiled = Upscaler(runtime, tile=tile).upscale(image)
        assert tiled.tobytes() == np.ascontiguousarray(untiled).tobytes(), (
            f"tile {tile}: {np.abs(tiled - untiled).max()}"
        )


@pytest.mark.parametrize(("stored", "candidate"), every_case())
def test_tiles_of_8_bit_images_change_no_sample(stored: Precision, candidate: Candidate) -> None:
    """Runtimes may have a way of their own for these."""
    model = STORED[stored](plain_model(spec_of(2, 3, 16))).SerializeToString()
    runtime = open_runtime(model, candidate.runtime, precision=candidate.precision)
    image = _photograph("coffee")
    untiled = runtime.run_images(image[None])[0]
    for tile in (16, 50, 100):
        np.testing.assert_array_equal(Upscaler(runtime, tile=tile).upscale(image), untiled)


@pytest.mark.parametrize("tile", TILES)
def test_a_halo_one_too_small_is_seen(tile: int) -> None:
    """The planted error: the comparison above must be able to fail."""
    spec = spec_of(2, 4, 16)
    runtime = open_runtime(plain_model(spec).SerializeToString(), "onnxruntime")
    image = (_photograph("coffee") / 255).astype(np.float32)
    untiled = Upscaler(runtime, tile=4096).upscale(image)
    tiled = untiled.copy()
    for part in plan_tiles(*image.shape[:2], tile=tile, halo=spec.halo - 1):
        output = runtime.run(image[part.source.slices].transpose(2, 0, 1)[None].copy())[0]
        tiled[part.core.scaled(2).slices] = output[:, *part.crop.scaled(2).slices].transpose(1, 2, 0)
    assert (tiled != untiled).any()
