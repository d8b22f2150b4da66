"""The slots of a pipeline, taken in turn, and the order in which their work goes on the streams.

Not yet measured on a GPU.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.errors import RepsrError, UsageError
from repsr_kernels.gpu.context import shared_context
from repsr_kernels.gpu.pipeline.frames import Batch, Frame, as_frame
from repsr_kernels.gpu.pipeline.job import Job
from repsr_kernels.gpu.pipeline.networks import DeviceNetwork
from repsr_kernels.gpu.pipeline.pinned import PinnedPool
from repsr_kernels.gpu.pipeline.slot import Slot
from repsr_kernels.gpu.pipeline.stages import StageTimes, Streams, named_errors
from repsr_kernels.gpu.pipeline.ticket import NonFiniteError, Ticket


class Ring:
    """See `GpuPipeline`, whose work it does; it lives as long as the pipeline or one of its tickets."""

    def __init__(self, network: DeviceNetwork, slots: int) -> None:
        self._network, self._gpu = network, shared_context()
        self._lock = threading.Lock()  # one thread at a time prepares, records and puts work on the streams
        self._frames = 0
        self._closed = False
        self._idle: SimpleQueue[Slot] = SimpleQueue()
        self._pool = PinnedPool(self._gpu, slots + 1)
        with self._current():
            self._streams = Streams.create(self._gpu.cuda)
            self._slots = [Slot(self._gpu, network, self._streams) for _ in range(slots)]
        for slot in self._slots:
            self._idle.put(slot)
        self._gpu.add(self)

    def submit(self, job: Job, batch: Batch) -> Ticket:
        """Start with a batch of frames, when a slot has become free.

        Raises:
            UsageError: tiles or a shape that cannot be computed, or the ring is closed.
        """
        with self._taken() as slot:
            try:
                return self._started(slot, job, batch)
            except UsageError:
                raise
            except (RepsrError, MemoryError) as error:
                return Ticket(_raising(error))

    def measure(self, job: Job, batch: Batch, runs: int) -> StageTimes:
        """See `GpuPipeline.measure`."""
        with self._taken() as slot, self._working(slot), self._lock:
            self._prepare(slot, job)
            self._streams.synchronize()
            result = self._pool.take(job.result_bytes)
            copy_s: list[float] = []
            for _ in range(runs):
                start = time.perf_counter()
                slot.fill(batch.arrays)
                copy_s.append(time.perf_counter() - start)
            return StageTimes(
                copy_s=copy_s,
                upload_s=self._timed(slot.upload, self._streams.upload, runs),
                compute_s=self._timed(slot.compute, self._streams.compute, runs),
                download_s=self._timed(lambda: slot.download(result), self._streams.download, runs),
            )

    def close(self) -> None:
        """Wait for all frames and free everything; tickets stay good."""
        if self._closed or self._gpu.primary.is_lost:
            return
        slots = [self._idle.get() for _ in self._slots]  # whoever submits right now comes to an end first
        self._closed = True
        with self._current():
            self._streams.synchronize()
            for slot in slots:
                slot.reset()
                self._idle.put(slot)
            self._network.release()
            self._pool.close()

    def _started(self, slot: Slot, job: Job, batch: Batch) -> Ticket:
        with self._working(slot):
            slot.wait(slot.turn)
            with self._lock:
                self._prepare(slot, job)
            slot.fill(batch.arrays)
            with self._lock:
                memory = self._pool.take(job.result_bytes)
                turn = slot.start(memory)
                number, self._frames = self._frames, self._frames + 1
        single = batch.single  # the caller's own arrays are needed no more

        def finish() -> Frame:
            if not self._closed:
                with self._current():
                    slot.wait(turn)
            self._check_finite(job, memory, number)
            return as_frame(job.out.arrays(memory), single=single)

        return Ticket(finish)

    def _check_finite(self, job: Job, memory: NDArray[np.uint8], number: int) -> None:
        count = int(memory[job.counter :].view(np.uint64)[0])
        if count:
            total = job.out.count * job.out.channels * job.out.height * job.out.width
            raise NonFiniteError(self._network.name, count, total, number)

    def _prepare(self, slot: Slot, job: Job) -> None:
        """Make a slot ready; where memory is short, others that are ready for something else give theirs back."""
        try:
            slot.prepare(job)
        except (MemoryError, self._gpu.cuda.MemoryError):
            slot.reset()
            if not self._release(job):
                raise
            slot.prepare(job)

    def _release(self, job: Job) -> bool:
        """Whether a slot that nobody has taken gave back memory for another kind of job."""
        released = False
        for slot in self._drained():
            if slot.job is not None and slot.job != job:
                slot.wait(slot.turn)
                slot.reset()
                released = True
            self._idle.put(slot)
        return released

    def _drained(self) -> list[Slot]:
        """All slots that nobody has taken."""
        slots: list[Slot] = []
        with suppress(Empty):
            while True:
                slots.append(self._idle.get_nowait())
        return slots

    def _timed(self, stage: Callable[[], None], stream: Any, runs: int) -> list[float]:
        """Seconds of each run of a stage by the GPU's own clock, one after the other; two runs before do not count."""
        cuda = self._gpu.cuda
        seconds: list[float] = []
        for _ in range(runs + 2):
            begin, end = cuda.Event(), cuda.Event()
            begin.record(stream)
            stage()
            end.record(stream)
            end.synchronize()
            seconds.append(begin.time_till(end) / 1e3)
        return seconds[2:]

    @contextmanager
    def _taken(self) -> Generator[Slot]:
        """The slot that has been at work for longest, for one frame."""
        slot = self._idle.get()
        try:
            if self._closed:
                raise UsageError(f"the pipeline of {self._network.name} is closed; expected an open one")
            yield slot
        finally:
            self._idle.put(slot)

    @contextmanager
    def _working(self, slot: Slot) -> Generator[None]:
        """With the CUDA context; after an error the slot begins anew, when nothing of it is under way any more."""
        with self._current():
            try:
                yield
            except BaseException:
                with suppress(RepsrError, self._gpu.cuda.Error):  # the error that is raised says more
                    self._streams.synchronize()
                    slot.reset()
                raise

    @contextmanager
    def _current(self) -> Generator[None]:
        with named_errors(self._gpu.cuda, self._network.name), self._gpu.current():
            yield


def _raising(error: Exception) -> Callable[[], Frame]:
    def fail() -> Frame:
        raise error

    return fail
