"""Frames through a network on a GPU, three at a time: one goes up while one is computed and one comes down.

Not yet measured on a GPU.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Self

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.pipeline.frames import Frame, FrameFormat, Layout, PictureFormat, VideoFormat, batch_of
from repsr_kernels.gpu.pipeline.job import Job
from repsr_kernels.gpu.pipeline.networks import DeviceNetwork
from repsr_kernels.gpu.pipeline.ring import Ring
from repsr_kernels.gpu.pipeline.stages import StageTimes
from repsr_kernels.gpu.pipeline.ticket import Ticket
from repsr_kernels.gpu.pipeline.tiles import Tile, checked_tiles, whole, yielded


class GpuPipeline:
    """Enlarges frames by a network on the first GPU. Safe to call from several threads.

    A frame is copied into page-locked memory, uploaded, and computed tile by tile: `Preprocess` reads the tile from the
    whole frame on the GPU, the network gives features, `FusedUpsample` writes their picture into the frame that is
    downloaded. These three stages run on streams of their own, so that frames overlap; memory, launches and CUDA graphs
    are kept while frames of the same kind come. An error belongs to its frame alone, except a GPU that failed so that
    this process cannot use it any more, which every later call says.

    Args:
        network: up to its last convolution; in no other pipeline at the same time.
        source: how frames come.
        out: how results go; None for the format of `source`.
        slots: frames that are under way at most.

    Raises:
        UsageError: fewer slots than one, or video of a network that knows no colours.
        ImportError: no PyCUDA.
        RuntimeUnavailableError: no GPU.
        CudaError: the driver fails.
    """

    def __init__(
        self,
        network: DeviceNetwork,
        *,
        source: FrameFormat | None = None,
        out: FrameFormat | None = None,
        slots: int = 3,
    ) -> None:
        if slots < 1:
            raise UsageError(f"slots is {slots}; expected at least 1")
        self._network, self._slots = network, slots
        self._source = source or PictureFormat()
        self._out = out or self._source
        if network.channels != 3 and isinstance(self._out, VideoFormat):
            raise UsageError(f"{network.name} gives {network.channels} channel; expected 3 for video frames")
        self._ring = Ring(network, slots)
        self._close = weakref.finalize(self, self._ring.close)
        self._close.atexit = False  # the context does that in its own time

    def submit(self, frame: Frame, tiles: Sequence[Tile] | None = None) -> Ticket:
        """Start with a frame; waits while all slots are busy. The frame is copied, and may be changed at once.

        Args:
            frame: as `source` says, of any size, strides included; a batch goes through the network in one go.
            tiles: what is computed at once, and what of the frame; None for all of it in one piece.

        Returns:
            A ticket for the result: in the format `out`, scale times as large as what the tiles yield together.

        Raises:
            UsageError: no such frame, tiles that do not go together, a shape that the network does not take, or a
                pipeline that is closed.
        """
        batch = batch_of(frame, self._source, self._network.channels)
        return self._ring.submit(self._job(batch.layout, tiles), batch)

    def stream(self, frames: Iterable[Frame], tiles: Sequence[Tile] | None = None) -> Iterator[Frame]:
        """The results of frames in their order; as many frames are read ahead as there are slots.

        Raises:
            As `submit` and `Ticket.result`.
        """
        waiting: deque[Ticket] = deque()
        for frame in frames:
            waiting.append(self.submit(frame, tiles))
            if len(waiting) > self._slots:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def run(self, images: Frame, tiles: Sequence[Tile] | None = None) -> Frame:
        """The result of a frame or of a batch, when it is there.

        Raises:
            As `submit` and `Ticket.result`.
        """
        return self.submit(images, tiles).result()

    def measure(self, frame: Frame, tiles: Sequence[Tile] | None = None, *, runs: int = 20) -> StageTimes:
        """How long each stage takes alone, while nothing else is under way in this pipeline.

        Raises:
            As `submit` and `Ticket.result`.
        """
        batch = batch_of(frame, self._source, self._network.channels)
        return self._ring.measure(self._job(batch.layout, tiles), batch, runs)

    def close(self) -> None:
        """Wait for all frames and free everything; results that are held stay. A second call does nothing."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _job(self, layout: Layout, tiles: Sequence[Tile] | None) -> Job:
        return _checked_job(layout, None if tiles is None else tuple(tiles), self._out, self._network.scale)


@lru_cache(maxsize=16)
def _checked_job(layout: Layout, tiles: tuple[Tile, ...] | None, out: FrameFormat, scale: int) -> Job:
    """What is to be done with frames; remembered, as frame after frame is the same."""
    height, width = layout.height, layout.width
    tiles = whole(height, width) if tiles is None else checked_tiles(tiles, height, width)
    made = yielded(tiles)
    result = Layout(
        format=out,
        count=layout.count,
        channels=layout.channels,
        height=made.rows * scale,
        width=made.columns * scale,
    )
    return Job(source=layout, out=result, tiles=tiles)
