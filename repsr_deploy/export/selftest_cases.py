"""What a model file is tried on: images of many shapes, and what the reference makes of them in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import FoldError, ProofError
from repsr_deploy.export.form import with_types
from repsr_deploy.export.half import to_half
from repsr_deploy.export.pictures import as_batch
from repsr_deploy.folding.graph.compare_probes import at_smallest_multiple
from repsr_deploy.folding.graph.evaluate import Hand, evaluate, unchanged
from repsr_deploy.folding.graph.evaluate_types import rounded
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.metrics.quality import decibels
from repsr_deploy.model_info import ModelInfo, ModelIo, Precision
from repsr_deploy.runtimes import Limits
from repsr_deploy.tolerances import RUNTIME_LEEWAY, Closeness
from repsr_kernels.reference.upsample import summed

SHAPES = ((1, 17, 23), (2, 32, 31), (1, 1, 5))
"""N x H x W: odd sides, two images, less than a convolution's window. One that is larger than the halo is added."""
LARGEST_SIDE = 96
"""Pixels; networks whose halo is larger are not tried beyond it."""
BENDS = ("LeakyRelu", "PRelu")
"""Operators that compute something else below 0."""

Shape = tuple[int, int, int]
Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """Images of one shape, and the pictures that are to come of them."""

    shape: Shape
    images_nhwc: NDArray[np.uint8]
    float_nchw: Array
    """The network's picture in float64."""
    expected_nchw: Array
    """What the file's own graph gives: for int8 another one, with what quantization costs."""
    reach: float
    """Width of the range of what the network gives before the clamp, at least 1: errors of rounding grow with it."""

    @property
    def batch_nchw(self) -> NDArray[np.float32]:
        """The images in 0..1."""
        return _batch(self.images_nhwc)

    def closeness(self, picture_nchw: Array, *, rounding: float = 0.0) -> Closeness:
        """How near a picture comes to what is expected; differences up to `rounding` do not count.

        Raises:
            ProofError: it has another shape.
        """
        if picture_nchw.shape != self.expected_nchw.shape:
            raise ProofError(f"it gives {picture_nchw.shape}; expected {self.expected_nchw.shape}")
        return _closeness(picture_nchw, self.expected_nchw, self.reach, rounding)


class Cases:
    """All that a file is tried on, computed once for all runtimes.

    An int8 file is tried against its own graph: what quantization costs is another question than whether a runtime
    computes what the file says.

    Args:
        file: an .onnx file of any precision, io and shape.
        reference: what it was made of: float32, io `float`.
        info: what the file says about itself.

    Raises:
        ModelFileError: the file is no model.
        FoldError: the reference cannot be evaluated.
    """

    def __init__(self, file: Path, reference: ir.Model, info: ModelInfo) -> None:
        graph = read_graph(file)
        self._info = info
        self._reference = reference
        self._own = graph if info.precision == "int8" else None
        self._fixed = _fixed_sides(graph, info.io)
        self._multiple = 1 if None not in self._fixed[1:] else at_smallest_multiple(self._fits)
        self._known: dict[Shape, Case | None] = {}
        self._happened: dict[str, bool] = {}

    def within(self, limits: Limits | None) -> Iterator[Case]:
        """Those whose shape the network, the file and a runtime take; other shapes are brought to the nearest.

        Raises:
            FoldError: the network takes none of them.
        """
        beyond = min(2 * (self._info.halo or 0) + 3, LARGEST_SIDE)
        shapes = dict.fromkeys(self._taken(shape, limits) for shape in (*SHAPES, (1, beyond, beyond + 2)))
        cases = [case for case in map(self._case, shapes) if case is not None]
        if not cases:
            raise FoldError(f"the network takes no images of shapes {', '.join(map(str, shapes))}")
        yield from cases

    def picture(self, output: Array, case: Case) -> Array:
        """What a file of this io gives, as a picture N x C x sH x sW."""
        match self._info.io:
            case "image":
                return output.transpose(0, 3, 1, 2) / 255
            case "features":
                return np.clip(summed(output, case.batch_nchw, self._info.scale, self._info.skip), 0, 1)
            case "float":
                return output

    def allowed(self, case: Case, precision: Precision) -> Closeness:
        """How near is near enough for a network that loses more in a precision than others, by its nature.

        The reference is evaluated in that precision, operator by operator; for int8 in bf16, in which runtimes may
        compute what lies between Q/DQ.
        """
        half = "bf16" if precision == "int8" else precision
        model = with_types(self._reference) if half == "fp32" else to_half(self._reference, half)
        loss = _closeness(self._run(model, case.images_nhwc, rounded), case.float_nchw, case.reach)
        return Closeness(RUNTIME_LEEWAY * loss.error, loss.psnr_db - 20 * math.log10(RUNTIME_LEEWAY))

    @property
    def untested(self) -> tuple[str, ...]:
        """What no image so far made the network do."""
        return tuple(what for what, happened in self._happened.items() if not happened)

    def _taken(self, shape: Shape, limits: Limits | None) -> Shape:
        count, height, width = shape
        sides = [count, *(-(-side // self._multiple) * self._multiple for side in (height, width))]
        if limits is not None:
            bounds = (limits.count, limits.height, limits.width)
            sides = [min(max(side, low), high) for side, (low, high) in zip(sides, bounds, strict=True)]
        count, height, width = (fixed or side for fixed, side in zip(self._fixed, sides, strict=True))
        return count, height, width

    def _fits(self, multiple: int) -> int:
        side = -(-SHAPES[0][1] // multiple) * multiple
        self._run(self._reference, self._images((1, side, side)))
        return multiple

    def _images(self, shape: Shape) -> NDArray[np.uint8]:
        return _images(shape, 1 if self._info.colour == "y" else 3)

    def _case(self, shape: Shape) -> Case | None:
        """None where the network itself takes no such images, as those that mirror more pixels than there are."""
        if shape not in self._known:
            try:
                self._known[shape] = self._computed(shape)
            except FoldError:
                self._known[shape] = None
        return self._known[shape]

    def _computed(self, shape: Shape) -> Case:
        images_nhwc = self._images(shape)
        output, reach = self._reference.graph.outputs[0], 1.0

        def look(value: ir.Value, tensor: Tensor) -> Tensor:
            nonlocal reach
            readers = [use.node for use in value.uses() if use.idx == 0]
            bends = [node for node in readers if node.op_type in BENDS]
            is_clamped = any(node.op_type == "Clip" and node.outputs[0] is output for node in readers)
            if not (bends or is_clamped or value is output):
                return tensor
            low, high = tensor.min().item(), tensor.max().item()
            if is_clamped or value is output:
                reach = max(reach, high - low)
            if is_clamped:
                self._note("clamp below 0", low < 0)
                self._note("clamp above 1", high > 1)
            for node in bends:
                self._note(f"{node.op_type} {node.outputs[0].name} below 0", low < 0)
            return tensor

        float_nchw = self._run(self._reference, images_nhwc, look)
        case = Case(shape, images_nhwc, float_nchw, float_nchw, reach)
        if self._own is None:
            return case
        x = images_nhwc if self._info.io == "image" else _batch(images_nhwc).astype(np.float64)
        return replace(case, expected_nchw=self.picture(_evaluated(self._own, x), case))

    def _note(self, what: str, happened: bool) -> None:
        self._happened[what] = self._happened.get(what, False) or happened

    def _run(self, model: ir.Model, images_nhwc: NDArray[np.uint8], hand: Hand = unchanged) -> Array:
        """The picture of a graph of io float, clamped as the file's is: always, unless its io is float, too."""
        picture_nchw = _evaluated(model, _batch(images_nhwc).astype(np.float64), hand)
        return picture_nchw if self._info.io == "float" else np.clip(picture_nchw, 0, 1)


def _batch(images_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([as_batch(image_hwc) for image_hwc in images_nhwc])


def _evaluated(model: ir.Model, x: Array, hand: Hand = unchanged) -> Array:
    """The only output of a graph of one input."""
    source, output = str(model.graph.inputs[0].name), str(model.graph.outputs[0].name)
    return evaluate(model, {source: torch.from_numpy(x)}, hand=hand)[output].numpy()


def _closeness(picture: Array, expected: Array, reach: float, rounding: float = 0.0) -> Closeness:
    difference = np.maximum(np.abs(picture - expected) - rounding, 0) / reach
    return Closeness(float(difference.max()), decibels(float(np.mean(np.square(difference)))))


def _images(shape: Shape, channels: int) -> NDArray[np.uint8]:
    """Waves of another length in every colour, blocks of black and white, and noise.

    No two pixels beside each other are alike, and networks that sharpen leave 0..1 at the blocks' edges.
    """
    count, height, width = shape
    random = np.random.default_rng(height * width)
    image, row, column, channel = np.ogrid[:count, :height, :width, :channels]
    waves = 0.5 + 0.5 * np.sin(row * (0.9 + 0.4 * channel) + column * (1.3 - 0.3 * channel) + 2 * channel + image)
    blocks = (row // 5 + column // 3 + channel + image) % 4
    colours = np.select([blocks == 0, blocks == 1], [0.0, 1.0], waves)
    noisy = colours * 255 + random.integers(-12, 13, (count, height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _fixed_sides(graph: ir.Model, io: ModelIo) -> tuple[int | None, int | None, int | None]:
    """N, H and W of a file's input where it fixes them."""
    shape = graph.graph.inputs[0].shape
    if shape is None or len(shape) != 4:
        return None, None, None
    count, height, width = (shape[axis] for axis in ((0, 1, 2) if io == "image" else (0, 2, 3)))
    known = [side if isinstance(side, int) else None for side in (count, height, width)]
    return known[0], known[1], known[2]
