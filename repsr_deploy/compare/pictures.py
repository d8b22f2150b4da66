"""The pictures of a comparison: the original enlarged without a network, both side by side, and what differs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from repsr_deploy.imaging.samples import Image, as_uint8
from repsr_deploy.metrics.resize import imresize

Picture8 = NDArray[np.uint8]

CHECK = 16
"""Side of a square of the checkerboard that stands for transparency."""
CHECKS = (255, 204)
HEADROOM = 192
"""Steps of 16 bits for one of 8: bicubic interpolation overshoots by up to a third where both sides meet an edge."""
GAP = 8
"""Columns between two pictures side by side."""
GAP_GRAY = 128
TOPS = (4, 8, 16, 32, 64, 128, 255)
"""Differences, in 8-bit steps, that the brightest colour of a map may stand for."""
SEEN = 0.999
"""Part of the pixels that a map shows without clipping."""
MAP = cv2.COLORMAP_INFERNO
"""Perceptually uniform, from black over red to light yellow: right in gray and for the colour-blind, too."""


@dataclass(frozen=True, eq=False)
class Difference:
    """How far two pictures are apart."""

    map_hwc: Picture8
    """H x W x 3, RGB: black where they are equal, the brightest colour from `top` on."""
    top: int
    """8-bit steps."""
    mean: float
    """Over all pixels, 8-bit steps."""
    most: int


def bicubic(before_hwc: Image, height: int, width: int) -> Picture8:
    """A picture in another size by bicubic interpolation; what is hidden by transparency does not show.

    Returns:
        uint8, H x W x C with the channels of the picture.
    """
    layers = _layers(before_hwc)
    if layers.shape[2] in (1, 3):
        return imresize(layers, output_size=(height, width))
    alpha = layers[..., -1:].astype(np.float32)
    premultiplied = np.concatenate([layers[..., :-1] * (alpha / 255), alpha], axis=2) * np.float32(HEADROOM)
    enlarged = imresize(np.rint(premultiplied).astype(np.uint16), output_size=(height, width))
    colour = enlarged[..., :-1] * (np.float32(255) / np.maximum(enlarged[..., -1:], 1))
    opacity = enlarged[..., -1:] * np.float32(1 / HEADROOM)
    return np.rint(np.minimum(np.concatenate([colour, opacity], axis=2), 255)).astype(np.uint8)


def side_by_side(left_hwc: Image, right_hwc: Image) -> Picture8:
    """Two pictures of one height beside each other, transparency on a checkerboard: H x (W + GAP + W) x 1 or x 3."""
    left, right = on_checkerboard(left_hwc), on_checkerboard(right_hwc)
    channels = max(left.shape[2], right.shape[2])
    parts = [left, np.full((left.shape[0], GAP, 1), GAP_GRAY, np.uint8), right]
    return np.concatenate([np.broadcast_to(part, (*part.shape[:2], channels)) for part in parts], axis=1)


def on_checkerboard(image_hwc: Image) -> Picture8:
    """A picture without transparency: uint8, H x W x 1 or H x W x 3."""
    layers = _layers(image_hwc)
    height, width, channels = layers.shape
    if channels in (1, 3):
        return layers
    rows, columns = np.ogrid[:height, :width]
    light = (rows // CHECK + columns // CHECK) % 2 == 0
    board = np.where(light, *map(np.float32, CHECKS))[..., None]
    covered = layers[..., -1:] / np.float32(255)
    return np.rint(layers[..., :-1] * covered + board * (1 - covered)).astype(np.uint8)


def difference(one_hwc: Image, other_hwc: Image) -> Difference:
    """How far two pictures of one size are apart: at every pixel, the channel that differs most.

    Colours count as they are seen over black, and transparency counts as a channel.
    """
    apart = cv2.absdiff(_comparable(one_hwc), _comparable(other_hwc)).max(axis=2)
    counts = np.bincount(apart.ravel(), minlength=256)
    reached = int(np.searchsorted(np.cumsum(counts), SEEN * apart.size))
    top = next(top for top in TOPS if top >= reached)
    scaled = cv2.convertScaleAbs(apart, alpha=255 / top)
    coloured = cv2.cvtColor(cv2.applyColorMap(scaled, MAP), cv2.COLOR_BGR2RGB)
    mean = float(counts @ np.arange(256)) / apart.size
    return Difference(np.asarray(coloured, np.uint8), top, mean, int(np.flatnonzero(counts)[-1]))


def legend() -> list[tuple[int, int, int]]:
    """Colours of a map (RGB) from none to `top`, evenly spaced."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)[None]
    return [(red, green, blue) for blue, green, red in cv2.applyColorMap(steps, MAP)[0].tolist()]


def _layers(image_hwc: Image) -> Picture8:
    """8 bits, H x W x C."""
    return as_uint8(image_hwc.reshape(*image_hwc.shape[:2], -1))


def _comparable(image_hwc: Image) -> Picture8:
    """H x W x 4: three colours over black, and transparency."""
    layers = _layers(image_hwc)
    height, width, channels = layers.shape
    if channels in (1, 3):
        colour, alpha = layers, np.full((height, width, 1), 255, np.uint8)
    else:
        alpha = layers[..., -1:]
        colour = np.rint(layers[..., :-1] * (alpha / np.float32(255))).astype(np.uint8)
    return np.concatenate([np.broadcast_to(colour, (height, width, 3)), alpha], axis=2)
