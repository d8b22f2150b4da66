"""What the processor can do at most: multiply-adds a second of a matrix product, measured in the same run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from repsr_deploy.bench.timing import time_side_by_side

SIDE = 2048
"""Of the square matrices: 16 MB each in fp32, large enough for full speed."""
ABILITIES: Mapping[str, str] = {"fp32": "FP32", "fp16": "FP16", "bf16": "BF16", "int8": "INT8"}
"""Precision -> OpenVINO's word for a processor that has instructions for it."""
HINTS: Mapping[str, str] = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}


class ProcessorPeak:
    """The fastest products of two `SIDE` x `SIDE` matrices seen so far, in OpenVINO, by precision.

    OpenVINO comes nearer to what data sheets promise than PyTorch or NumPy do: where it was tried (AMD Zen 5), both
    were half as fast in fp32. Without OpenVINO nothing is measured.

    Args:
        threads: of the product.
        precisions: those of interest; one that the processor has no instructions for is left out.
    """

    def __init__(self, threads: int, precisions: Collection[str]) -> None:
        self.macs_per_s: dict[str, float] = {}
        self._products: dict[str, Callable[[], Any]] = {}
        try:
            import openvino
        except ImportError:
            return
        core = openvino.Core()
        known = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._products = {
            precision: _product(openvino, core, precision, threads)
            for precision, ability in ABILITIES.items()
            if precision in precisions and ability in known
        }

    def measure(self, seconds: float) -> None:
        """Look once more, for so long; called again and again, so that a disturbance does not lower a peak."""
        if not self._products:
            return
        timings = time_side_by_side(self._products, seconds=seconds, min_rounds=2, warmup_s=0.0)
        for precision in self._products:
            rate = SIDE**3 / min(timings[precision].times_s)
            self.macs_per_s[precision] = max(rate, self.macs_per_s.get(precision, 0.0))


def _product(openvino: Any, core: Any, precision: str, threads: int) -> Callable[[], Any]:
    """A product of a matrix and a constant one, as a function to time."""
    ops = openvino.opset13
    random = np.random.default_rng(0)
    left = ops.parameter([SIDE, SIDE], np.float32)
    hint = {"INFERENCE_PRECISION_HINT": HINTS[precision]} if precision in HINTS else {}
    if precision == "int8":  # quantized on the way in, which takes 1 / SIDE of the work
        low, high = (ops.constant(np.float32(value)) for value in (-1.0, 127 / 128))
        codes = ops.constant(random.integers(-127, 128, (SIDE, SIDE), np.int8))
        right = ops.multiply(ops.convert(codes, np.float32), ops.constant(np.float32(1 / 127)))
        product = ops.matmul(ops.fake_quantize(left, low, high, low, high, 256), right, False, False)
    else:
        right = ops.constant(random.standard_normal((SIDE, SIDE), np.float32))
        product = ops.matmul(left, right, False, False)
    model = openvino.Model([product], [left])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads, **hint})
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(random.standard_normal((SIDE, SIDE), np.float32)))
    return request.infer
