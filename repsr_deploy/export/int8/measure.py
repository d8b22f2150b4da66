"""How good a graph is, in a runtime, by the protocol of `metrics.evaluate`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from repsr_deploy.errors import RuntimeUnavailableError
from repsr_deploy.export.int8 import images
from repsr_deploy.export.pictures import Pictures
from repsr_deploy.export.saving import save_graph
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.evaluate import mean_quality, score
from repsr_deploy.metrics.quality import PEAK, psnr
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes import candidates, open_runtime, unavailable

RUNTIMES = ("onnxruntime", "openvino")
"""Those that run float32 and int8 on any machine, the one that layers are chosen with first: ONNX Runtime computes
between Q/DQ in float32, the same everywhere."""
GLOBAL_SIDE = 48
"""Side of flat pictures for a network of which every pixel depends on the whole image."""
COLOUR_TOLERANCE = 1.5
"""Levels of 255 by which the mean of a flat colour may change: one, when rounded to 8 bits."""
INTERIOR = 16
"""Pixels of flat pictures, along a side, that no border reaches."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a graph makes of pictures."""

    psnr_y: float
    """Mean over the photographs, dB."""
    colours: Mapping[str, NDArray[np.float64]]
    """Of flat pictures, what their interior becomes in the mean: RGB, 0..255."""
    pictures: Mapping[str, NDArray[np.uint8]]
    """What becomes of `Meter.unusual`."""


class Meter:
    """Scores graphs of one kind on the same pictures in the same runtime.

    Args:
        info: what the graphs say about themselves, but for the precision.
        photographs: HR, sides in multiples of the scale and of what the network can take.
        unusual: LR pictures of any size of which the output is kept.
        multiple: what the sides of LR images must be multiples of.
    """

    def __init__(
        self, info: ModelInfo, photographs: Pictures, unusual: Pictures, *, multiple: int, runtime: str
    ) -> None:
        self.runtime = runtime
        self._info = info
        self._photographs = photographs
        self._unusual = images.padded(unusual, multiple)
        self._border = info.halo or 0
        side = GLOBAL_SIDE if info.halo is None else 2 * info.halo + INTERIOR
        self._flat = images.flat(math.ceil(side / multiple) * multiple)

    def score(self, model: ir.Model, precision: Precision) -> Score:
        """Score a graph that computes in `precision`.

        Raises:
            ModelFileError: the runtime cannot run it, or it gives NaN.
        """
        stated = model.clone()
        stated.metadata_props.update(replace(self._info, precision=precision).to_props())
        with tempfile.TemporaryDirectory(prefix="repsr-int8-") as folder:
            path = save_graph(stated, Path(folder) / "model.onnx")
            upscaler = Upscaler(open_runtime(path, self.runtime, precision=precision))
            return Score(
                psnr_y=self._psnr_y(upscaler),
                colours={name: self._colour(upscaler, image_hwc) for name, image_hwc in self._flat.items()},
                pictures={name: upscaler.upscale(image_hwc) for name, image_hwc in self._unusual.items()},
            )

    def _psnr_y(self, upscaler: Upscaler) -> float:
        scores = (
            score(upscaler.upscale, self._info.scale, image_hwc, name=name, metrics=("psnr_y",), bicubic=False)
            for name, image_hwc in self._photographs.items()
        )
        mean = mean_quality(item.model for item in scores).psnr_y
        assert mean is not None
        return mean

    def _colour(self, upscaler: Upscaler, image_hwc: NDArray[np.uint8]) -> NDArray[np.float64]:
        output_hwc = upscaler.upscale(image_hwc.astype(np.float32) / np.float32(PEAK))
        inside = slice(self._border * self._info.scale, -self._border * self._info.scale or None)
        return output_hwc[inside, inside].astype(np.float64).mean(axis=(0, 1)) * PEAK


def drop_db(before: Score, after: Score) -> float:
    """How much lower the PSNR-Y is, dB."""
    return 0.0 if before.psnr_y == after.psnr_y else before.psnr_y - after.psnr_y


def colour_errors(before: Score, after: Score) -> dict[str, float]:
    """By how much the mean of each flat colour changes, levels of 255, in the channel where it is most."""
    return {name: float(np.abs(after.colours[name] - colour).max()) for name, colour in before.colours.items()}


def colours_hold(before: Score, after: Score) -> bool:
    """Whether no flat colour's mean changes by more than a level, rounded, or than `before` itself changes it."""
    errors = colour_errors(before, after)
    own = {name: float(np.abs(before.colours[name] - colour).max()) for name, colour in images.COLOURS.items()}
    return all(error <= max(COLOUR_TOLERANCE, own[name]) for name, error in errors.items())


def likeness_db(before: Score, after: Score) -> dict[str, float]:
    """PSNR of what becomes of the unusual pictures against what did; infinite where it is the same."""
    return {name: psnr(after.pictures[name], picture) for name, picture in before.pictures.items()}


def measuring_runtimes(info: ModelInfo) -> tuple[str, ...]:
    """Those of `RUNTIMES` that run int8 here.

    Raises:
        RuntimeUnavailableError: none is installed.
    """
    able = {item.runtime for item in candidates(replace(info, precision="int8")) if item.precision == "int8"}
    found = tuple(name for name in RUNTIMES if name in able)
    if not found:
        reasons = unavailable()
        raise RuntimeUnavailableError("; ".join(reasons[name] for name in RUNTIMES if name in reasons))
    return found
