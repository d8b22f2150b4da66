"""Probe images: photographs' statistics and hard edges, at the sizes that a network can take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import onnx_ir as ir
from torch import Tensor

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.shapes import reference_inputs
from repsr_deploy.folding.proof import GLOBAL_HALO, probe_images

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
"""What the sides of images may have to be multiples of, because a network divides them again and again."""
WIDEST_BORDER = 32
"""Border, LR pixels, beyond which probes would cost more than the knowledge of where the errors are is worth."""
SMALLEST_BASE = 32
"""Side, beside some pixels, that is large enough for networks without padding, which crop their output."""

T = TypeVar("T")
Sides = tuple[int, int]
Images = dict[str, Tensor]
Probes = dict[str, Images]
"""Name of the probe -> graph input -> 1 x C x H x W."""
Range = tuple[float, float]


def probes_for(
    *, channels: int, border: int, multiple: int = 1, sides: Sides | None = None, value_range: Range = (0.0, 1.0)
) -> dict[str, Tensor]:
    """Probe images by name, `noise 54x49`, as 1 x C x H x W float64 within `value_range`.

    Two sizes, odd ones where the network can take them, each with pixels that no border reaches; or `sides`, H x W,
    alone, where the network takes no others.
    """
    base = max(2 * border, SMALLEST_BASE)
    tall, wide = ((base + 17, base + 22), (base + 27, base + 15)) if sides is None else (sides, sides)
    plan = {"noise": tall, "natural": wide}
    plan = {name: (_round_up(height, multiple), _round_up(width, multiple)) for name, (height, width) in plan.items()}
    images = probe_images(max(max(sides) for sides in plan.values()) // 2, channels)
    low, high = value_range
    return {
        f"{name} {width}x{height}": (low + (high - low) * images[name][..., :height, :width]).contiguous()
        for name, (height, width) in plan.items()
    }


def at_smallest_multiple(run: Callable[[int], T]) -> T:
    """What `run` gives for the smallest number that image sides must be multiples of, found by trying.

    Args:
        run: runs a network on images whose sides are multiples of a number.

    Raises:
        FoldError: no size works; the reason that the first one gave.
    """
    first: FoldError | None = None
    for multiple in MULTIPLES:
        try:
            return run(multiple)
        except FoldError as error:
            first = first or error
    assert first is not None
    raise first


def border_of(halo: int | None, *, border_allowed: bool) -> int:
    """The whole halo where the border may differ; else as much as shows where errors are."""
    if halo is None:
        return GLOBAL_HALO
    return halo if border_allowed else min(halo, WIDEST_BORDER)


def _round_up(side: int, multiple: int) -> int:
    return math.ceil(side / multiple) * multiple


def graph_probes(
    model: ir.Model, border: int, value_range: Range, photographs: Mapping[str, Tensor]
) -> tuple[Probes, dict[str, Images]]:
    """The same probes for all image inputs of a graph, at sizes that it can take, and the graph's outputs for them.

    Photographs are cropped to such sizes.

    Raises:
        FoldError: the graph takes other things than images, or cannot be evaluated.
    """
    channels, fixed = image_inputs(model)

    def run(multiple: int) -> tuple[Probes, dict[str, Images]]:
        probes: Probes = {}
        for name, count in channels.items():
            images = probes_for(channels=count, border=border, multiple=multiple, sides=fixed, value_range=value_range)
            for probe, image in images.items():
                probes.setdefault(probe, {})[name] = image
        if len(channels) == 1:
            for probe, image in photographs.items():
                height, width = fixed or (side // multiple * multiple for side in image.shape[-2:])
                if min(height, width) > 0 and height <= image.shape[-2] and width <= image.shape[-1]:
                    crop = image.double()[..., :height, :width]
                    probes[f"{probe} {width}x{height}"] = dict.fromkeys(channels, crop)
        return probes, {probe: evaluate(model, images) for probe, images in probes.items()}

    return run(1) if fixed else at_smallest_multiple(run)


def image_inputs(model: ir.Model) -> tuple[dict[str, int], Sides | None]:
    """Channels of every input of a graph, and their sides H x W where the graph fixes them.

    Raises:
        FoldError: an input is no floating N x C x H x W image.
    """
    channels: dict[str, int] = {}
    fixed: Sides | None = None
    shapes = reference_inputs(model)
    for value in model.graph.inputs:
        name = str(value.name)
        if value.const_value is not None:
            continue
        is_image = name in shapes and len(shapes[name]) == 4
        if not is_image or value.dtype is None or not value.dtype.is_floating_point():
            raise FoldError(f"input {name!r} is {value.type} {value.shape}; expected a floating N x C x H x W image")
        channels[name] = shapes[name][1]
        dims = None if value.shape is None else value.shape.dims
        if dims is not None and isinstance(dims[2], int) and isinstance(dims[3], int):
            fixed = (dims[2], dims[3])
    return channels, fixed
