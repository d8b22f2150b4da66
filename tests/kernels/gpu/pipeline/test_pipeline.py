"""Frames that went through the pipeline on a GPU, real or simulated, are those of the references, byte by byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.driver import CudaGraph
from repsr_kernels.gpu.pipeline import FrameFormat, GpuPipeline, PictureFormat
from repsr_kernels.operations import Skip
from repsr_kernels.tensors import Type
from tests.kernels.gpu.pipeline.conftest import Make
from tests.kernels.gpu.pipeline.examples import NV12, P010, RGB, picture, same, tiles_of, video, wanted
from tests.kernels.gpu.pipeline.shift_network import HALO

pytestmark = pytest.mark.gpu


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[CudaGraph]:
    """The graphs that were recorded."""
    graphs: list[CudaGraph] = []
    record = CudaGraph.record

    def kept(stream: int, enqueue: Callable[[], None]) -> CudaGraph:
        graphs.append(record(stream, enqueue))
        return graphs[-1]

    monkeypatch.setattr(CudaGraph, "record", kept)
    return graphs


@pytest.mark.parametrize(
    ("scale", "skip", "kind"), [(2, "nearest", "fp32"), (2, "none", "fp16"), (3, "bilinear", "bf16")]
)
def test_frames_of_every_size_and_tile(make: Make, scale: int, skip: Skip, kind: Type) -> None:
    network = make(scale=scale, skip=skip, type=kind)
    random = np.random.default_rng(scale)
    with GpuPipeline(network) as pipeline:
        for seed in range(6):
            height, width = (int(side) for side in random.integers(1, 70, 2))
            frame = picture(height, width, seed)
            expected = wanted(network, frame)
            assert same(pipeline.run(frame), expected)
            tiles = tiles_of(height, width, int(random.integers(16, 40)), HALO + (skip == "bilinear"))
            assert same(pipeline.run(frame, tiles), expected)
    assert network.runs > 12
    assert network.released


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_colours_in_either_order(make: Make, order: Any) -> None:
    network = make()
    kind = PictureFormat(order=order)
    frame = picture(9, 14)
    with GpuPipeline(network, source=kind) as pipeline, GpuPipeline(make(), source=RGB, out=kind) as turning:
        made: Any = pipeline.run(frame)
        turned: Any = turning.run(frame)
        assert same(made, wanted(network, frame, kind))
        assert same(turned, wanted(network, frame, RGB, kind))
    assert same(made, turned) == (order == "rgb")  # the network treats all colours alike


@pytest.mark.parametrize(("source", "out"), [(NV12, NV12), (P010, NV12), (RGB, P010), (NV12, RGB)])
def test_video_frames(make: Make, source: FrameFormat, out: FrameFormat) -> None:
    network = make()
    with GpuPipeline(network, source=source, out=out) as pipeline:
        for height, width in ((20, 36), (23, 35)):
            frame = picture(height, width) if isinstance(source, PictureFormat) else video(source, height, width)
            expected = wanted(network, frame, source, out)
            assert same(pipeline.run(frame), expected)
            tiles = tiles_of(height, width, 16, HALO + 1)  # a mean colour looks one pixel around, too
            assert same(pipeline.run(frame, tiles), expected)


def test_a_tile_that_cuts_through_a_chroma_sample(make: Make) -> None:
    with GpuPipeline(make(scale=1), source=RGB, out=NV12) as pipeline:
        with pytest.raises(UsageError, match="cuts through 2 x 2 pixels that share a chroma sample"):
            pipeline.submit(picture(34, 20), tiles_of(34, 20, 17, 2))
        frame = picture(34, 20)
        assert same(pipeline.run(frame), wanted(make(scale=1), frame, RGB, NV12))


def test_a_stream_keeps_its_order_and_reads_no_further_than_it_must(make: Make) -> None:
    network = make()
    read: list[int] = []

    def frames() -> Iterator[Any]:
        for seed in range(12):
            read.append(seed)
            yield picture(17, 40, seed)

    with GpuPipeline(network, slots=2) as pipeline:
        for index, made in enumerate(pipeline.stream(frames(), tiles_of(17, 40, 20))):
            assert same(made, wanted(network, picture(17, 40, index)))
            assert len(read) <= index + 3
        assert list(pipeline.stream([])) == []
    assert len(read) == 12


def test_a_frame_may_be_changed_at_once_and_a_result_be_kept(make: Make) -> None:
    network = make()
    with GpuPipeline(network) as pipeline:
        buffer = picture(12, 30)[::-1]  # strides of any kind
        tickets: list[Any] = []
        for seed in range(8):
            buffer[...] = picture(12, 30, seed)
            tickets.append(pipeline.submit(buffer))
        buffer[...] = 0
        results = [ticket.result() for ticket in tickets]
        part = results[3][4:, ::2]
        kept = part.copy()
        assert all(same(made, wanted(network, picture(12, 30, seed))) for seed, made in enumerate(results))
        results[5][...] = 7  # the caller's own
        del results, tickets
        for seed in range(20, 40):
            pipeline.run(picture(12, 30, seed))
    np.testing.assert_array_equal(part, kept)


def test_a_batch_goes_through_in_one_go(make: Make) -> None:
    network = make()
    frames = np.stack([picture(18, 33, seed) for seed in range(5)])
    with GpuPipeline(network) as pipeline:
        made: Any = pipeline.run(frames)
        tiled: Any = pipeline.run(frames, tiles_of(18, 33, 17))
    for index, frame in enumerate(frames):
        assert same(made[index], wanted(network, frame))
    assert same(tiled, made)
    assert network.runs == 1 + 4


def test_only_what_tiles_yield_is_made(make: Make) -> None:
    """A strip of a picture: the rows above and below are there to be seen."""
    network = make()
    frame = picture(50, 30)
    strip = [tile for tile in tiles_of(50, 30, 16) if tile.core.top == tiles_of(50, 30, 16)[2].core.top]
    core = strip[0].core
    with GpuPipeline(network) as pipeline:
        made = pipeline.run(frame, strip)
    assert same(made, wanted(network, frame)[core.top * 2 : (core.top + core.rows) * 2])


def test_threads_get_their_own_results(make: Make) -> None:
    network = make()
    sizes = [(11, 20), (16, 37), (30, 9), (11, 20)]
    with GpuPipeline(network) as pipeline, ThreadPoolExecutor(4) as pool:

        def work(index: int) -> bool:
            frames = [picture(*sizes[index], 10 * index + number) for number in range(10)]
            tickets = [pipeline.submit(frame) for frame in frames]
            made = [ticket.result() for ticket in reversed(tickets)][::-1]
            return all(same(a, wanted(network, frame)) for a, frame in zip(made, frames, strict=True))

        assert list(pool.map(work, range(4))) == [True] * 4


def test_what_comes_again_is_recorded(make: Make, recorded: list[CudaGraph]) -> None:
    network = make()
    with GpuPipeline(network, slots=2) as pipeline:
        for seed in range(9):
            assert same(
                pipeline.run(picture(40, 40, seed), tiles_of(40, 40, 20)), wanted(network, picture(40, 40, seed))
            )
        assert len(recorded) == 2  # one for each slot
        assert network.runs == 4 * (2 + 2)  # in each slot launched once and recorded once
        for side in (20, 40):  # what was recorded for another size is forgotten
            for seed in range(4):
                assert same(pipeline.run(picture(side, 40, seed)), wanted(network, picture(side, 40, seed)))
    assert len(recorded) == 6


def test_what_cannot_be_recorded_is_launched(make: Make, recorded: list[CudaGraph]) -> None:
    network = make(capturable=False)
    with GpuPipeline(network, slots=1) as pipeline:
        for seed in range(4):
            assert same(pipeline.run(picture(10, 20, seed)), wanted(network, picture(10, 20, seed)))
    assert recorded == []
    assert network.runs == 4


def test_stages_are_measured_alone(make: Make) -> None:
    network = make()
    with GpuPipeline(network) as pipeline:
        times = pipeline.measure(picture(30, 40), tiles_of(30, 40, 20), runs=3)
        for stage in (times.copy_s, times.upload_s, times.compute_s, times.download_s):
            assert len(stage) == 3
            assert all(0 <= second < 60 for second in stage)
        assert same(pipeline.run(picture(30, 40)), wanted(network, picture(30, 40)))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((4, 5), np.uint8), r"frame is uint8 of shape \(4, 5\); expected uint8, H x W x 3, or N of such"),
        (np.zeros((4, 5, 1), np.uint8), "expected uint8, H x W x 3"),
        (np.zeros((4, 5, 3), np.uint16), "frame is uint16"),
        (np.zeros((0, 5, 3), np.uint8), "expected uint8"),
        (video(NV12, 4, 6), "frame is uint8 of shape .* and uint8 of shape .*; expected uint8, H x W x 3"),
        (np.zeros((4, 600, 3), np.uint8), "shifts takes sides up to 512"),
    ],
)
def test_no_frame(make: Make, frame: Any, message: str) -> None:
    network = make()
    with GpuPipeline(network, slots=1) as pipeline:
        with pytest.raises(UsageError, match=message):
            pipeline.submit(frame)
        assert same(pipeline.run(picture(3, 4)), wanted(network, picture(3, 4)))


def test_impossible_pipelines(make: Make) -> None:
    with pytest.raises(UsageError, match="slots is 0"):
        GpuPipeline(make(), slots=0)
    network = make()
    network.channels = 1
    with pytest.raises(UsageError, match="gives 1 channel; expected 3 for video frames"):
        GpuPipeline(network, out=NV12)
