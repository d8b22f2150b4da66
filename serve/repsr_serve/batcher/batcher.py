"""The threads that take batches out of the queue and run them."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.imaging.tiling import FAST_TILE
from repsr_deploy.runtimes.base import Runtime
from repsr_deploy.runtimes.finished import finished
from repsr_serve.batcher.observer import BatchObserver
from repsr_serve.batcher.plan import plan_batches
from repsr_serve.batcher.queue import FairQueue, Flow
from repsr_serve.batcher.shared import SharedRuntime
from repsr_serve.batcher.ticket import Cancelled, Ticket

log = logging.getLogger(__name__)

SMALL_TILES = 16
"""A picture of fewer tiles has so much more weight beside others that it is done while each of them gets a tile or two.
Small pictures among large ones, 1 thread of two cores, p99: 132 to 167 ms with equal weights, 37 ms without load."""
BACKGROUND_WEIGHT = 0.25
"""The share of a job, where the request of a large picture has 1."""


@dataclass(eq=False, kw_only=True)
class _Share:
    """A request's part in the batcher."""

    ticket: Ticket
    flow: Flow
    expected: int = 0
    """Its tiles that are still to come, or inside."""
    inside: int = 0
    """Its tiles that wait or are being computed."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Tile:
    share: _Share
    batch: NDArray[Any]
    """Of this tile alone: uint8, 1 x H x W x C, or float32, 1 x C x H x W."""
    done: Future[Any] = field(default_factory=Future[Any])

    @property
    def lane(self) -> tuple[str, tuple[int, ...]]:
        """What tiles of one batch have in common."""
        return self.batch.dtype.name, self.batch.shape

    @property
    def pixels(self) -> int:
        height, width = self.batch.shape[1:3] if self.batch.dtype == np.uint8 else self.batch.shape[2:]
        return height * width


class Batcher:
    """Runs the tiles of all requests, in batches and in fair turns (`queue.FairQueue`). Safe to call from all threads.

    A batch closes when it is full, or `delay_s` after its first tile came, or at once when no other tile is to be
    expected, as each request that is under way has as many inside as it gives at a time. When it fails, its tiles run
    one by one, so that an error reaches none but the request that is to blame.

    Memory is bounded by the number of requests: each has at most `plan.in_flight` tiles inside. One batch takes up to
    `plan.batch_pixels` times `imaging.memory.bytes_per_pixel`, or what a whole picture takes that cannot be tiled.

    Args:
        runtime: that computes.
        tile: sides of every tile, halo included, LR pixels; None for what is best here (`plan.BatchPlan`).
        batch: most tiles of a batch; None likewise.
        delay_s: how long a tile may wait for others to fill its batch.
        observer: is told of every batch.
        threads: processor threads for what is done beside the network; None for one per core.

    Raises:
        UsageError: the runtime, or the model, does not allow such tiles or batches.
        ModelFileError: not a model that upscales images in 0..1.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        tile: int | None = None,
        batch: int | None = None,
        delay_s: float = 0.003,
        observer: BatchObserver | None = None,
        threads: int | None = None,
    ) -> None:
        self.plan = plan_batches(runtime, tile=tile, batch=batch)
        self.runtime = finished(runtime, threads=threads)
        """What computes: for a model of io `features`, with the kernels that make pictures of them."""
        self._delay_s, self._observer = delay_s, observer
        self._changed = threading.Condition()
        """Held for whatever follows."""
        self._queue: FairQueue[_Tile] = FairQueue(credit=self.plan.batch_pixels)
        self._expecting: set[_Share] = set()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batcher-{self.runtime.info.name}-{index}", daemon=True)
            for index in range(self.plan.concurrency)
        ]
        for thread in self._threads:
            thread.start()

    def share(self, ticket: Ticket) -> Runtime:
        """A runtime for one request, to be given to an `Upscaler`. It costs next to nothing.

        `run` and `run_images` wait until all that they were given has been computed, and raise `Cancelled` when the
        ticket is cancelled or the batcher closed.
        """
        share = _Share(ticket=ticket, flow=Flow(BACKGROUND_WEIGHT if ticket.background else 1.0))
        ticket.when_cancelled(partial(self._drop, share))
        return SharedRuntime(self.runtime, self.plan, partial(self._submit, share), partial(self._expect, share))

    @property
    def queued(self) -> int:
        """Tiles that wait."""
        return len(self._queue)

    def warm_up(self) -> None:
        """Run a batch of every size in 8 bits, and one of floats: what a runtime prepares for them is then there.

        Raises:
            RepsrError: the runtime cannot run the model.
            MemoryError: not enough memory for a full batch.
        """
        limits, side = self.runtime.limits, self.plan.tile_side or FAST_TILE
        _, height, width = (1, side, side) if limits is None else limits.nearest(1, side, side)
        image_hwc = photograph_like(height, width)[..., : 3 if self.runtime.info.colour == "rgb" else 1]
        for count in range(self.plan.least, self.plan.capacity + 1):
            self.runtime.run_images(np.stack([image_hwc] * count))
        planes = image_hwc.transpose(2, 0, 1).astype(np.float32) / 255
        self.runtime.run(np.stack([planes] * self.plan.least))

    def close(self, *, finish: bool = True) -> None:
        """Take no more tiles, and return when all threads have ended. May be called again.

        Args:
            finish: compute the tiles that wait; otherwise whoever waits for one gets `Cancelled`.
        """
        with self._changed:
            self._closing = True
            unwanted = [] if finish else self._queue.clear()
            self._changed.notify_all()
        _cancel(unwanted)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Batcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(finish=error is None)

    def _submit(self, share: _Share, batch: NDArray[Any]) -> Future[Any]:
        """Let a tile wait for its turn."""
        tile = _Tile(share=share, batch=batch)
        with self._changed:
            if share.ticket.cancelled or self._closing:
                raise Cancelled
            share.inside += 1
            self._queue.add(share.flow, tile.lane, tile, pixels=tile.pixels, now_s=time.monotonic())
            self._changed.notify_all()
        return tile.done

    def _expect(self, share: _Share, tiles: int) -> None:
        with self._changed:
            if tiles > share.expected and not share.ticket.background:
                share.flow.weight = max(1.0, SMALL_TILES / tiles)
            share.expected = tiles
            if tiles and not share.ticket.cancelled:
                self._expecting.add(share)
            else:
                self._expecting.discard(share)
            self._changed.notify_all()

    def _drop(self, share: _Share) -> None:
        with self._changed:
            unwanted = self._queue.drop(share.flow)
            self._expecting.discard(share)
            self._changed.notify_all()
        _cancel(unwanted)

    def _work(self) -> None:
        while self._run_next():
            pass  # nothing of a batch stays here while the next one is waited for

    def _run_next(self) -> bool:
        """Wait for a batch and run it; False when there will be none."""
        with self._changed:
            while not self._is_due():
                if self._closing and not self._queue:
                    return False
                self._changed.wait(self._patience_s())
            tiles = self._queue.take(self.plan.capacity)
        self._run(tiles)
        return True

    def _is_due(self) -> bool:
        """Whether there is a batch that need not wait."""
        return bool(self._queue) and (
            self._queue.batch_size(self.plan.capacity) == self.plan.capacity
            or self._closing
            or self._patience_s() == 0
            or not any(share.inside < min(share.expected, self.plan.in_flight) for share in self._expecting)
        )

    def _patience_s(self) -> float | None:
        """How long the tiles that wait may go on waiting for others; None for ever."""
        return max(0.0, self._queue.oldest_s + self._delay_s - time.monotonic()) if self._queue else None

    def _run(self, tiles: list[_Tile]) -> None:
        """Compute a batch and empty it; tile by tile when it fails.

        An error keeps the frames in which it was caught, so none of them may keep the tile that waits for the error:
        the request's picture would stay in memory until the next gc.collect().
        """
        size, pixels = len(tiles), sum(tile.pixels for tile in tiles)
        start = time.perf_counter()
        try:
            made = self._compute([tile.batch for tile in tiles])
        except Exception as error:  # whatever it is, it is raised where somebody waits for the tile
            if size == 1:
                self._deliver(tiles.pop(), error)
            else:
                log.warning("a batch of %d tiles failed, which now run one by one: %s", size, error)
        else:
            seconds = time.perf_counter() - start
            for output in made:
                self._deliver(tiles.pop(0), output)
            self._observe(size, pixels, seconds)
        while tiles:
            self._run([tiles.pop(0)])

    def _compute(self, tiles: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """What the runtime makes of each tile. An engine that wants more than there are gets the last one again."""
        all_tiles = tiles + tiles[-1:] * (self.plan.least - len(tiles))
        batch = np.concatenate(all_tiles) if len(all_tiles) > 1 else tiles[0]
        outputs = self.runtime.run_images(batch) if batch.dtype == np.uint8 else self.runtime.run(batch)
        return [outputs[index : index + 1] for index in range(len(tiles))]

    def _deliver(self, tile: _Tile, outcome: NDArray[Any] | Exception) -> None:
        with self._changed:
            tile.share.inside -= 1
        if tile.share.ticket.cancelled:
            _cancel([tile])
        elif isinstance(outcome, Exception):
            tile.done.set_exception(outcome)
        else:
            tile.done.set_result(outcome)

    def _observe(self, tiles: int, pixels: int, seconds: float) -> None:
        if self._observer is None:
            return
        try:
            self._observer.batch_done(self.runtime.info.name, tiles, self.plan.capacity, pixels, seconds)
        except Exception:  # whatever it is, the tiles of others go on
            log.exception("the observer of batches failed")


def _cancel(tiles: list[_Tile]) -> None:
    for tile in tiles:
        tile.done.set_exception(Cancelled())
