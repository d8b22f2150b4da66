"""Raw tensors: what `Upscaler` makes of each image, in the same budget as pictures."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from repsr_deploy.imaging.upscaler import Upscaler
from repsr_serve.problems import Problem
from tests.serve.service.running_service import RANDOM, running_service, until, value

MODEL = "photo-x2"


def planes(count: int, channels: int, height: int, width: int) -> NDArray[np.float32]:
    """A little beyond 0..1."""
    return RANDOM.uniform(-0.2, 1.2, (count, channels, height, width)).astype(np.float32)


def test_images_are_those_of_the_upscaler_and_share_the_budget() -> None:
    batches: list[NDArray[Any]] = [
        RANDOM.integers(0, 256, (11, 20, 31, 3), np.uint8),
        RANDOM.integers(0, 256, (2, 33, 9, 4), np.uint8),
        planes(9, 3, 25, 40),
        planes(1, 1, 350, 340),
        planes(3, 2, 17, 18)[:, :, ::2, ::-1],
    ]

    async def serve() -> list[NDArray[Any]]:
        async with running_service() as service:
            made = await asyncio.gather(*(service.infer(MODEL, batch) for batch in batches))
            assert value(service, "memory_reserved_bytes") == sum(array.nbytes for array in made)
            copies = [array.copy() for array in made]
            view = made[0][3:, :2]
            del made
            await until(lambda: value(service, "memory_reserved_bytes") == 4 * batches[0].nbytes)
            del view
            await until(lambda: value(service, "memory_reserved_bytes") == 0)
            return copies

    upscaler = Upscaler(MODEL, runtime="onnxruntime", threads=1)
    for batch, made in zip(batches, asyncio.run(serve()), strict=True):
        assert made.dtype == batch.dtype
        for image, result in zip(batch, made, strict=True):
            if batch.dtype == np.uint8:
                assert np.array_equal(result, upscaler.upscale(image))
            else:
                expected = upscaler.upscale(np.ascontiguousarray(image.transpose(1, 2, 0)))
                assert np.array_equal(result, expected.transpose(2, 0, 1))
                assert result.min() >= 0
                assert result.max() <= 1


def test_refusals() -> None:
    refused = [
        (MODEL, np.zeros((1, 3, 8, 8)), "parameters", "float64 of shape (1, 3, 8, 8)"),
        (MODEL, np.zeros((3, 8, 8), np.float32), "parameters", "of shape (3, 8, 8)"),
        (MODEL, np.zeros((1, 3, 0, 8), np.float32), "parameters", "of shape (1, 3, 0, 8)"),
        (MODEL, np.zeros((1, 5, 8, 8), np.float32), "parameters", "has 5 channels"),
        (MODEL, np.full((2, 3, 8, 8), np.nan, np.float32), "parameters", "NaN"),
        (MODEL, np.zeros((10, 3, 10, 11), np.float32), "too-many-pixels", "1100 pixels; expected at most 1099"),
        ("none", np.zeros((1, 3, 8, 8), np.float32), "not-found", "expected one of photo-x2"),
    ]

    async def serve() -> None:
        async with running_service(workers=1, max_pixels=1099) as service:
            for model, batch, cause, said in refused:
                with pytest.raises(Problem) as caught:
                    await service.infer(model, batch)
                assert caught.value.cause == cause
                assert said in caught.value.detail
                await until(lambda: value(service, "memory_reserved_bytes") == 0)

    asyncio.run(serve())


def test_a_tensor_that_is_given_up_gives_its_memory_back() -> None:
    async def serve() -> None:
        async with running_service() as service:
            task = asyncio.create_task(service.infer(MODEL, planes(30, 3, 300, 300)))
            await until(lambda: value(service, "tiles_total", model=MODEL) > 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: value(service, "memory_reserved_bytes") == 0)
            assert value(service, "tiles_total", model=MODEL) < 30
            assert service.throughput.backlog_pixels == 0

    asyncio.run(serve())
