"""Resize, an axis at a time: every mode is separable."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from repsr_deploy.folding.graph.evaluate_call import Call


def resize(call: Call) -> Tensor | None:
    """Nearest, linear and cubic by gathering taps along each axis; None for antialias and crops, done elsewhere.

    Source: the operator's specification, ONNX operator set 19.
    """
    if call.get("antialias", 0) or call.get("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return None
    x = call[0]
    for axis, scale, side in _targets(call):
        if side != x.shape[axis] or scale != 1:
            places, weights = _taps(call, x.shape[axis], scale, side)
            x = _gather(x, axis, places, weights)
    return x


def _targets(call: Call) -> list[tuple[int, float, int]]:
    """Axis, scale and output side of every axis that the node speaks of."""
    x, scales, sizes = call[0], call.optional(2), call.optional(3)
    axes = [axis % x.ndim for axis in call.get("axes", range(x.ndim))]
    if scales is not None and scales.numel():
        factors = scales.tolist()
        return [(axis, scale, math.floor(x.shape[axis] * scale)) for axis, scale in zip(axes, factors, strict=True)]
    if sizes is None:
        raise ValueError("it has neither scales nor sizes")
    factors = [size / x.shape[axis] for axis, size in zip(axes, sizes.tolist(), strict=True)]
    policy = call.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return list(zip(axes, factors, sizes.tolist(), strict=True))
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [(axis, factor, math.floor(x.shape[axis] * factor + 0.5)) for axis in axes]


def _coordinates(mode: str, side: int, scale: float, outputs: int) -> Tensor:
    """Where the centre of each output pixel lies, in input pixels."""
    y = torch.arange(outputs, dtype=torch.float64)
    exact = scale * side
    match mode:
        case "asymmetric":
            return y / scale
        case "align_corners":
            return torch.zeros_like(y) if exact == 1 else y * (side - 1) / (exact - 1)
        case "pytorch_half_pixel" if exact == 1:
            return torch.full_like(y, -0.5)
        case "half_pixel" | "pytorch_half_pixel":
            return (y + 0.5) / scale - 0.5
        case "half_pixel_symmetric":
            return side / 2 * (1 - outputs / exact) + (y + 0.5) / scale - 0.5
        case _:
            raise ValueError(f"coordinate_transformation_mode is {mode!r}")


def _taps(call: Call, side: int, scale: float, outputs: int) -> tuple[Tensor, Tensor]:
    """Input pixels, outputs x taps, not yet kept inside the image, and their weights."""
    x = _coordinates(call.get("coordinate_transformation_mode", "half_pixel"), side, scale, outputs)
    mode = call.get("mode", "nearest")
    if mode == "nearest":
        return _nearest(x, call.get("nearest_mode", "round_prefer_floor"))[:, None], torch.ones(outputs, 1).double()
    low = x.floor()
    t = x - low
    if mode == "linear":
        places, weights = low[:, None] + torch.arange(2), torch.stack([1 - t, t], dim=1)
    else:
        places, weights = low[:, None] + torch.arange(-1, 3), _cubic(t, call.get("cubic_coeff_a", -0.75))
    if call.get("exclude_outside", 0):
        weights = torch.where((places >= 0) & (places < side), weights, 0.0)
        weights = weights / weights.sum(1, keepdim=True)
    return places.long(), weights


def _nearest(x: Tensor, mode: str) -> Tensor:
    match mode:
        case "round_prefer_floor":
            return (x - 0.5).ceil().long()
        case "round_prefer_ceil":
            return (x + 0.5).floor().long()
        case "floor":
            return x.floor().long()
        case _:
            return x.ceil().long()


def _cubic(t: Tensor, a: float) -> Tensor:
    """Weights of the pixels at -1, 0, 1, 2 for a point t behind pixel 0 (Keys 1981), outputs x 4."""
    near, far = torch.stack([t, 1 - t]), torch.stack([1 + t, 2 - t])
    inner = ((a + 2) * near - (a + 3)) * near**2 + 1
    outer = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    return torch.stack([outer[0], inner[0], inner[1], outer[1]], dim=1)


def _gather(x: Tensor, axis: int, places: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the taps along an axis; places outside repeat the edge."""
    places = places.clamp(0, x.shape[axis] - 1)
    if places.shape[1] == 1:
        return x.index_select(axis, places[:, 0])
    shape = [-1, *[1] * (x.ndim - 1 - axis)]
    terms = (
        x.index_select(axis, places[:, tap]) * weights[:, tap].reshape(shape).to(x.dtype)
        for tap in range(places.shape[1])
    )
    return torch.stack(list(terms)).sum(0)
