"""How far two computations of the same thing may differ, a reason each: a fraction of the range, or PSNR in dB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from repsr_deploy.model_info import Precision

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

LEAST_HALF_PSNR_DB: dict[Precision, float] = {
    # a picture 37 dB from the truth, as a good x2 is, loses 0.02 dB by noise 60 dB below the peak; photo-x2 and
    # photo-x4 in fp16 have 74 to 81 dB on 28 photographs
    "fp16": 60.0,
    # it loses 0.2 dB by noise of that size; photo-x2 and photo-x4 in bf16 have 62 to 75 dB, and lose 0.007 at most
    "bf16": 50.0,
}
"""How near a graph in a short type must come to float32, on photographs, before a longer type is taken."""


@dataclass(frozen=True)
class Closeness:
    """How near one picture comes to another."""

    error: float
    """Largest difference, as a fraction of the range."""
    psnr_db: float
    """PSNR whose peak is the range."""


RUNTIME_CLOSENESS: dict[Precision, Closeness] = {
    # as "export"; a hundred products of random sign differ far less on average: 120 dB and more were measured
    "fp32": Closeness(2e-5, 100.0),
    # 11 bits: photo-x2 and photo-x4 differ by 7e-4 at most and have 75 to 80 dB
    "fp16": Closeness(1e-2, 60.0),
    # 8 bits: 1.1e-2, and 59 dB
    "bf16": Closeness(1e-1, 45.0),
    # against the Q/DQ graph itself: a sum that lies near the middle of two steps is rounded to either, and what follows
    # differs by whole steps; what lies between Q/DQ is bf16 in OpenVINO. photo-x2 and photo-x4: 0.04 and 47 dB there
    "int8": Closeness(3e-1, 32.0),
}
"""Of a model file in a runtime to its reference in float64, by the shorter of the file's and the runtime's type."""
RUNTIME_LEEWAY = 4.0
"""Networks that lose more by their nature may lose so many times what an evaluation operator by operator loses, for
runtimes sum in another order, or in the short type itself."""
