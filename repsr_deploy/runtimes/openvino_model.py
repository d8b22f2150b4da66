"""OpenVINO's representation of a model: read, looked into, given 8-bit images, and saved."""

from __future__ import annotations

import io
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from repsr_deploy.errors import ModelFileError, RepsrError
from repsr_deploy.model_info import PREFIX, ModelInfo
from repsr_deploy.runtimes.ports import Port
from repsr_deploy.runtimes.source import Source, check_file

METADATA = "framework"
"""Where OpenVINO keeps the `metadata_props` of an .onnx file, in memory and in the .xml file that it writes."""
HIGH, LOW = np.float32(257 / 65536), np.float32(1 / 255 - 257 / 65536)
"""1/255 in two parts: HIGH times 8 bits is exact, so `x HIGH + x LOW` is `x / 255` rounded once for each x of 0..255.
OpenVINO makes of a division a product with a rounded 1/255, which is another number for half of them."""


def read_model(model: Source, label: str) -> Any:
    """An `openvino.Model` of an .onnx file, of the content of one, or of an .xml file.

    Raises:
        ModelFileError: not such a file, or a graph with an operator that OpenVINO does not know.
    """
    from openvino import Core
    from openvino.frontend import FrontEndManager

    try:
        if isinstance(model, Path) and model.suffix == ".xml":
            return Core().read_model(model)
        # by name: asked to find out itself, OpenVINO lets every front end have a try, and some complain on stderr
        onnx = FrontEndManager().load_by_framework("onnx")
        return onnx.convert(onnx.load(io.BytesIO(model) if isinstance(model, bytes) else model))
    except Exception as error:  # OpenVINO's errors share no base class
        raise ModelFileError(
            f"{label} is not a complete model ({first_line(error)}); expected an .onnx file, as `repsr-fuse export` "
            "writes it, or an .xml file with its .bin beside it"
        ) from error


def read_stated_info(model: Any) -> ModelInfo | None:
    """What a model says about itself; None when it says nothing.

    Raises:
        ModelFileError: unreadable metadata.
    """
    keys = [PREFIX + field.name for field in fields(ModelInfo)]
    props = {key: model.get_rt_info([METADATA, key]).astype(str) for key in keys if model.has_rt_info([METADATA, key])}
    return ModelInfo.from_props(props)


def model_ports(model: Any) -> tuple[list[Port], list[Port]]:
    """Its inputs and outputs."""
    return [_port(item) for item in model.inputs], [_port(item) for item in model.outputs]


def check_weights(model: Any, label: str) -> None:
    """Refuse NaN and infinity among the weights.

    Raises:
        ModelFileError: there are some.
    """
    for node in model.get_ops():
        if node.get_type_name() != "Constant" or not node.get_element_type().is_real():
            continue
        values = node.get_data(dtype=np.float32)
        # a bound of a clamp may be infinite
        if not (np.isfinite(values) if values.size > 1 else ~np.isnan(values)).all():
            raise ModelFileError(
                f"{label} holds NaN or infinity in {node.get_friendly_name()!r}; its weights are broken"
            )


def on_images(model: Any) -> Any:
    """The same network of io `float` from uint8 N x H x W x C to such images, rounded half to even.

    In fp32 and bf16 it is the same picture as with conversions around the network. In int8, OpenVINO multiplies what it
    dequantizes with by 255 at once, which moves about one sample of 100,000 to the next level.
    """
    from openvino import Layout, Type, opset15
    from openvino.preprocess import PrePostProcessor

    def unit_range(samples: Any) -> Any:
        high, low = (opset15.multiply(samples, opset15.constant(part)) for part in (HIGH, LOW))
        return opset15.add(high, low).output(0)

    def rounded(image: Any) -> Any:
        scaled = opset15.clamp(opset15.multiply(image, opset15.constant(np.float32(255))), 0.0, 255.0)
        return opset15.round(scaled, "half_to_even").output(0)

    steps = PrePostProcessor(model.clone())
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    steps.input().model().set_layout(Layout("NCHW"))
    # turned while it is bytes, which is a quarter of the traffic
    before = steps.input().preprocess().convert_layout(Layout("NCHW")).convert_element_type(Type.f32)
    before.custom(unit_range)
    steps.output().model().set_layout(Layout("NCHW"))
    steps.output().tensor().set_layout(Layout("NHWC"))
    after = steps.output().postprocess().custom(rounded).convert_element_type(Type.u8)
    after.convert_layout(Layout("NHWC"))
    return steps.build()


def save_openvino(model: Path, out: Path) -> None:
    """Convert an .onnx file to OpenVINO's format: `out`, an .xml file, and NAME.bin beside it with the weights.

    Weights keep their type, and the metadata of the file stays. Both files are written whole or not at all.

    Raises:
        ModelFileError: not an ONNX model.
        RepsrError: the place cannot be written to.
    """
    from openvino import save_model

    check_file(model)
    converted = read_model(model, str(model))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.stem[:40]}.", dir=out.parent) as folder:
            staged = Path(folder, out.name)
            save_model(converted, staged, compress_to_fp16=False)
            for path in (staged.with_suffix(".bin"), staged):  # the weights before the file that names them
                path.replace(out.parent / path.name)
    except (OSError, RuntimeError) as error:
        raise RepsrError(f"cannot write {out}: {first_line(error)}; choose a writable place with free space") from error


def first_line(error: BaseException) -> str:
    """What OpenVINO's error says, without where in its source."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '", "FrontEnd API"))]
    failed = [line for line in told if line.startswith("Conversion is failed for")]  # operators, after a long report
    return (failed or told or lines or [""])[0][:300].rstrip(".")


def _port(item: Any) -> Port:
    kind: str = item.get_element_type().get_type_name()
    shape = item.get_partial_shape()
    sides = [] if shape.rank.is_dynamic else [side.get_length() if side.is_static else None for side in shape]
    return Port(item.get_any_name(), {"f32": "float32", "u8": "uint8"}.get(kind, kind), tuple(sides))
