"""Pictures as a network sees them, and those that photographs do not replace."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.export.pictures import EXTREME_SIDES, Pictures, as_batch, extremes
from repsr_deploy.folding.graph.compare_probes import at_smallest_multiple, image_inputs
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.metrics.colour import ycbcr_from_rgb
from repsr_deploy.metrics.evaluate import reduce
from repsr_deploy.model_info import ModelInfo

LONGEST_SIDE = 256
"""Pixels of a picture, along a side, that calibration looks at: its middle."""
PROBE_SIDE = 32
"""Side, pixels, at which it is tried what sides a network can take."""
Image = NDArray[np.uint8]

COLOURS = {
    "black": (0, 0, 0), "white": (255, 255, 255), "gray": (128, 128, 128), "red": (255, 0, 0), "green": (0, 255, 0),
    "blue": (0, 0, 255), "cyan": (0, 255, 255), "magenta": (255, 0, 255), "yellow": (255, 255, 0),
}  # fmt: skip
"""RGB of the flat pictures that must stay what they are."""


def flat(side: int) -> Pictures:
    """A square of each of `COLOURS`."""
    return {name: np.full((side, side, 3), colour, np.uint8) for name, colour in COLOURS.items()}


def edges() -> Pictures:
    """Flat colours, and 8-pixel blocks of black and white and of full colours side by side: steps of full height."""
    height, width = EXTREME_SIDES
    corners = np.array(list(itertools.product((0, 255), repeat=3)), np.uint8)
    places = np.random.default_rng(0).integers(0, len(corners), (height // 8 + 1, width // 8 + 1))
    blocks_hwc = corners[places].repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return {**flat(min(EXTREME_SIDES)), "blocks": extremes()["coarse checkerboard"], "colour blocks": blocks_hwc}


def lines() -> Pictures:
    """Lines of one pixel, white on black and black on white, as letters have them."""
    height, width = EXTREME_SIDES
    lines_hwc = np.zeros((height, width, 3), np.uint8)
    lines_hwc[::11] = lines_hwc[:, ::9] = 255
    return {"white lines": lines_hwc, "black lines": 255 - lines_hwc}


def multiple_of(model: ir.Model) -> int:
    """What the sides of a network's images must be multiples of, found by trying.

    Raises:
        UsageError: it takes images of one size only.
        FoldError: it takes other things than images, or cannot be evaluated.
    """
    channels, fixed = image_inputs(model)
    if fixed is not None:
        raise UsageError(f"the network takes images of {fixed[1]}x{fixed[0]} only; expected one for any size")

    def attempt(multiple: int) -> int:
        height = (PROBE_SIDE // (2 * multiple) * 2 + 1) * multiple
        images = {name: torch.zeros(1, count, height, height + multiple) for name, count in channels.items()}
        evaluate(model, images)
        return multiple

    return at_smallest_multiple(attempt)


def low(photographs: Pictures, info: ModelInfo) -> Pictures:
    """What a network of that scale gets to see of HR photographs."""
    return {name: reduce(image_hwc, info.scale) for name, image_hwc in photographs.items()}


def as_inputs(pictures: Pictures, info: ModelInfo, multiple: int) -> list[Tensor]:
    """The middle of each as 1 x C x H x W, float64 in 0..1, `padded`; C is 1, luma, for colour `y`."""
    middles = {name: _middle(image_hwc, LONGEST_SIDE) for name, image_hwc in pictures.items()}
    return [_as_input(image_hwc, info) for image_hwc in padded(middles, multiple).values()]


def padded(pictures: Pictures, multiple: int) -> Pictures:
    """Pictures whose sides are multiples of `multiple`: what lacks is mirrored."""
    missing = {
        name: [*((0, -side % multiple) for side in image_hwc.shape[:2]), (0, 0)] for name, image_hwc in pictures.items()
    }
    return {name: np.pad(image_hwc, missing[name], mode="symmetric") for name, image_hwc in pictures.items()}


def cropped(photographs: Pictures, multiple: int, longest: int | None = None) -> Pictures:
    """HR photographs with sides that are multiples of `multiple`, at most `longest`."""
    fitting: dict[str, Image] = {}
    for name, image_hwc in photographs.items():
        middle = image_hwc if longest is None else _middle(image_hwc, longest)
        height, width = (side // multiple * multiple for side in middle.shape[:2])
        if min(height, width) == 0:
            raise UsageError(
                f"photograph {name} has {image_hwc.shape[1]}x{image_hwc.shape[0]} pixels; expected at least {multiple} "
                "along each side"
            )
        fitting[name] = np.ascontiguousarray(middle[:height, :width])
    return fitting


def _as_input(image_hwc: Image, info: ModelInfo) -> Tensor:
    image_nchw = as_batch(image_hwc).astype(np.float64)
    if info.colour == "y":
        image_nchw = ycbcr_from_rgb(image_nchw[0].transpose(1, 2, 0))[None, None, ..., 0]
    return torch.from_numpy(np.ascontiguousarray(image_nchw))


def _middle(image_hwc: Image, longest: int) -> Image:
    height, width = image_hwc.shape[:2]
    top, left = max(0, (height - longest) // 2), max(0, (width - longest) // 2)
    return image_hwc[top : top + longest, left : left + longest]
