"""The pipeline around a network on a GPU: frames a second, against its slowest stage alone.

Not yet measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.kernels.ways import Work
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.timing import Timing, time_side_by_side
from repsr_deploy.bench.verify import psnr_db, why_wrong
from repsr_deploy.model_info import Precision

if TYPE_CHECKING:
    from repsr_kernels.gpu.pipeline import GpuPipeline

TOGETHER = "frames, stages overlapping"
STAGES = {"copy_s": "copy, by the processor", "upload_s": "upload", "compute_s": "compute", "download_s": "download"}
"""Of `StageTimes`, each alone."""


def measure_pipeline(
    work: Work,
    pipeline: GpuPipeline,
    frame_hwc: NDArray[np.uint8],
    expected_hwc: NDArray[np.uint8],
    precision: Precision,
    *,
    frames: int,
    seconds: float,
) -> list[Row]:
    """A row for each stage and one for all together, whose figure `stage_share` is what the target is about.

    Args:
        work: its part of the keys.
        expected_hwc: what the frame should become.
        precision: that the network computes in.
        frames: that go through at once, many enough for the first and the last to count little.
        seconds: of measurement.

    Raises:
        RepsrError, MemoryError: the pipeline cannot run.
    """
    made_db = psnr_db(np.asarray(pipeline.run(frame_hwc)), expected_hwc)
    failure = why_wrong(made_db, precision, rounded=True)
    if failure:
        return [Row(key=work.key(TOGETHER), failure=failure)]

    def run() -> None:
        for _ in pipeline.stream(frame_hwc for _ in range(frames)):
            pass

    alone = pipeline.measure(frame_hwc)
    whole = time_side_by_side({TOGETHER: run}, seconds=seconds)[TOGETHER]
    timing = Timing(tuple(value / frames for value in whole.times_s))
    stages = {by: Timing(tuple(getattr(alone, name))) for name, by in STAGES.items()}
    rows = [Row(key=work.key(f"{by}, alone"), timing=stage) for by, stage in stages.items()]
    slowest_s = max(stage.median_s for stage in stages.values())
    figures = {
        "verified_db": made_db,
        "images_per_s": 1 / timing.median_s,
        "megapixels_per_s": expected_hwc.shape[0] * expected_hwc.shape[1] / timing.median_s / 1e6,
        "stage_share": slowest_s / timing.median_s,
    }
    return [*rows, Row(key=work.key(TOGETHER), timing=timing, figures=figures)]


def slowest_share(rows: Sequence[Row]) -> float | None:
    """The smallest share of its slowest stage's speed that a pipeline reaches; None where none was timed."""
    shares = [row.figures.get("stage_share") for row in rows if row.timing is not None]
    return min((share for share in shares if share is not None), default=None)
