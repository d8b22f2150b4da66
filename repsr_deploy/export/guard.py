"""The look before the clamp: a graph in a short type is tried on pictures, and given up where it overflows.

Clamps hide overflow: TensorRT's Clip turns NaN into the lower bound, so that it shows as black. Here every value of the
graph is looked at, each operator's result rounded to its type (`folding.graph.evaluate_types`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import ModelFileError, UsageError
from repsr_deploy.export.form import with_types
from repsr_deploy.export.half import kept_float32, to_half
from repsr_deploy.export.half_plan import SHORT_TYPES, Half
from repsr_deploy.export.pictures import Pictures, as_batch, extremes
from repsr_deploy.folding.graph.compare_probes import at_smallest_multiple, image_inputs
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.evaluate_types import rounded
from repsr_deploy.metrics.quality import decibels
from repsr_deploy.model_info import Precision
from repsr_deploy.tolerances import LEAST_HALF_PSNR_DB

LONGEST_SIDE = 200
"""Pixels of a picture, along a side, that are looked at: its middle."""
HIGH = 0.25
"""Share of the largest number from which on it is said: other pictures may give a few times as much."""
TRIED: dict[Precision, tuple[Half, ...]] = {"fp16": ("fp16", "bf16"), "bf16": ("bf16",), "fp32": ()}
"""What is tried before float32, in this order. bf16 has the range of float32, with fewer bits."""
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)

Images = Mapping[str, Tensor]
"""Name of the picture -> N x C x H x W."""
Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A graph in the shortest type that holds it."""

    model: ir.Model
    precision: Precision
    notes: tuple[str, ...]
    """Why it is not the type that was asked for, what stays float32, how near to overflow it comes; a line each."""
    headroom: float
    """The largest value that was seen, as a share of the largest number of the type; the smaller the better."""
    psnr: float
    """Of its output against float32 on the worst photograph, dB with peak 1; infinite in float32."""


@dataclass(frozen=True)
class _Peak:
    """The largest value that was seen, or one that is infinite or NaN."""

    size: float = 0.0
    tensor: str = ""
    picture: str = ""


class _OverflowError(Exception):
    """A value is infinite or NaN: it is the first of its graph."""

    def __init__(self, peak: _Peak) -> None:
        super().__init__(f"{peak.tensor} is {peak.size} on {peak.picture}")
        self.peak = peak


class _Refusal(Exception):  # noqa: N818 - nothing went wrong
    """A precision does not do, and why."""


def safe_half(model: ir.Model, wanted: Precision, pictures: Pictures) -> Guarded:
    """The graph in `wanted`, or in the next longer type where it overflows or loses too much; `model` is not changed.

    Args:
        model: float32, from one batch of images N x C x H x W in 0..1 to one.
        wanted: `fp16`, `bf16`, or `fp32` to look at the graph as it is.
        pictures: photographs as the network sees them (LR), by name. `pictures.extremes` are looked at, too, whether
            they are among them or not, but the PSNR is that of photographs.

    Raises:
        UsageError: `wanted` is no floating type.
        ModelFileError: the graph itself, in float32, gives NaN or overflows.
        FoldError: the graph cannot be evaluated.
    """
    if wanted not in TRIED:
        raise UsageError(f"wanted is {wanted!r}; expected one of {', '.join(TRIED)}")
    images = _images(model, {**pictures, **extremes()})
    photographs = [name for name in pictures if name not in extremes()] or list(images)
    try:
        expected, peak = _run_all(with_types(model), images, ir.DataType.FLOAT)
    except _OverflowError as error:
        raise ModelFileError(
            f"the network gives {error.peak.size} in float32: {error.peak.tensor!r} on picture {error.peak.picture!r}; "
            "its weights are broken: train it again"
        ) from error
    notes: list[str] = []
    for precision in TRIED[wanted]:
        try:
            guarded = _tried(model, precision, images, {name: expected[name] for name in photographs})
        except _Refusal as refusal:
            notes.append(f"not {precision}: {refusal}")
            continue
        return replace(guarded, notes=(*notes, *guarded.notes))
    return Guarded(
        model=model.clone(),
        precision="fp32",
        notes=tuple(notes),
        headroom=peak.size / LARGEST_FLOAT32,
        psnr=math.inf,
    )


def _tried(model: ir.Model, precision: Half, images: Images, expected: Mapping[str, Array]) -> Guarded:
    """The graph in a short type, or a refusal."""
    short, half = SHORT_TYPES[precision], to_half(model, precision)
    try:
        actual, peak = _run_all(half, images, short.dtype)
    except _OverflowError as error:
        tensor, picture = error.peak.tensor, error.peak.picture
        size = _unrounded_peak(half, images[picture], tensor)
        raise _Refusal(
            f"{tensor!r} reaches {size:.4g} on picture {picture!r}; the largest number there is {short.largest:.4g}"
        ) from error
    psnr, worst = min((_psnr(actual[name], reference), name) for name, reference in expected.items())
    least = LEAST_HALF_PSNR_DB[precision]
    if psnr < least:
        raise _Refusal(f"{psnr:.1f} dB from float32 on picture {worst!r}; expected at least {least:.0f}")
    kept = [f"{operator} ({reason})" for operator, reason in kept_float32(model, precision).items()]
    notes = [f"in float32: {', '.join(kept)}"] if kept else []
    headroom = peak.size / short.largest
    if headroom > HIGH:
        notes.append(
            f"{peak.tensor!r} reaches {peak.size:.4g} on picture {peak.picture!r}, {headroom:.0%} of what {precision} "
            "holds: other pictures may overflow"
        )
    return Guarded(model=half, precision=precision, notes=tuple(notes), headroom=headroom, psnr=psnr)


def _run_all(model: ir.Model, images: Images, dtype: ir.DataType) -> tuple[dict[str, Array], _Peak]:
    """Outputs by picture, and the largest value of type `dtype`.

    Raises:
        _OverflowError: a value of any type is infinite or NaN.
    """
    source, output = str(model.graph.inputs[0].name), str(model.graph.outputs[0].name)
    peak, picture = _Peak(), ""

    def look(value: ir.Value, tensor: Tensor) -> Tensor:
        nonlocal peak
        tensor = rounded(value, tensor)
        if tensor.is_floating_point() and tensor.numel():
            size = tensor.abs().max().item()  # of anything with NaN it is NaN
            if not math.isfinite(size):
                raise _OverflowError(_Peak(size, str(value.name), picture))
            if value.dtype == dtype and size > peak.size:
                peak = _Peak(size, str(value.name), picture)
        return tensor

    outputs: dict[str, Array] = {}
    for picture, image in images.items():
        outputs[picture] = evaluate(model, {source: image}, hand=look)[output].numpy()
    return outputs, peak


def _unrounded_peak(model: ir.Model, image: Tensor, tensor: str) -> float:
    """The largest value that a tensor would have if nothing was rounded."""
    sizes: list[float] = []

    def look(value: ir.Value, numbers: Tensor) -> Tensor:
        if value.name == tensor:
            sizes.append(numbers.abs().max().item())
        return numbers

    evaluate(model, {str(model.graph.inputs[0].name): image}, hand=look)
    return max(sizes)


def _psnr(actual: Array, expected: Array) -> float:
    return decibels(float(np.mean(np.square(np.clip(actual, 0, 1) - np.clip(expected, 0, 1)))))


def _images(model: ir.Model, pictures: Pictures) -> Images:
    """The middle of every picture as a batch of a size that the graph takes; a luma network gets the green channel."""
    channels, fixed = image_inputs(model)
    (source, count), *others = channels.items()
    if others or count not in (1, 3):
        raise ModelFileError(f"the graph takes {channels}, channels by input; expected one image of 1 or 3 channels")
    dims = model.graph.inputs[0].shape
    stated = None if dims is None else dims[0]
    repeats = stated if isinstance(stated, int) else 1

    def batch(picture_hwc: NDArray[np.uint8], multiple: int) -> Tensor:
        sides = fixed or tuple(-(-min(side, LONGEST_SIDE) // multiple) * multiple for side in picture_hwc.shape[:2])
        image_nchw = as_batch(_fitted(picture_hwc, sides)).repeat(repeats, axis=0)
        return torch.from_numpy(image_nchw if count == 3 else image_nchw[:, 1:2]).double()

    def fitting(multiple: int) -> int:
        evaluate(model, {source: batch(pictures["black"], multiple)})
        return multiple

    multiple = 1 if fixed else at_smallest_multiple(fitting)
    return {name: batch(picture_hwc, multiple) for name, picture_hwc in pictures.items()}


def _fitted(picture_hwc: NDArray[np.uint8], sides: tuple[int, ...]) -> NDArray[np.uint8]:
    """The middle of a picture; what lacks is mirrored."""
    for axis, side in enumerate(sides):
        start = max(0, (picture_hwc.shape[axis] - side) // 2)
        picture_hwc = picture_hwc.take(range(start, min(start + side, picture_hwc.shape[axis])), axis=axis)
        missing = [(0, side - picture_hwc.shape[axis] if index == axis else 0) for index in range(3)]
        picture_hwc = np.pad(picture_hwc, missing, mode="symmetric")
    return picture_hwc
