"""A service without HTTP, and pictures for it."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repsr_serve.buffers import Buffer
from repsr_serve.service import Service
from repsr_serve.settings import Settings

RANDOM = np.random.default_rng(20)
PATIENCE_S = 30.0


def settings(**given: Any) -> Settings:
    """Of a small service whose results are the same on every machine."""
    small: dict[str, Any] = {
        "model": ("photo-x2",), "runtime": "onnxruntime", "threads": 1, "workers": 2, "max_wait": 600.0,
    }  # fmt: skip
    return Settings(**small | given)


@asynccontextmanager
async def running_service(**given: Any) -> AsyncGenerator[Service]:
    """Started, and stopped at the end; no thread, buffer or process of it is left."""
    with nothing_left():
        service = Service(settings(**given))
        await service.start()
        try:
            yield service
        finally:
            await service.stop()


@contextmanager
def nothing_left() -> Generator[None]:
    """Threads, buffers and child processes are the same before and after."""
    before = _held()
    yield
    after = _held()
    assert after == before, (before, after)


def buffers() -> int:
    """Buffers that this process has open or mapped."""
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    opened = [str(link.readlink()) for link in links if link.is_symlink()]
    mapped = Path("/proc/self/maps").read_text().splitlines()
    return sum("memfd:repsr-serve" in line for line in opened + mapped)


def _held() -> dict[str, list[str]]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    threads = sorted({thread.name for thread in threading.enumerate()} - {"asyncio_0", "asyncio_1"})  # the loop's own
    return {"threads": threads, "buffers": [str(buffers())], "children": children}


def file_of(image_hwc: NDArray[Any], form: str = "PNG", **options: Any) -> bytes:
    """An 8-bit picture as a file, by Pillow."""
    file = io.BytesIO()
    Image.fromarray(image_hwc).save(file, form, **options)
    return file.getvalue()


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    """Random samples, H x W x C, or H x W for one channel."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return RANDOM.integers(0, 256, shape, np.uint8)


def content(buffer: Buffer) -> bytes:
    """Of a buffer, which is closed."""
    with buffer:
        return b"".join(buffer.chunks())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.002)


def value(service: Service, name: str, **labels: str) -> float:
    """Of a metric."""
    found = service.metrics.registry.get_sample_value(f"repsr_serve_{name}", labels)
    assert found is not None, name
    return found
