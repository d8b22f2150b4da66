"""Everything that one frame at a time needs on the GPU, kept for the next frame of the same kind.

Not yet measured on a GPU.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.gpu.context import GpuContext
from repsr_kernels.gpu.driver import CudaError, CudaGraph
from repsr_kernels.gpu.launch import Prepared, prepare
from repsr_kernels.gpu.pipeline.job import Job, operations
from repsr_kernels.gpu.pipeline.networks import DeviceNetwork, NetworkLane
from repsr_kernels.gpu.pipeline.stages import Streams

log = logging.getLogger(__name__)

_NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING: cheaper to record


class Slot:
    """Memory, launches and events of one frame. Not for two threads at once; the CUDA context is current in every call.

    A job's first frame is launched kernel by kernel; when the next one is alike, the kernels of all its tiles and the
    network are recorded as a CUDA graph, which then is one launch. There is one graph, that of the last job.
    """

    def __init__(self, gpu: GpuContext, network: DeviceNetwork, streams: Streams) -> None:
        self._cuda, self._network, self._streams = gpu.cuda, network, streams
        self._uploaded, self._computed, self._downloaded = (gpu.cuda.Event(_NO_TIMING) for _ in range(3))
        self._ordinal = gpu.primary.ordinal
        self._lane: NetworkLane | None = None
        self.job: Job | None = None
        """What is prepared; None where nothing is."""
        self.turn = 0
        """Number of the frame that was started last."""
        self._forget()

    def prepare(self, job: Job) -> None:
        """Make ready for frames of a kind.

        Raises:
            UsageError: tiles or formats that cannot be computed.
            MemoryError: no memory on the GPU, or none that can be locked.
            CudaError: the network or the driver fails.
        """
        if job == self.job:
            return
        self._forget()
        cuda, network = self._cuda, self._network
        self._lane = self._lane or network.lane(self._streams.compute.handle)
        given, features = self._lane.prepare(job.input_shape)
        self._host = cuda.pagelocked_empty((job.source.nbytes,), np.uint8)
        self._source, self._result = cuda.mem_alloc(job.source.nbytes), cuda.mem_alloc(job.result_bytes)
        self._counter = int(self._result) + job.counter
        done = operations(
            job,
            network,
            source=job.source.picture(int(self._source), self._ordinal, self._source),
            out=job.out.picture(int(self._result), self._ordinal, self._result),
            given=given,
            features=features,
            nonfinite=self._counter,
        )
        self._launches = [(prepare(before), prepare(after)) for before, after in done]
        self.job = job

    def fill(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Copy a frame to where it is uploaded from."""
        assert self.job is not None
        for target, array in zip(self.job.source.arrays(self._host), arrays, strict=True):
            np.copyto(target, array)

    def start(self, result: NDArray[np.uint8]) -> int:
        """Put all stages of the frame on their streams; returns its turn.

        Args:
            result: page-locked memory of the job's `result_bytes`.

        Raises:
            MemoryError, CudaError: something cannot be launched; what was is still under way.
        """
        streams = self._streams
        self.upload()
        self._uploaded.record(streams.upload)
        streams.compute.wait_for_event(self._uploaded)
        self.compute()
        self._computed.record(streams.compute)
        streams.download.wait_for_event(self._computed)
        self.download(result)
        self._downloaded.record(streams.download)
        self.turn += 1
        return self.turn

    def wait(self, turn: int) -> None:
        """Until the frame of a turn has been downloaded: one before the last is, because the slot was taken again."""
        if turn == self.turn and turn > 0:
            self._downloaded.synchronize()

    def upload(self) -> None:
        """The first stage, alone."""
        self._cuda.memcpy_htod_async(self._source, self._host, self._streams.upload)

    def compute(self) -> None:
        """The second stage, alone."""
        lane, handle = self._lane, self._streams.compute.handle
        if lane is not None and self._computed_once and self._graph is None and lane.capturable and self._records:
            self._record(handle)
        if self._graph is None:
            self._enqueue()
        else:
            self._graph.launch(handle)
        self._computed_once = True

    def download(self, result: NDArray[np.uint8]) -> None:
        """The third stage, alone."""
        self._cuda.memcpy_dtoh_async(result, self._result, self._streams.download)

    def reset(self) -> None:
        """After an error: give everything back, when nothing is under way any more."""
        self._forget()
        if self._lane is not None:
            self._lane.close()
            self._lane = None

    def _enqueue(self) -> None:
        stream = self._streams.compute
        assert self._lane is not None
        self._cuda.memset_d32_async(self._counter, 0, 2, stream)
        for before, after in self._launches:
            before.enqueue(stream.handle)
            self._lane.enqueue()
            after.enqueue(stream.handle)

    def _record(self, handle: int) -> None:
        try:
            self._graph = CudaGraph.record(handle, self._enqueue)
        except (CudaError, self._cuda.Error) as error:
            self._records = False
            log.warning("%s runs without CUDA graphs: %s", self._network.name, error)

    def _forget(self) -> None:
        """Free what belongs to the last job."""
        if self.job is not None and self._graph is not None:
            self._graph.close()
        self.job = None
        self._graph: CudaGraph | None = None
        self._records, self._computed_once = True, False
        self._launches: list[tuple[Prepared, Prepared]] = []
        self._host: Any = None
        self._source: Any = None
        self._result: Any = None
        self._counter = 0
