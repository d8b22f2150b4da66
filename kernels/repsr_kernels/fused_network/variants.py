"""Which text the kernel is compiled from, and over which grid it is launched."""

from __future__ import annotations

from repsr_kernels.fused_network.plan import WARPS, Tile
from repsr_kernels.fused_network.weights import NetworkWeights
from repsr_kernels.variants import Dim3, Variant

BLOCK: Dim3 = (32 * WARPS, 1, 1)


def variant_of(weights: NetworkWeights, tile: Tile) -> Variant:
    """The kernel for this network and tiles of so many strips. Needs compute capability 8.0."""
    constants = {"scale": weights.scale, "body": weights.body, "strips": tile.strips}
    return Variant("fused_network", tuple(constants.items()))


def grid_of(tiles: int, multiprocessors: int) -> Dim3:
    """A block for each multiprocessor, whose shared memory it fills, or for each tile where these are fewer."""
    return min(tiles, multiprocessors), 1, 1
