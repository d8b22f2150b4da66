"""One model at one size: every way is tried and verified, the fastest of each contestant takes its turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from repsr_deploy.bench.cpu.contestants import Contestant
from repsr_deploy.bench.cpu.models import Model
from repsr_deploy.bench.cpu.pipelines import Image, Pipeline, open_pipeline, ways_of
from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.bench.timing import Timing, time_side_by_side
from repsr_deploy.bench.verify import psnr_db, why_wrong
from repsr_deploy.errors import RepsrError
from repsr_deploy.runtimes import open_runtime

MIN_ROUNDS = 5
SLOW_S, SLOW_ROUNDS = 3.0, 3
"""Where a round takes longer than that, fewer are enough."""
HOPELESS = 2.0
"""A way whose first run takes so many times as long as another's best is not tried again."""
PAUSE_S = 0.005
"""Before each run. OpenMP's threads, of PyTorch, wait busily for some milliseconds; OpenVINO's for less."""
WARMUP_SHARE = 0.1
TRIALS_SHARE = 0.4
"""Of the progress, until the turns begin."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How a contestant fared."""

    contestant: Contestant
    way: str = ""
    """The fastest in the trial."""
    verified_db: float | None = None
    timing: Timing | None = None
    failure: str = ""
    """Why there is no timing."""


@dataclass(frozen=True)
class _Ready:
    """A way, opened, its output right."""

    way: str
    run: Callable[[], None]
    trial_s: float
    verified_db: float


def run_heat(
    model: Model,
    contestants: Sequence[Contestant],
    height: int,
    width: int,
    *,
    seconds: float,
    progress: Callable[[str, float], None],
) -> list[Entry]:
    """Everybody on the same picture of height x width LR pixels; an entry for each contestant, in their order.

    Args:
        seconds: of counted rounds.

    Raises:
        RepsrError, MemoryError: ONNX Runtime cannot run the reference, in fp32.
    """
    image_hwc = photograph_like(height, width)
    threads = max(one.threads for one in contestants)
    reference = open_runtime(model.file("fp32"), "onnxruntime", threads=threads, precision="fp32")
    expected_hwc = reference.run_images(image_hwc[None])[0]
    del reference
    out_hwc = np.empty_like(expected_hwc)
    chosen: list[_Ready | str] = []
    for index, contestant in enumerate(contestants):
        progress(f"trying {contestant}", TRIALS_SHARE * index / len(contestants))
        chosen.append(_fastest_way(contestant, image_hwc, expected_hwc, out_hwc))
    ready = {index: one for index, one in enumerate(chosen) if isinstance(one, _Ready)}
    slow = sum(one.trial_s for one in ready.values()) > SLOW_S
    timings = time_side_by_side(
        {str(index): one.run for index, one in ready.items()},
        seconds=seconds,
        min_rounds=SLOW_ROUNDS if slow else MIN_ROUNDS,
        warmup_s=0.0 if slow else WARMUP_SHARE * seconds,
        pause_s=PAUSE_S,
        progress=lambda part: progress("timing", TRIALS_SHARE + (1 - TRIALS_SHARE) * part),
    )
    return [
        Entry(contestant=contestant, way=one.way, verified_db=one.verified_db, timing=timings[str(index)])
        if isinstance(one, _Ready)
        else Entry(contestant=contestant, failure=one)
        for index, (contestant, one) in enumerate(zip(contestants, chosen, strict=True))
    ]


def _fastest_way(contestant: Contestant, image_hwc: Image, expected_hwc: Image, out_hwc: Image) -> _Ready | str:
    """The way that is the fastest in two runs after the first one, or why there is none."""
    best: _Ready | None = None
    failures: list[str] = []
    for way in ways_of(contestant):
        try:
            pipeline = open_pipeline(contestant, way, *image_hwc.shape[:2])
            out_hwc.fill(0)
            first_s = _seconds(pipeline, image_hwc, out_hwc)
            output_db = psnr_db(out_hwc, expected_hwc)
            failure = why_wrong(output_db, contestant.computes, rounded=True)
            if failure:
                failures.append(failure)
                continue
            if best is not None and first_s > HOPELESS * best.trial_s and not contestant.compiles:
                continue
            trial_s = min(_seconds(pipeline, image_hwc, out_hwc) for _ in range(2))
        except MemoryError as error:
            failures.append(f"not enough memory: {error}")
            continue
        except RepsrError as error:
            failures.append(str(error))
            continue
        if best is None or trial_s < best.trial_s:
            best = _Ready(way, partial(pipeline, image_hwc, out_hwc), trial_s, output_db)
    return best or "; ".join(failures)


def _seconds(pipeline: Pipeline, image_hwc: Image, out_hwc: Image) -> float:
    time.sleep(PAUSE_S)
    before = time.perf_counter()
    pipeline(image_hwc, out_hwc)
    return time.perf_counter() - before
