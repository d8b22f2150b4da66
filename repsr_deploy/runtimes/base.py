"""What every runtime is, and the checks that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import ModelFileError, UsageError
from repsr_deploy.model_info import ModelInfo

Batch = NDArray[np.float32]


class Runtime(Protocol):
    """A model, ready to run. Safe to call from several threads."""

    name: str
    """Name of the backend."""
    info: ModelInfo
    """What the model says about itself."""

    def run(self, batch_nchw: NDArray[Any]) -> Batch:
        """Upscale a batch of images.

        Args:
            batch_nchw: float32, N x C x H x W, values in `info.range`; C is 3, or 1 for colour `y`.

        Returns:
            float32, N x C x scale*H x scale*W.

        Raises:
            UsageError: another type or shape.
            MemoryError: not enough memory for a batch of this size; a smaller one may fit.
        """
        ...


class CheckedRuntime(ABC):
    """Checks what goes in and what comes out, once for every backend; a backend implements `_run`."""

    name: str
    info: ModelInfo

    def run(self, batch_nchw: NDArray[Any]) -> Batch:
        """See `Runtime.run`."""
        channels = 3 if self.info.colour == "rgb" else 1
        if batch_nchw.dtype != np.float32 or batch_nchw.ndim != 4 or batch_nchw.shape[1] != channels:
            raise UsageError(
                f"batch is {batch_nchw.dtype} of shape {batch_nchw.shape}; "
                f"{self.info.name} expects float32, N x {channels} x H x W"
            )
        if batch_nchw.size == 0:
            raise UsageError(f"batch of shape {batch_nchw.shape} is empty; expected at least one pixel")
        output_nchw = self._run(np.ascontiguousarray(batch_nchw))
        count, _, height, width = batch_nchw.shape
        expected = (count, channels, height * self.info.scale, width * self.info.scale)
        if output_nchw.shape != expected:
            raise ModelFileError(
                f"{self.info.name} gives {output_nchw.shape} for an input of {batch_nchw.shape}; "
                f"expected {expected}, because the model says scale {self.info.scale}"
            )
        return output_nchw

    @abstractmethod
    def _run(self, batch_nchw: Batch) -> Batch:
        """Run a checked, contiguous batch."""
