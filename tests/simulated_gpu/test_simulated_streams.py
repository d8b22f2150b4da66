"""Streams and graphs of the simulated GPU: what may happen in another order does."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.simulated_gpu.child import on_simulated_gpu
from tests.simulated_gpu.simulated import NON_BLOCKING, Shift, begin, noise, raises, schedule, statistic

SIZE = 501  # floats


@on_simulated_gpu()
def test_a_missing_wait_gives_wrong_bytes_and_a_wait_mends_it() -> None:
    cuda = begin()
    shift, values = Shift(), noise(SIZE)
    writes, reads, event = cuda.Stream(NON_BLOCKING), cuda.Stream(NON_BLOCKING), cuda.Event()
    source = cuda.to_device(values)

    def result(name: str, *, waits: bool) -> NDArray[np.float32]:
        cuda.Context.synchronize()
        schedule(name)
        target, back = cuda.mem_alloc(values.nbytes), cuda.pagelocked_empty(SIZE, np.float32)
        shift(target, source, SIZE, writes, add=1)
        event.record(writes)
        if waits:
            reads.wait_for_event(event)
        cuda.memcpy_dtoh_async(back, target, reads)
        reads.synchronize()
        return back

    names = ("eager", "lazy", *(f"random:{seed}" for seed in range(20)))
    for name in names:
        assert np.array_equal(result(name, waits=True), values + np.float32(1))
    missed = [name for name in names if np.isnan(result(name, waits=False)).all()]
    assert "eager" not in missed
    assert "lazy" in missed
    assert 2 < len(missed) < 18


@on_simulated_gpu()
def test_one_seed_one_order() -> None:
    cuda = begin()
    streams = [cuda.Stream(NON_BLOCKING) for _ in range(6)]

    def last(name: str) -> bytes:
        schedule(name)
        memory, back = cuda.mem_alloc(1), np.zeros(1, np.uint8)
        seen = bytearray()
        for _ in range(8):
            for number, stream in enumerate(streams):
                cuda.memset_d8_async(memory, number, 1, stream)
            cuda.Context.synchronize()
            cuda.memcpy_dtoh(back, memory)
            seen += back.tobytes()
        return bytes(seen)

    assert last("random:3") == last("random:3") != last("random:4")
    assert set(last("eager")) == {5}
    assert set(last("lazy")) == {0}  # what was asked for first is done last


@on_simulated_gpu()
def test_the_default_stream_waits_for_blocking_streams_only() -> None:
    cuda = begin()
    back = cuda.pagelocked_empty(1, np.uint8)
    for flags, seen_by_default, seen_by_stream in ((0, 5, 6), (NON_BLOCKING, 255, 5)):
        memory, stream = cuda.mem_alloc(1), cuda.Stream(flags)
        cuda.memset_d8_async(memory, 5, 1, stream)
        cuda.memcpy_dtoh(back, memory)
        assert back[0] == seen_by_default
        cuda.memset_d8_async(memory, 6, 1)
        cuda.memcpy_dtoh_async(back, memory, stream)
        stream.synchronize()
        assert back[0] == seen_by_stream
        cuda.Context.synchronize()


@on_simulated_gpu()
def test_asking_again_and_again_gets_on() -> None:
    cuda = begin()
    stream, event, memory = cuda.Stream(), cuda.Event(), cuda.mem_alloc(1)
    for _ in range(5):
        cuda.memset_d8_async(memory, 5, 1, stream)
    event.record(stream)
    assert [event.query() for _ in range(8)] == [False] * 6 + [True] * 2
    assert stream.is_done()
    later = cuda.Event()
    later.record(stream)
    later.synchronize()
    assert later.time_since(event) >= 0


@on_simulated_gpu()
def test_host_functions_come_in_their_turn_and_call_no_driver() -> None:
    cuda = begin()
    stream, memory, back = cuda.Stream(NON_BLOCKING), cuda.mem_alloc(1), cuda.pagelocked_zeros(1, np.uint8)
    seen: list[int] = []
    driver = ctypes.CDLL("libcuda.so.1")

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def look(_: object) -> None:
        seen.extend((int(back[0]), driver.cuCtxSynchronize()))

    for value in (3, 4):
        cuda.memset_d8_async(memory, value, 1, stream)
        cuda.memcpy_dtoh_async(back, memory, stream)
        assert driver.cuLaunchHostFunc(ctypes.c_void_p(stream.handle), look, None) == 0
    assert not seen
    stream.synchronize()
    not_permitted = 800
    assert seen == [3, not_permitted, 4, not_permitted]


@on_simulated_gpu(schedule="random:5")
def test_threads_do_not_disturb_each_other() -> None:
    from repsr_kernels.gpu.context import shared_context

    shared = shared_context()
    cuda = shared.cuda
    failures: list[str] = []

    def work(number: int) -> None:
        with shared.current():  # what PyCUDA made is gone before it ends
            failures.extend(copies(number))

    def copies(number: int) -> list[str]:
        values = noise(SIZE + number)
        stream, memory, back = cuda.Stream(NON_BLOCKING), cuda.mem_alloc(values.nbytes), values * 0
        wrong = 0
        for _ in range(20):
            cuda.memcpy_htod_async(memory, values, stream)
            cuda.memcpy_dtoh_async(back, memory, stream)
            wrong += not np.array_equal(values, back)
            back[:] = 0
        return [f"{wrong} copies of thread {number}"] if wrong else []

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert not failures
    assert statistic("copies") == 4 * 20 * 2


@on_simulated_gpu()
def test_a_graph_forks_joins_and_is_launched_again() -> None:
    from repsr_kernels.gpu.driver import CudaGraph

    cuda = begin()
    shift = Shift()
    main, side = cuda.Stream(NON_BLOCKING), cuda.Stream(NON_BLOCKING)
    forked, joined = cuda.Event(), cuda.Event()
    first, second = (cuda.pagelocked_empty(SIZE, np.float32) for _ in range(2))
    memory = [cuda.mem_alloc(first.nbytes) for _ in range(3)]

    def enqueue() -> None:
        cuda.memcpy_htod_async(memory[0], first, main)
        forked.record(main)
        side.wait_for_event(forked)
        shift(memory[1], memory[0], SIZE, side, add=1)
        joined.record(side)
        shift(memory[2], memory[0], SIZE, main, add=2)
        main.wait_for_event(joined)
        shift(memory[2], memory[1], SIZE - 1, main, add=4, offset=1)
        cuda.memcpy_dtoh_async(second, memory[2], main)

    graph = CudaGraph.record(main.handle, enqueue)
    assert statistic("launches") == statistic("copies") == 0
    for name in ("lazy", "eager", *(f"random:{seed}" for seed in range(10))):
        schedule(name)
        first[:] = noise(SIZE) * len(name)
        second[:] = 0
        graph.launch(main.handle)
        graph.launch(main.handle)
        main.synchronize()
        assert second[0] == first[0] + np.float32(2)
        assert np.array_equal(second[1:], (first + np.float32(1) + np.float32(4))[:-1])
    graph.close()
    assert statistic("graphs") == 0


@on_simulated_gpu()
def test_what_cannot_be_recorded() -> None:
    from repsr_kernels.gpu.driver import CudaError, CudaGraph

    cuda = begin()
    stream, side, blocking = cuda.Stream(NON_BLOCKING), cuda.Stream(NON_BLOCKING), cuda.Stream()
    event, memory = cuda.Event(), cuda.mem_alloc(64)
    pageable = np.zeros(64, np.uint8)

    def leave_open() -> None:
        event.record(stream)
        side.wait_for_event(event)
        cuda.memset_d8_async(memory, 1, 64, side)

    def wait_for_the_past() -> None:
        event.record(side)
        stream.wait_for_event(event)

    def outside(on: Any) -> Callable[[], None]:
        return lambda: cuda.memset_d8_async(memory, 1, 64, on)

    cases: list[tuple[Any, Callable[[], Any], str]] = [
        (stream, lambda: cuda.mem_alloc(1), "UNSUPPORTED"),
        (stream, stream.synchronize, "UNSUPPORTED"),
        (stream, cuda.Context.synchronize, "UNSUPPORTED"),
        (stream, lambda: cuda.memcpy_htod_async(memory, pageable, stream), "UNSUPPORTED"),
        (stream, wait_for_the_past, "ISOLATION"),
        (blocking, outside(None), "IMPLICIT"),
    ]
    for on, action, error in cases:
        with pytest.raises((CudaError, cuda.Error), match=f"STREAM_CAPTURE_(INVALIDATED|{error})") as caught:
            CudaGraph.record(on.handle, action)
        assert error in f"{caught.value} {caught.value.__context__}"
        on.synchronize()  # is as before
    with pytest.raises(CudaError, match="STREAM_CAPTURE_UNJOINED"):
        CudaGraph.record(stream.handle, leave_open)
    CudaGraph.record(stream.handle, outside(None)).close()  # the default stream does not wait for this one


@on_simulated_gpu()
def test_a_graph_does_not_keep_memory_alive() -> None:
    from repsr_kernels.gpu.driver import CudaGraph

    cuda = begin()
    stream, memory = cuda.Stream(NON_BLOCKING), cuda.mem_alloc(64)
    graph = CudaGraph.record(stream.handle, lambda: cuda.memset_d8_async(memory, 1, 64, stream))
    memory.free()
    graph.launch(stream.handle)
    raises("ILLEGAL_ADDRESS", stream.synchronize)
