"""The clock of a GPU: launches recorded as one CUDA graph, timed by events on a stream."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from repsr_kernels.gpu.driver import CudaGraph

LONG_ENOUGH_S = 5e-3
"""What is timed at once should take about so long: events count in half microseconds."""
USUAL_BYTES_PER_S = 1e12
"""Of a GPU's memory, from which the number of launches is guessed."""
MOST_LAUNCHES = 400


def launches_for(moved: int, sets: int, most: int = MOST_LAUNCHES) -> int:
    """How many launches of `moved` bytes each are timed at once: a multiple of the sets that take turns."""
    wanted = min(math.ceil(LONG_ENOUGH_S * USUAL_BYTES_PER_S / moved), most)
    return math.ceil(wanted / sets) * sets


class DeviceClock:
    """Times what is put on its stream. Not yet measured on a GPU.

    Args:
        cuda: the module `pycuda.driver`; its context is current wherever this is used.
    """

    def __init__(self, cuda: Any) -> None:
        self.stream: Any = cuda.Stream()
        self._start, self._stop = cuda.Event(), cuda.Event()
        self._recorded: list[tuple[CudaGraph, Callable[[int], None]]] = []

    def recorded(self, enqueue: Callable[[int], None], launches: int) -> Callable[[], None]:
        """What puts `enqueue(0)` to `enqueue(launches - 1)` on the stream, at the cost of one call.

        `enqueue` stays, with the memory that it uses, until all is forgotten: a graph holds nothing but addresses.
        """

        def everything() -> None:
            for index in range(launches):
                enqueue(index)

        everything()  # compiled and loaded before it is recorded
        self.stream.synchronize()
        graph = CudaGraph.record(self.stream.handle, everything)
        self._recorded.append((graph, enqueue))
        return lambda: graph.launch(self.stream.handle)

    def seconds(self, replay: Callable[[], None], launches: int) -> float:
        """Of one launch, by the GPU's clock, where `replay` puts so many on the stream."""
        replay()  # while this runs, the rest is queued: no time of the host's is counted
        self._start.record(self.stream)
        replay()
        self._stop.record(self.stream)
        self._stop.synchronize()
        return self._stop.time_since(self._start) * 1e-3 / launches

    def forget(self) -> None:
        """Free what was recorded; none of it is running."""
        for graph, _ in self._recorded:
            graph.close()
        self._recorded.clear()
