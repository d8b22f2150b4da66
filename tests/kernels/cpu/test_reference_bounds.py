"""The reference itself: two evaluators that know nothing of it, and ONNX Runtime within the bounds."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from repsr_deploy.folding.graph.evaluate import evaluate
from tests.kernels.cpu.random_networks import Case, random_case
from tests.kernels.cpu.reference_network import Enclosure, enclosed_bytes, enclosed_planes


def _enclosed(case: Case) -> Enclosure:
    if case.network.io == "image":
        return enclosed_bytes(case.network, case.image_hwc)
    return enclosed_planes(case.network, case.image_chw)


def _input(case: Case) -> NDArray[np.uint8] | NDArray[np.float32]:
    return case.image_hwc[None] if case.network.io == "image" else case.image_chw[None]


@pytest.mark.parametrize("int8", [False, True])
def test_equals_the_file_node_by_node_in_float64(int8: bool) -> None:
    for seed in range(40):
        case = random_case(seed, int8=int8)
        graph = ir.from_proto(onnx.load_from_string(case.content))
        image = torch.from_numpy(_input(case))
        (found,) = evaluate(graph, {"input": image if case.network.io == "image" else image.double()}).values()
        expected = _enclosed(case).value
        largest = max(1.0, float(np.abs(expected).max()))
        assert np.abs(found.numpy()[0] - expected).max() <= 1e-10 * largest, f"seed {seed}: {case}"


def test_onnx_runtime_in_single_precision_stays_within_the_bounds() -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    judged = 0
    for seed in range(100, 150):
        case = random_case(seed, int8=False)
        if case.network.skip == "bilinear" and case.network.scale == 3:
            continue  # it rounds the places between pixels to float32
        session = onnxruntime.InferenceSession(case.content, options, providers=["CPUExecutionProvider"])
        found = np.asarray(session.run(None, {"input": _input(case)})[0])[0]
        within = _enclosed(case)
        assert ((within.low <= found) & (found <= within.high)).all(), f"seed {seed}: {case}"
        judged += found.size
    assert judged > 10_000
