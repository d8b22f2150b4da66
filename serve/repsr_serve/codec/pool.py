"""Pictures are read and written in processes of their own: away from the event loop, and out of harm's way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from repsr_deploy.errors import RepsrError
from repsr_deploy.imaging.container import WebFormat
from repsr_deploy.imaging.image_bytes import MAX_PIXELS, QUALITY, Image
from repsr_deploy.imaging.picture import Picture
from repsr_serve.buffers import Buffer
from repsr_serve.codec.errors import REPORTED, WorkerDied
from repsr_serve.codec.header import Header
from repsr_serve.codec.picture import SharedPicture, map_image
from repsr_serve.codec.slot import START_LIMIT_S, Job, Slot
from repsr_serve.codec.wire import Message
from repsr_serve.codec.work import granted_s, most_work_of, niceness_of, work_of_file

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""How many workers may die of one picture."""
_COPIED_AT_ONCE_BYTES = 2**20  # by the event loop itself, in a third of a millisecond


class Codec:
    """Reads and writes pictures in worker processes.

    One worker of four, and one at least of two or more, takes small pictures only, so that these never wait behind
    large ones; the others run at a lower priority. Of three or more, one of four and one at least takes what is huge,
    so that large ones do not wait for that. What waits is not bounded here, but by the callers. A worker that dies is
    replaced, and its picture is tried once more. Cancelling a call drops its result; its worker finishes it.

    To be started once; all calls are made from the event loop that `start` ran in.

    Args:
        workers: number of processes.
        memory_bytes: that each may take for the picture in its hands, beyond what it takes when it starts.
        limit_s: after which a worker that is still at a picture is ended; larger pictures are granted more.
        on_death: called whenever a worker has died, or could not be started.
    """

    def __init__(
        self,
        *,
        workers: int,
        memory_bytes: int,
        limit_s: float = 60.0,
        on_death: Callable[[], None] | None = None,
    ) -> None:
        self._slots = [
            Slot(
                memory_bytes=memory_bytes,
                niceness=niceness_of(most_work),
                most_work=most_work,
                on_idle=self._dispatch,
                on_death=self._died,
            )
            for most_work in most_work_of(workers)
        ]
        self._limit_s = limit_s
        self._tell_death = on_death
        self._died_once = asyncio.Event()
        self._copier = ThreadPoolExecutor(1, "codec-copy")
        self._jobs: set[Job] = set()
        self._waiting = deque[Job]()
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the workers and wait until all are ready.

        Raises:
            RepsrError: one of them does not start.
        """
        self._keepers = [asyncio.create_task(slot.keep()) for slot in self._slots]
        ready = asyncio.gather(*(slot.ready.wait() for slot in self._slots))
        death = asyncio.ensure_future(self._died_once.wait())
        try:
            await asyncio.wait((ready, death), timeout=START_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise RepsrError("a codec worker does not start; what it said is above")
        except BaseException:
            await self.close()
            raise
        finally:
            ready.cancel()
            death.cancel()

    async def close(self) -> None:
        """End all workers, whatever they do, and wait for that. Calls under way raise `WorkerDied`."""
        keepers, self._keepers = self._keepers, []
        for job in list(self._jobs):
            _fail(job, WorkerDied("the service stops, so the picture is not done; ask again later"))
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        await asyncio.to_thread(self._copier.shutdown)

    @property
    def alive(self) -> int:
        """Workers that have started and not died."""
        return sum(slot.ready.is_set() for slot in self._slots)

    @property
    def pids(self) -> list[int]:
        """Processes, those that are starting included."""
        return [slot.pid for slot in self._slots if slot.pid is not None]

    @property
    def waiting(self) -> int:
        """Calls that wait for a worker."""
        return len(self._waiting)

    async def probe(self, encoded: Buffer) -> Header:
        """Read what a file says about its picture, to its end but without decoding.

        Raises:
            UnknownFormatError: empty, or no PNG, JPEG or WebP.
            ImageFileError: cut off, damaged, or without pixels.
            WorkerDied: two workers died of it, or one took too long.
        """
        answer = await self._run({"job": "probe"}, [encoded], work_of_file(encoded))
        return Header(**answer.words)

    async def decode(self, encoded: Buffer, header: Header) -> SharedPicture:
        """Decode a picture, as `decode_image` does.

        Args:
            header: what `probe` said; a picture of more pixels is refused.

        Raises:
            ImageFileError: damaged, or too large for a worker's memory.
            WorkerDied: two workers died of it, or one took too long.
        """
        words = {"job": "decode", "max_pixels": min(header.pixels, MAX_PIXELS)}
        answer = await self._run(words, [encoded], max(header.pixels, work_of_file(encoded)))
        pixels, *profile = answer.buffers
        image = map_image(pixels, tuple(answer.words["shape"]), answer.words["dtype"])
        icc_profile = bytes(profile[0].map()) if profile else None
        for buffer in profile:
            buffer.close()
        return SharedPicture(image_hwc=image, icc_profile=icc_profile, buffer=pixels)

    async def encode(self, picture: Picture, form: WebFormat, quality: int = QUALITY) -> Buffer:
        """Encode a picture, as `encode_image` does.

        Args:
            picture: its samples must not change meanwhile. Those of a `SharedPicture` are not copied for it.

        Returns:
            The file; the caller closes it.

        Raises:
            UsageError: another quality or array.
            ImageFileError: too large for the format, or for a worker's memory.
            WorkerDied: two workers died of it, or one took too long.
        """
        image = picture.image_hwc
        words = {"job": "encode", "shape": image.shape, "dtype": image.dtype.name, "format": form, "quality": quality}
        profile = [] if picture.icc_profile is None else [Buffer.of(picture.icc_profile)]
        own = [*profile]
        try:
            if isinstance(picture, SharedPicture):
                pixels = picture.buffer
            else:
                pixels = await self._copied(image)
                own.append(pixels)
            (encoded,) = (await self._run(words, [pixels, *profile], math.prod(image.shape[:2]))).buffers
        finally:
            for buffer in own:
                buffer.close()
        return encoded

    async def _copied(self, image: Image) -> Buffer:
        """The samples in a buffer, in C order."""
        self._check_running()
        if image.nbytes <= _COPIED_AT_ONCE_BYTES:
            return _copy(image)
        return await asyncio.get_running_loop().run_in_executor(self._copier, _copy, image)

    async def _run(self, words: dict[str, Any], buffers: Sequence[Buffer], work: int) -> Message:
        """Have a job done. The buffers stay the caller's, who may close them at any time."""
        self._check_running()
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        limit_s = self._limit_s + granted_s(work)
        request = Message({**words, "limit_s": limit_s}, [Buffer(os.dup(buffer.fd)) for buffer in buffers])
        job = Job(request, work, limit_s, answer)
        self._jobs.add(job)
        self._waiting.append(job)
        try:
            self._dispatch()
            message = await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                answer.result().close()
            raise
        finally:
            self._jobs.remove(job)
            with contextlib.suppress(ValueError):
                self._waiting.remove(job)
            job.request.close()
        return _checked(message)

    def _dispatch(self) -> None:
        """Give idle workers the oldest that they take; those for small pictures come first, to keep the others free."""
        for slot in self._slots:
            job = next((job for job in self._waiting if job.work <= slot.most_work), None) if slot.idle else None
            if job is not None:
                self._waiting.remove(job)
                slot.run(job)

    def _check_running(self) -> None:
        if not self._keepers:
            raise WorkerDied("the codec is not running, so the picture is not done; start it first")

    def _died(self, job: Job | None) -> None:
        self._died_once.set()
        if self._tell_death is not None:
            asyncio.get_running_loop().call_soon(self._tell_death)
        if job is None or job.answer.done():
            return
        job.deaths += 1
        if job.late:
            _fail(job, WorkerDied("a picture took longer than its worker may; expected one that is read in that time"))
        elif job.deaths == ATTEMPTS:
            _fail(job, WorkerDied(f"{ATTEMPTS} workers ended while they had the picture; try another one"))
        else:
            log.warning("a codec worker died; its picture is tried once more")
            self._waiting.appendleft(job)
            self._dispatch()


def _fail(job: Job, error: Exception) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)


def _copy(image: Image) -> Buffer:
    buffer = Buffer()
    buffer.write(np.ascontiguousarray(image).data.cast("B"))
    return buffer


def _checked(message: Message) -> Message:
    """An answer that is none of an error; its remarks go into the log."""
    for line in message.words.pop("log", ()):
        log.info("of a picture: %.200r", line)
    if "error" in message.words:
        raise REPORTED[message.words["error"]](message.words["message"])
    if "defect" in message.words:
        raise RuntimeError(f"a codec worker failed:\n{message.words['defect']}")
    return message
