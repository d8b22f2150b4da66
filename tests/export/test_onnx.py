"""The ONNX export against PyTorch, and what the file says about itself."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from repsr_deploy.errors import ModelFileError, ProofError
from repsr_deploy.export.onnx import build_model, check_against_torch, folded_graph
from repsr_deploy.folding.fold import fold
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.network import Network
from tests.nets.networks import FAMILIES, randomized, spec_of


def info_of(net: Network) -> ModelInfo:
    return ModelInfo(name=net.spec.name, scale=net.spec.scale, halo=net.spec.halo, colour=net.spec.colour)


def random_plain(family: str = "repsr", **changes: object) -> Network:
    return fold(randomized(spec_of(family, **changes))).net


def session_of(graph: ir.Model) -> onnxruntime.InferenceSession:
    content = ir.to_proto(graph).SerializeToString()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("colour", ["rgb", "y"])
def test_model_equals_pytorch_at_sizes_of_its_own(scale: int, colour: str) -> None:
    net = random_plain(scale=scale, colour=colour)
    session = session_of(folded_graph(net, info_of(net)))
    assert [item.name for item in (*session.get_inputs(), *session.get_outputs())] == ["input", "output"]
    random = np.random.default_rng(5)
    clamped = 0
    for count, height, width in ((1, 29, 31), (2, 5, 64), (1, 1, 1)):
        x_nchw = random.random((count, net.spec.colours, height, width), dtype=np.float32)
        with torch.no_grad():
            unclamped = net(torch.from_numpy(x_nchw))
        actual = np.asarray(session.run(["output"], {"input": x_nchw})[0])
        assert actual.shape == (count, net.spec.colours, height * scale, width * scale)
        np.testing.assert_allclose(actual, unclamped.clamp(0, 1).numpy(), rtol=0, atol=2e-5)
        clamped += int(((unclamped < 0) | (unclamped > 1)).sum())
    assert clamped > 0  # so the clamp inside the model was seen to work


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_family_has_a_model_that_equals_pytorch(family: str, scale: int) -> None:
    net = random_plain(family, scale=scale)
    graph = folded_graph(net, info_of(net))  # compares, and raises
    assert check_against_torch(net, graph, info_of(net)) < 1e-10
    session = session_of(graph)
    x_nchw = np.random.default_rng(scale).random((2, 3, 19, 26), dtype=np.float32)
    with torch.no_grad():
        expected = net.double()(torch.from_numpy(x_nchw).double()).clamp(0, 1).numpy()
    np.testing.assert_allclose(np.asarray(session.run(["output"], {"input": x_nchw})[0]), expected, rtol=0, atol=2e-5)


def test_adadm_in_a_model_survives_flat_images() -> None:
    net = random_plain("edsr-adadm")
    session = session_of(folded_graph(net, info_of(net)))
    flat = np.full((1, 3, 9, 9), 0.5, np.float32)
    assert np.isfinite(np.asarray(session.run(["output"], {"input": flat})[0])).all()


def test_adadms_deviation_is_exact_on_large_images() -> None:
    net = random_plain("edsr-adadm", blocks=1, channels=32)
    model = build_model(net, info_of(net))
    source = model.graph.node[0].output[0]
    (deviation,) = [node.output[0] for node in model.graph.node if node.output[0].endswith(".deviation")]
    for name in (source, deviation):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x_nchw = np.random.default_rng(0).random((1, 3, 160, 200), dtype=np.float32)
    features, actual = (np.asarray(value) for value in session.run([source, deviation], {"input": x_nchw}))
    np.testing.assert_allclose(actual.item(), features.astype(np.float64).std(ddof=1), rtol=1e-6)


def test_model_describes_itself() -> None:
    net = random_plain()
    info = ModelInfo(
        name="Plain-M2C8", scale=2, halo=4, proof={"passed": True}, psnr={"x": 30.5}, history=[{"stage": "train"}]
    )
    model = ir.to_proto(folded_graph(net, info))
    props = {item.key: item.value for item in model.metadata_props}
    assert props["repsr.scale"] == "2"
    assert props["repsr.halo"] == "4"
    assert ModelInfo.from_props(props) == info
    assert [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
        "N",
        3,
        "H",
        "W",
    ]


def test_metadata_that_this_version_cannot_follow_is_refused() -> None:
    props = ModelInfo(name="a", scale=2, halo=4).to_props()
    assert ModelInfo.from_props({"other": "1"}) is None
    with pytest.raises(ModelFileError, match="precision 'int3'"):
        ModelInfo.from_props({**props, "repsr.precision": '"int3"'})
    with pytest.raises(ModelFileError, match="unreadable"):
        ModelInfo.from_props({**props, "repsr.scale": "{"})
    with pytest.raises(ModelFileError, match="unreadable"):
        ModelInfo.from_props({"repsr.scale": "2"})


@pytest.mark.parametrize("damage", ["order", "slope", "skip", "bias"])
def test_wrong_graphs_fail_the_check(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = random_plain()

    def damaged(*arguments: object) -> onnx.ModelProto:
        model = build_model(*arguments)  # type: ignore[arg-type]
        nodes = {node.op_type: node for node in model.graph.node}
        if damage == "order":  # PixelShuffle's channel order is CRD; DCR is the known mistake
            next(item for item in nodes["DepthToSpace"].attribute if item.name == "mode").s = b"DCR"
        elif damage == "skip":
            nodes["Gather"].input[1] = "other.channels"
            other = np.tile(np.arange(3, dtype=np.int64), 4)
            model.graph.initializer.append(onnx.numpy_helper.from_array(other, "other.channels"))
        else:
            name = {"slope": "head_act.weight", "bias": "tail.bias"}[damage]
            item = next(item for item in model.graph.initializer if item.name == name)
            item.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(item) + np.float32(1e-6), name))
        return model

    monkeypatch.setattr("repsr_deploy.export.onnx.build_model", damaged)
    with pytest.raises(ProofError, match="differ by"):
        folded_graph(net, info_of(net))


def test_weights_that_are_not_finite_are_refused() -> None:
    net = random_plain()
    with torch.no_grad():
        net.get_parameter("body.0.weight")[0, 0, 0, 0] = torch.inf
    with pytest.raises(ModelFileError, match=r"body\.0\.weight holds NaN or infinity"):
        folded_graph(net, info_of(net))


def test_check_does_not_modify_the_network() -> None:
    net = random_plain().double()
    folded_graph(net, info_of(net))
    assert next(net.parameters()).dtype == torch.float64
