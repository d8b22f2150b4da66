"""What is done with a frame, apart from its samples: equal jobs need nothing prepared anew."""

from __future__ import annotations

from dataclasses import dataclass

from repsr_kernels.gpu.pipeline.frames import Layout
from repsr_kernels.gpu.pipeline.networks import DeviceNetwork, Shape
from repsr_kernels.gpu.pipeline.tiles import Tile, within, yielded
from repsr_kernels.operations import Crop, FusedUpsample, Picture, Preprocess
from repsr_kernels.tensors import Tensor

_COUNTER_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Job:
    """A batch of frames, as it comes and as it goes, and the tiles in which it is computed."""

    source: Layout
    out: Layout
    tiles: tuple[Tile, ...]

    @property
    def counter(self) -> int:
        """Where, behind the result's own bytes, the number of its samples that are not finite arrives with it."""
        return -(-self.out.nbytes // _COUNTER_BYTES) * _COUNTER_BYTES

    @property
    def result_bytes(self) -> int:
        """Of the result and that number."""
        return self.counter + _COUNTER_BYTES

    @property
    def input_shape(self) -> Shape:
        """What the network is given for each tile."""
        size = self.tiles[0].source
        return self.source.count, self.source.channels, size.rows, size.columns


def operations(
    job: Job,
    network: DeviceNetwork,
    *,
    source: Picture,
    out: Picture,
    given: Tensor,
    features: Tensor,
    nonfinite: int,
) -> list[tuple[Preprocess, FusedUpsample]]:
    """What is done before and after the network, tile by tile.

    Args:
        source, out: the frames in the GPU's memory.
        given, features: input and output of the network (`NetworkLane.prepare`).
        nonfinite: address of the counter.

    Raises:
        UsageError: tensors that do not go together, or a tile that cuts through a chroma sample of a video frame.
    """
    origin, scale = yielded(job.tiles), network.scale

    def before(tile: Tile) -> Preprocess:
        return Preprocess(
            source=source, out=given, top=tile.source.top, left=tile.source.left, range=network.range
        )  # fmt: skip

    def after(tile: Tile) -> FusedUpsample:
        return FusedUpsample(
            features=features,
            image=None if network.skip == "none" else _seen(job, tile, source, given),
            out=out.part(*_sides(within(tile.core, origin), scale)),
            scale=scale,
            skip=network.skip,
            crop=tile.crop,
            range=network.range,
            nonfinite=nonfinite,
        )

    return [(before(tile), after(tile)) for tile in job.tiles]


def _seen(job: Job, tile: Tile, source: Picture, given: Tensor) -> Tensor:
    """The image that is added: the frame's own bytes; of video frames, which have no colours, what the network saw."""
    if isinstance(source, Tensor):
        return source.part(*_sides(tile.source))
    count, _, rows, columns = given.shape
    shape = (count, job.source.channels, rows, columns)
    return Tensor(given.address, given.type, shape, given.strides, device=given.device, owner=given.owner)


def _sides(rectangle: Crop, scale: int = 1) -> tuple[int, int, int, int]:
    """As `part` takes them, in a picture `scale` times as large."""
    return rectangle.top * scale, rectangle.left * scale, rectangle.rows * scale, rectangle.columns * scale
