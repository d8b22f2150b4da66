"""QuantizeLinear and DequantizeLinear: the whole numbers that an int8 graph computes with."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor

from repsr_deploy.folding.graph.evaluate_call import Call, Handler

INTEGERS = {ir.DataType.INT8: torch.int8, ir.DataType.UINT8: torch.uint8, ir.DataType.INT16: torch.int16}


def _along(parameters: Tensor, x: Tensor, axis: int) -> Tensor:
    """A number for the whole tensor, or one for each place along `axis`, to be spread over `x`."""
    if parameters.numel() == 1:
        return parameters.reshape(())
    if parameters.ndim != 1 or parameters.numel() != x.shape[axis]:
        raise ValueError(
            f"its parameters have shape {tuple(parameters.shape)}; only one, or one for each place along axis {axis}, "
            "is supported"
        )
    return parameters.reshape(-1, *[1] * (x.ndim - 1 - axis % x.ndim))


def _integer(call: Call) -> torch.dtype:
    """The type to quantize to: that of the zero point, or the one asked for, or uint8."""
    zero = call.optional(2)
    asked = ir.DataType(call.get("output_dtype", 0) or ir.DataType.UINT8)
    kind = INTEGERS.get(asked) if zero is None else zero.dtype
    if kind is None or kind not in INTEGERS.values():
        raise ValueError("it quantizes to another type than int8, uint8 and int16")
    return kind


def _quantize(call: Call) -> Tensor:
    x, axis, kind = call[0], call.get("axis", 1), _integer(call)
    steps = (x / _along(call[1], x, axis)).round()  # half to even
    zero = call.optional(2)
    if zero is not None:
        steps = steps + _along(zero, x, axis)
    limits = torch.iinfo(kind)
    return steps.clamp(limits.min, limits.max).to(kind)


def _dequantize(call: Call) -> Tensor:
    x, axis = call[0], call.get("axis", 1)
    zero = call.optional(2)
    steps = x.double() if zero is None else x.double() - _along(zero, x, axis)
    return steps * _along(call[1], x, axis)


HANDLERS: dict[str, Handler] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
