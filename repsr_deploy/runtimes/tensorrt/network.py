"""A model as TensorRT's network, and the shapes that it is built for."""

from __future__ import annotations

from typing import Any

from repsr_deploy.errors import ModelFileError, UsageError
from repsr_deploy.runtimes.tensorrt.api import Api
from repsr_deploy.runtimes.tensorrt.model import OnnxModel
from repsr_deploy.runtimes.tensorrt.precision import TYPE_NAMES
from repsr_deploy.runtimes.tensorrt.shapes import Shapes

_ERRORS_SHOWN = 3


def parse_model(api: Api, builder: Any, model: OnnxModel) -> Any:
    """The network of a model.

    Raises:
        ModelFileError: TensorRT does not understand the model: says at which nodes and why.
    """
    network = api.create_network(builder)
    parser = api.trt.OnnxParser(network, api.logger)
    if isinstance(model.source, bytes):
        parsed = parser.parse(model.source)
    else:
        parsed = parser.parse_from_file(str(model.source))  # finds weights in other files
    if not parsed:
        found = dict.fromkeys(_describe(parser.get_error(index)) for index in range(parser.num_errors))
        shown = "; ".join(list(found)[:_ERRORS_SHOWN])
        more = f"; and {len(found) - _ERRORS_SHOWN} more" if len(found) > _ERRORS_SHOWN else ""
        raise ModelFileError(
            f"{api.program} cannot parse {model.label}: {shown or api.errors()}{more}; "
            "write it again with `repsr-fuse export`, or use another runtime"
        )
    if (network.num_inputs, network.num_outputs) != (1, 1):
        raise ModelFileError(
            f"{model.label} has {network.num_inputs} inputs and {network.num_outputs} outputs; expected one image each"
        )
    if model.info.io == "features":
        _keep_short(api.trt, network)
    return network


def _keep_short(trt: Any, network: Any) -> None:
    """Give features in the type in which the network computes, where a Cast at the end widens them to float32.

    They are the largest tensor there is, and the kernel that reads them takes all these types.
    """
    output = network.get_output(0)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.CAST and layer.get_output(0).name == output.name:
            short = layer.get_input(0)
            if TYPE_NAMES.get(short.dtype.name) in ("fp16", "bf16"):
                name: str = output.name
                network.unmark_output(output)
                output.name = f"{name}.float"  # no two tensors have one name
                short.name = name
                network.mark_output(short)
            return


def _describe(error: Any) -> str:
    """A parser's error in one line: operator and node, and the first line of the reason."""
    reason = next((line for line in error.desc().splitlines() if not line.startswith("Invalid Node")), error.desc())
    where = f"operator {error.node_operator()} (node {error.node()} {error.node_name()}".rstrip() + "): "
    return (where if error.node_operator() else "") + " ".join(reason.split())[:300]


def add_profile(api: Api, builder: Any, config: Any, network: Any, model: OnnxModel, shapes: Shapes) -> None:
    """Tell TensorRT which shapes the engine takes.

    Raises:
        UsageError: the model itself takes fewer.
    """
    tensor = network.get_input(0)
    channels = 3 if model.info.colour == "rgb" else 1
    low, usual, high = (shape.dims(model.info.io, channels) for shape in shapes.all)
    own = tuple(tensor.shape)
    if len(own) != 4 or any(size != -1 and {a, b} != {size} for size, a, b in zip(own, low, high, strict=True)):
        text = " x ".join("any" if size == -1 else str(size) for size in own)
        raise UsageError(f"{model.label} takes {text} alone, not {shapes}; export it with dynamic N, H and W")
    profile = builder.create_optimization_profile()
    profile.set_shape(tensor.name, low, usual, high)
    if config.add_optimization_profile(profile) < 0:
        raise UsageError(f"{api.program} refuses the shapes {shapes}: {api.errors()}")
