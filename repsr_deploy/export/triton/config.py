"""What `config.pbtxt` says of a model: pure functions, without a file or a schema.

Source: Triton's model_config.proto and its documents on model configuration and on each backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from repsr_deploy.errors import UsageError
from repsr_deploy.export.triton.pbtxt import Fields, Message, Word
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes.ports import Port
from repsr_deploy.runtimes.tensorrt.shapes import DEFAULT_SHAPES, Shape, Shapes

Backend = Literal["onnxruntime", "tensorrt", "openvino"]
BACKENDS: Mapping[Backend, str] = {
    "onnxruntime": "model.onnx", "tensorrt": "model.plan", "openvino": "model.xml",
}  # fmt: skip
"""Triton's backends, and the name that each gives a model's file."""
KINDS: Mapping[Backend, str] = {"onnxruntime": "KIND_AUTO", "tensorrt": "KIND_GPU", "openvino": "KIND_CPU"}
"""Where instances run; KIND_AUTO is a GPU where there is one."""
TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}
MAX_BATCH = 4
"""Most images of a batch, where nothing else is said."""
DELAY_US = 3000
"""Microseconds for which an image waits for others of its size: little beside what its inference takes."""
PARAMETER = "repsr."
"""What the names of parameters start with that say what a client must know; those of backends do not."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a model is to be served."""

    backend: Backend = "onnxruntime"
    max_batch: int | None = None
    """Most images of a batch; None for `MAX_BATCH`, or what the backend or the model allows."""
    shapes: Shapes = DEFAULT_SHAPES
    """Of single images. Sides that are the same in all three are the only ones taken; warm-up uses `usual`. With
    batches of 1 to `max_batch`, a TensorRT engine's profile."""

    def __post_init__(self) -> None:
        if self.max_batch is not None and self.max_batch < 1:
            raise UsageError(f"a batch is to have {self.max_batch} images; expected at least 1")
        if self.max_batch is not None and self.backend == "openvino":
            raise UsageError(
                "Triton's OpenVINO backend fills every batch up to the largest one, so the model is written without "
                "its batching; leave --max-batch out (a request may still hold several images)"
            )
        if any(shape.count != 1 for shape in self.shapes.all):
            raise UsageError(f"shapes {self.shapes} have several images; expected HxW, and their number as --max-batch")

    def profile(self, model: Port, info: ModelInfo) -> Shapes:
        """The images that will come: batches from 1 to the largest, sides as asked for or as the model has them.

        Raises:
            UsageError: the model takes other shapes only.
        """
        fixed = Shape.of([side or 0 for side in model.shape], info.io)
        largest = fixed.count or (1 if self.backend == "openvino" else self.max_batch or MAX_BATCH)
        if fixed.count and self.max_batch not in (None, fixed.count):
            raise UsageError(
                f"the model takes batches of {fixed.count} alone, not up to {self.max_batch}; leave --max-batch out, "
                "or export it without a number of images"
            )
        given = self.shapes != DEFAULT_SHAPES

        def fitted(shape: Shape, count: int) -> Shape:
            for what, wanted, side in (("height", shape.height, fixed.height), ("width", shape.width, fixed.width)):
                if given and side and side != wanted:
                    raise UsageError(f"the model takes images of {what} {side} alone, not {wanted}; leave --shape out")
            return Shape(count, fixed.height or shape.height, fixed.width or shape.width)

        low, usual, high = self.shapes.all
        smallest = fitted(low, fixed.count or 1)
        return Shapes(smallest=smallest, usual=fitted(usual, largest), largest=fitted(high, largest))


def model_config(name: str, info: ModelInfo, ports: tuple[Port, Port], serving: Serving) -> Message:
    """The configuration of a model.

    Args:
        ports: its input and output, as the file says.

    Raises:
        UsageError: the model does not take what is asked for, or gives features, which no client can show.
    """
    if info.io == "features":
        raise UsageError(f"{info.name} gives features, not pictures; export it with --io float or --io image")
    taken, given = ports
    profile = serving.profile(taken, info)
    batched = taken.shape[0] is None and serving.backend != "openvino"
    sides = _dims(taken, info, profile)
    tiles = profile.largest.count
    first = 1 if batched else 0
    message: dict[str, Any] = {
        "name": name,
        "backend": serving.backend,
        "default_model_filename": BACKENDS[serving.backend],
        "max_batch_size": tiles if batched else 0,
        "input": [_io(taken, sides[first:])],
        "output": [_io(given, _output_dims(sides, info)[first:])],
        "instance_group": [{"count": 1, "kind": Word(KINDS[serving.backend])}],
    }
    if batched and tiles > 1:
        message["dynamic_batching"] = {
            "preferred_batch_size": [tiles],
            "max_queue_delay_microseconds": DELAY_US,
        }
    counts = sorted({1, tiles}) if batched else [1]
    message["model_warmup"] = [_warmup(taken, info, profile.usual, count, batched=batched) for count in counts]
    message["parameters"] = [
        {"key": PARAMETER + key, "value": {"string_value": value}}
        for key, value in _facts(info, serving, profile).items()
    ]
    return message


def contract(fields: Fields) -> dict[str, str]:
    """What clients and versions of a model rely on, so that it must not change under one name: what it is to value."""
    facts = {key: _told(fields.get(key, [])) for key in ("backend", "default_model_filename", "max_batch_size")}
    for side in ("input", "output"):
        for tensor in fields.get(side, []):
            facts[f"{side} {_told(tensor['name'])}"] = f"{_told(tensor['data_type'])} {_told(tensor['dims'])}"
    for parameter in fields.get("parameters", []):
        key = _told(parameter["key"])
        if key.startswith(PARAMETER):
            facts[key] = _told(parameter["value"][0]["string_value"])
    return facts


def _told(values: Sequence[Any]) -> str:
    return " x ".join(map(str, values)) or "none"


def _dims(port: Port, info: ModelInfo, profile: Shapes) -> list[int]:
    """Of the input, -1 where several sides are taken."""
    channels = 3 if info.colour == "rgb" else 1
    low, high = (shape.dims(info.io, channels) for shape in (profile.smallest, profile.largest))
    dims = [first if first == last else -1 for first, last in zip(low, high, strict=True)]
    dims[0] = port.shape[0] or -1
    return dims


def _output_dims(sides: Sequence[int], info: ModelInfo) -> list[int]:
    larger = (1, 2) if info.io == "image" else (2, 3)
    return [side * info.scale if axis in larger and side > 0 else side for axis, side in enumerate(sides)]


def _io(port: Port, dims: Sequence[int]) -> Message:
    return {"name": port.name, "data_type": Word(TYPES[port.dtype]), "dims": list(dims)}


def _warmup(port: Port, info: ModelInfo, usual: Shape, count: int, *, batched: bool) -> Message:
    channels = 3 if info.colour == "rgb" else 1
    dims = replace(usual, count=port.shape[0] or 1).dims(info.io, channels)
    data = {"data_type": Word(TYPES[port.dtype]), "dims": list(dims[1:] if batched else dims), "zero_data": True}
    return {
        "name": f"{count} of {usual.height}x{usual.width}",
        "batch_size": count,
        "inputs": [{"key": port.name, "value": data}],
    }


def _facts(info: ModelInfo, serving: Serving, profile: Shapes) -> dict[str, str]:
    facts = {
        "scale": str(info.scale),
        "halo": "none" if info.halo is None else str(info.halo),
        "colour": info.colour,
        "io": info.io,
    }
    return facts | ({"profile": str(profile)} if serving.backend == "tensorrt" else {})
