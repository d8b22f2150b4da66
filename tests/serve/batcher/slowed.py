"""Real runtimes that can be held, that keep what they were given, and that fail when they are told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from repsr_deploy.runtimes import Limits, Runtime, open_runtime
from repsr_deploy.runtimes.base import CheckedRuntime
from tests.runtimes.models import plain_model, spec_of

PATIENCE_S = 30.0
"""After which a test says that something never happened."""


def small_runtime() -> Runtime:
    """A network that takes next to no time: scale 2, halo 4."""
    return open_runtime(plain_model(spec_of(2, 2, 8)).SerializeToString(), "onnxruntime", threads=1)


class Slowed(CheckedRuntime):
    """Runs batches of 8-bit tiles one at a time, each when `let` allows it.

    Args:
        limits: that it claims to have.
        check: is called with every batch, uint8 N x H x W x C, and may raise.
        held: whether batches wait for `let`.
    """

    native_images = True

    def __init__(
        self, *, limits: Limits | None = None, check: Callable[[Any], object] | None = None, held: bool = False
    ) -> None:
        self._runtime = small_runtime()
        self.name, self.precision, self.info = self._runtime.name, self._runtime.precision, self._runtime.info
        self.limits = limits
        self._check, self._held = check, held
        self._turns = threading.Semaphore(0)
        self.batches: list[Any] = []
        """Those that were begun, in their order."""
        self._begun = threading.Condition()

    def let(self, batches: int = 1) -> None:
        """Let so many batches through."""
        self._turns.release(batches)

    def wait_for(self, batches: int) -> None:
        """Wait until so many have begun."""
        with self._begun:
            assert self._begun.wait_for(lambda: len(self.batches) >= batches, PATIENCE_S), len(self.batches)

    def _run(self, batch: Any) -> Any:
        return self._runtime.run(batch)

    def _run_images(self, images_nhwc: Any) -> Any:
        with self._begun:
            self.batches.append(images_nhwc)
            self._begun.notify_all()
        if self._held:
            assert self._turns.acquire(timeout=PATIENCE_S)
        if self._check is not None:
            self._check(images_nhwc)
        return self._runtime.run_images(images_nhwc)


class OnGpu(Slowed):
    """Says that it runs on a GPU."""

    def device_network(self) -> None:
        """See `base.OnDevice`."""


def tile_of(value: int, side: int = 24) -> Any:
    """A batch of one tile: uint8, of one value all over."""
    return np.full((1, side, side, 3), value, np.uint8)


def values(batch: Any) -> list[int]:
    """What the tiles of a batch were made with."""
    return [int(tile[0, 0, 0]) for tile in batch]
