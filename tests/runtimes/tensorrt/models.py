"""Small upscaling networks in every precision and io, with random weights, written with ONNX's own helper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from repsr_deploy.model_info import ModelInfo, ModelIo, Precision

SCALE = 2
WIDTH = 8
BLOCKS = 2
_ELEM = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "int8": TensorProto.FLOAT,
}
_OPSET = 22  # the first with bfloat16 Conv


class _Writer:
    """Nodes and constants of one graph, in one type."""

    def __init__(self, precision: Precision, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.precision: Precision = precision
        self.elem: int = _ELEM[precision]
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any], elem: int | None = None) -> str:
        if elem == TensorProto.BFLOAT16:
            floats = value.astype(np.float32).ravel()
            self.constants.append(helper.make_tensor(name, TensorProto.BFLOAT16, value.shape, floats))
        else:
            dtype = value.dtype if elem is None else helper.tensor_dtype_to_np_dtype(elem)
            self.constants.append(numpy_helper.from_array(value.astype(dtype), name))
        return name

    def conv(self, name: str, x: str, inputs: int, outputs: int) -> str:
        weight = self.random.normal(0, (inputs * 9) ** -0.5, (outputs, inputs, 3, 3)).astype(np.float32)
        bias = self.constant(f"{name}.bias", self.random.normal(0, 0.1, outputs), self.elem)
        if self.precision == "int8":
            x, kernel = self._quantized(name, x), self._int8_weight(name, weight)
        else:
            kernel = self.constant(f"{name}.weight", weight, self.elem)
        return self.node("Conv", [x, kernel, bias], f"{name}.out", kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    def _quantized(self, name: str, x: str) -> str:
        scale = self.constant(f"{name}.scale", np.array(1 / 64, np.float32))
        zero = self.constant(f"{name}.zero", np.array(0, np.int8))
        return self.node(
            "DequantizeLinear",
            [self.node("QuantizeLinear", [x, scale, zero], f"{name}.q"), scale, zero],
            f"{name}.dq",
        )

    def _int8_weight(self, name: str, weight: NDArray[np.float32]) -> str:
        scales = np.abs(weight).max(axis=(1, 2, 3)) / 127
        stored = np.rint(weight / scales[:, None, None, None])
        names = [
            self.constant(f"{name}.weight", stored.astype(np.int8)),
            self.constant(f"{name}.weight_scale", scales),
            self.constant(f"{name}.weight_zero", np.zeros(len(scales), np.int8)),
        ]
        return self.node("DequantizeLinear", names, f"{name}.weight_dq", axis=0)

    def prelu(self, name: str, x: str) -> str:
        slope = self.constant(f"{name}.slope", self.random.uniform(-0.3, 0.5, (WIDTH, 1, 1)), self.elem)
        return self.node("PRelu", [x, slope], f"{name}.out")


def typed_model(
    precision: Precision = "fp32",
    io: ModelIo = "float",
    *,
    seed: int = 0,
    info: ModelInfo | None = None,
    stated: bool = True,
) -> onnx.ModelProto:
    """A network head, 2 blocks, tail, nearest skip; `stated` False leaves out what it says about itself."""
    writer = _Writer(precision, seed)
    x = "input"
    if io == "image":
        x = writer.node("Cast", [x], "pixels", to=TensorProto.FLOAT)
        x = writer.node("Transpose", [x], "planes", perm=[0, 3, 1, 2])
        x = writer.node("Mul", [x, writer.constant("unit", np.array(1 / 255, np.float32))], "image")
    if writer.elem != TensorProto.FLOAT:
        x = writer.node("Cast", [x], "typed", to=writer.elem)
    image = x
    x = writer.prelu("head_act", writer.conv("head", x, 3, WIDTH))
    for block in range(BLOCKS):
        x = writer.prelu(f"act.{block}", writer.conv(f"body.{block}", x, WIDTH, WIDTH))
    x = writer.conv("tail", x, WIDTH, 3 * SCALE**2)
    if io != "features":
        repeated = np.repeat(np.arange(3, dtype=np.int64), SCALE**2)
        skip = writer.node("Gather", [image, writer.constant("channels", repeated)], "skip", axis=1)
        x = writer.node("DepthToSpace", [writer.node("Add", [x, skip], "sum")], "shuffled", blocksize=2, mode="CRD")
    if writer.elem != TensorProto.FLOAT:
        x = writer.node("Cast", [x], "untyped", to=TensorProto.FLOAT)
    _finish(writer, x, io)
    return _model(writer, io, info or model_info(precision, io), stated=stated)


def _finish(writer: _Writer, x: str, io: ModelIo) -> None:
    if io == "features":
        writer.nodes[-1].output[0] = "output"
        return
    low, high = (writer.constant(f"range.{value}", np.array(value, np.float32)) for value in (0, 1))
    clamped = writer.node("Clip", [x, low, high], "output" if io == "float" else "clamped")
    if io == "image":
        levels = writer.node("Mul", [clamped, writer.constant("levels", np.array(255, np.float32))], "scaled")
        rounded = writer.node("Round", [levels], "rounded")
        writer.node(
            "Cast", [writer.node("Transpose", [rounded], "packed", perm=[0, 2, 3, 1])], "output", to=TensorProto.UINT8
        )


def _model(writer: _Writer, io: ModelIo, info: ModelInfo, *, stated: bool) -> onnx.ModelProto:
    elem = TensorProto.UINT8 if io == "image" else TensorProto.FLOAT
    given: list[int | str] = ["N", "H", "W", 3] if io == "image" else ["N", 3, "H", "W"]
    made: list[int | str] = {
        "float": ["N", 3, "2*H", "2*W"], "image": ["N", "2*H", "2*W", 3], "features": ["N", 12, "H", "W"]
    }[io]  # fmt: skip
    graph = helper.make_graph(
        writer.nodes,
        "test",
        [helper.make_tensor_value_info("input", elem, given)],
        [helper.make_tensor_value_info("output", elem, made)],
        writer.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    if stated:
        helper.set_model_props(model, info.to_props())
    onnx.checker.check_model(model, full_check=True)
    return model


def model_info(precision: Precision = "fp32", io: ModelIo = "float", **changes: Any) -> ModelInfo:
    """What such a network says about itself."""
    facts: dict[str, Any] = {
        "name": "Plain-M2C8", "scale": SCALE, "halo": BLOCKS + 2, "width": WIDTH, "precision": precision, "io": io,
        "skip": "nearest" if io == "features" else "none",
    }  # fmt: skip
    return ModelInfo(**(facts | changes))


def write_model(folder: Path, precision: Precision = "fp32", io: ModelIo = "float", **options: Any) -> Path:
    """Such a network as a file."""
    path = folder / f"{precision}-{io}.onnx"
    path.write_bytes(typed_model(precision, io, **options).SerializeToString())
    return path


def write_external(folder: Path, seed: int = 0) -> Path:
    """A network whose weights lie in a file of their own."""
    path = folder / "external.onnx"
    model = typed_model(seed=seed)
    path.with_name("external.onnx.data").unlink(missing_ok=True)  # ONNX would append to it
    onnx.save(model, path, save_as_external_data=True, location="external.onnx.data", size_threshold=0)
    return path
