"""Workers die, hang, are interrupted and orphaned, and nobody notices but the log."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from repsr_deploy.errors import RepsrError
from repsr_deploy.imaging.container import UnknownFormatError
from repsr_deploy.imaging.image_bytes import decode_image, encode_image
from repsr_serve.buffers import Buffer
from repsr_serve.codec import Codec, Header, Picture, SharedPicture, WorkerDied
from repsr_serve.codec.work import BYTES_PER_PIXEL, LARGE_NICENESS, LARGE_WORK, SMALL_WORK, most_work_of
from repsr_serve.codec.worker import MAX_OPEN_FILES
from tests.imaging.file_kinds import RGB, by_pillow
from tests.serve.codec.processes import exists, open_files, wait_until

SMALL = by_pillow("PNG")
LARGE_IMAGE = np.random.default_rng(0).integers(0, 256, (1200, 1100, 3), np.uint8)
LARGE = bytes(encode_image(LARGE_IMAGE, "png"))
MEMORY_BYTES = 2**29


def with_codec(body: Callable[[Codec, list[float]], Awaitable[None]], workers: int = 2, limit_s: float = 60.0) -> None:
    """Run `body` with a codec and the times of deaths; afterwards, nothing of it is left."""

    async def run() -> None:
        deaths: list[float] = []
        codec = Codec(
            workers=workers,
            memory_bytes=MEMORY_BYTES,
            limit_s=limit_s,
            on_death=lambda: deaths.append(time.monotonic()),
        )
        await codec.start()
        assert codec.alive == len(codec.pids) == workers
        pids = codec.pids
        try:
            await body(codec, deaths)
        finally:
            pids += codec.pids
            await codec.close()
        assert not [pid for pid in pids if exists(pid)]
        assert codec.pids == []
        assert codec.alive == 0

    gc.collect()
    files, threads = open_files(), threading.active_count()
    asyncio.run(run())
    gc.collect()
    assert open_files() == files
    assert threading.active_count() == threads


async def read(codec: Codec, data: bytes) -> SharedPicture:
    with Buffer.of(data) as encoded:
        return await codec.decode(encoded, await codec.probe(encoded))


async def healed(codec: Codec) -> None:
    async with asyncio.timeout(10):
        while codec.alive < len(codec.pids) or codec.alive == 0:
            await asyncio.sleep(0.01)


async def idle_moment() -> None:
    """Until what has been sent has been taken up."""
    await asyncio.sleep(0.05)


def test_a_killed_worker_is_replaced_and_its_picture_is_done() -> None:
    async def body(codec: Codec, deaths: list[float]) -> None:
        small, large = codec.pids
        os.kill(large, signal.SIGSTOP)
        with Buffer.of(LARGE) as encoded:
            header = await codec.probe(encoded)
            call = asyncio.ensure_future(codec.decode(encoded, header))
            await idle_moment()
        assert not call.done()
        os.kill(large, signal.SIGKILL)
        np.testing.assert_array_equal((await call).image_hwc, LARGE_IMAGE)
        await healed(codec)
        assert codec.pids[0] == small
        assert codec.pids[1] != large
        assert len(deaths) == 1

    with_codec(body)


def test_killed_at_any_moment() -> None:
    """While pictures are read and written: each is done, or its worker died twice; results are never mixed up."""
    chance = random.Random(3)

    async def body(codec: Codec, deaths: list[float]) -> None:
        expected = bytes(encode_image(LARGE_IMAGE, "jpeg"))

        async def enlarge(number: int) -> bool:
            image = LARGE_IMAGE + np.uint8(number)
            try:
                picture = await read(codec, bytes(encode_image(image, "png")))
                assert np.array_equal(picture.image_hwc, image)
                with await codec.encode(Picture(image_hwc=LARGE_IMAGE), "jpeg") as encoded:
                    assert bytes(encoded.map()) == expected
            except WorkerDied:
                return False
            return True

        calls = [asyncio.ensure_future(enlarge(number)) for number in range(12)]
        kills = 0
        while not all(call.done() for call in calls):
            await asyncio.sleep(chance.uniform(0, 0.15))
            if kills < 6:
                kills += 1
                os.kill(chance.choice(codec.pids), signal.SIGKILL)
        assert sum([await call for call in calls]) >= 9
        await healed(codec)
        assert 0 < len(deaths) <= kills

    with_codec(body, workers=3)


def test_a_picture_that_kills_is_given_up() -> None:
    async def body(codec: Codec, deaths: list[float]) -> None:
        with Buffer.of(LARGE) as encoded:
            header = await codec.probe(encoded)
            for pid in codec.pids:
                os.kill(pid, signal.SIGSTOP)
            call = asyncio.ensure_future(codec.decode(encoded, header))
            await idle_moment()
            os.kill(codec.pids[1], signal.SIGKILL)
            await healed(codec)
            while not call.done():
                os.kill(codec.pids[1], signal.SIGKILL)
                await asyncio.sleep(0.002)
                await healed(codec)
            with pytest.raises(WorkerDied, match="2 workers ended while they had the picture"):
                await call
        os.kill(codec.pids[0], signal.SIGCONT)
        assert len(deaths) >= 2
        np.testing.assert_array_equal((await read(codec, SMALL)).image_hwc, RGB)

    with_codec(body)


def test_a_worker_that_hangs_is_ended() -> None:
    async def body(codec: Codec, deaths: list[float]) -> None:
        os.kill(codec.pids[0], signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(WorkerDied, match="took longer"):
            await read(codec, SMALL)
        assert 0.4 <= time.monotonic() - begin < 2
        np.testing.assert_array_equal((await read(codec, SMALL)).image_hwc, RGB)
        assert len(deaths) == 1

    with_codec(body, workers=1, limit_s=0.4)


def test_small_pictures_do_not_wait_for_large_ones() -> None:
    async def body(codec: Codec, _: list[float]) -> None:
        with Buffer.of(LARGE) as encoded:
            header = await codec.probe(encoded)
            os.kill(codec.pids[1], signal.SIGSTOP)
            large = [asyncio.ensure_future(codec.decode(encoded, header)) for _ in range(5)]
            small = [asyncio.ensure_future(read(codec, SMALL)) for _ in range(20)]
            await asyncio.wait_for(asyncio.gather(*small), 10)
            assert not any(call.done() for call in large)
            assert codec.waiting == 4
            os.kill(codec.pids[1], signal.SIGCONT)
            for picture in await asyncio.gather(*large):
                np.testing.assert_array_equal(picture.image_hwc, LARGE_IMAGE)

    with_codec(body)


def test_large_pictures_do_not_wait_for_huge_ones() -> None:
    async def body(codec: Codec, _: list[float]) -> None:
        os.kill(codec.pids[2], signal.SIGSTOP)
        with Buffer() as huge:
            huge.resize(BYTES_PER_PIXEL * (LARGE_WORK + 1))
            call = asyncio.ensure_future(codec.probe(huge))
            for _number in range(3):
                np.testing.assert_array_equal((await read(codec, LARGE)).image_hwc, LARGE_IMAGE)
            assert not call.done()
            os.kill(codec.pids[2], signal.SIGCONT)
            with pytest.raises(UnknownFormatError, match=r"starts with b'\\x00"):
                await call

    with_codec(body, workers=3)


@pytest.mark.parametrize("workers", range(1, 40))
def test_every_picture_has_a_worker(workers: int) -> None:
    shares = most_work_of(workers)
    assert len(shares) == workers
    assert shares == sorted(shares)
    assert shares[-1] == math.inf
    assert (SMALL_WORK in shares) == (workers > 1)
    assert (LARGE_WORK in shares) == (workers > 2)


def test_a_storm_of_cancelled_calls() -> None:
    chance = random.Random(1)

    async def body(codec: Codec, deaths: list[float]) -> None:
        pids = codec.pids
        for _ in range(5):
            calls = [asyncio.ensure_future(read(codec, chance.choice([SMALL, LARGE]))) for _ in range(40)]
            for call in calls:
                if chance.random() < 0.9:
                    await asyncio.sleep(chance.choice([0, 0, 0.001]))
                    call.cancel()
            done = await asyncio.gather(*calls, return_exceptions=True)
            for call, picture in zip(calls, done, strict=True):
                assert call.cancelled() or isinstance(picture, SharedPicture)
        np.testing.assert_array_equal((await read(codec, LARGE)).image_hwc, LARGE_IMAGE)
        np.testing.assert_array_equal((await read(codec, SMALL)).image_hwc, RGB)
        assert codec.pids == pids
        assert codec.waiting == 0
        assert not deaths

    with_codec(body)


def test_a_cancelled_call_leaves_no_descriptor() -> None:
    async def body(codec: Codec, _: list[float]) -> None:
        with Buffer.of(LARGE) as encoded:
            header = await codec.probe(encoded)
            before = open_files()
            call = asyncio.ensure_future(codec.decode(encoded, header))
            await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.wait([call])
            np.testing.assert_array_equal((await read(codec, LARGE)).image_hwc, LARGE_IMAGE)
            await asyncio.sleep(0)  # the last answer lives until then
            gc.collect()
            assert open_files() == before

    with_codec(body)


def test_calls_under_way_end_when_it_is_closed() -> None:
    async def body(codec: Codec, deaths: list[float]) -> None:
        calls = [asyncio.ensure_future(read(codec, data)) for data in [LARGE, SMALL] * 20]
        await asyncio.sleep(0.02)
        begin = time.monotonic()
        await codec.close()
        assert time.monotonic() - begin < 2
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert any(isinstance(result, WorkerDied) for result in results)
        assert all(isinstance(result, WorkerDied | SharedPicture) for result in results)
        with pytest.raises(WorkerDied, match="not running"):
            await read(codec, SMALL)
        assert not deaths

    with_codec(body)


@pytest.mark.parametrize("pause_s", [0, 0.001, 0.005, 0.05])
def test_closing_while_a_dead_worker_is_replaced(pause_s: float) -> None:
    async def body(codec: Codec, _: list[float]) -> None:
        os.kill(codec.pids[0], signal.SIGKILL)
        await asyncio.sleep(pause_s)

    with_codec(body)


def test_a_worker_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    files = open_files()

    async def job() -> None:
        codec = Codec(workers=2, memory_bytes=MEMORY_BYTES)
        with pytest.raises(RepsrError, match="a codec worker does not start"):
            await codec.start()
        assert codec.pids == []

    monkeypatch.setattr(sys, "executable", "/bin/false")
    asyncio.run(job())
    monkeypatch.setattr(sys, "executable", "/nowhere")
    asyncio.run(job())
    assert open_files() == files


def test_workers_are_confined() -> None:
    async def body(codec: Codec, _: list[float]) -> None:
        for pid, niceness in zip(codec.pids, (0, LARGE_NICENESS), strict=True):
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(pid, number)
            assert os.getpgid(pid) == pid
            assert os.getpriority(os.PRIO_PROCESS, pid) - os.getpriority(os.PRIO_PROCESS, 0) == niceness
            assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
            assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (MAX_OPEN_FILES, MAX_OPEN_FILES)
            assert resource.prlimit(pid, resource.RLIMIT_FSIZE) == (MEMORY_BYTES, MEMORY_BYTES)
            assert MEMORY_BYTES < resource.prlimit(pid, resource.RLIMIT_AS)[0] < MEMORY_BYTES + 2**29
            assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500"
            assert sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) < 8
        np.testing.assert_array_equal((await read(codec, SMALL)).image_hwc, RGB)
        assert codec.alive == 2

    with_codec(body)


def test_workers_load_nothing_that_they_do_not_need() -> None:
    code = "import repsr_serve.codec.worker, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    paths = os.pathsep.join(sys.path)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": paths}
    )
    loaded = set(result.stdout.split())
    assert "cv2" in loaded
    assert not loaded & {
        "onnxruntime",
        "openvino",
        "onnx",
        "fastapi",
        "uvicorn",
        "pydantic",
        "torch",
        "prometheus_client",
    }


ORPHANS = """
    import asyncio, sys
    from repsr_serve.buffers import Buffer
    from repsr_serve.codec import Codec

    async def main():
        codec = Codec(workers=2, memory_bytes=2**29)
        await codec.start()
        with Buffer.of(open(sys.argv[1], "rb").read()) as encoded:
            header = await codec.probe(encoded)
            calls = [asyncio.ensure_future(codec.decode(encoded, header)) for _ in range(50)]
            await asyncio.sleep(0.05)
            print(*codec.pids, flush=True)
            await asyncio.gather(*calls)

    asyncio.run(main())
"""


def test_workers_end_with_their_service(tmp_path: Path) -> None:
    """Killed with -9, while one of them is at work."""
    (tmp_path / "large.png").write_bytes(LARGE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(ORPHANS), str(tmp_path / "large.png")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as service:
        assert service.stdout is not None
        pids = [int(pid) for pid in service.stdout.readline().split()]
        assert len(pids) == 2
        assert all(exists(pid) for pid in pids)
        service.kill()
    assert wait_until(lambda: not any(exists(pid) for pid in pids))


def test_a_picture_costs_little_more_than_its_decoding() -> None:
    header = Header(format="png", width=37, height=41, channels=3, sample_bytes=1)
    costs_s: list[float] = []

    async def body(codec: Codec, deaths: list[float]) -> None:
        assert not deaths
        with Buffer.of(SMALL) as encoded:
            for _ in range(200):
                begin = time.perf_counter()
                (await codec.decode(encoded, header)).close()
                middle = time.perf_counter()
                decode_image(SMALL)
                costs_s.append(2 * middle - begin - time.perf_counter())

    with_codec(body)
    assert np.median(costs_s) < 0.005
