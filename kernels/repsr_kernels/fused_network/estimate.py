"""What limits the kernel's speed on a GPU, from the figures of data sheets. Nothing of it was measured on a GPU yet.

`docs/design/fused_network.md` has the results.
"""

from __future__ import annotations

from dataclasses import dataclass

from repsr_kernels.fused_network.plan import (
    PIXEL_BYTES,
    STRIP,
    WARPS,
    Precision,
    Tile,
    ceil_divided,
    chosen_tile,
    layer_rows,
    margin,
    tile_mmas,
    tiles_of,
)

_ROW_INSTRUCTIONS = 100
"""Of a warp, for a row of 16 pixels x 16 outputs: counted in the PTX of the layers between, 18 of them products."""
_BANKS_BYTES = 128  # of shared memory, a clock and multiprocessor, on every GPU from compute capability 5.0 on
_MMA_MACS: dict[Precision, int] = {"fp16": 16 * 8 * 16, "int8": 16 * 8 * 32}


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """Figures of NVIDIA's data sheets and architecture papers, dense, without sparsity."""

    name: str
    multiprocessors: int
    clock_ghz: float
    macs: dict[Precision, int]
    """Of tensor cores, a clock and multiprocessor; fp16 with sums in fp32."""
    mma_share: float
    """What `mma.sync` reaches of that."""
    shared_kib: int
    """Most shared memory of a block."""
    memory_tb_s: float


H200 = Gpu(
    name="H200", multiprocessors=132, clock_ghz=1.83, macs={"fp16": 2048, "int8": 4096}, mma_share=0.62, shared_kib=227,
    memory_tb_s=4.8,
)  # fmt: skip
A100 = Gpu(
    name="A100 80 GB", multiprocessors=108, clock_ghz=1.41, macs={"fp16": 1024, "int8": 2048}, mma_share=1.0,
    shared_kib=163, memory_tb_s=2.039,
)  # fmt: skip
RTX_4090 = Gpu(
    name="RTX 4090", multiprocessors=128, clock_ghz=2.52, macs={"fp16": 256, "int8": 1024}, mma_share=1.0,
    shared_kib=99, memory_tb_s=1.008,
)  # fmt: skip


def tile_instructions(scale: int, body: int, tile: Tile) -> int:
    """Of all warps, for a whole tile; the few of loading the picture and the weights are left out."""
    passes = [1] * (body + 1) + [ceil_divided(3 * scale**2, 16)]
    rows = sum(rows * count for rows, count in zip(layer_rows(body, tile), passes, strict=True))
    return tile.strips * rows * _ROW_INSTRUCTIONS


def tile_shared_traffic(scale: int, body: int, tile: Tile, precision: Precision = "fp16") -> int:
    """Bytes that a tile moves through the banks of shared memory: the picture, A operands, activations.

    A warp's part of a strip reads a row above and one below what it makes.
    """
    read = {"fp16": 3, "int8": 2}[precision] * STRIP * 32  # an A operand is 512 bytes
    written = STRIP * PIXEL_BYTES[precision]
    head, *others = layer_rows(body, tile)
    parts = WARPS // tile.strips
    passes = [1] * body + [ceil_divided(3 * scale**2, 16)]
    picture = (head + 2) * STRIP * 8 + (head + 2 * parts) * 4 * _BANKS_BYTES
    operands = sum((rows + 2 * parts) * read * count for rows, count in zip(others, passes, strict=True))
    return tile.strips * (picture + operands + sum([head, *others[:-1]]) * written)


def streaming_shared_bytes(body: int, columns: int) -> int:
    """If rows streamed through the layers instead: two rows of each layer's activations."""
    return 2 * (body + 1) * columns * PIXEL_BYTES["fp16"]


def streaming_overhead(body: int, columns: int, rows: int) -> float:
    """What is computed, over what is wanted, for a band of so many columns and a part of it of so many rows: margins on
    both sides, and above and below, where layers start late and end early."""
    return columns / (columns - 2 * margin(body)) * (rows + margin(body)) / rows


def macs_per_pixel(scale: int, body: int) -> int:
    """Multiply-adds of the network for an LR pixel."""
    return 9 * (3 * 16 + body * 16 * 16 + 16 * 3 * scale**2)


def fused_bytes_per_pixel(scale: int) -> int:
    """Of device memory, for an LR pixel: the picture in, the picture out."""
    return 3 + 3 * scale**2


def layered_bytes_per_pixel(scale: int, body: int) -> int:
    """The same, layer by layer in half precision: each one's activations written and read, input and features in
    half precision, and the two kernels around the network."""
    activations = (body + 1) * 2 * 16 * 2
    around = (3 + 2 * 3 * 2) + (2 * 2 * 3 * scale**2 + 3 + 3 * scale**2)
    return activations + around


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a picture would take if one thing alone limited it, in ms."""

    tile: Tile
    blocks: int
    """Tiles of the picture."""
    waves: int
    """Tiles of the busiest multiprocessor."""
    tensor_peak_ms: float
    """At the peak of the tensor cores."""
    tensor_ms: float
    """At what `mma.sync` reaches."""
    issue_ms: float
    """Of instructions: four a clock and multiprocessor."""
    shared_ms: float
    memory_ms: float

    @property
    def limit_ms(self) -> float:
        """The largest of them."""
        return max(self.tensor_ms, self.issue_ms, self.shared_ms, self.memory_ms)

    @property
    def limit(self) -> str:
        """What it is."""
        limits = {
            "tensor cores": self.tensor_ms, "instructions": self.issue_ms, "shared memory": self.shared_ms,
            "device memory": self.memory_ms,
        }  # fmt: skip
        return max(limits, key=lambda name: limits[name])


def estimate(gpu: Gpu, scale: int, body: int, height: int, width: int, precision: Precision = "fp16") -> Estimate:
    """For a picture of LR pixels: all multiprocessors as busy as the busiest one."""
    limit = gpu.shared_kib * 1024
    tile = chosen_tile(scale, body, limit, gpu.multiprocessors, height, width, precision)
    down, across = tiles_of(body, tile, height, width)
    waves = ceil_divided(down * across, gpu.multiprocessors)
    clocks = waves * tile_mmas(scale, body, tile, precision) * _MMA_MACS[precision] / gpu.macs[precision]
    per_ms = gpu.clock_ghz * 1e6
    return Estimate(
        tile=tile,
        blocks=down * across,
        waves=waves,
        tensor_peak_ms=clocks / per_ms,
        tensor_ms=clocks / gpu.mma_share / per_ms,
        issue_ms=waves * tile_instructions(scale, body, tile) / 4 / per_ms,
        shared_ms=waves * tile_shared_traffic(scale, body, tile, precision) / _BANKS_BYTES / per_ms,
        memory_ms=height * width * fused_bytes_per_pixel(scale) / (gpu.memory_tb_s * 1e9),
    )
