"""How far two computations of the same thing may differ, as a fraction of the range: one table, a reason each."""

from __future__ import annotations

from typing import Literal

Stage = Literal["fold", "store", "store_float16", "store_bfloat16", "export"]

TOLERANCES: dict[Stage, float] = {
    # float64 on both sides: only the order of summation differs, about 1e-15 for each of some hundred products
    "fold": 1e-10,
    # folded weights rounded to float32 (6e-8 relative) and float32 activations, through some ten layers
    "store": 2e-5,
    # the same of graphs whose own weights are float16 (4.9e-4 relative) or bfloat16 (3.9e-3)
    "store_float16": 4e-3,
    "store_bfloat16": 3e-2,
    # float32 on both sides, in PyTorch and in ONNX Runtime: as "store"
    "export": 2e-5,
}
