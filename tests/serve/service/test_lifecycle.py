"""Start and stop: what cannot work is named, nothing is left, whoever waits gets an answer."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from repsr_deploy.errors import UsageError
from repsr_deploy.model_info import ModelInfo
from repsr_serve.buffers import Buffer
from repsr_serve.pictures import Order, Result
from repsr_serve.problems import Problem
from repsr_serve.service import Service
from tests.runtimes.models import image_model, plain_model, spec_of
from tests.serve.service.running_service import (
    content,
    file_of,
    noise,
    nothing_left,
    running_service,
    settings,
    until,
    value,
)

LIMIT = 10**8


async def upscaled(service: Service, encoded: bytes, order: Order | None = None, **options: Any) -> Result:
    with Buffer.of(encoded) as buffer:
        return await service.upscale(buffer, order or Order(), max_pixels=LIMIT, **options)


def dark_hating_model(info: ModelInfo) -> onnx.ModelProto:
    """Gives what it gets, and NaN for an image that is black all over."""
    image = ["N", 3, "H", "W"]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["input"], ["most"], keepdims=1),
            helper.make_node("Div", ["most", "most"], ["one"]),
            helper.make_node("Mul", ["input", "one"], ["output"]),
        ],
        "dark",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, image)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, info.to_props())
    return model


def test_a_model_that_gives_nan_is_told_from_a_damaged_picture(tmp_path: Path) -> None:
    onnx.save(dark_hating_model(ModelInfo(name="dark", scale=1, halo=None)), tmp_path / "dark.onnx")
    bright = noise(30, 20)

    async def serve() -> Problem:
        async with running_service(model=(str(tmp_path / "dark.onnx"),), workers=1, max_pixels=10_000) as service:
            result = await upscaled(service, file_of(bright))
            assert content(result.encoded) != b""
            with pytest.raises(Problem) as caught:
                await upscaled(service, file_of(np.zeros((30, 20, 3), np.uint8)))
            return caught.value

    problem = asyncio.run(serve())
    assert (problem.cause, problem.status) == ("broken-model", 500)
    assert "dark gives nan" in problem.detail.lower()


def test_a_model_of_8_bits_refuses_16_before_any_work(tmp_path: Path) -> None:
    onnx.save(image_model(plain_model(spec_of())), tmp_path / "eight.onnx")

    async def serve() -> None:
        async with running_service(model=(str(tmp_path / "eight.onnx"),), workers=1) as service:
            (await upscaled(service, file_of(noise(9, 8)))).encoded.close()
            with pytest.raises(Problem) as caught:
                await service.infer("eight", np.zeros((1, 3, 8, 8), np.float32))
            assert caught.value.cause == "parameters"

    asyncio.run(serve())


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"model": ("photo-x2", "none")}, UsageError, "no model 'none'"),
        ({"model": ("photo-x2", "photo-x2")}, UsageError, "two models would be served as 'photo-x2'"),
        ({"runtime": "abacus"}, UsageError, "abacus"),
        ({"tile": 64, "batch": 10**10}, UsageError, "batch"),
        ({"memory": 10**8}, UsageError, "expected at least 536870912 bytes, or a smaller max_bytes"),
        ({"memory": 10**8, "max_bytes": 10**6}, UsageError, "max_pixels 16000000, 2 times enlarged"),
    ],
)
def test_settings_that_cannot_work_are_named(given: dict[str, Any], error: type[Exception], said: str) -> None:
    async def start() -> None:
        service = Service(settings(**given))
        try:
            await service.start()
        finally:
            assert not service.ready
            await service.stop()

    with nothing_left(), pytest.raises(error, match=said):
        asyncio.run(start())


def test_what_settings_expect_is_enough() -> None:
    with pytest.raises(UsageError) as caught:
        asyncio.run(Service(settings(memory=10**8, max_bytes=10**6)).start())
    found = re.search(r"at most (\d+) pixels, or (\d+) bytes of memory$", str(caught.value))
    assert found is not None
    pixels, memory = int(found[1]), int(found[2])

    async def start(**given: int) -> None:
        async with running_service(max_bytes=10**6, workers=1, **given) as service:
            assert service.ready

    asyncio.run(start(memory=10**8, max_pixels=pixels))
    asyncio.run(start(memory=memory))
    with pytest.raises(UsageError):
        asyncio.run(start(memory=10**8, max_pixels=int(1.01 * pixels)))


def test_a_picture_that_never_fits_is_refused_by_its_header() -> None:
    async def serve() -> None:
        async with running_service(memory=2**28, max_pixels=1_500_000, max_bytes=2**24, workers=1) as service:
            encoded = file_of(noise(1200, 1200), compress_level=1)
            for options in ({}, {"background": True}):
                with pytest.raises(Problem) as caught:
                    await upscaled(service, encoded, Order(factor=4), **options)
                problem = caught.value
                assert (problem.cause, problem.extra["pixels"]) == ("too-many-pixels", 1_440_000)
                limit = problem.extra["max_pixels"]
                assert 0 < limit < 1_440_000
                assert f"about {limit} pixels" in problem.detail
            with Buffer.of(encoded) as buffer:
                with pytest.raises(Problem) as caught:
                    await service.plan(buffer, Order(factor=4), max_pixels=LIMIT)
                assert caught.value.cause == "too-many-pixels"
                with pytest.raises(Problem) as caught:
                    await service.plan(buffer, Order(), max_pixels=10)
                assert caught.value.extra["max_pixels"] == 10
                with Buffer.of(file_of(noise(40, 30))) as small:
                    model, plan = await service.plan(small, Order(factor=3, format="webp"), max_pixels=LIMIT)
                assert (model.name, plan.size, plan.format, plan.work_pixels) == ("photo-x2", (90, 120), "webp", 6000)
            assert value(service, "tiles_total", model="photo-x2") == 1  # of the warm-up

    asyncio.run(serve())


def test_before_start_after_stop_and_while_draining() -> None:
    encoded = file_of(noise(20, 20))

    async def cause_of(service: Service) -> str:
        with pytest.raises(Problem) as caught:
            await upscaled(service, encoded)
        return caught.value.cause

    async def story() -> None:
        with nothing_left():
            service = Service(settings(workers=1))
            assert not service.ready
            assert await cause_of(service) == "starting"
            await service.start()
            assert service.ready
            async with service.admission.enter():
                service.drain()
                assert not service.ready
                (await upscaled(service, encoded)).encoded.close()  # it was inside before
            await service.stop()
            assert await cause_of(service) == "stopping"
            await service.stop()
            assert not service.models

    asyncio.run(story())


def test_stop_answers_those_who_wait_and_leaves_nothing() -> None:
    async def story() -> None:
        with nothing_left():
            service = Service(settings())
            await service.start()
            encoded = file_of(noise(1200, 1200), compress_level=1)
            tasks = [asyncio.create_task(upscaled(service, encoded, background=part)) for part in (True, False, False)]
            await until(lambda: value(service, "tiles_total", model="photo-x2") > 4)
            await asyncio.wait_for(service.stop(), 10)
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, Problem)
                assert outcome.cause == "stopping"
            assert value(service, "memory_reserved_bytes") == 0

    asyncio.run(story())


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.15, 0.3])
def test_a_start_that_is_given_up_leaves_nothing(after_s: float) -> None:
    async def story() -> None:
        service = Service(settings())
        task = asyncio.create_task(service.start())
        await asyncio.sleep(after_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await service.stop()

    with nothing_left():
        asyncio.run(story())
