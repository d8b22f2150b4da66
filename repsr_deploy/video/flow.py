"""Frames on their way: decoding, conversion, the network and what takes the results work at the same time, in order."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import av

from repsr_deploy.imaging.batch import capacity_bytes
from repsr_deploy.imaging.enlargement import Enlargement, enlarge
from repsr_deploy.imaging.outcome import Workers
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.stages import Pipeline, Stage
from repsr_deploy.video.colour import to_frame
from repsr_deploy.video.encoder import OutputVideo
from repsr_deploy.video.source import SourceFrame

DECODE, TO_RGB, UPSCALE, TO_YUV, ENCODE = "decode", "to RGB", "upscale", "to YUV", "encode"
"""What a frame goes through. The last is done by who takes the results."""
BYTES_PER_PIXEL = 9
"""Of a result under way, 8 bits: RGB, as much again while it is made, and the frame for the encoder."""

Enlarge = Callable[[Image, Callable[[], bool]], Image]
"""Makes the result of a picture; the second says whether nobody waits for it any more."""


@dataclass
class _Item:
    """A frame on its way: one of the three, or none where it equals the one before."""

    pts: int
    duration: int
    source: SourceFrame | None = None
    image: Image | None = None
    frame: av.VideoFrame | None = None


class AbandonedError(Exception):
    """Nobody waits for a picture any more."""


class Flow:
    """Results of frames, in their order, each with time stamp and duration; a context manager that iterates over them.

    Args:
        frames: iterated in a thread of its own.
        enlarge: makes the picture of a result.
        output: what the results are for.
        deduplicate: make no result of a frame that equals the one before; its result is given again.
        workers: threads that convert to RGB, upscale, and convert from RGB; None for what fits the machine.
        stopped: set when the flow is left early.
    """

    def __init__(
        self,
        frames: Iterable[SourceFrame],
        enlarge: Enlarge,
        output: OutputVideo,
        *,
        deduplicate: bool = False,
        workers: Workers | None = None,
        stopped: threading.Event | None = None,
    ) -> None:
        self.repeated = 0
        """Results so far that equal the one before, and were not made again."""
        self._stopped = stopped or threading.Event()
        self._enlarge, self._output = enlarge, output
        self._encode_s = 0.0
        workers = workers or workers_for(os.cpu_count() or 1)
        deep = 1 if av.VideoFormat(output.pix_fmt).components[0].bits <= 8 else 2
        weight = output.width * output.height * BYTES_PER_PIXEL * deep
        self._pipeline = Pipeline(
            _read(frames, deduplicate=deduplicate),
            [
                Stage(name=TO_RGB, work=_to_rgb, workers=workers.load),
                Stage(name=UPSCALE, work=self._upscale, workers=workers.process),
                Stage(name=TO_YUV, work=self._to_yuv, workers=workers.save),
            ],
            ordered=True,
            source_name=DECODE,
            weigh=lambda _: weight,
            capacity=capacity_bytes(),
            stopped=self._stopped,
        )

    @property
    def limiting(self) -> str:
        """The stage that is busy most of the time."""
        busy = {name: use.busy_s / use.workers for name, use in self._pipeline.use.items()}
        busy[ENCODE] = self._encode_s
        return max(busy, key=lambda name: busy[name])

    def __enter__(self) -> Self:
        self._pipeline.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipeline.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """A repeated frame is the object that was given before, with another time."""
        frame: av.VideoFrame | None = None
        for item in self._pipeline:
            if item.frame is None:
                self.repeated += 1
            else:
                frame = item.frame
            assert frame is not None
            frame.pts, frame.duration = item.pts, item.duration
            start = time.perf_counter()
            yield frame
            self._encode_s += time.perf_counter() - start

    def _upscale(self, item: _Item) -> _Item:
        if item.image is not None:
            item.image = self._enlarge(item.image, self._stopped.is_set)
        return item

    def _to_yuv(self, item: _Item) -> _Item:
        if item.image is not None:
            item.frame = to_frame(item.image, self._output.colour, self._output.pix_fmt)
            item.image = None
        return item


def workers_for(cores: int) -> Workers:
    """Threads beside those of the decoder, the runtime and the encoder, which have their own."""
    return Workers(load=max(1, cores // 4), process=1, save=max(1, cores // 4))


def enlarger(upscaler: Upscaler, enlargement: Enlargement) -> Enlarge:
    """The network's result, as asked for; given up between two tiles."""

    def enlarged(image: Image, abandoned: Callable[[], bool]) -> Image:
        def look(_done: int, _todo: int) -> None:
            if abandoned():
                raise AbandonedError

        return enlarge(upscaler, image, enlargement, progress=look)

    return enlarged


def _read(frames: Iterable[SourceFrame], *, deduplicate: bool) -> Iterator[_Item]:
    before: SourceFrame | None = None
    for frame in frames:
        item = _Item(frame.pts, frame.duration)
        if before is None or not frame.same_as(before):
            item.source = frame
        if deduplicate:
            before = frame
        yield item


def _to_rgb(item: Any) -> Any:
    if item.source is not None:
        item.image, item.source = item.source.image_hwc, None
    return item
