"""The kernels on a GPU against a plain copy and PyTorch: every byte compared with what the reference writes.

Not yet measured on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from repsr_deploy.bench.kernels.bandwidth import useful_bytes
from repsr_deploy.bench.kernels.device_clock import DeviceClock, launches_for
from repsr_deploy.bench.kernels.device_memory import DeviceMemory, Operation, sets_beyond_cache
from repsr_deploy.bench.kernels.torch_ways import TorchWork, torch_ways
from repsr_deploy.bench.kernels.ways import KERNEL, Timer, Way, Work, attempt, compare_ways
from repsr_deploy.bench.report import Row
from repsr_deploy.errors import ProofError
from repsr_kernels.gpu.pipeline.stages import named_errors

HOT = f"{KERNEL}, the same memory again"
"""What of it fits into the GPU's cache is found there."""
COPY = "copy of as many bytes"


class Card:
    """A GPU to measure on; its context is current wherever this is used.

    Args:
        cuda: the module `pycuda.driver`.
        name: as NVIDIA calls it.
        cache_bytes: that it keeps of its memory near at hand.
        most_launches: that are timed at once.
    """

    def __init__(self, cuda: Any, name: str, *, cache_bytes: int, most_launches: int) -> None:
        self.cuda = cuda
        self.name = name
        self.clock = DeviceClock(cuda)
        self.memory = DeviceMemory(cuda, 0)
        self.most_launches = most_launches
        self.cache_bytes = cache_bytes

    def way(
        self, by: str, enqueue: Callable[[int], None], moved: int, launches: int, verified_db: float | None = None
    ) -> Way:
        """A way whose launches are recorded, and timed by the GPU's clock."""
        with named_errors(self.cuda, by):
            replay = self.clock.recorded(enqueue, launches)
        return Way(by=by, run=lambda: self.clock.seconds(replay, launches), verified_db=verified_db, useful_bytes=moved)

    def copying(self, moved: int, sets: int, launches: int) -> Way:
        """A copy that reads half of so many bytes, and writes half."""
        size = moved // 2
        with named_errors(self.cuda, COPY):
            buffers = [(self.cuda.mem_alloc(size), self.cuda.mem_alloc(size)) for _ in range(sets)]

        def copy(index: int) -> None:
            target, source = buffers[index % sets]
            self.cuda.memcpy_dtod_async(target, source, size, self.clock.stream)

        return self.way(COPY, copy, moved, launches)


def measure_copy(card: Card, size: int, timer: Timer) -> list[Row]:
    """A copy of so many bytes within the GPU's memory."""
    work = Work(where=card.name, what="copy", data=f"{size / 2**20:,.0f} MiB", size="")
    try:
        return compare_ways(work, [card.copying(2 * size, sets=1, launches=4)], timer)
    finally:
        card.clock.forget()


def measure_operation(
    card: Card,
    work: Work,
    operation: Operation,
    in_torch: TorchWork | None,
    timer: Timer,
) -> list[Row]:
    """The kernel, with the GPU's cache of no use to it and of use, a copy of as many bytes, and PyTorch, in turns.

    Args:
        operation: on the host's memory, carried out there by the reference.
        in_torch: the same work, where PyTorch can do it.
    """
    moved = useful_bytes(operation)
    sets = sets_beyond_cache(moved, card.cache_bytes)
    launches = launches_for(moved, sets, card.most_launches)
    ways = attempt([KERNEL, HOT], lambda: _kernel_ways(card, operation, moved, sets, launches))
    ways += attempt([COPY], lambda: [card.copying(moved, sets, launches)])
    if in_torch is not None:
        ways += torch_ways(in_torch, card.clock, sets=sets, launches=launches, moved=moved)
    try:
        return compare_ways(work, ways, timer)
    finally:
        card.clock.forget()


def _kernel_ways(card: Card, operation: Operation, moved: int, sets: int, launches: int) -> list[Way]:
    """With all sets in turn, and with one; once what it writes is compared."""
    from repsr_kernels.gpu.launch import prepare

    with named_errors(card.cuda, "the kernel's memory"):
        copies = [card.memory.copy_of(operation) for _ in range(sets)]
    prepared = [prepare(copy) for copy in copies]

    def launch(index: int) -> None:
        prepared[index % sets].enqueue(card.clock.stream)

    launch(0)
    with named_errors(card.cuda, KERNEL):
        card.clock.stream.synchronize()
    differing = card.memory.differing(copies[0], operation)
    if differing:
        raise ProofError(f"{differing} bytes differ from those that the reference writes")
    return [
        card.way(KERNEL, launch, moved, launches, math.inf),
        card.way(HOT, lambda _: launch(0), moved, launches, math.inf),
    ]
