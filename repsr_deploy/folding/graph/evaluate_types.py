"""Evaluation in the types that a graph states: every operator exact, its result rounded to the type of its value."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor

from repsr_deploy.errors import FoldError

SHORT = {
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.BFLOAT16: torch.bfloat16,
}


def rounded(value: ir.Value, tensor: Tensor) -> Tensor:
    """A floating tensor as its value's type holds it, still as float64; too large numbers become infinite.

    To be given to `evaluate` as `hand`. That is what a device computes whose operators sum in a longer type and round
    their results, as convolutions do. One that sums in the short type itself comes out rougher.

    Raises:
        FoldError: the graph does not say which type the value has.
    """
    if not tensor.is_floating_point():
        return tensor
    if value.dtype is None:
        raise FoldError(f"the graph does not say of which type value {value.name!r} is; infer its types first")
    short = SHORT.get(value.dtype)
    return tensor if short is None else tensor.to(short).double()
