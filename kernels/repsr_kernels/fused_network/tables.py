"""The tables of `docs/design/fused_network.md`, from the formulas of `plan` and `estimate`.

    python -m repsr_kernels.fused_network.tables docs/design/fused_network.md

writes them anew between the lines that name them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from repsr_kernels.fused_network import estimate, plan
from repsr_kernels.fused_network.estimate import A100, H200, RTX_4090, Gpu

M = 4
HEIGHT, WIDTH = 1080, 1920
GPUS = (H200, A100, RTX_4090)
_PLACE = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def tables() -> dict[str, str]:
    """Every table as Markdown, by its name."""
    return {
        "layers": _layers(),
        "bytes": _bytes(),
        "tiles": _tiles(),
        "loss": _loss(),
        "limits": _limits(),
        "streaming": _streaming(),
        "winograd": _winograd(),
    }


def with_tables(text: str) -> str:
    """The document with its tables computed again.

    Raises:
        KeyError: it names a table that there is not.
    """
    made = tables()
    return _PLACE.sub(lambda found: f"{found[1]}{made[found['name']]}\n", text)


def _layers() -> str:
    rows: list[list[object]] = []
    for name, inputs, outputs, steps, count in (
        ("head", 3, 16, 3, 1), ("between", 16, 16, 9, M), ("tail, x2", 16, 12, 9, 1), ("tail, x4", 16, 48, 9, 1),
    ):  # fmt: skip
        padded = -(-outputs // 16) * 16
        rows.append(
            [name, count, 9 * inputs, 16 * steps, outputs, padded, 9 * inputs * outputs, 16 * steps * padded,
             steps * padded // 8]
        )  # fmt: skip
    head = ("layer", "times", "K", "computed", "N", "computed", "MACs a pixel", "computed", "mma for 16 pixels")
    return _table(head, rows)


def _bytes() -> str:
    rows: list[list[object]] = []
    for scale in (2, 4):
        for name, count in (
            ("layer by layer", estimate.layered_bytes_per_pixel(scale, M)),
            ("fused", estimate.fused_bytes_per_pixel(scale)),
        ):
            total = count * HEIGHT * WIDTH
            rows.append([f"x{scale}, {name}", count, f"{total / 1e6:,.0f}", *(_ms(total, gpu) for gpu in GPUS)])
    head = ("bytes of device memory", "an LR pixel", "MB a picture", *(f"{gpu.name}, ms" for gpu in GPUS))
    return _table(head, rows)


def _ms(count: int, gpu: Gpu) -> str:
    return f"{count / gpu.memory_tb_s / 1e9:.3f}"


def _tiles() -> str:
    rows: list[list[object]] = []
    for kib, where in ((64, "7.5"), (99, "8.6, 8.9, 12.0"), (163, "8.0"), (227, "9.0, 10.0")):
        for strips in plan.STRIPS:
            tile = plan.tallest_tile(M, kib * 1024, strips)
            if tile is None:
                continue
            best = " **best**" if tile == plan.best_tile(M, kib * 1024) else ""
            rows.append(
                [
                    f"{kib} ({where})", strips, f"{plan.tile_columns(M, tile)} x {tile.rows}{best}",
                    f"{plan.shared_bytes(M, tile):,}", f"{plan.overhead(2, M, tile):.2f}",
                    f"{plan.overhead(4, M, tile):.2f}",
                ]
            )  # fmt: skip
    head = ("KiB (compute capability)", "strips", "tile, columns x rows", "bytes", "work x2", "work x4")
    return _table(head, rows)


def _loss() -> str:
    """From multiply-adds at the peak to what `mma.sync` takes, one loss after the other."""
    rows: list[list[object]] = []
    for gpu in GPUS:
        per_ms = gpu.multiprocessors * gpu.macs["fp16"] * gpu.clock_ghz * 1e6
        pixels = HEIGHT * WIDTH
        found = estimate.estimate(gpu, 2, M, HEIGHT, WIDTH)
        padded = pixels / 16 * sum(plan.layer_mmas(2, M)) * 2048
        margins = found.blocks * plan.tile_mmas(2, M, found.tile) * 2048
        times = [pixels * estimate.macs_per_pixel(2, M) / per_ms, padded / per_ms, margins / per_ms]
        times += [found.tensor_peak_ms, found.tensor_ms]
        rows.append([gpu.name, *(f"{time:.3f}" for time in times)])
    head = ("x2, ms", "multiply-adds at the peak", "K and N padded", "margins of tiles", "last wave", "by mma.sync")
    return _table(head, rows)


def _limits() -> str:
    rows: list[list[object]] = []
    for gpu in GPUS:
        for precision in ("fp16", "int8"):
            for scale in (2, 4):
                e = estimate.estimate(gpu, scale, M, HEIGHT, WIDTH, precision)
                tile = f"{plan.tile_columns(M, e.tile)} x {e.tile.rows}"
                times = (e.tensor_ms, e.issue_ms, e.shared_ms, e.memory_ms)
                rows.append(
                    [f"{gpu.name}, {precision}, x{scale}", tile, e.blocks, e.waves, *(f"{time:.3f}" for time in times),
                     e.limit]
                )  # fmt: skip
    head = (
        "ms for 1920x1080", "tile", "tiles", "waves", "tensor cores", "instructions", "shared memory", "device memory",
        "limit",
    )  # fmt: skip
    return _table(head, rows)


def _streaming() -> str:
    rows: list[list[object]] = []
    for columns in (64, 128, 256):
        for part in (68, 135, 270):
            rows.append(
                [columns, part, f"{estimate.streaming_shared_bytes(M, columns):,}",
                 f"{estimate.streaming_overhead(M, columns, part):.2f}"]
            )  # fmt: skip
    best = plan.best_tile(M, 99 * 1024)
    tile = f"{plan.tile_columns(M, best)} x {best.rows}"
    rows.append([f"tile {tile}", "", f"{plan.shared_bytes(M, best):,}", f"{plan.overhead(2, M, best):.2f}"])
    return _table(("columns", "rows of a part", "bytes", "work"), rows)


def _winograd() -> str:
    """F(2x2, 3x3) of Lavin and Gray, CVPR 2016: 16 products for 4 pixels in place of 36; its transforms take 32 and 24
    additions for each 4 pixels of an input and of an output channel."""
    direct, products = 9 * 16 * 16, 4 * 16 * 16
    additions = 16 * (32 + 24) / 4
    rows = [
        [gpu.name, f"{direct / (gpu.macs['fp16'] * gpu.mma_share):.2f}",
         f"{products / (gpu.macs['fp16'] * gpu.mma_share):.2f}", f"{additions / 2 / 128:.2f}"]
        for gpu in GPUS
    ]  # fmt: skip
    head = ("clocks for a pixel of a layer", "direct", "products", "transforms, two halves an instruction")
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main() -> None:
    """Rewrite the tables of the documents that are named."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(with_tables(path.read_text()))


if __name__ == "__main__":
    main()
