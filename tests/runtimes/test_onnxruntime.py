"""What is particular to ONNX Runtime, and the halo of foreign graphs; `test_every_runtime` has the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import open_runtime
from tests.runtimes.models import half_model, plain_model, spec_of, with_info


def graph_of(
    nodes: list[Any], constants: dict[str, Any], *, elem: int = TensorProto.FLOAT, sides: Any = ("H", "W")
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("input", elem, ["N", 3, *sides])],
        [helper.make_tensor_value_info("output", elem, ["N", 3, "h", "w"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def _conv(source: str, target: str, weight: str, **attributes: Any) -> Any:
    return helper.make_node("Conv", [source, weight], [target], **attributes)


def _kernel(size: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(0, 0.1, (3, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize(
    ("nodes", "halo"),
    [
        ([_conv("input", "output", "k5", pads=[2] * 4)], 2),
        ([_conv("input", "output", "k3", pads=[3] * 4, dilations=[3, 3])], 3),
        ([_conv("input", "output", "k5", auto_pad="SAME_UPPER")], 2),
        # one branch looks farther than the other: the farther one counts
        (
            [
                _conv("input", "a", "k3", pads=[1] * 4),
                _conv("a", "b", "k3", pads=[1] * 4),
                helper.make_node("Add", ["b", "input"], ["output"]),
            ],
            2,
        ),
        # after enlarging, two HR pixels are one LR pixel, and a half counts as a whole
        (
            [
                helper.make_node("Resize", ["input", "", "scales"], ["a"], mode="nearest", nearest_mode="floor",
                                 coordinate_transformation_mode="asymmetric"),
                _conv("a", "b", "k3", pads=[1] * 4),
                _conv("b", "c", "k3", pads=[1] * 4),
                _conv("c", "output", "k3", pads=[1] * 4),
            ],
            2,
        ),
        ([helper.make_node("Resize", ["input", "", "scales"], ["output"], mode="linear")], 1),
    ],
)  # fmt: skip
def test_derived_halo_is_where_the_influence_of_a_pixel_ends(nodes: list[Any], halo: int) -> None:
    """The reach is also measured: a pixel is changed, and what changes in the output is looked at."""
    constants = {"k3": _kernel(3, 1), "k5": _kernel(5, 2), "scales": np.array([1, 1, 2, 2], np.float32)}
    runtime = open_runtime(graph_of(nodes, constants), "onnxruntime")
    assert runtime.info.halo == halo
    before = np.random.default_rng(3).random((1, 3, 31, 31), dtype=np.float32)
    after = before.copy()
    after[:, :, 15, 15] += 0.25
    changed = np.argwhere((runtime.run(before) != runtime.run(after)).any(axis=(0, 1))) // runtime.info.scale
    assert np.abs(changed - 15).max() == halo


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("GlobalAveragePool", ["input"], ["a"]), "GlobalAveragePool"),
        (helper.make_node("Softmax", ["input"], ["a"], axis=3), "Softmax"),
        (helper.make_node("Transpose", ["input"], ["a"], perm=[0, 1, 3, 2]), "Transpose"),
    ],
)
def test_an_underivable_halo_is_refused(node: Any, words: str) -> None:
    model = graph_of(
        [node, helper.make_node("Sub", ["a", "a"], ["b"]), helper.make_node("Add", ["b", "input"], ["output"])], {}
    )
    if words == "Transpose":  # square probes alone would hide it, and ours are not square
        words = "cannot run"
    with pytest.raises(ModelFileError, match=words):
        open_runtime(model, "onnxruntime")


def test_metadata_that_contradicts_the_graph() -> None:
    info = ModelInfo(name="liar", scale=2, halo=4, colour="y")
    with pytest.raises(ModelFileError, match="says colour 'y' but takes 3 channels"):
        open_runtime(plain_model(spec_of(), info=info).SerializeToString(), "onnxruntime")
    features = with_info(plain_model(spec_of()), io="features")
    with pytest.raises(ModelFileError, match="gives 3 channels; expected 12 of io features"):
        open_runtime(features.SerializeToString(), "onnxruntime")
    image = with_info(plain_model(spec_of()), io="image")
    with pytest.raises(ModelFileError, match="expected one uint8 image"):
        open_runtime(image.SerializeToString(), "onnxruntime")


def test_bf16_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        RuntimeUnavailableError, match=r"cannot compute .* a bf16 model, .* take another runtime, or exp"
    ):
        open_runtime(half_model(plain_model(spec_of()), "bf16").SerializeToString(), "onnxruntime")


def test_fp16_is_not_rounded_between_its_layers() -> None:
    """Its convolutions are computed in fp32, and what they give is not cast back in between."""
    model = half_model(plain_model(spec_of(1, 3, 8)), "fp16")
    widened = plain_model(spec_of(1, 3, 8))
    for item in widened.graph.initializer:
        array = numpy_helper.to_array(item)
        if array.dtype == np.float32:
            item.CopyFrom(numpy_helper.from_array(array.astype(np.float16).astype(np.float32), item.name))
    x_nchw = np.random.default_rng(0).random((1, 3, 30, 40), np.float32)
    runtime = open_runtime(model.SerializeToString(), "onnxruntime")
    assert runtime.precision == "fp32"
    exact = open_runtime(widened.SerializeToString(), "onnxruntime").run(x_nchw)
    # the input, the sum with the skip and the output are float16: half a unit in the last place each, below 1
    assert np.abs(runtime.run(x_nchw) - exact).max() < 3 * 2**-11


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install repsr-deploy\[cpu\]"):
        open_runtime(b"", "onnxruntime")


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    """ONNX Runtime keeps what it reports in the home folder."""
    model = tmp_path / "model.onnx"
    model.write_bytes(plain_model(spec_of()).SerializeToString())
    program = (
        "from pathlib import Path; import numpy as np; from repsr_deploy.runtimes import open_runtime;"
        f"open_runtime(Path({str(model)!r}), 'onnxruntime').run(np.zeros((1, 3, 8, 8), np.float32))"
    )
    home = tmp_path / "home"
    home.mkdir()
    ours = ("ORT_DISABLE_TELEMETRY", "CI")  # where CI is set, ONNX Runtime is silent by itself
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    for more, files in ({}, False), ({"ORT_DISABLE_TELEMETRY": "0"}, True):
        subprocess.run([sys.executable, "-c", program], env={**environment, "HOME": str(home), **more}, check=True)
        assert any(home.rglob("onnxruntime.db")) is files
