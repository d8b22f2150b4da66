"""Any graph into a folded, proved model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from repsr_deploy.errors import FoldError, ModelFileError
from repsr_deploy.export import saving
from repsr_deploy.export.graph import export_graph, picture_geometry, plan_sites
from repsr_deploy.export.trace import export_module
from repsr_deploy.folding.fold import fold
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.nets.network import macs_per_lr_pixel
from repsr_deploy.runtimes import open_runtime
from tests.nets.networks import randomized, spec_of


def write(
    folder: Path, nodes: list[NodeProto], *, width: int = 3, scale: float = 1.0, shape: tuple[int | str, ...] = ()
) -> Path:
    """From `x` to `y`; `expand` is 1x1, `narrow` 3x3 back, `twelve` 3x3 to twelve channels."""
    rng = np.random.default_rng(9)
    shapes = {"expand": (16, width, 1, 1), "narrow": (width, 16, 3, 3), "twelve": (12, width, 3, 3)}
    weights = {name: scale * rng.normal(size=size) / math.sqrt(math.prod(size[1:])) for name, size in shapes.items()}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or ("N", width, "H", "W"))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in nodes[-1].output],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def node(kind: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), name=output, **attributes)


PAIR = [node("Conv", "x expand", "mid"), node("Conv", "mid narrow", "y", pads=[1] * 4)]


@pytest.mark.parametrize(
    "family",
    ["repsr", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ecbsr", "edsr-bn", "wdsr-b"))],
)
def test_the_graph_of_a_trained_network_folds_into_what_its_layers_fold_into(family: str, tmp_path: Path) -> None:
    net = randomized(spec_of(family)).eval()
    source, out = tmp_path / "trained.onnx", tmp_path / "folded.onnx"
    export_module(net, net, 3, source)
    report = export_graph(source, out)
    own = fold(net).net.double()
    x_nchw = torch.rand(1, 3, 23, 18, dtype=torch.float64)
    with torch.no_grad():
        expected = own(x_nchw)
    ((_, actual),) = evaluate(read_graph(out), {"input": x_nchw}).items()
    span = float(expected.max() - expected.min())
    assert float((actual - expected).abs().max()) < 1e-6 * span  # both are rounded to float32
    before, after = (getattr(report.proof, stage).macs_per_lr_pixel for stage in ("before", "after"))
    assert after == pytest.approx(macs_per_lr_pixel(own), rel=0.02)
    assert before >= macs_per_lr_pixel(net) * 0.98
    assert report.info is not None
    if family in ("edsr-bn", "wdsr-b"):  # the skip of the others is traced as Expand, whose reach nobody derives
        assert report.info.halo == net.spec.halo
    assert open_runtime(out, "onnxruntime").info == report.info


def test_the_plan_is_what_an_export_does(tmp_path: Path) -> None:
    source = write(tmp_path, PAIR)
    assert plan_sites(source) == export_graph(source, tmp_path / "out.onnx").proof.sites
    assert [site.outcome for site in plan_sites(source)] == ["exact"]


@pytest.mark.parametrize(
    ("nodes", "shape", "expected"),
    [
        ([node("Conv", "x twelve", "y", pads=[1] * 4)], (), None),
        ([node("Conv", "x twelve", "a", pads=[1] * 4), node("DepthToSpace", "a", "y", blocksize=2)], (), (2, "rgb")),
        ([node("Relu", "x", "y")], (), (1, "rgb")),
        ([node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[2, 2])], (), None),
        ([node("Relu", "x", "y")], ("N", 1, "H", "W"), (1, "y")),
        ([node("Relu", "x", "y")], ("N", 2, "H", "W"), None),
        ([node("Relu", "x", "y")], ("N", 3), None),
        ([node("Split", "x", "a b c", axis=1, num_outputs=3)], (), None),
    ],
)
def test_geometry(nodes: list[NodeProto], shape: tuple[int | str, ...], expected: Any, tmp_path: Path) -> None:
    assert picture_geometry(read_graph(write(tmp_path, nodes, shape=shape))) == expected


def test_a_network_that_makes_no_picture_is_folded_but_not_described(tmp_path: Path) -> None:
    source, out = (
        write(
            tmp_path,
            [
                *PAIR[:1],
                node("Conv", "mid narrow", "a", pads=[1] * 4),
                node("Split", "a", "y z", axis=1, num_outputs=2),
            ],
        ),
        tmp_path / "out.onnx",
    )
    report = export_graph(source, out)
    assert report.info is None
    assert not onnx.load(out).metadata_props
    assert [item.output for item in report.proof.whole] == ["y", "z"]
    image = np.random.default_rng(0).random((1, 3, 20, 17), np.float32)
    before, after = (onnxruntime.InferenceSession(str(path)).run(None, {"x": image}) for path in (source, out))
    for expected, actual in zip(before, after, strict=True):
        np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), atol=1e-5)
    assert sum(item.op_type == "Conv" for item in onnx.load(out).graph.node) == 1


def test_weights_that_float32_cannot_hold_write_nothing(tmp_path: Path) -> None:
    source, out = write(tmp_path, PAIR, scale=1e25), tmp_path / "out" / "out.onnx"
    with pytest.raises(FoldError, match="too much for"):
        export_graph(source, out)
    assert not out.parent.exists()


def test_large_weights_are_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "LARGEST_FILE_BYTES", 100)
    source, out = write(tmp_path, PAIR), tmp_path / "out" / "big.onnx"
    export_graph(source, out)
    assert sorted(path.name for path in out.parent.iterdir()) == ["big.onnx", "big.onnx.data"]
    assert open_runtime(out, "onnxruntime").info.name == "net"


def test_a_graph_without_a_name_has_that_of_its_file(tmp_path: Path) -> None:
    model = onnx.load(write(tmp_path, PAIR))
    model.graph.name = "main_graph"
    onnx.save(model, tmp_path / "sharp.onnx")
    info = export_graph(tmp_path / "sharp.onnx", tmp_path / "out.onnx").info
    assert info is not None
    assert info.name == "sharp"


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.h5").write_bytes(b"model")
    with pytest.raises(ModelFileError, match=r"net\.h5 is of an unknown kind; expected \.onnx, \.pth"):
        export_graph(tmp_path / "net.h5", tmp_path / "out.onnx")
