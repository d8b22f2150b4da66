"""No speed without a picture: the output of what is timed, against the fp32 reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.metrics.quality import decibels
from repsr_deploy.model_info import Precision

LEAST_DB: Mapping[Precision, float] = {
    # another order of summation gives 140 dB and more; TF32, which GPUs take for fp32, has the mantissa of fp16
    "fp32": 70.0,
    # 11 bits of mantissa: 75 to 82 dB for the bundled x2 model on photographs; deeper networks lose more
    "fp16": 60.0,
    # 8 bits of mantissa: 71 to 75 dB
    "bf16": 50.0,
    # all layers quantized without a budget: 44 to 47 dB; what is worse than this is seen in pictures
    "int8": 38.0,
}
"""PSNR to the fp32 reference on a picture like a photograph, dB, below which an output is wrong for its precision."""
_SAMPLES = 1 << 22
"""Values that are compared at a time, so that the comparison takes no memory worth speaking of."""


def psnr_db(output: NDArray[Any], reference: NDArray[Any]) -> float:
    """PSNR between two arrays of the same shape and type; peak 1, or 255 for uint8.

    Returns:
        Infinity when they are equal, NaN where one holds NaN or infinity.

    Raises:
        ValueError: other shapes or types.
    """
    if output.shape != reference.shape or output.dtype != reference.dtype:
        raise ValueError(
            f"output is {output.dtype} {output.shape}; expected {reference.dtype} {reference.shape}, as the reference"
        )
    ours, theirs = output.reshape(-1), reference.reshape(-1)
    total = 0.0
    for start in range(0, ours.size, _SAMPLES):
        part = slice(start, start + _SAMPLES)
        total += float(np.square(ours[part].astype(np.float64) - theirs[part]).sum())
    peak = 255.0 if output.dtype == np.uint8 else 1.0
    if not math.isfinite(total):
        return math.nan
    return decibels(total / ours.size, peak)


def loosest(*precisions: Precision) -> Precision:
    """The one of which least is expected: a file of one precision may be computed in another."""
    return min(precisions, key=lambda precision: LEAST_DB[precision])


def least_db(precision: Precision, *, rounded: bool = False) -> float:
    """What an output must have; `rounded` to 8 bits, as the reference is then, too.

    An error of a small part e of a level then turns into an error of a whole level in a part of the values, about
    sqrt(2 / pi) e; that of a large one gets the variance of two roundings on top, 1 / 6.
    """
    if not rounded:
        return LEAST_DB[precision]
    levels = 255 * 10 ** (-LEAST_DB[precision] / 20)
    return 10 * math.log10(255**2 / (levels**2 + min(math.sqrt(2 / math.pi) * levels, 1 / 6)))


def why_wrong(output_db: float, precision: Precision, *, rounded: bool = False) -> str:
    """Why an output is not that of the reference; empty when it is."""
    if math.isnan(output_db):
        return "output holds NaN or infinity"
    least = least_db(precision, rounded=rounded)
    if output_db >= least:
        return ""
    return f"output has {output_db:.1f} dB to the fp32 reference; {precision} must have {least:.0f}"
