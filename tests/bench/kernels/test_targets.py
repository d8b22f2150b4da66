"""What counts on a GPU, judged from rows; and no speed of a GPU that is none."""

from __future__ import annotations

import pytest

from repsr_deploy.bench.kernels.device import COPY
from repsr_deploy.bench.kernels.pipeline import TOGETHER, slowest_share
from repsr_deploy.bench.kernels.targets import SIMULATED, fastest_copy, targets_of, without_speeds
from repsr_deploy.bench.kernels.torch_ways import COMPILED, UNFUSED
from repsr_deploy.bench.kernels.ways import KERNEL, Work
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.timing import Timing

COUNTS = Work(where="Card", what="fused_upsample", data="x2", size="1920x1080")
OTHER = Work(where="Card", what="fused_upsample", data="x3", size="1920x1080")


def row(work: Work, by: str, **figures: float) -> Row:
    return Row(key=work.key(by), timing=Timing((1.0,)), figures=figures)


def test_figures_of_the_rows_that_count() -> None:
    rows = [
        row(OTHER, KERNEL, copy_share=0.1),
        row(COUNTS, KERNEL, copy_share=0.85),
        row(COUNTS, UNFUSED, times_first=3.99),
        row(OTHER, COMPILED, times_first=9.0),
    ]
    targets = targets_of(rows, COUNTS, 0.95)
    assert [(target.reached, target.met) for target in targets] == [
        (0.85, True), (3.99, False), (None, None), (0.95, True)
    ]  # fmt: skip
    assert [str(target).split(": ")[0] for target in targets] == ["met", "not met", "not measured", "met"]
    assert str(targets[1]).endswith("times as fast as PyTorch: 4 or more, found 3.99")
    assert targets[1].to_dict()["met"] is False


def test_copy_is_the_fastest_of_all() -> None:
    rows = [row(COUNTS, COPY, useful_bytes_per_s=3.0), row(OTHER, COPY, useful_bytes_per_s=4.0)]
    assert fastest_copy([*rows, row(COUNTS, KERNEL, useful_bytes_per_s=9.0)]) == 4.0
    assert fastest_copy([]) is None


def test_worst_pipeline_counts() -> None:
    rows = [row(COUNTS, TOGETHER, stage_share=0.97), row(OTHER, TOGETHER, stage_share=0.6), row(OTHER, "upload")]
    assert slowest_share(rows) == 0.6
    assert slowest_share(rows[2:]) is None


@pytest.mark.parametrize("verified_db", [12.0, float("inf")])
def test_of_a_simulated_gpu_no_speed_is_left(verified_db: float) -> None:
    failed = Row(key=COUNTS.key(UNFUSED), failure="no PyTorch")
    timed = row(COUNTS, KERNEL, verified_db=verified_db, useful_bytes_per_s=1.0, times_first=1.0, copy_share=1.0)
    first, second = without_speeds([timed, failed])
    assert first.timing is None
    assert first.failure.startswith(SIMULATED)
    assert first.figures == {"verified_db": verified_db}
    assert second == failed
    assert all(target.met is None for target in targets_of([first, second], COUNTS, None))
