"""The processor's build beside NumPy and OpenCV: both verified, a wrong one found."""

from __future__ import annotations

from functools import partial

import pytest

from repsr_deploy.bench.kernels.processor import USUAL, measure_preprocessing, measure_upsampling
from repsr_deploy.bench.kernels.ways import KERNEL
from repsr_deploy.bench.timing import time_side_by_side
from repsr_kernels import cpu
from repsr_kernels.operations import FusedUpsample, Preprocess

QUICK = partial(time_side_by_side, seconds=0.0, warmup_s=0.0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_upsampling_with_every_skip(scale: int) -> None:
    rows = measure_upsampling(11, 19, scale, where="here", threads=2, timer=QUICK)
    assert [(row.key["data"].split(", ")[1], row.key["by"]) for row in rows] == [
        (f"skip {skip}", by) for skip in ("none", "nearest", "bilinear") for by in (KERNEL, USUAL)
    ]
    assert all(row.timing is not None for row in rows)
    for kernel, usual in zip(rows[::2], rows[1::2], strict=True):
        verified = kernel.figures["verified_db"]
        assert verified is not None
        assert verified > 70
        assert kernel.figures["times_first"] == 1.0
        assert usual.figures["times_first"] is not None


def test_preprocessing() -> None:
    kernel, usual = measure_preprocessing(11, 19, where="here", threads=1, timer=QUICK)
    assert kernel.figures["verified_db"] == float("inf")
    assert kernel.timing is not None
    assert usual.timing is not None


def test_a_kernel_that_leaves_out_a_row_has_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = cpu.run

    def wrong(operation: FusedUpsample | Preprocess, threads: int | None = None) -> None:
        right(operation, threads)
        operation.out.numpy()[..., -1, :] = 0  # type: ignore[union-attr]

    monkeypatch.setattr(cpu, "run", wrong)
    kernel, usual = measure_upsampling(11, 19, 2, where="here", threads=1, timer=QUICK)[2:4]
    assert kernel.timing is None
    assert "fp32 must have" in kernel.failure
    assert usual.timing is not None


def test_without_a_compiler_the_usual_way_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from repsr_deploy.errors import RuntimeUnavailableError

    def missing(operation: FusedUpsample | Preprocess, threads: int | None = None) -> None:
        raise RuntimeUnavailableError("no C++ compiler")

    monkeypatch.setattr(cpu, "run", missing)
    kernel, usual = measure_preprocessing(4, 5, where="here", threads=1, timer=QUICK)
    assert kernel.failure == "no C++ compiler"
    assert usual.timing is not None
