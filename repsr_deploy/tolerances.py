"""How far two computations of the same thing may differ, as a fraction of the range: one table, a reason each."""

from __future__ import annotations

from typing import Literal

Stage = Literal["fold", "store", "export"]

TOLERANCES: dict[Stage, float] = {
    # float64 on both sides: only the order of summation differs, about 1e-15 for each of some hundred products
    "fold": 1e-10,
    # folded weights rounded to float32 (6e-8 relative) and float32 activations, through some ten layers
    "store": 2e-5,
    # float32 on both sides, in PyTorch and in ONNX Runtime: as "store"
    "export": 2e-5,
}
