"""The bare loop: the same runtime on the same tiles in the same batches, with nothing around it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.photographs import Picture, decoded
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import Runtime, open_runtime
from repsr_deploy.runtimes.base import CheckedRuntime
from repsr_deploy.runtimes.finished import finished
from repsr_deploy.weights import find_model
from repsr_serve.batcher import Batcher, Ticket


@dataclass(kw_only=True)
class Pace:
    """How fast a loop went."""

    pixels: int = 0
    """LR pixels that the network has run on, halos included."""
    seconds: float = 0.0
    batches: int = 0

    @property
    def megapixels_per_s(self) -> float:
        """Of input."""
        return self.pixels / self.seconds / 1e6 if self.seconds else 0.0


class BareLoop:
    """Runs batches that the service's own batcher has made of pictures, again and again.

    Args:
        model: bundled name or file.
        runtime: backend; `auto` as the service takes it.
        pictures: each cut into tiles once, in advance.
    """

    def __init__(self, model: str, runtime: str, threads: int, pictures: Iterable[Picture]) -> None:
        self.runtime = finished(open_runtime(find_model(model), runtime, threads=threads), threads=threads)
        self._batches = _batches(self.runtime, pictures)

    def run(self, seconds: float, pace: Pace) -> None:
        """Run for so long at least, and add to `pace`; every picture's batches as often as every other's."""
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            for batch in self._batches:
                if batch.dtype == np.uint8:
                    self.runtime.run_images(batch)
                else:
                    self.runtime.run(batch)
                pace.pixels += batch.size // 3
                pace.batches += 1
        pace.seconds += time.perf_counter() - started


def _batches(runtime: Runtime, pictures: Iterable[Picture]) -> list[NDArray[Any]]:
    recorder = _Recorder(runtime)
    with Batcher(recorder) as batcher:
        for one in pictures:
            Upscaler(batcher.share(Ticket())).upscale(decoded(one.data))
    return recorder.batches


class _Recorder(CheckedRuntime):
    """A runtime that keeps what it is given."""

    def __init__(self, runtime: Runtime) -> None:
        self.name, self.precision, self.info = runtime.name, runtime.precision, runtime.info
        self.limits, self.native_images = runtime.limits, runtime.native_images
        self._runtime = runtime
        self.batches: list[NDArray[Any]] = []

    def _run(self, batch: Any) -> Any:
        self.batches.append(np.array(batch))
        return self._runtime.run_images(batch) if batch.dtype == np.uint8 else self._runtime.run(batch)

    def _run_images(self, images_nhwc: Any) -> Any:
        return self._run(images_nhwc)
