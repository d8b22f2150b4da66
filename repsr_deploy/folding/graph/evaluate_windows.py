"""Convolutions and pooling: operators that slide a window over an image of one, two or three axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from repsr_deploy.folding.graph.evaluate_call import Call, Handler, Outputs

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
BAND_BYTES = 2**26
"""Memory for the copied windows of a convolution."""


@dataclass(frozen=True)
class _Window:
    """Geometry of a sliding window, an entry for each axis of the image."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]

    @property
    def extents(self) -> list[int]:
        """Pixels from the first to the last tap, both counted."""
        return [(size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True)]

    @property
    def torch_pads(self) -> list[int]:
        """Padding in the order of `torch.nn.functional.pad`: last axis first."""
        return torch_pads(self.before, self.after)


def torch_pads(before: list[int], after: list[int]) -> list[int]:
    """ONNX padding, first axis first, in the order of `torch.nn.functional.pad`: last axis first, low before high."""
    return [pad for pair in zip(reversed(before), reversed(after), strict=True) for pad in pair]


def _window(call: Call, kernel: list[int]) -> _Window:
    """The window of a convolution or a pooling over `call[0]`, padding resolved."""
    sides = list(call[0].shape[2:])
    strides = list(call.get("strides", [1] * len(kernel)))
    dilations = list(call.get("dilations", [1] * len(kernel)))
    pads = list(call.get("pads", [0] * 2 * len(kernel)))
    before, after = pads[: len(kernel)], pads[len(kernel) :]
    automatic = call.get("auto_pad", "NOTSET")
    if automatic == "VALID":
        before = after = [0] * len(kernel)
    elif automatic != "NOTSET":
        extents = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
        totals = [
            max(0, (math.ceil(side / stride) - 1) * stride + extent - side)
            for side, stride, extent in zip(sides, strides, extents, strict=True)
        ]
        before, after = _halves(totals, upper=automatic == "SAME_UPPER")
    return _Window(kernel, strides, dilations, before, after)


def _halves(totals: list[int], *, upper: bool) -> tuple[list[int], list[int]]:
    """Padding before and after; `upper` puts the odd pixel after."""
    low = [total // 2 for total in totals]
    high = [total - half for total, half in zip(totals, low, strict=True)]
    return (low, high) if upper else (high, low)


def _conv(call: Call) -> Tensor:
    x, weight, bias = call[0], call[1], call.optional(2)
    window, groups = _window(call, list(weight.shape[2:])), call.get("group", 1)
    x = F.pad(x, window.torch_pads) if any(window.torch_pads) else x
    convolve = CONV[len(window.kernel)]
    # PyTorch copies every window of the image: in bands, so that a photograph does not take gigabytes
    row_bytes = x.element_size() * weight[0].numel() * x.shape[0] * math.prod(x.shape[3:])
    step, extent = window.strides[0], window.extents[0]
    count = (x.shape[2] - extent) // step + 1
    rows = max(1, BAND_BYTES // row_bytes)
    bands = (
        x.narrow(2, first * step, (min(rows, count - first) - 1) * step + extent) for first in range(0, count, rows)
    )
    parts = [convolve(band, weight, bias, window.strides, 0, window.dilations, groups) for band in bands]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _conv_transpose(call: Call) -> Tensor:
    x, weight, bias = call[0], call[1], call.optional(2)
    kernel = list(weight.shape[2:])
    count = len(kernel)
    strides = list(call.get("strides", [1] * count))
    dilations = list(call.get("dilations", [1] * count))
    extra = list(call.get("output_padding", [0] * count))
    full = CONV_TRANSPOSE[count](x, weight, None, strides, 0, extra, call.get("group", 1), dilations)
    before, after = _cropped(call, strides, list(full.shape[2:]))
    y = F.pad(full, [-pad for pad in torch_pads(before, after)])
    return y if bias is None else y + bias.reshape(-1, *[1] * count)


def _cropped(call: Call, strides: list[int], full: list[int]) -> tuple[list[int], list[int]]:
    """Pixels that a transposed convolution drops before and after, of `full` along each axis."""
    automatic, sides = call.get("auto_pad", "NOTSET"), list(call[0].shape[2:])
    wanted = call.get("output_shape", None)
    if wanted is None and automatic.startswith("SAME"):
        wanted = [side * stride for side, stride in zip(sides, strides, strict=True)]
    if wanted is not None:
        totals = [side - target for side, target in zip(full, list(wanted)[-len(full) :], strict=True)]
        before, _ = _halves([max(0, total) for total in totals], upper=automatic == "SAME_UPPER")
        return before, [total - low for total, low in zip(totals, before, strict=True)]  # what lacks is added after
    pads = list(call.get("pads", [0] * 2 * len(full)))
    return pads[: len(full)], pads[len(full) :]


def _windows(x: Tensor, window: _Window, fill: float, beyond: float, *, ceil: bool) -> Tensor:
    """N x C x outputs x taps: padded by `fill`, and by `beyond` where a last partial window reaches farther."""
    sides = x.shape[2:]
    x = F.pad(x, window.torch_pads, value=fill)
    missing: list[int] = []
    for axis, (stride, extent) in enumerate(zip(window.strides, window.extents, strict=True)):
        free = x.shape[2 + axis] - extent
        steps = math.ceil(free / stride) if ceil else free // stride
        if steps * stride >= sides[axis] + window.before[axis]:
            steps -= 1  # a window that starts in the padding after the image is dropped
        missing.append(max(0, steps * stride - free))
    x = F.pad(x, torch_pads([0] * len(missing), missing), value=beyond)
    for axis, (stride, extent, step) in enumerate(zip(window.strides, window.extents, window.dilations, strict=True)):
        x = x.unfold(2 + axis, extent, stride)[..., ::step]
    return x


def _pool_window(call: Call) -> tuple[_Window, bool, list[int]]:
    """Window, whether partial windows at the end count, and the axes of the taps."""
    kernel = list(call.attributes["kernel_shape"])
    return _window(call, kernel), bool(call.get("ceil_mode", 0)), [-1 - axis for axis in range(len(kernel))]


def _max_pool(call: Call) -> Tensor:
    window, ceil, taps = _pool_window(call)
    x = call[0]
    lowest = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    return _windows(x, window, lowest, lowest, ceil=ceil).amax(taps)


def _average_pool(call: Call) -> Tensor:
    window, ceil, taps = _pool_window(call)
    x = call[0]
    counted = float(call.get("count_include_pad", 0))
    ones = torch.ones_like(x[:1, :1])
    counts = _windows(ones, window, counted, 0.0, ceil=ceil).sum(taps)
    return _windows(x, window, 0.0, 0.0, ceil=ceil).sum(taps) / counts


def _lp_pool(call: Call) -> Tensor:
    window, ceil, taps = _pool_window(call)
    power = call.get("p", 2)
    return _windows(call[0].abs() ** power, window, 0.0, 0.0, ceil=ceil).sum(taps) ** (1 / power)


def _image_axes(x: Tensor) -> list[int]:
    return list(range(2, x.ndim))


def _grid_sample(call: Call) -> Outputs:
    mode: str = call.get("mode", "linear")
    return F.grid_sample(
        call[0],
        call[1],
        mode={"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode),
        padding_mode=call.get("padding_mode", "zeros"),
        align_corners=bool(call.get("align_corners", 0)),
    )


HANDLERS: dict[str, Handler] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": lambda call: call[0].mean(_image_axes(call[0]), keepdim=True),
    "GlobalMaxPool": lambda call: call[0].amax(_image_axes(call[0]), keepdim=True),
    "GridSample": _grid_sample,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
