"""Each stage of a folder alone, with the threads that it has in the pipeline: what the pipeline is measured by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from repsr_deploy.bench.timing import Timing
from repsr_deploy.imaging.batch import LOAD, PROCESS, SAVE, Workers
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.image_file import read_picture, write_image
from repsr_deploy.imaging.upscaler import Upscaler

AT_ONCE = 8
"""Pictures and results that are held in memory between the stages."""

T = TypeVar("T")


class StagesApart:
    """All jobs, one stage after the other; call it to run them once.

    Args:
        jobs: what to read and write.
        workers: threads of each stage.
    """

    def __init__(self, upscaler: Upscaler, jobs: Sequence[Job], workers: Workers) -> None:
        self._upscaler, self._jobs, self._workers = upscaler, jobs, workers
        self.rounds: list[dict[str, float]] = []
        """Seconds of each stage, for every call."""

    @property
    def limiting(self) -> str:
        """The stage that took longest in the last round."""
        last = self.rounds[-1]
        return max(last, key=lambda stage: last[stage])

    def timings(self, last: int) -> dict[str, Timing]:
        """Of each stage, in the last so many rounds."""
        rounds = self.rounds[-last:]
        return {stage: Timing(tuple(times_s[stage] for times_s in rounds)) for stage in rounds[0]}

    def __call__(self) -> None:
        """Run all jobs.

        Raises:
            RepsrError: one fails.
        """
        stages_s: dict[str, float] = dict.fromkeys((LOAD, PROCESS, SAVE), 0.0)

        def run(stage: str, threads: int, work: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
            with ThreadPoolExecutor(threads) as pool:
                start = time.perf_counter()
                made = [*pool.map(work, items)]
                stages_s[stage] += time.perf_counter() - start
            return made

        for first in range(0, len(self._jobs), AT_ONCE):
            some = self._jobs[first : first + AT_ONCE]
            pictures = run(LOAD, self._workers.load, lambda job: read_picture(job.source), some)
            results = run(
                PROCESS, self._workers.process, lambda picture: self._upscaler.upscale(picture.image_hwc), pictures
            )
            run(
                SAVE,
                self._workers.save,
                lambda pair: write_image(pair[0].target, pair[1]),
                zip(some, results, strict=True),
            )
        self.rounds.append(stages_s)
