"""What the kernels and the pipeline should reach on a GPU, and whether they did; no speed of a GPU that is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from repsr_deploy.bench.kernels.device import COPY
from repsr_deploy.bench.kernels.torch_ways import COMPILED, UNFUSED
from repsr_deploy.bench.kernels.ways import KERNEL, Work
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.target import Target

SIMULATED = "Simulated GPU"
"""What the driver that needs no GPU calls its own: it computes right, on the processor."""
OF_COPY, OF_PYTORCH, OF_COMPILED, OF_PIPELINE = 0.85, 4.0, 1.0, 0.9


def targets_of(rows: Sequence[Row], work: Work, pipeline: float | None) -> list[Target]:
    """Judge the rows of the upsampling that counts, and the pipeline's speed as a share of its slowest stage's.

    Args:
        rows: of everything that was measured on the GPU.
        work: the upsampling that counts.
    """

    def figure(by: str, name: str) -> float | None:
        key = work.key(by)
        row = next((row for row in rows if row.key == key and row.timing is not None), None)
        return None if row is None else row.figures.get(name)

    of_kernel = f"fused_upsample, {work.data}, {work.size}"
    return [
        Target(name=f"{of_kernel}, of a copy's speed", bound=OF_COPY, reached=figure(KERNEL, "copy_share")),
        Target(name=f"{of_kernel}, times as fast as PyTorch", bound=OF_PYTORCH, reached=figure(UNFUSED, "times_first")),
        Target(
            name=f"{of_kernel}, times as fast as torch.compile",
            bound=OF_COMPILED, reached=figure(COMPILED, "times_first"),
        ),
        Target(name="pipeline, of its slowest stage's speed", bound=OF_PIPELINE, reached=pipeline),
    ]  # fmt: skip


def fastest_copy(rows: Sequence[Row]) -> float | None:
    """Bytes a second of the fastest copy among the rows; None where none was timed."""
    rates = [row.figures.get("useful_bytes_per_s") for row in rows if row.key.get("by") == COPY and row.timing]
    return max((rate for rate in rates if rate is not None), default=None)


def without_speeds(rows: Sequence[Row]) -> list[Row]:
    """Rows of a simulated GPU: what was verified stays, times go."""
    return [_refused(row) if row.timing is not None else row for row in rows]


def _refused(row: Row) -> Row:
    figures = {name: value for name, value in row.figures.items() if name == "verified_db"}
    return replace(row, timing=None, failure=f"{SIMULATED}: its times mean nothing", figures=figures)
