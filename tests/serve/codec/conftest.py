"""One codec of two workers for many tests, and the event loop that it lives in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from repsr_serve.codec import Codec

Result = TypeVar("Result")
Run = Callable[[Coroutine[Any, Any, Result]], Result]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """An event loop for a module."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def codec(runner: asyncio.Runner) -> Iterator[Codec]:
    """Ready, with room for 12 megapixels."""
    codec = Codec(workers=2, memory_bytes=2**29)
    runner.run(codec.start())
    yield codec
    runner.run(codec.close())
