"""When batches close, who is in them, and what happens when requests are cancelled or fail."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from repsr_deploy.errors import ModelFileError, UsageError
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import Limits, Runtime
from repsr_deploy.runtimes.base import SharesTiles
from repsr_serve.batcher import Batcher, Cancelled, Ticket
from tests.serve.batcher.slowed import PATIENCE_S, OnGpu, Slowed, small_runtime, tile_of, values

NEVER_S = 1000.0
"""A delay that no test waits for."""


@pytest.fixture(name="pool")
def _pool() -> Generator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


def give(pool: ThreadPoolExecutor, batcher: Batcher, share: Runtime, *tiles: Any) -> list[Future[Any]]:
    """Have tiles wait, in this order."""
    futures: list[Future[Any]] = []
    for tile in tiles:
        waiting = batcher.queued
        futures.append(pool.submit(share.run_images, tile))
        until(lambda waiting=waiting: batcher.queued > waiting)
    return futures


def until(happened: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def occupy(pool: ThreadPoolExecutor, batcher: Batcher, runtime: Slowed) -> Future[Any]:
    """Have a batch run that waits to be let through."""
    future = pool.submit(batcher.share(Ticket()).run_images, tile_of(0))
    runtime.wait_for(1)
    return future


def test_tiles_of_several_requests_share_a_batch(pool: ThreadPoolExecutor) -> None:
    runtime = Slowed(held=True)
    with Batcher(runtime, tile=24, batch=4, delay_s=NEVER_S) as batcher:
        first = occupy(pool, batcher, runtime)
        futures = [give(pool, batcher, batcher.share(Ticket()), tile_of(value))[0] for value in range(1, 7)]
        runtime.let(3)
        for value, future in enumerate([first, *futures]):
            expected = small_runtime().run_images(tile_of(value))
            np.testing.assert_array_equal(future.result(PATIENCE_S), expected)
        assert [values(batch) for batch in runtime.batches] == [[0], [1, 2, 3, 4], [5, 6]]
    assert batcher.queued == 0


def test_other_shapes_and_types_are_other_batches(pool: ThreadPoolExecutor) -> None:
    runtime = Slowed(held=True)
    with Batcher(runtime, batch=4, tile=24, delay_s=NEVER_S) as batcher:
        occupy(pool, batcher, runtime)
        shares = [batcher.share(Ticket()) for _ in range(4)]
        for index, side in enumerate((24, 30, 24, 30)):
            give(pool, batcher, shares[index], tile_of(index, side))
        floats = pool.submit(batcher.share(Ticket()).run, np.zeros((1, 3, 24, 24), np.float32))
        until(lambda: batcher.queued == 5)
        runtime.let(3)
        assert floats.result(PATIENCE_S).shape == (1, 3, 48, 48)
        assert [values(batch) for batch in runtime.batches] == [[0], [0, 2], [1, 3]]


def test_one_picture_alone_fills_batches_and_waits_for_nobody(pool: ThreadPoolExecutor) -> None:
    """18 tiles in batches of 4, though the delay never ends."""
    runtime = Slowed()
    image_hwc = np.random.default_rng(0).integers(0, 256, (3 * 32, 6 * 32, 3), np.uint8)
    with Batcher(runtime, tile=40, batch=4, delay_s=NEVER_S) as batcher:
        made = pool.submit(Upscaler(batcher.share(Ticket())).upscale, image_hwc).result(PATIENCE_S)
        np.testing.assert_array_equal(made, Upscaler(small_runtime()).upscale(image_hwc))
        assert [len(batch) for batch in runtime.batches] == [4, 4, 4, 4, 2]
        assert {batch.shape[1:] for batch in runtime.batches} == {(40, 40, 3)}
        pool.submit(Upscaler(batcher.share(Ticket())).upscale, image_hwc[:30, :30]).result(PATIENCE_S)
        many = batcher.share(Ticket()).run_images
        images_nhwc = np.repeat(image_hwc[None], 6, axis=0)
        np.testing.assert_array_equal(pool.submit(many, images_nhwc).result(PATIENCE_S), many(images_nhwc))
        assert [len(batch) for batch in runtime.batches[-4:]] == [4, 2, 4, 2]


def test_a_batch_waits_for_what_is_expected_but_not_too_long(pool: ThreadPoolExecutor) -> None:
    runtime = Slowed()
    with Batcher(runtime, tile=24, batch=3, delay_s=NEVER_S) as patient:
        share, other = (patient.share(Ticket()) for _ in range(2))
        assert isinstance(share, SharesTiles)
        share.expect(2)
        first = give(pool, patient, share, tile_of(1))
        time.sleep(0.05)
        assert not runtime.batches
        assert share.in_flight >= 2
        give(pool, patient, other, tile_of(2))
        share.expect(1)
        first[0].result(PATIENCE_S)
        assert [values(batch) for batch in runtime.batches] == [[1, 2]]
    with Batcher(runtime, tile=24, batch=3, delay_s=0.05) as batcher:
        share = batcher.share(Ticket())
        assert isinstance(share, SharesTiles)
        share.expect(2)
        start = time.monotonic()
        share.run_images(tile_of(3))
        assert 0.05 <= time.monotonic() - start < PATIENCE_S


def test_a_picture_of_many_tiles_keeps_nobody_waiting(pool: ThreadPoolExecutor) -> None:
    """Whenever a small picture comes, its tile is in the next batch."""
    runtime = Slowed(held=True)
    image_hwc = np.full((320, 320, 3), 9, np.uint8)
    with Batcher(runtime, tile=40, batch=4) as batcher:
        large = pool.submit(Upscaler(batcher.share(Ticket())).upscale, image_hwc)
        runtime.wait_for(1)
        for _ in range(4):
            begun = len(runtime.batches)
            until(lambda: batcher.queued >= 4)
            small = [give(pool, batcher, batcher.share(Ticket()), tile_of(200, side))[0] for side in (40, 24)]
            runtime.let(3)
            for future in small:
                future.result(PATIENCE_S)
            assert [values(batch) for batch in runtime.batches[begun : begun + 2]] == [[200, 9, 9, 9], [200]]
            runtime.wait_for(begun + 3)
        runtime.let(1000)
        assert large.result(PATIENCE_S).shape == (640, 640, 3)


def test_a_request_in_the_background_gets_less_but_not_nothing(pool: ThreadPoolExecutor) -> None:
    runtime = Slowed(held=True)
    with Batcher(runtime, tile=40, batch=1) as batcher:
        occupy(pool, batcher, runtime)
        for value, background in ((1, True), (2, False), (3, False)):
            share = batcher.share(Ticket(background=background))
            pool.submit(Upscaler(share).upscale, np.full((320, 320, 3), value, np.uint8))
            until(lambda value=value: batcher.queued == 2 * value)
        for done in range(1, 82):
            runtime.let()
            runtime.wait_for(done + 1)
            until(lambda: batcher.queued >= 5)
        taken = [values(batch)[0] for batch in runtime.batches[1:82]]
        assert [taken.count(value) for value in (1, 2, 3)] == pytest.approx([9, 36, 36], abs=2)
        runtime.let(1000)


def test_a_cancelled_request_leaves_at_once(pool: ThreadPoolExecutor) -> None:
    runtime = Slowed(held=True)
    with Batcher(runtime, tile=24, batch=2) as batcher:
        ticket, other = Ticket(), Ticket()
        leaving, staying = batcher.share(ticket), batcher.share(other)
        running = pool.submit(leaving.run_images, tile_of(1))
        runtime.wait_for(1)
        waiting = give(pool, batcher, leaving, tile_of(2), tile_of(3, 30))
        kept = give(pool, batcher, staying, tile_of(4))
        ticket.cancel()
        assert ticket.cancelled
        assert not other.cancelled
        assert batcher.queued == 1
        for future in waiting:
            with pytest.raises(Cancelled):
                future.result(PATIENCE_S)
        assert not running.done()  # its memory is in use
        runtime.let(2)
        with pytest.raises(Cancelled):
            running.result(PATIENCE_S)
        assert kept[0].result(PATIENCE_S).shape == (1, 48, 48, 3)
        assert [values(batch) for batch in runtime.batches] == [[1], [4]]
        ticket.cancel()
        for share in (leaving, batcher.share(ticket)):
            with pytest.raises(Cancelled):
                share.run_images(tile_of(5))


def test_a_cancelled_picture_is_given_up(pool: ThreadPoolExecutor) -> None:
    runtime, ticket = Slowed(held=True), Ticket()
    with Batcher(runtime, tile=40, batch=2, delay_s=NEVER_S) as batcher:
        large = pool.submit(Upscaler(batcher.share(ticket)).upscale, np.zeros((640, 640, 3), np.uint8))
        runtime.wait_for(1)
        ticket.cancel()
        runtime.let(1)
        with pytest.raises(Cancelled):
            large.result(PATIENCE_S)
        assert len(runtime.batches) == 1
        runtime.let(1)  # and nobody waits for tiles of it
        assert pool.submit(batcher.share(Ticket()).run_images, tile_of(1)).result(PATIENCE_S).shape == (1, 48, 48, 3)


def poisoned(images_nhwc: Any) -> None:
    if 13 in images_nhwc[:, 0, 0, 0]:
        raise ModelFileError("13 is bad luck")


def test_an_error_reaches_who_caused_it(pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    runtime = Slowed(held=True, check=poisoned)
    with Batcher(runtime, tile=24, batch=4) as batcher, caplog.at_level(logging.WARNING):
        occupy(pool, batcher, runtime)
        futures = [give(pool, batcher, batcher.share(Ticket()), tile_of(value))[0] for value in (11, 12, 13, 14)]
        runtime.let(6)
        for value, future in zip((11, 12, 13, 14), futures, strict=True):
            if value == 13:
                with pytest.raises(ModelFileError, match="13 is bad luck"):
                    future.result(PATIENCE_S)
            else:
                expected = small_runtime().run_images(tile_of(value))
                np.testing.assert_array_equal(future.result(PATIENCE_S), expected)
    assert caplog.messages == ["a batch of 4 tiles failed, which now run one by one: 13 is bad luck"]


def no_room(pixels: int) -> Any:
    def check(images_nhwc: Any) -> None:
        if images_nhwc[..., 0].size > pixels:
            raise MemoryError(f"{images_nhwc.shape}")

    return check


@pytest.mark.parametrize("pixels", [2 * 40 * 40, 40 * 40, 30 * 30])
def test_where_memory_is_short_batches_or_tiles_are_smaller(pool: ThreadPoolExecutor, pixels: int) -> None:
    image_hwc = np.random.default_rng(1).integers(0, 256, (150, 170, 3), np.uint8)
    with Batcher(Slowed(check=no_room(pixels)), tile=40, batch=4) as batcher:
        made = pool.submit(Upscaler(batcher.share(Ticket())).upscale, image_hwc).result(PATIENCE_S)
    np.testing.assert_array_equal(made, Upscaler(small_runtime()).upscale(image_hwc))


def test_a_wrong_batch_never_gets_in() -> None:
    with Batcher(Slowed(limits=Limits(count=(1, 4), height=(1, 64), width=(1, 64))), tile=24, batch=4) as batcher:
        share = batcher.share(Ticket())
        with pytest.raises(UsageError, match="height 1 to 64, not 65"):
            share.run_images(np.zeros((1, 65, 64, 3), np.uint8))
        with pytest.raises(UsageError, match="expects float32"):
            share.run(np.zeros((1, 3, 64, 64), np.float64))
        assert share.run_images(np.zeros((9, 64, 64, 3), np.uint8)).shape == (9, 128, 128, 3)


def threads_of(batcher: Batcher) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if batcher.runtime.info.name in thread.name]


@pytest.mark.parametrize("finish", [True, False])
def test_closing(pool: ThreadPoolExecutor, finish: bool) -> None:
    runtime = Slowed(held=True)
    batcher = Batcher(runtime, tile=24, batch=2, delay_s=NEVER_S)
    assert len(threads_of(batcher)) == 1
    running = occupy(pool, batcher, runtime)
    share = batcher.share(Ticket())
    waiting = give(pool, batcher, share, tile_of(1), tile_of(2), tile_of(3))
    closing = pool.submit(batcher.close, finish=finish)
    if not finish:
        for future in waiting:
            with pytest.raises(Cancelled):
                future.result(PATIENCE_S)
    runtime.let(3)
    closing.result(PATIENCE_S)
    assert running.result(PATIENCE_S).shape == (1, 48, 48, 3)
    if finish:
        assert all(future.result(PATIENCE_S).shape == (1, 48, 48, 3) for future in waiting)
    assert len(runtime.batches) == (3 if finish else 1)
    assert not threads_of(batcher)
    assert batcher.queued == 0
    with pytest.raises(Cancelled):
        share.run_images(tile_of(4))
    batcher.close()


@pytest.mark.parametrize("fault", ["cancelled", "failed"])
def test_a_picture_that_is_given_up_leaves_memory_at_once(fault: str) -> None:
    """Without waiting for the garbage collector."""
    image_hwc = np.zeros((200, 200, 3), np.uint8)
    if fault == "failed":
        image_hwc[100:] = 13
    results: list[weakref.ref[Any]] = []

    def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        result = np.empty(shape, dtype)
        results.append(weakref.ref(result))
        return result

    def upscale(ticket: Ticket, runtime: Runtime) -> None:
        def progress(done: int, total: int) -> None:
            if fault == "cancelled":
                ticket.cancel()

        with pytest.raises((Cancelled, ModelFileError)):
            Upscaler(runtime).upscale(image_hwc, progress=progress, allocate=allocate)

    with Batcher(Slowed(check=poisoned), tile=40, batch=2) as batcher:
        gc.collect()
        gc.disable()
        try:
            ticket = Ticket()
            upscale(ticket, batcher.share(ticket))
            assert [result() is None for result in results] == [True]
        finally:
            gc.enable()


class Observer:
    """Keeps what it is told, and fails."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int, int]] = []

    def batch_done(self, model: str, tiles: int, capacity: int, pixels: int, seconds: float) -> None:
        """See `BatchObserver`."""
        assert 0 < seconds < PATIENCE_S
        self.told.append((model, tiles, capacity, pixels))
        raise ValueError("a defect")


def test_an_observer_is_told_of_every_batch(pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    runtime, observer = Slowed(held=True), Observer()
    with Batcher(runtime, tile=24, batch=3, observer=observer) as batcher:
        occupy(pool, batcher, runtime)
        futures = [give(pool, batcher, batcher.share(Ticket()), tile_of(value))[0] for value in range(4)]
        runtime.let(3)
        for future in futures:
            future.result(PATIENCE_S)
    assert observer.told == [("Plain-M2C8", tiles, 3, tiles * 24 * 24) for tiles in (1, 3, 1)]
    assert caplog.messages == ["the observer of batches failed"] * 3


def test_two_batches_at_a_time_on_a_gpu(pool: ThreadPoolExecutor) -> None:
    both = threading.Barrier(2, timeout=PATIENCE_S)
    runtime = OnGpu(check=lambda _: both.wait())
    with Batcher(runtime, tile=24, batch=1) as batcher:
        assert len(threads_of(batcher)) == 2
        futures = [pool.submit(batcher.share(Ticket()).run_images, tile_of(value)) for value in range(6)]
        for value, future in enumerate(futures):
            expected = small_runtime().run_images(tile_of(value))
            np.testing.assert_array_equal(future.result(PATIENCE_S), expected)
    assert not threads_of(batcher)


def test_warming_up_runs_every_size_of_batch() -> None:
    runtime = Slowed(limits=Limits(count=(2, 9), height=(1, 64), width=(1, 64)))
    with Batcher(runtime, tile=40, batch=5) as batcher:
        batcher.warm_up()
    assert [batch.shape for batch in runtime.batches] == [(count, 40, 40, 3) for count in (2, 3, 4, 5)]
    assert runtime.batches[0].std() > 10  # a picture
    with Batcher(Slowed(check=no_room(1)), batch=2) as batcher, pytest.raises(MemoryError):
        batcher.warm_up()


def test_who_asks_to_hear_of_a_cancelled_ticket_hears_it_once() -> None:
    ticket, heard = Ticket(), list[str]()
    ticket.when_cancelled(lambda: heard.append("before"))
    assert not heard
    ticket.cancel()
    ticket.cancel()
    assert heard == ["before"]
    ticket.when_cancelled(lambda: heard.append("after"))
    assert heard == ["before", "after"]
