"""The comparison of branches with their fold measures the same function twice, and notices when it does not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from repsr_deploy.bench import folding
from repsr_deploy.bench.folding import branches_model, measure_folding
from repsr_deploy.errors import ProofError, UsageError
from repsr_deploy.export.onnx import build_model
from repsr_deploy.folding.fold import fold
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import open_runtime
from tests.nets.networks import randomized, spec_of


def small_output(name: str = "repsr") -> torch.nn.Module:
    """A random network whose output stays near its skip, as that of trained ones."""
    net = randomized(spec_of(name))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in net.get_submodule("tail").parameters():
            parameter.mul_(0.05)
    return net


def test_branches_model_has_the_branches_and_computes_the_same() -> None:
    net = small_output().eval()
    after = fold(net).net  # type: ignore[arg-type]
    folded = build_model(after, ModelInfo(name="plain", scale=2, halo=4))
    branches = branches_model(net, folded)  # type: ignore[arg-type]
    kinds = [node.op_type for node in branches.graph.node]
    assert kinds.count("Conv") == 2 + 2 * 4  # head, tail; two blocks of two paths of two convolutions
    assert kinds.count("BatchNormalization") == 4
    assert kinds.count("PRelu") == 3
    x_nchw = np.random.default_rng(0).random((1, 3, 17, 23), np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x_nchw)).clamp(0, 1).numpy()
    for model in (branches, folded):
        np.testing.assert_allclose(open_runtime(model.SerializeToString()).run(x_nchw), expected, rtol=0, atol=2e-5)


def test_measurement_has_four_rows_and_two_ratios() -> None:
    speed = measure_folding(small_output(), height=40, width=56, threads=1, seconds=0.2)  # type: ignore[arg-type]
    assert list(speed.timings) == [
        "ONNX Runtime, branches",
        "ONNX Runtime, folded",
        "PyTorch, branches",
        "PyTorch, folded",
    ]
    assert speed.onnxruntime_speedup > 1
    assert speed.torch_speedup > 1


def test_candidates_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(net: torch.nn.Module, folded: onnx.ModelProto) -> onnx.ModelProto:
        model = branches_model(net, folded)  # type: ignore[arg-type]
        next(node for node in model.graph.node if node.op_type == "BatchNormalization").attribute[0].f = 1.0
        return model

    monkeypatch.setattr(folding, "branches_model", wrong)
    with pytest.raises(ProofError, match="ONNX Runtime, branches differs"):
        measure_folding(small_output(), height=20, width=20, threads=1, seconds=0.1)  # type: ignore[arg-type]


def test_networks_without_branches_are_refused() -> None:
    with pytest.raises(UsageError, match="expected one of the family repsr"):
        measure_folding(small_output("ecbsr"), height=20, width=20, threads=1, seconds=0.1)  # type: ignore[arg-type]
