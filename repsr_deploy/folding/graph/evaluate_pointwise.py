"""Operators that work on each element, and the products of matrices."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from repsr_deploy.folding.graph.evaluate_call import Call, Handler

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
"""The float32 numbers that the ONNX specification gives."""


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))  # torch's own turns linear beyond a threshold


UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseNot": torch.bitwise_not,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": lambda x: x * (x / 6 + 0.5).clamp(0, 1),
    "Identity": lambda x: x,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mish": lambda x: x * torch.tanh(_softplus(x)),
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": _softplus,
    "Softsign": lambda x: x / (1 + x.abs()),
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Div": lambda x, y: torch.div(x, y) if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc"),
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "PRelu": lambda x, slope: torch.where(x < 0, slope * x, x),
    "Pow": lambda x, y: torch.pow(x, y).to(x.dtype),
    "Sub": torch.sub,
    "Xor": torch.logical_xor,
}
VARIADIC: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Sum": torch.add,
}


def _clip(call: Call) -> Tensor:
    x = call[0]
    for index, name, limit in ((1, "min", torch.maximum), (2, "max", torch.minimum)):
        bound = call.optional(index)
        if bound is None and name in call.attributes:
            bound = torch.tensor(call.attributes[name], dtype=x.dtype)
        if bound is not None:
            x = limit(x, bound)
    return x


def _celu(call: Call) -> Tensor:
    x, alpha = call[0], call.get("alpha", 1.0)
    return x.clamp(min=0) + (alpha * torch.expm1(x / alpha)).clamp(max=0)


def _elu(call: Call) -> Tensor:
    x = call[0]
    return torch.where(x > 0, x, call.get("alpha", 1.0) * torch.expm1(x))


def _selu(call: Call) -> Tensor:
    x = call[0]
    alpha, gamma = call.get("alpha", SELU_ALPHA), call.get("gamma", SELU_GAMMA)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x))


def _shrink(call: Call) -> Tensor:
    x, bias, limit = call[0], call.get("bias", 0.0), call.get("lambd", 0.5)
    return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, torch.zeros_like(x)))


def _is_inf(call: Call) -> Tensor:
    x = call[0]
    positive, negative = call.get("detect_positive", 1), call.get("detect_negative", 1)
    return (torch.isposinf(x) & bool(positive)) | (torch.isneginf(x) & bool(negative))


def _gemm(call: Call) -> Tensor:
    a, b, c = call[0], call[1], call.optional(2)
    a = a.T if call.get("transA", 0) else a
    b = b.T if call.get("transB", 0) else b
    product = call.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + call.get("beta", 1.0) * c


def _mean(call: Call) -> Tensor:
    return functools.reduce(torch.add, call.present()) / len(call.present())


def _unary(function: Callable[[Tensor], Tensor]) -> Handler:
    return lambda call: function(call[0])


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Handler:
    return lambda call: function(call[0], call[1])


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Handler:
    return lambda call: functools.reduce(function, call.present())


HANDLERS: dict[str, Handler] = {
    **{name: _unary(function) for name, function in UNARY.items()},
    **{name: _binary(function) for name, function in BINARY.items()},
    **{name: _variadic(function) for name, function in VARIADIC.items()},
    "Celu": _celu,
    "Clip": _clip,
    "Einsum": lambda call: torch.einsum(call.attributes["equation"], *call.present()),
    "Elu": _elu,
    "Gelu": lambda call: F.gelu(call[0], approximate=call.get("approximate", "none")),
    "Gemm": _gemm,
    "HardSigmoid": lambda call: (call.get("alpha", 0.2) * call[0] + call.get("beta", 0.5)).clamp(0, 1),
    "IsInf": _is_inf,
    "LeakyRelu": lambda call: F.leaky_relu(call[0], call.get("alpha", 0.01)),
    "Mean": _mean,
    "Mod": lambda call: (torch.fmod if call.get("fmod", 0) else torch.remainder)(call[0], call[1]),
    "Selu": _selu,
    "Shrink": _shrink,
    "Swish": lambda call: call[0] * torch.sigmoid(call.get("alpha", 1.0) * call[0]),
    "ThresholdedRelu": lambda call: torch.where(call[0] > call.get("alpha", 1.0), call[0], torch.zeros_like(call[0])),
    "Where": lambda call: torch.where(call[0], call[1], call[2]),
}
