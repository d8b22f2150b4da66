"""Factors that depend on the image: found, and replaced by their geometric means."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.folding.graph.calibrate import calibrated, image_factors
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.fold import fold_graph
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.folding.graph.shapes import reference_shapes

KERNEL = np.random.default_rng(2).normal(size=(3, 3, 3, 3)).astype(np.float32)
SLOPE, OFFSET = -0.7, 0.4


def read(folder: Path, nodes: list[NodeProto], **weights: NDArray[Any]) -> ir.Model:
    """A graph from `x` to `y`, N x 3 x H x W."""
    image: list[Any] = ["N", 3, "H", "W"]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, image)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return read_graph(path)


def node(kind: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def adaptive(folder: Path, multiply: NodeProto) -> ir.Model:
    """y = conv(x) times or by exp(slope log s + offset), s the root of the mean square over C, H and W."""
    nodes = [
        node("Conv", "x kernel", "features", pads=[1] * 4),
        node("Mul", "x x", "squares"),
        node("ReduceMean", "squares axes", "mean"),
        node("Sqrt", "mean", "deviation"),
        node("Log", "deviation", "log"),
        node("Mul", "log slope", "scaled"),
        node("Add", "scaled offset", "exponent"),
        node("Exp", "exponent", "factor"),
        multiply,
    ]
    numbers = {"slope": np.float32(SLOPE), "offset": np.float32(OFFSET), "axes": np.array([1, 2, 3])}
    return read(folder, nodes, kernel=KERNEL, **{name: np.asarray(number) for name, number in numbers.items()})


def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    sizes = ((9, 14, 0.2), (21, 8, 1.0), (12, 12, 3.0))
    return [contrast * torch.rand(1, 3, height, width, generator=generator) for height, width, contrast in sizes]


def expected_factor(image: Tensor) -> float:
    root = float(np.sqrt(np.mean(image.double().numpy() ** 2)))
    return math.exp(float(np.float32(SLOPE)) * math.log(root) + float(np.float32(OFFSET)))


@pytest.mark.parametrize(
    "multiply",
    [node("Mul", "features factor", "y"), node("Mul", "factor features", "y"), node("Div", "features factor", "y")],
)
def test_the_constant_is_the_geometric_mean(multiply: NodeProto, tmp_path: Path) -> None:
    model = adaptive(tmp_path, multiply)
    assert image_factors(model.graph, reference_shapes(model)) == ["factor"]
    fixed, constants = calibrated(model, images())
    mean = float(np.exp(np.mean([math.log(expected_factor(image)) for image in images()])))
    assert constants == {"factor": pytest.approx(mean, rel=1e-12)}

    assert {item.op_type for item in fixed.graph} == {"Conv", multiply.op_type}  # what made the factor is gone
    assert not image_factors(fixed.graph, reference_shapes(fixed))
    x_nchw = torch.rand(1, 3, 11, 13, dtype=torch.float64)
    features = torch.nn.functional.conv2d(x_nchw, torch.from_numpy(KERNEL).double(), padding=1)
    wanted = features * mean if multiply.op_type == "Mul" else features / mean
    torch.testing.assert_close(
        evaluate(fixed, {"x": x_nchw})["y"], wanted, rtol=1e-6, atol=0
    )  # the constant is float32
    assert "factor" in {item.name for item in model.graph}  # the argument is as it was


def test_a_constant_factor_folds_into_the_convolution(tmp_path: Path) -> None:
    model = adaptive(tmp_path, node("Mul", "features factor", "y"))
    assert [item.op_type for item in fold_graph(model).model.graph].count("Mul") == 3
    fixed, _ = calibrated(model, images())
    assert [item.op_type for item in fold_graph(fixed).model.graph] == ["Conv"]


def test_one_factor_in_two_places_is_one_constant(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMax", "x axes", "largest"),
        node("Conv", "x kernel", "features", pads=[1] * 4),
        node("Mul", "features largest", "scaled"),
        node("Relu", "scaled", "active"),
        node("Div", "active largest", "y"),
    ]
    model = read(tmp_path, nodes, kernel=KERNEL, axes=np.array([1, 2, 3]))
    assert image_factors(model.graph, reference_shapes(model)) == ["largest"]
    fixed, constants = calibrated(model, images())
    assert constants["largest"] == pytest.approx(math.exp(np.mean([math.log(image.max()) for image in images()])))
    assert [item.op_type for item in fixed.graph] == ["Conv", "Mul", "Relu", "Div"]


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Mul", "x gain", "y")],  # a number, but no image leads to it
        [node("ReduceMean", "x pixels", "means"), node("Mul", "x means", "y")],  # a number for each channel
        [node("ReduceMean", "x axes", "mean"), node("Sub", "x mean", "y")],  # added, not multiplied
        [node("ReduceMean", "gain none", "mean"), node("Mul", "x mean", "y")],  # reduces a weight
    ],
)
def test_other_products_are_no_factors(nodes: list[NodeProto], tmp_path: Path) -> None:
    weights = {
        "gain": np.full((1, 1, 1, 1), 0.5, np.float32),
        "axes": np.array([1, 2, 3]),
        "pixels": np.array([2, 3]),
        "none": np.array([1]),
    }
    model = read(tmp_path, nodes, **weights)
    assert not image_factors(model.graph, reference_shapes(model))
    with pytest.raises(UsageError, match="nothing to calibrate"):
        calibrated(model, images())


@pytest.mark.parametrize(("sign", "found"), [(-1.0, "-0.49"), (0.0, "0.0")])
def test_a_factor_that_is_not_positive_is_refused(sign: float, found: str, tmp_path: Path) -> None:
    nodes = [
        node("ReduceMean", "x axes", "mean"),
        node("Mul", "mean sign", "signed"),
        node("Mul", "x signed", "y"),
    ]
    model = read(tmp_path, nodes, axes=np.array([1, 2, 3]), sign=np.full((1, 1, 1, 1), sign, np.float32))
    with pytest.raises(UsageError, match="signed cannot be calibrated: expected positive numbers") as caught:
        calibrated(model, [torch.full((1, 3, 8, 8), 0.49)])
    assert found in str(caught.value)


def test_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="factor cannot be calibrated"):
        calibrated(adaptive(tmp_path, node("Mul", "features factor", "y")), [])
