"""The service without HTTP: what it consists of, how it starts and ends, and what it can be asked."""

from __future__ import annotations

import asyncio
import bisect
import math
import os
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from numpy.typing import NDArray

from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.tiling import FAST_TILE
from repsr_deploy.imaging.upscaler import MAX_FACTOR
from repsr_serve.admission import Admission
from repsr_serve.batcher import Ticket
from repsr_serve.budget import Budget, Lane
from repsr_serve.buffers import Buffer
from repsr_serve.codec import Codec, Header
from repsr_serve.errands import Errand, Errands, nobody
from repsr_serve.faults import as_problems
from repsr_serve.gauges import watch_admission, watch_pipeline
from repsr_serve.machine import keep_little, memory_bytes
from repsr_serve.memory import picture_bytes
from repsr_serve.metrics import Metrics
from repsr_serve.models import ServedModel, close_models, open_models, pick
from repsr_serve.pictures import Order, Progress, Result
from repsr_serve.pipeline import Pipeline
from repsr_serve.plan import Plan, plan_picture
from repsr_serve.settings import Settings
from repsr_serve.tensors import infer
from repsr_serve.threads import Threads, ended
from repsr_serve.throughput import Throughput

Made = TypeVar("Made")

MEMORY_SHARE = 1 / 3
"""Of the machine's memory: the budget when none is given."""
UPLOADS_SHARE = 1 / 8
"""Of the budget: for pictures as they come in."""
LARGE_THREADS, BACKGROUND_THREADS = 4, 2
"""Large pictures and jobs in networks at a time; more of them would only share the same batches."""
WORKER_SLACK_BYTES = 2**28
"""Address space of a codec worker that is never touched."""


class Service:
    """Everything behind HTTP. For one event loop, to be started once.

    Raises:
        UsageError: settings that cannot work together.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        total = settings.memory or int(memory_bytes() * MEMORY_SHARE)
        uploads = int(total * UPLOADS_SHARE)
        if uploads < settings.max_bytes:
            raise UsageError(
                f"memory is {total} bytes, of which uploads have {uploads}, less than max_bytes {settings.max_bytes}; "
                f"expected at least {math.ceil(settings.max_bytes / UPLOADS_SHARE)} bytes, or a smaller max_bytes"
            )
        self.memory_bytes = total
        """For pictures, uploads included."""
        self.throughput = Throughput()
        self.admission = Admission(
            queue=settings.queue, uploads_bytes=uploads, retry_after_s=self.throughput.retry_after_s
        )
        self.metrics = Metrics()
        watch_admission(self.metrics, self.admission)
        self.models: Mapping[str, ServedModel] = {}
        """By name, in the order of the settings; empty unless started."""
        self._pipeline: Pipeline | None = None
        self._parts = AsyncExitStack()
        self._errands = Errands()

    @property
    def ready(self) -> bool:
        """Whether requests are taken: every model has run, and nobody has said to stop."""
        return self.admission.state == "open"

    async def start(self) -> None:
        """Open the models, start the codec's workers, and take a picture through every model.

        Raises:
            UsageError, RuntimeUnavailableError, ModelFileError: a model that cannot be opened or used, or settings
                under which no picture could be served. Nothing is left running then.
        """
        keep_little()
        async with AsyncExitStack() as parts:
            self.models = await _opened(self.settings, self.metrics)
            parts.callback(close_models, self.models)
            budget = self._budget()
            threads = Threads(
                {
                    Lane.SMALL: self.settings.queue,
                    Lane.LARGE: LARGE_THREADS,
                    Lane.BACKGROUND: BACKGROUND_THREADS,
                }
            )
            parts.callback(threads.close)
            codec = Codec(
                workers=self.settings.workers,
                memory_bytes=budget.most(Lane.LARGE) + WORKER_SLACK_BYTES,
                on_death=self.metrics.worker_died,
            )
            parts.push_async_callback(self._errands.ended)
            parts.push_async_callback(codec.close)
            await codec.start()
            self._pipeline = Pipeline(
                models=self.models,
                codec=codec,
                budget=budget,
                threads=threads,
                throughput=self.throughput,
                max_factor=self.settings.max_factor,
                max_wait_s=self.settings.max_wait,
            )
            watch_pipeline(self.metrics, self._pipeline)
            await self._warm_up(self._pipeline)
            self._parts = parts.pop_all()
        self.admission.state = "open"

    def drain(self) -> None:
        """Refuse new requests from now on; those under way go on."""
        self.admission.state = "stopping"

    async def stop(self) -> None:
        """Give up what is still under way, and end every thread and process. May be called again."""
        self.drain()
        self._errands.cancel()
        self._pipeline = None
        await self._parts.aclose()
        for name in self.models:
            self.metrics.model_loaded(name, loaded=False)
        self.models = {}

    def pick(self, order: Order) -> ServedModel:
        """The model that an order means.

        Raises:
            Problem: `not-found`, `starting` or `stopping`.
        """
        return pick(self._running().models, order)

    async def plan(self, encoded: Buffer, order: Order, *, max_pixels: int) -> tuple[ServedModel, Plan]:
        """What a job would make of a picture, by its header alone.

        Raises:
            Problem: whatever would stand in the way from the start.
        """
        pipeline = self._running()

        async def work() -> tuple[ServedModel, Plan]:
            with Buffer(os.dup(encoded.fd)) as source:
                model, plan = await pipeline.plan(source, order, max_pixels)
                pipeline.lane(plan.source.pixels, pipeline.needed_bytes(source, plan, model), background=True)
            return model, plan

        return await self._run(work(), Errand(ticket=Ticket()))

    async def upscale(
        self,
        encoded: Buffer,
        order: Order,
        *,
        max_pixels: int,
        background: bool = False,
        patient: bool = False,
        progress: Progress | None = None,
    ) -> Result:
        """Enlarge a picture. To give it up, cancel the task: what works on it then ends by itself.

        Args:
            encoded: its file, which stays the caller's to close, at any time.
            max_pixels: most pixels that it may have by its header.
            background: whether it is a job, which has the least share of the machine, and as much time as it takes.
            patient: whether it waits behind any backlog: a job, and one of several pictures of a request.
            progress: see `Progress`.

        Raises:
            Problem: whatever stands in the way.
        """
        pipeline = self._running()
        errand = Errand(
            ticket=Ticket(background=background),
            background=background,
            patient=patient or background,
            progress=progress or nobody,
        )

        async def work() -> Result:
            with Buffer(os.dup(encoded.fd)) as source:  # the caller may close its own when it gives up
                return await pipeline.upscale(source, order, max_pixels, errand)

        result = await self._run(work(), errand, lambda result: result.encoded.close())
        for stage, seconds in result.timings_s.items():
            self.metrics.stage_done(stage, seconds)
        return result

    async def infer(self, model: str, batch: NDArray[Any]) -> NDArray[Any]:
        """Enlarge a batch of images as `Upscaler` does, one by one, their tiles in batches with those of others.

        Args:
            model: a served name.
            batch: float32, N x C x H x W in 0..1 (clipped), or uint8, N x H x W x C; C is 1 (gray), 2 (gray, alpha),
                3 (RGB) or 4 (RGB, alpha). All images together may have `Settings.max_pixels`. Not changed meanwhile.

        Returns:
            The same type and layout, with sides `scale` times as long. The memory counts until it is garbage.

        Raises:
            Problem: whatever stands in the way.
        """
        pipeline = self._running()
        served = self.pick(Order(model=model))
        errand = Errand(ticket=Ticket())
        work = infer(pipeline, served, batch, max_pixels=self.settings.max_pixels, errand=errand)
        return await self._run(work, errand)

    def _running(self) -> Pipeline:
        if self._pipeline is None:
            self.admission.check_open()
            raise AssertionError("the service is open, and has no pipeline")
        return self._pipeline

    async def _run(
        self, work: Coroutine[Any, Any, Made], errand: Errand, discard: Callable[[Made], None] = lambda _: None
    ) -> Made:
        """Wait for an errand; whatever goes wrong becomes a `Problem`."""
        timeout_s = None if errand.background else self.settings.timeout
        with as_problems(self.admission):
            return await self._errands.run(work, errand.ticket, timeout_s=timeout_s, discard=discard)

    def _budget(self) -> Budget:
        """Memory for pictures, of which jobs leave as much as one ordinary picture takes.

        Raises:
            UsageError: not even that fits.
        """
        model = min(self.models.values(), key=lambda model: model.info.scale)
        pixels = self.settings.max_pixels
        needed = _ordinary_bytes(pixels, model)
        budget = Budget(self.memory_bytes - self.admission.uploads_bytes, foreground_bytes=needed)
        most = budget.most(Lane.LARGE)
        if needed > most:
            fitting = bisect.bisect_right(range(pixels), most, lo=1, key=lambda pixels: _ordinary_bytes(pixels, model))
            raise UsageError(
                f"a picture of max_pixels {pixels}, {model.info.scale} times enlarged, takes {needed} bytes of memory, "
                f"and {most} of {self.memory_bytes} are for such pictures; expected at most {fitting - 1} pixels, or "
                f"{math.ceil(1.001 * self.memory_bytes * needed / most)} bytes of memory"
            )
        return budget

    async def _warm_up(self, pipeline: Pipeline) -> None:
        """Take a picture all the way through every model."""
        picture = Picture(image_hwc=photograph_like(FAST_TILE, FAST_TILE))
        for name, model in self.models.items():
            await pipeline.threads.run(Lane.SMALL, Ticket(), model.batcher.warm_up)
            with await pipeline.codec.encode(picture, "png") as encoded:
                result = await pipeline.upscale(
                    encoded, Order(model=name), FAST_TILE**2, Errand(ticket=Ticket(), patient=True)
                )
            result.encoded.close()


def _ordinary_bytes(pixels: int, model: ServedModel) -> int:
    """What a photograph takes that becomes a PNG."""
    side = math.isqrt(pixels)
    header = Header(format="png", width=side, height=math.ceil(pixels / side), channels=3, sample_bytes=1)
    plan = plan_picture(header, Order(), model.info, max_pixels=header.pixels, max_factor=MAX_FACTOR)
    return picture_bytes(plan, model.info, model.batcher.plan)


async def _opened(settings: Settings, metrics: Metrics) -> dict[str, ServedModel]:
    """The models, opened in a thread; closed again if nobody waits for them any more."""
    with ThreadPoolExecutor(1, "open-models") as pool:
        future = pool.submit(open_models, settings, metrics)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(_close_opened)
            await ended(future)
            raise


def _close_opened(future: Future[dict[str, ServedModel]]) -> None:
    if not future.cancelled() and future.exception() is None:
        close_models(future.result())
