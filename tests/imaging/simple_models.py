"""Networks that do something simple, so that what they give can be said beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from repsr_deploy.runtimes import Runtime, open_runtime
from repsr_deploy.runtimes.base import CheckedRuntime, Images, Limits
from tests.runtimes.models import plain_model, spec_of

_KEPT = ("skip.channels", "range.low", "range.high")


def nearest(scale: int = 2) -> Runtime:
    """Every pixel becomes scale x scale pixels: all weights are 0, and the skip stays."""
    return _with_weights(plain_model(spec_of(scale, 1, 8)), {})


def blurring() -> Runtime:
    """Twice as large, every pixel the mean of 3 x 3 pixels: its tail takes the mean, and takes the skip off."""
    model = plain_model(spec_of(2, 1, 8))
    head, body = np.zeros((8, 3, 3, 3), np.float32), np.zeros((8, 8, 3, 3), np.float32)
    tail = np.zeros((12, 8, 3, 3), np.float32)
    for channel in range(3):
        head[channel, channel, 1, 1] = body[channel, channel, 1, 1] = 1
        tail[channel * 4 : channel * 4 + 4, channel] = 1 / 9
        tail[channel * 4 : channel * 4 + 4, channel, 1, 1] -= 1
    return _with_weights(model, {"head.weight": head, "body.0.weight": body, "tail.weight": tail})


def _with_weights(model: onnx.ModelProto, weights: dict[str, Any]) -> Runtime:
    for item in model.graph.initializer:
        if item.name not in _KEPT:
            array = weights.get(item.name, np.zeros_like(numpy_helper.to_array(item)))
            item.CopyFrom(numpy_helper.from_array(array, item.name))
    return open_runtime(model.SerializeToString(), "onnxruntime", threads=1)


class Watched(CheckedRuntime):
    """A real runtime that keeps the shapes it gets, and takes certain ones only where it is told to."""

    def __init__(self, runtime: Runtime, limits: Limits | None = None) -> None:
        self._runtime, self.limits = runtime, limits
        self.name, self.info, self.precision = runtime.name, runtime.info, runtime.precision
        self.shapes: list[tuple[int, ...]] = []

    def _run(self, batch: Any) -> Any:
        self.shapes.append(batch.shape)
        return (self._runtime.run_images if batch.dtype == np.uint8 else self._runtime.run)(batch)

    def _run_images(self, images_nhwc: Images) -> Images:
        self.shapes.append(images_nhwc.shape)
        return self._runtime.run_images(images_nhwc)
