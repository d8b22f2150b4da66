"""What `inspect` says of files of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from repsr_deploy.checkpoint import CheckpointInfo, save_checkpoint
from repsr_deploy.errors import ModelFileError
from repsr_deploy.export.checkpoint import export_checkpoint
from repsr_deploy.export.inspect import inspect_file, sites_of
from tests.nets.networks import randomized, spec_of
from tests.zoo.foreign import state_of, write_pth


def write(
    folder: Path,
    nodes: list[NodeProto],
    weights: dict[str, NDArray[Any]],
    *,
    shape: tuple[int | str, ...] = ("N", 3, "H", "W"),
    dtype: int = TensorProto.FLOAT,
    opset: int = 18,
    props: dict[str, str] | None = None,
) -> Path:
    """A model from `x` to `y`, as some other tool writes it."""
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    domains = sorted({node.domain for node in nodes if node.domain})
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(
        graph, opset_imports=imports, ir_version=8, producer_name="toolbox", producer_version="2.1"
    )
    helper.set_model_props(model, props or {})
    path = folder / "foreign.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def kernel(*shape: int, dtype: type[np.floating[Any]] = np.float32) -> NDArray[Any]:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def conv(source: str, weight: str, output: str) -> NodeProto:
    return helper.make_node("Conv", [source, weight], [output], name=output, pads=[1] * 4)


SHUFFLE = helper.make_node("DepthToSpace", ["low"], ["y"], name="y", blocksize=2, mode="CRD")


def test_a_foreign_model(tmp_path: Path) -> None:
    nodes = [conv("x", "head", "features"), conv("features", "tail", "low"), SHUFFLE]
    weights = {"head": kernel(5, 3, 3, 3), "tail": kernel(12, 5, 3, 3)}
    props = {"author": "somebody", "words": "very " * 100}
    facts = inspect_file(write(tmp_path, nodes, weights, opset=13, props=props))
    macs = 9 * (3 * 5 + 5 * 12)
    expected = {
        "network": "foreign",
        "inputs": "x: float N x 3 x H x W",
        "outputs": "y: float N x 3 x ? x ?",
        "scale": "x2",
        "halo": "2 LR pixels",
        "colour": "rgb",
        "parameters": str(macs),
        "MACs": f"{macs} for each LR pixel; {macs * 1280 * 720 / 4 / 1e9:.2f} G for 1280x720 output",
        "nodes": "3",
        "opset": "ai.onnx 13; IR version 8",
        "producer": "toolbox 2.1",
        "training data licence": "not stated",
        "history": "none in the file",
        "metadata author": "somebody",
    }
    assert {key: facts.get(key) for key in expected} == expected
    assert "says nothing about itself" in facts["kind"]
    assert len(facts["metadata words"]) <= 200
    assert len(facts["sha256"]) == 64


def test_a_network_that_looks_at_the_whole_image(tmp_path: Path) -> None:
    nodes = [
        conv("x", "tail", "features"),
        helper.make_node("GlobalAveragePool", ["features"], ["means"], name="pool"),
        helper.make_node("Mul", ["features", "means"], ["low"], name="low"),
        SHUFFLE,
    ]
    facts = inspect_file(write(tmp_path, nodes, {"tail": kernel(12, 3, 3, 3)}))
    assert facts["scale"] == "x2"
    assert facts["halo"].startswith("none, so it cannot be tiled: ")
    assert "GlobalAveragePool" in facts["halo"]


@pytest.mark.parametrize(
    ("shape", "nodes"),
    [
        (("N", 4, "H", "W"), [conv("x", "kernel", "y")]),  # four channels to two
        (("N", 4, "H", "W"), [helper.make_node("ReduceMean", ["x"], ["y"], name="y", keepdims=0)]),
        (("N", 128), [helper.make_node("Relu", ["x"], ["y"], name="y")]),
        ((3,), [helper.make_node("Relu", ["x"], ["y"], name="y")]),
    ],
)
def test_what_makes_no_picture_from_a_picture(
    shape: tuple[int | str, ...], nodes: list[NodeProto], tmp_path: Path
) -> None:
    path = write(tmp_path, nodes, {"kernel": kernel(2, 4, 3, 3)}, shape=shape)
    facts = inspect_file(path)
    assert facts["scale"] == "none: it does not make one picture from one"
    assert "halo" not in facts
    assert facts["inputs"] == f"x: float {' x '.join(map(str, shape))}"
    assert facts["MACs"] == f"{72 if nodes[0].op_type == 'Conv' else 0} for each pixel of the first input"
    assert sites_of(path) == ()


def test_half_precision_and_one_colour(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        [conv("x", "kernel", "low"), SHUFFLE],
        {"kernel": kernel(4, 1, 3, 3, dtype=np.float16)},
        shape=(1, 1, 48, 64),
        dtype=TensorProto.FLOAT16,
    )
    facts = inspect_file(path)
    assert facts["kind"].startswith("ONNX model, float16; ")
    assert facts["inputs"] == "x: float16 1 x 1 x 48 x 64"
    assert (facts["scale"], facts["colour"], facts["halo"]) == ("x2", "y", "1 LR pixels")


def test_what_lies_behind_a_custom_operator_is_not_counted(tmp_path: Path) -> None:
    nodes = [
        conv("x", "kernel", "a"),
        helper.make_node("Sharpen", ["a"], ["b"], name="sharpen", domain="acme"),
        conv("b", "kernel", "y"),
    ]
    facts = inspect_file(write(tmp_path, nodes, {"kernel": kernel(3, 3, 3, 3)}))
    assert facts["MACs"].endswith("; without 2 nodes of unknown shape, the first 'sharpen'")
    assert facts["opset"].startswith("ai.onnx 18, acme 1")


@pytest.mark.parametrize("family", ["repsr", "edsr-adadm"])
def test_our_checkpoint_and_the_model_it_folds_into(family: str, tmp_path: Path) -> None:
    net = randomized(spec_of(family))
    source, model = tmp_path / "net.safetensors", tmp_path / "net.onnx"
    history = [{"stage": "train", "step": 7}]
    info = CheckpointInfo(spec=net.spec, history=history, data_licence="CC0", psnr={"Set5": 31.5})
    save_checkpoint(source, net, info)
    export_checkpoint(source, model)
    before, after = inspect_file(source), inspect_file(model)
    assert before["kind"].startswith("checkpoint (trained form; folds into ")
    assert after["kind"] == "ONNX model, fp32, float in 0..1"
    assert after["network"] == net.spec.folded.name
    for key, text in {"scale": "x2", "PSNR-Y": "Set5 31.5 dB", "training data licence": "CC0"}.items():
        assert before[key] == after[key] == text
    if family == "repsr":
        assert before["halo"] == after["halo"] == f"{net.spec.halo} LR pixels"
    else:
        assert before["halo"] == "the whole image (cannot be tiled)"
        assert "ReduceMean" in after["halo"]
    assert '"passed": true' in after["proof"]
    assert '"stage": "train"' in after["history 1"]
    assert '"stage": "fold"' in after["history 2"]
    assert len(sites_of(source)) > 0


def test_a_checkpoint_of_another_project(tmp_path: Path) -> None:
    path = write_pth(tmp_path / "net.pth", state_of("Compact"))
    facts = inspect_file(path)
    assert facts["kind"] == "checkpoint of another project (plain)"
    assert (facts["network"], facts["scale"], facts["colours"]) == ("Compact", "x2", "3 in, 3 out")
    assert facts["parameters"] == f"{sum(tensor.numel() for tensor in state_of('Compact').values()):,}"
    assert facts["note 1"] == "weights: params"


def test_what_is_no_model(tmp_path: Path) -> None:
    for name in ("text.onnx", "text.txt"):
        (tmp_path / name).write_text("no model")
        with pytest.raises(ModelFileError, match=name):
            inspect_file(tmp_path / name)
    onnx.save(onnx.ModelProto(), tmp_path / "empty.onnx")
    with pytest.raises(ModelFileError, match=r"empty\.onnx"):
        inspect_file(tmp_path / "empty.onnx")
