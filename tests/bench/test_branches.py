"""The model with branches computes what the network does, and has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from repsr_deploy.bench.branches import branches_model
from repsr_deploy.errors import UsageError
from repsr_deploy.export.onnx import build_model
from repsr_deploy.folding.fold import fold
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import open_runtime
from tests.bench.families import small_output
from tests.nets.networks import randomized, spec_of


def test_branches_model_has_the_branches_and_computes_the_same() -> None:
    net = small_output().eval()
    after = fold(net).net
    folded = build_model(after, ModelInfo(name="plain", scale=2, halo=4))
    branches = branches_model(net, folded)
    kinds = [node.op_type for node in branches.graph.node]
    assert kinds.count("Conv") == 2 + 2 * 4  # head, tail; two blocks of two paths of two convolutions
    assert kinds.count("BatchNormalization") == 4
    assert kinds.count("PRelu") == 3
    x_nchw = np.random.default_rng(0).random((1, 3, 17, 23), np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x_nchw)).clamp(0, 1).numpy()
    for model in (branches, folded):
        actual = open_runtime(model.SerializeToString(), "onnxruntime").run(x_nchw)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)


def test_networks_without_branches_are_refused() -> None:
    net = randomized(spec_of("ecbsr")).eval()
    folded = build_model(fold(net).net, ModelInfo(name="plain", scale=2, halo=4))
    with pytest.raises(UsageError, match="expected one of the family repsr"):
        branches_model(net, folded)
