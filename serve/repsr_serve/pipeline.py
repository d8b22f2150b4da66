"""The way of one picture: header, plan, memory, decode, network, encode."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from repsr_serve.budget import Budget, Lane, Lease
from repsr_serve.buffers import Buffer
from repsr_serve.codec import Codec
from repsr_serve.errands import Errand
from repsr_serve.memory import picture_bytes
from repsr_serve.models import ServedModel, pick
from repsr_serve.passage import Passage
from repsr_serve.pictures import Order, Result
from repsr_serve.plan import Plan, plan_picture
from repsr_serve.problems import Problem
from repsr_serve.threads import Threads
from repsr_serve.throughput import Throughput

SMALL_PIXELS = 1_000_000
"""Up to here a picture never waits behind larger ones, unless it becomes one of them."""


class LeasedBuffer(Buffer):
    """A buffer whose memory was reserved: closing it gives that back, too, in a thread."""

    def __init__(self, content: Buffer, lease: Lease, threads: Threads) -> None:
        self._lease, self._threads = lease, threads
        super().__init__(os.dup(content.fd))
        content.close()

    def close(self) -> None:
        """See `Buffer.close`."""
        if self.fd >= 0:
            content, self.fd = Buffer(self.fd), -1
            self._threads.free(content, self._lease.release)


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What pictures pass through. For one event loop."""

    models: Mapping[str, ServedModel]
    codec: Codec
    budget: Budget
    threads: Threads
    throughput: Throughput
    max_factor: float
    max_wait_s: float
    """Of work ahead of a picture; behind more, it is refused, unless it is patient."""

    async def plan(self, source: Buffer, order: Order, max_pixels: int) -> tuple[ServedModel, Plan]:
        """What will be made of a picture, and by which model."""
        model = pick(self.models, order)
        header = await self.codec.probe(source)
        return model, plan_picture(header, order, model.info, max_pixels=max_pixels, max_factor=self.max_factor)

    def needed_bytes(self, source: Buffer, plan: Plan, model: ServedModel) -> int:
        """Memory that a picture takes at most, its file included."""
        return source.size + picture_bytes(plan, model.info, model.batcher.plan)

    async def upscale(self, source: Buffer, order: Order, max_pixels: int, errand: Errand) -> Result:
        """Take a picture through; raises what the parts raise. Cancelling the task cancels the ticket.

        When this ends, however it does, nobody works on it any more, and its memory is about to be free but for the
        result's.
        """
        with errand.watch.stage("decode"):
            model, plan = await self.plan(source, order, max_pixels)
        needed = self.needed_bytes(source, plan, model)
        lane = self.lane(plan.source.pixels, needed, background=errand.background)
        if not errand.patient:
            self.throughput.check_ahead(lane, self.max_wait_s)
        with self.throughput.work(plan.work_pixels, lane) as work:
            with errand.watch.stage("wait"):
                lease = await self.budget.reserve(needed, lane)
            passage = Passage(source=source, plan=plan, model=model, quality=order.quality, errand=errand)
            kept_bytes = 0
            try:
                await passage.decode(self.codec)
                await self.threads.run(lane, errand.ticket, partial(passage.enlarge, work, time.perf_counter()))
                await passage.encode(self.codec)
                file = passage.take_file()
                kept_bytes = file.size
            finally:
                self.threads.free(passage, partial(lease.shrink, kept_bytes))
        errand.progress(1.0)
        return Result(
            encoded=LeasedBuffer(file, lease, self.threads),
            format=plan.format,
            model=model.name,
            factor=plan.factor,
            source_size=(plan.source.width, plan.source.height),
            size=plan.size,
            timings_s=errand.watch.timings_s(),
        )

    def lane(self, pixels: int, needed_bytes: int, *, background: bool) -> Lane:
        """Where a picture waits.

        Raises:
            Problem: `too-many-pixels`: there will never be so much memory.
        """
        if background:
            lane = Lane.BACKGROUND
        elif pixels <= SMALL_PIXELS and needed_bytes <= self.budget.most(Lane.SMALL):
            lane = Lane.SMALL
        else:
            lane = Lane.LARGE
        most = self.budget.most(lane)
        if needed_bytes > most:
            limit = pixels * most // needed_bytes
            raise Problem(
                "too-many-pixels",
                f"The picture has {pixels} pixels, for which {needed_bytes >> 20} MiB of memory would be needed, and "
                f"there are {most >> 20}; expected at most about {limit} pixels of this kind, or a smaller scale.",
                extra={"pixels": pixels, "max_pixels": limit},
            )
        return lane
