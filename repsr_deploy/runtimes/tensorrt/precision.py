"""Whether a network, and the engine built from it, computes in the type that was asked for.

TensorRT 11 takes every type from the graph. A float32 graph builds without complaint into a float32 engine, whatever
its name promises, and its speed would be published as that of fp16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from repsr_deploy.errors import ModelFileError
from repsr_deploy.model_info import Precision

TYPE_NAMES: dict[str, Precision] = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8"}
"""TensorRT's names of data types, the longest first."""
ENGINE_WORDS: dict[Precision, tuple[str, ...]] = {
    "fp32": ("float", "fp32"), "fp16": ("half", "fp16"), "bf16": ("bfloat16", "bf16"), "int8": ("int8",),
}  # fmt: skip
"""How engine information names types in `Format/Datatype` (10 and 11) or `Datatype`, within longer descriptions."""


def network_types(trt: Any, network: Any) -> Counter[str]:
    """Types of the operands of every convolution of a parsed network, with the number of convolutions of each.

    An operand that comes from a DequantizeLinear counts as what is quantized: TensorRT merges that into the
    convolution. A convolution whose operands differ counts as the longer one's type.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = {layer.get_output(index).name: layer for layer in layers for index in range(layer.num_outputs)}

    def stored_type(tensor: Any) -> str:
        maker = makers.get(tensor.name)
        source = maker.get_input(0) if maker is not None and maker.type == trt.LayerType.DEQUANTIZE else tensor
        name: str = source.dtype.name
        return TYPE_NAMES.get(name, name)

    def operand_type(layer: Any) -> str:
        operands = [layer.get_input(index) for index in range(layer.num_inputs)]
        types = {stored_type(operand) for operand in operands if operand is not None}
        known: list[str] = [name for name in TYPE_NAMES.values() if name in types]
        return known[0] if known else min(types)

    kinds = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION)
    return Counter(operand_type(layer) for layer in layers if layer.type in kinds)


def check_network_types(label: str, precision: Precision, types: Mapping[str, int]) -> None:
    """Refuse a network that does not compute in `precision`: fp32 has no shorter convolution, the others have some.

    Single layers may stay longer where a shorter type would spoil them.

    Raises:
        ModelFileError: says what its convolutions are.
    """
    if not types:
        return  # a network without convolutions: nothing tells
    if (set(types) == {"fp32"}) if precision == "fp32" else (precision in types):
        return
    found = ", ".join(f"{count} {name}" for name, count in sorted(types.items()))
    raise ModelFileError(
        f"{label} is said to be {precision}, but its convolutions are {found}: the number would be an "
        f"{'/'.join(sorted(types))} number; export it again with `repsr-fuse export --precision {precision}`"
    )


def engine_types(information: Mapping[str, Any]) -> set[Precision]:
    """Types of the tensors of a built engine: `information` is the engine inspector's JSON, built with details."""
    found: set[Precision] = set()
    for layer in information.get("Layers", []):
        if not isinstance(layer, dict):
            continue  # without details a layer is only its name
        for tensor in [*layer.get("Inputs", []), *layer.get("Outputs", [])]:
            text = str(tensor.get("Format/Datatype", tensor.get("Datatype", ""))).lower()
            text = text.replace("bfloat16", "bf16").replace("float16", "fp16")
            found |= {name for name, words in ENGINE_WORDS.items() if any(word in text for word in words)}
    return found


def check_engine_types(label: str, precision: Precision, types: set[Precision]) -> None:
    """Refuse an engine none of whose tensors has the type that was asked for; without information nothing is refused.

    Raises:
        ModelFileError: says what its tensors are.
    """
    if types and precision not in types:
        raise ModelFileError(
            f"{label} is said to be {precision}, but its tensors are {', '.join(sorted(types))}: the number would be "
            f"an {'/'.join(sorted(types))} number; build it again from a file exported with --precision {precision}"
        )
