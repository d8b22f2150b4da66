"""What the engine should reach on a processor, and whether it did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from repsr_deploy.bench.cpu.contestants import NATIVE
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.target import Target
from repsr_deploy.bench.timing import speedup

OF_OPENVINO, OF_PEAK, OF_BF16, OF_FP32, OF_WIDER, OF_WIDEST, OF_ONE_THREAD = 3.0, 0.65, 1.5, 1.3, 1.5, 1.0, 1.8
MOST_MIB = 64.0
"""Resident, beyond the picture and the result, at `LARGE`."""
LARGE = (2160, 3840)
"""H x W of a picture on which memory is measured."""
WIDER = ("plain-m4c32-x2", "plain-m4c48-x2", "plain-m6c40-x2", "plain-m16c32-x2")
WIDEST = "plain-m16c64-x2"


def targets_of(rows: Sequence[Row], *, model: str, sizes: Sequence[str], threads: int) -> list[Target]:
    """Judge the rows of a measurement.

    Args:
        model: of 16 channels, measured at every one of `sizes`, such as `640x360`.
        threads: of most rows.
    """
    return [
        *(target for size in sizes for target in _of_size(rows, model, size, threads)),
        *_of_wider(rows, sizes[0], threads),
        *_of_memory(rows, model, threads),
    ]


def _of_size(rows: Sequence[Row], model: str, size: str, threads: int) -> Iterator[Target]:
    """Of the model that counts, at one size."""
    bf16, int8 = (_engine(rows, model, size, precision, threads) for precision in ("bf16", "int8"))
    fp32 = _engine(rows, model, size, "fp32", threads, instructions="avx2")
    where = f"{model}, {size}"
    yield Target(
        name=f"{where}, bf16, times as fast as OpenVINO in bf16",
        bound=OF_OPENVINO,
        reached=_figure(bf16, "times_openvino_bf16"),
    )
    yield Target(name=f"{where}, bf16, of a matrix product's speed", bound=OF_PEAK, reached=_figure(bf16, "peak_share"))
    yield Target(name=f"{where}, int8, times as fast as our bf16", bound=OF_BF16, reached=_times(bf16, int8))
    yield Target(
        name=f"{where}, fp32 by AVX2, times as fast as the best other in fp32",
        bound=OF_FP32,
        reached=_figure(fp32, "times_best_other"),
    )
    if threads == 2:
        for precision, row in (("bf16", bf16), ("int8", int8)):
            yield Target(
                name=f"{where}, {precision}, 2 threads, times as fast as 1",
                bound=OF_ONE_THREAD,
                reached=_figure(row, "times_one_thread"),
            )


def _of_wider(rows: Sequence[Row], size: str, threads: int) -> Iterator[Target]:
    """Of wider networks with random weights, where they are measured."""
    measured = {row.key["model"] for row in rows}
    for name, bound in (*((name, OF_WIDER) for name in WIDER), (WIDEST, OF_WIDEST)):
        if name not in measured:
            continue
        row = _engine(rows, name, size, "bf16", threads)
        yield Target(
            name=f"{name}, {size}, bf16, times as fast as the best other in bf16 or fp32",
            bound=bound,
            reached=_figure(row, "times_best_other"),
        )


def _of_memory(rows: Sequence[Row], model: str, threads: int) -> Iterator[Target]:
    """Of a large picture."""
    size = f"{LARGE[1]}x{LARGE[0]}"
    for precision in ("fp32", "bf16", "int8"):
        taken = _figure(_engine(rows, model, size, precision, threads), "beyond_bytes")
        yield Target(
            name=f"{model}, {size}, {precision}, MiB beyond the picture and the result",
            bound=MOST_MIB,
            reached=None if taken is None else taken / 2**20,
            is_limit=True,
        )


def _engine(
    rows: Sequence[Row], model: str, size: str, precision: str, threads: int, *, instructions: str = ""
) -> Row | None:
    """The engine's fastest row of a kind, by one instruction set or by any."""
    wanted = {"model": model, "input": size, "runtime": NATIVE, "computes": precision, "threads": str(threads)}
    if instructions:
        wanted["instructions"] = instructions
    found = [(row.timing.median_s, row) for row in rows if row.timing and wanted.items() <= row.key.items()]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _figure(row: Row | None, name: str) -> float | None:
    return None if row is None else row.figures.get(name)


def _times(slow: Row | None, fast: Row | None) -> float | None:
    """How many times as fast a row of the same heat is."""
    if slow is None or fast is None or slow.timing is None or fast.timing is None:
        return None
    return speedup({"slow": slow.timing, "fast": fast.timing}, "slow", "fast")
