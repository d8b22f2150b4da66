"""One picture between upload and answer: what is done to it, and what of it is in memory at the moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.upscaler import Allocate, Upscaler
from repsr_deploy.imaging.upscaler import Progress as PixelProgress
from repsr_serve.batcher import Ticket
from repsr_serve.buffers import Buffer
from repsr_serve.codec import Codec, SharedPicture
from repsr_serve.errands import Errand
from repsr_serve.models import ServedModel
from repsr_serve.plan import Plan
from repsr_serve.throughput import Work

Made = TypeVar("Made")

DECODED, UPSCALED = 0.05, 0.75
"""Progress after these stages; the rest is the encoding."""


@dataclass(eq=False, kw_only=True)
class Passage:
    """Nothing else holds its pictures, not even the traceback of an error: after `close` their memory is free."""

    source: Buffer
    plan: Plan
    model: ServedModel
    quality: int
    errand: Errand
    picture: SharedPicture | None = None
    """The source from `decode` on, the result from `enlarge` on."""
    file: Buffer | None = None
    """The result's, from `encode` on."""

    async def decode(self, codec: Codec) -> None:
        """First stage."""
        with self.errand.watch.stage("decode"):
            await _to_its_end(codec.decode(self.source, self.plan.source), self._set_picture)
        self.errand.progress(DECODED)

    def enlarge(self, work: Work, asked_s: float) -> None:
        """Second stage, which blocks: for a thread.

        Args:
            work: is told what is done.
            asked_s: when the thread was asked for, by `time.perf_counter`.
        """
        assert self.picture is not None
        source, errand = self.picture, self.errand
        errand.watch.passed("wait", time.perf_counter() - asked_s)

        def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Image:
            self.picture = SharedPicture.empty(shape, dtype, source.icc_profile)
            return self.picture.image_hwc

        def report(done: int, todo: int) -> None:
            work.reached(done)
            errand.progress(DECODED + (UPSCALED - DECODED) * done / todo)

        with closing(source), errand.watch.stage("upscale"):
            image_hwc = enlarge_image(self.model, source.image_hwc, self.plan.factor, errand.ticket, report, allocate)
        self.picture = replace(self.picture, image_hwc=image_hwc)

    async def encode(self, codec: Codec) -> None:
        """Last stage."""
        assert self.picture is not None
        with self.errand.watch.stage("encode"):
            await _to_its_end(codec.encode(self.picture, self.plan.format, self.quality), self._set_file)

    def take_file(self) -> Buffer:
        """The result's file, now the caller's."""
        assert self.file is not None
        file, self.file = self.file, None
        return file

    def close(self) -> None:
        """Give back all that was not taken away. May take long: for a thread."""
        for thing in (self.picture, self.file):
            if thing is not None:
                thing.close()
        self.picture = self.file = None

    def _set_picture(self, picture: SharedPicture) -> None:
        self.picture = picture

    def _set_file(self, file: Buffer) -> None:
        self.file = file


def enlarge_image(
    model: ServedModel,
    image_hwc: Image,
    factor: float,
    ticket: Ticket,
    report: PixelProgress | None = None,
    allocate: Allocate = np.empty,
) -> Image:
    """`Upscaler.upscale`, its tiles in batches with those of others. Blocks; ends soon after a cancelled ticket."""
    upscaler = Upscaler(model.batcher.share(ticket))
    return upscaler.upscale(image_hwc, factor=factor, progress=report, allocate=allocate)


async def _to_its_end(call: Coroutine[Any, Any, Made], keep: Callable[[Made], None]) -> None:
    """Await a call of the codec and keep the result; a cancelled task goes on when the call has ended.

    Only then is the memory free in which a worker reads and writes.
    """
    task = asyncio.create_task(call)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if task.exception() is None:
            keep(task.result())
        del task  # the traceback would hold the result
        raise
    keep(task.result())
