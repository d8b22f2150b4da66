"""Operators that sum, normalise or search along axes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from repsr_deploy.folding.graph.evaluate_call import Call, Handler, Outputs


def _product(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def _sum(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    return x.sum(axes, keepdim=keepdim, dtype=x.dtype)


def _mean(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    count = math.prod(x.shape[axis] for axis in axes)
    total = _sum(x, axes, keepdim)
    return total / count if x.is_floating_point() else torch.div(total, count, rounding_mode="trunc")


Reduction = Callable[[Tensor, list[int], bool], Tensor]
REDUCTIONS: dict[str, Reduction] = {
    "ReduceL1": lambda x, axes, keepdim: _sum(x.abs(), axes, keepdim),
    "ReduceL2": lambda x, axes, keepdim: _sum(x * x, axes, keepdim).sqrt(),
    "ReduceLogSum": lambda x, axes, keepdim: _sum(x, axes, keepdim).log(),
    "ReduceLogSumExp": lambda x, axes, keepdim: torch.logsumexp(x, axes, keepdim=keepdim),
    "ReduceMax": lambda x, axes, keepdim: torch.amax(x, axes, keepdim=keepdim),
    "ReduceMean": _mean,
    "ReduceMin": lambda x, axes, keepdim: torch.amin(x, axes, keepdim=keepdim),
    "ReduceProd": _product,
    "ReduceSum": _sum,
    "ReduceSumSquare": lambda x, axes, keepdim: _sum(x * x, axes, keepdim),
}


def _reduce(reduction: Reduction) -> Handler:
    def handler(call: Call) -> Tensor:
        x, axes = call[0], call.ints(1, "axes")
        if not axes and call.get("noop_with_empty_axes", 0):
            return x
        return reduction(x, axes or list(range(x.ndim)), bool(call.get("keepdims", 1)))

    return handler


def _by_channel(values_c: Tensor, x: Tensor) -> Tensor:
    """A number for each channel, to be spread over the axes behind."""
    return values_c.reshape(1, -1, *[1] * (x.ndim - 2))


def _normalized(x: Tensor, axes: list[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """x less its mean over its deviation; the mean; one over the deviation."""
    mean = x.mean(axes, keepdim=True)
    inverse = ((x - mean).square().mean(axes, keepdim=True) + epsilon).rsqrt()
    return (x - mean) * inverse, mean, inverse


def _batch_normalization(call: Call) -> Tensor:
    if call.get("training_mode", 0):
        raise ValueError("it is in training mode")
    x = call[0]
    scale, shift, mean, variance = (_by_channel(call[index], x) for index in range(1, 5))
    return (x - mean) / (variance + call.get("epsilon", 1e-5)).sqrt() * scale + shift


def _instance_normalization(call: Call) -> Tensor:
    x = call[0]
    normal, _, _ = _normalized(x, list(range(2, x.ndim)), call.get("epsilon", 1e-5))
    return normal * _by_channel(call[1], x) + _by_channel(call[2], x)


def _layer_normalization(call: Call) -> Outputs:
    x, shift = call[0], call.optional(2)
    axes = list(range(call.get("axis", -1) % x.ndim, x.ndim))
    normal, mean, inverse = _normalized(x, axes, call.get("epsilon", 1e-5))
    y = normal * call[1]
    return (y if shift is None else y + shift, mean, inverse)[: call.output_count]


def _rms_normalization(call: Call) -> Tensor:
    x = call[0]
    axes = list(range(call.get("axis", -1) % x.ndim, x.ndim))
    return x * (x.square().mean(axes, keepdim=True) + call.get("epsilon", 1e-5)).rsqrt() * call[1]


def _group_normalization(call: Call) -> Tensor:
    x, groups = call[0], int(call.attributes["num_groups"])
    grouped = x.reshape(x.shape[0], groups, -1)
    normal = _normalized(grouped, [2], call.get("epsilon", 1e-5))[0].reshape(x.shape)
    # up to operator set 20, scale and shift are those of groups
    scale, shift = (values.repeat_interleave(x.shape[1] // len(values)) for values in (call[1], call[2]))
    return normal * _by_channel(scale, x) + _by_channel(shift, x)


def _lrn(call: Call) -> Tensor:
    x, size = call[0], int(call.attributes["size"])
    low = (size - 1) // 2
    squares = F.pad(x.square(), [*[0] * 2 * (x.ndim - 2), low, size - 1 - low]).unfold(1, size, 1).sum(-1)
    return x / (call.get("bias", 1.0) + call.get("alpha", 1e-4) / size * squares) ** call.get("beta", 0.75)


def _lp_normalization(call: Call) -> Tensor:
    x, axis = call[0], call.get("axis", -1)
    norm = x.abs().sum(axis, keepdim=True) if call.get("p", 2) == 1 else x.square().sum(axis, keepdim=True).sqrt()
    return torch.where(norm == 0, torch.zeros_like(x), x / norm)


def _arg(call: Call, search: Callable[..., Tensor]) -> Tensor:
    x, axis, keepdim = call[0], call.get("axis", 0), bool(call.get("keepdims", 1))
    last = bool(call.get("select_last_index", 0))
    # torch promises no order among equal values: the first place of the extreme value is found by itself
    is_best = x == search(x, axis, keepdim=True)
    if last:
        return x.shape[axis] - 1 - is_best.flip(axis).to(torch.uint8).argmax(axis, keepdim=keepdim)
    return is_best.to(torch.uint8).argmax(axis, keepdim=keepdim)


def _top_k(call: Call) -> Outputs:
    x, axis, largest = call[0], call.get("axis", -1), bool(call.get("largest", 1))
    count = int(call[1].item())
    values, indices = torch.sort(x, dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, count), indices.narrow(axis, 0, count)


def _cum_sum(call: Call) -> Tensor:
    x, axis = call[0], int(call[1].item())
    x = x.flip(axis) if call.get("reverse", 0) else x
    total = x.cumsum(axis, dtype=x.dtype)
    total = total - x if call.get("exclusive", 0) else total
    return total.flip(axis) if call.get("reverse", 0) else total


HANDLERS: dict[str, Handler] = {
    **{name: _reduce(reduction) for name, reduction in REDUCTIONS.items()},
    "ArgMax": lambda call: _arg(call, torch.amax),
    "ArgMin": lambda call: _arg(call, torch.amin),
    "BatchNormalization": _batch_normalization,
    "CumSum": _cum_sum,
    "GroupNormalization": _group_normalization,
    "InstanceNormalization": _instance_normalization,
    "LRN": _lrn,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": lambda call: torch.log_softmax(call[0], call.get("axis", -1)),
    "LpNormalization": _lp_normalization,
    "RMSNormalization": _rms_normalization,
    "Softmax": lambda call: torch.softmax(call[0], call.get("axis", -1)),
    "TopK": _top_k,
}
