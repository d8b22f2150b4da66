"""Pictures through the whole service: the same pixels as `repsr-upscale`, and what happens to those given up."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from repsr_deploy.imaging.batch import upscale_files
from repsr_deploy.imaging.enlargement import Enlargement
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.image_bytes import decode_image
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_serve.buffers import Buffer
from repsr_serve.pictures import Order, Result
from repsr_serve.problems import Problem
from repsr_serve.service import Service
from tests.serve.service.running_service import buffers, content, file_of, noise, running_service, until, value

LIMIT = 10**8
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return file_of(noise(61, 94), "JPEG", quality=90, exif=exif)


def deep() -> bytes:
    samples = np.random.default_rng().integers(0, 2**16, (45, 60, 4), np.uint16)
    return cv2.imencode(".png", samples)[1].tobytes()


SOURCES = {
    "rgb.png": lambda: file_of(noise(83, 101)),
    "gray.jpg": lambda: file_of(noise(70, 33, 1), "JPEG"),
    "alpha.webp": lambda: file_of(noise(64, 51, 4), "WEBP", quality=80),
    "deep.png": deep,
    "turned.jpg": turned,
    "profile.png": lambda: file_of(noise(40, 40), icc_profile=PROFILE),
    "large.png": lambda: file_of(noise(700, 690)),
    "one.png": lambda: file_of(noise(1, 1)),
}
ORDERS = [Order(), Order(factor=3, format="png"), Order(factor=0.7), Order(factor=5, model="photo-x2", format="jpeg")]


async def upscaled(service: Service, encoded: bytes, order: Order | None = None, **options: Any) -> Result:
    with Buffer.of(encoded) as buffer:
        return await service.upscale(buffer, order or Order(), max_pixels=LIMIT, **options)


def test_pixels_and_profile_are_those_of_repsr_upscale(tmp_path: Path) -> None:
    sources = {name: make() for name, make in SOURCES.items()}

    async def serve() -> list[tuple[str, Order, Result, bytes]]:
        async with running_service(model=("photo-x2", "photo-x4")) as service:
            asked = [(name, order) for name in sources for order in (ORDERS if name != "large.png" else ORDERS[:2])]
            results = await asyncio.gather(*(upscaled(service, sources[name], order) for name, order in asked))
            kept = sum(result.encoded.size for result in results)
            await until(lambda: value(service, "memory_reserved_bytes") == kept)
            answers = [(*what, result, content(result.encoded)) for what, result in zip(asked, results, strict=True)]
            await until(lambda: value(service, "memory_reserved_bytes") == 0)
            return answers

    answers = asyncio.run(serve())
    upscalers = {name: Upscaler(name, runtime="onnxruntime", threads=1) for name in ("photo-x2", "photo-x4")}
    for name, order, result, encoded in answers:
        source = tmp_path / name
        source.write_bytes(sources[name])
        target = tmp_path / f"result.{ {'png': 'png', 'jpeg': 'jpg', 'webp': 'webp'}[result.format] }"
        (outcome,) = upscale_files(upscalers[result.model], [Job(source, target)], Enlargement(factor=order.factor))
        assert outcome.error is None
        assert result.source_size == outcome.size
        assert result.size == outcome.new_size
        assert result.model == ("photo-x4" if order.factor == 3 else "photo-x2")
        assert result.format == (order.format or {".png": "png", ".jpg": "jpeg", ".webp": "webp"}[source.suffix])
        ours, theirs = decode_image(encoded), decode_image(target.read_bytes())
        assert ours.image_hwc.dtype == theirs.image_hwc.dtype
        assert np.array_equal(ours.image_hwc, theirs.image_hwc), (name, order)
        assert ours.icc_profile == theirs.icc_profile
        assert (ours.icc_profile is not None) == (name == "profile.png")


def test_timings_and_progress_go_through_all_stages() -> None:
    async def serve() -> tuple[Result, list[float]]:
        async with running_service() as service:
            seen: list[float] = []
            result = await upscaled(service, file_of(noise(700, 700)), progress=seen.append)
            result.encoded.close()
            return result, seen

    started = time.perf_counter()
    result, seen = asyncio.run(serve())
    assert list(result.timings_s) == ["wait", "decode", "upscale", "encode", "total"]
    *stages, total = result.timings_s.values()
    assert all(seconds >= 0 for seconds in stages)
    assert 0.7 * total < sum(stages) <= total < time.perf_counter() - started
    assert seen == sorted(seen)
    assert len(set(seen)) > 4
    assert seen[-1] == 1


def test_small_pictures_pass_large_ones_that_wait_for_memory_and_threads() -> None:
    async def serve() -> None:
        async with running_service(memory=2**28, max_pixels=2_000_000, max_bytes=2**25) as service:
            encoded = file_of(noise(1200, 1200), compress_level=1)
            large = [asyncio.create_task(upscaled(service, encoded)) for _ in range(3)]
            await until(lambda: value(service, "queue_depth", queue="memory", model="") == 1)
            small = file_of(noise(60, 60))
            for _ in range(5):
                (await upscaled(service, small)).encoded.close()
            assert not any(task.done() for task in large)
            for result in await asyncio.gather(*large):
                result.encoded.close()

    asyncio.run(serve())


def test_giving_up_returns_memory_and_ends_the_work() -> None:
    async def serve() -> None:
        async with running_service() as service:
            encoded = file_of(noise(2000, 2000), compress_level=1)
            started = threading.Event()

            def progress(part: float) -> None:
                if part > 0.1:
                    started.set()

            task = asyncio.create_task(upscaled(service, encoded, progress=progress))
            await until(started.is_set)
            assert value(service, "memory_reserved_bytes") > 100e6
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 0.2)
            await until(lambda: value(service, "memory_reserved_bytes") == 0)
            assert service.throughput.backlog_pixels == 0
            tiles = value(service, "tiles_total", model="photo-x2")
            await asyncio.sleep(0.1)
            assert value(service, "tiles_total", model="photo-x2") == tiles < 30
            assert buffers() == 0
            (await upscaled(service, file_of(noise(20, 20)))).encoded.close()

    asyncio.run(serve())


def test_giving_up_at_any_moment_leaves_nothing() -> None:
    encoded = file_of(noise(400, 500))

    async def serve() -> None:
        async with running_service() as service:
            started = time.perf_counter()
            (await upscaled(service, encoded)).encoded.close()
            whole_s = time.perf_counter() - started
            for moment in np.random.default_rng().uniform(0, whole_s, 15):
                task = asyncio.create_task(upscaled(service, encoded))
                await asyncio.sleep(moment)
                task.cancel()
                (outcome,) = await asyncio.gather(task, return_exceptions=True)
                if isinstance(outcome, Result):
                    outcome.encoded.close()
            await until(lambda: value(service, "memory_reserved_bytes") == 0)
            await until(lambda: buffers() == 0)

    asyncio.run(serve())


def test_a_request_has_so_much_time_and_a_job_all_it_needs() -> None:
    encoded = file_of(noise(1100, 1100), compress_level=1)

    async def serve() -> Problem:
        async with running_service(timeout=0.08) as service:
            with pytest.raises(Problem) as caught:
                await upscaled(service, encoded)
            (await upscaled(service, encoded, background=True)).encoded.close()
            await until(lambda: value(service, "memory_reserved_bytes") == 0)
            return caught.value

    problem = asyncio.run(serve())
    assert problem.cause == "too-late"
    assert "0.08 s" in problem.detail
    assert problem.retry_after_s is not None
    assert 1 <= problem.retry_after_s <= 60


def test_refusals() -> None:
    photograph = SOURCES["rgb.png"]()
    refused = [
        (b"", Order(), "unknown-format"),
        (b"GIF89a, or so", Order(), "unknown-format"),
        (photograph[:-20], Order(), "damaged"),
        (photograph, Order(model="none"), "not-found"),
        (photograph, Order(factor=9), "parameters"),
    ]

    async def serve() -> None:
        async with running_service(workers=1) as service:
            for encoded, order, cause in refused:
                with pytest.raises(Problem) as caught:
                    await upscaled(service, encoded, order)
                assert caught.value.cause == cause

    asyncio.run(serve())
