"""Formulas of the plan: against the kernel itself, and as the document has them."""

from __future__ import annotations

import re
from ctypes import c_ulonglong
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from repsr_kernels.errors import UsageError
from repsr_kernels.fused_network import estimate, plan
from repsr_kernels.fused_network.estimate import H200
from repsr_kernels.fused_network.operation import FusedNetwork, PlacedWeights
from repsr_kernels.fused_network.plan import Tile
from repsr_kernels.fused_network.tables import tables, with_tables
from repsr_kernels.tensors import on_host
from tests.kernels.fused_network.emulated import changed, emulate, random_image, random_weights

DOCUMENT = Path(__file__).parents[3] / "docs" / "design" / "fused_network.md"


def test_tables_of_the_document_are_computed() -> None:
    text = DOCUMENT.read_text()
    assert sorted(re.findall(r"<!-- table: (\w+) -->", text)) == sorted(tables())
    assert with_tables(text) == text
    assert with_tables(text.replace("| H200 |", "| H100 |")) == text


def test_products_are_those_of_the_kernel(tmp_path: Path) -> None:
    """Counted while it runs, for whole tiles."""
    tile, weights = Tile(3, 9), random_weights(1, scale=4, body=4)
    product = "multiply_add(sums[h], pixels[f], taps.words[tap][f][h]);"
    csrc = changed(tmp_path, product, f"{{ {product} if (lane_() == 0) ++counted; }}")
    kernel = csrc / "fused_network.cuh"
    counter = '\nextern "C" { unsigned long long counted; }\nstatic int lane_() { return threadIdx.x % 32; }\n'
    kernel.write_text(kernel.read_text().replace("\nnamespace repsr {", f"{counter}\nnamespace repsr {{", 1))
    rows, columns = 2 * tile.rows, 2 * plan.tile_columns(4, tile)
    image, out = random_image(1, 1, rows, columns), np.zeros((1, 4 * rows, 4 * columns, 3), np.uint8)
    network = PlacedWeights.on_host(weights)
    operation = FusedNetwork(network=network, image=on_host(image, "nhwc"), out=on_host(out, "nhwc"))
    counted = c_ulonglong.in_dll(emulate(operation, tile, csrc=csrc), "counted").value
    assert counted == 4 * plan.tile_mmas(4, 4, tile)


def test_multiply_adds_of_the_model_cards() -> None:
    assert (estimate.macs_per_pixel(2, 4), estimate.macs_per_pixel(4, 4)) == (11376, 16560)


@pytest.mark.parametrize(("body", "kib"), list(product((1, 4, 8), (99, 163, 227))))
def test_tiles_fill_shared_memory(body: int, kib: int) -> None:
    for strips in plan.STRIPS:
        tile = plan.tallest_tile(body, kib * 1024, strips)
        if tile is None:
            assert 16 * strips <= 2 * (body + 1) or plan.shared_bytes(body, Tile(strips, 1)) > kib * 1024
            continue
        assert plan.shared_bytes(body, tile) <= kib * 1024 < plan.shared_bytes(body, Tile(strips, tile.rows + 1))


def test_larger_tiles_cost_less() -> None:
    works = [plan.overhead(2, 4, plan.best_tile(4, kib * 1024)) for kib in (64, 99, 163, 227)]
    assert works == sorted(works, reverse=True)
    assert 1 < works[-1] < 1.3


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 4000), (540, 960), (1080, 1920)])
def test_chosen_tile_is_no_worse_than_any(height: int, width: int) -> None:
    limit, count = H200.shared_kib * 1024, H200.multiprocessors

    def busiest(tile: Tile) -> int:
        down, across = plan.tiles_of(4, tile, height, width)
        return -(-down * across // count) * plan.tile_mmas(2, 4, tile)

    chosen = plan.chosen_tile(2, 4, limit, count, height, width)
    assert plan.shared_bytes(4, chosen) <= limit
    for strips in plan.STRIPS:
        largest = plan.tallest_tile(4, limit, strips)
        assert largest is not None
        assert busiest(chosen) <= busiest(largest)


def test_memory_that_holds_no_tile() -> None:
    with pytest.raises(UsageError, match="20000 bytes"):
        plan.best_tile(4, 20000)
    with pytest.raises(UsageError, match="47 \\+ 2 layers"):
        plan.chosen_tile(2, 47, 227 * 1024, 132, 1080, 1920)
