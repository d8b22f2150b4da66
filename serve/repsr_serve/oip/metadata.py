"""What a server says about itself and its models: the protocol's metadata, and the configuration as Triton tells it."""

from __future__ import annotations

from typing import Any

from repsr_deploy._version import __version__
from repsr_deploy.model_info import ModelInfo
from repsr_serve.oip.tensors import TensorSpec, ports_of

VERSION = "1"
"""Of every model: a served model does not change while the service runs."""
PLATFORM = "repsr_serve"
DESCRIPTION = (
    "Give exactly one of the inputs. IMAGE: PNG, JPEG or WebP files, each enlarged by itself into UPSCALED; in JSON, "
    "base64. Request parameters for it: scale, format (png, jpeg, webp), quality (1 to 100). input: RGB in 0..1. "
    "pixels: 8-bit RGB, channels last."
)


def server_metadata() -> dict[str, Any]:
    """Answer to `GET /v2`."""
    return {
        "name": "repsr-serve",
        "version": __version__,
        "extensions": ["binary_tensor_data", "model_configuration", "model_repository"],
    }


def model_metadata(name: str, info: ModelInfo) -> dict[str, Any]:
    """Answer to `GET /v2/models/NAME`; beyond the protocol, `parameters` says what the inputs are."""
    ports = ports_of(info)
    return {
        "name": name,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": [_tensor(port.input) for port in ports],
        "outputs": [_tensor(port.output) for port in ports],
        "parameters": {"description": DESCRIPTION, "network": info.name, "scale": info.scale, "colour": info.colour},
    }


def model_config(name: str, info: ModelInfo) -> dict[str, Any]:
    """Answer to `GET /v2/models/NAME/config`: members of Triton's ModelConfig that hold here."""
    ports = ports_of(info)
    return {
        "name": name,
        "platform": PLATFORM,
        "backend": "",
        "max_batch_size": 0,
        "input": [_io(port.input) | {"optional": True} for port in ports],
        "output": [_io(port.output) for port in ports],
        "parameters": {"scale": {"string_value": str(info.scale)}, "description": {"string_value": DESCRIPTION}},
    }


def repository_index(names: list[str]) -> list[dict[str, str]]:
    """Answer to `POST /v2/repository/index`."""
    return [{"name": name, "version": VERSION, "state": "READY", "reason": ""} for name in names]


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _io(spec: TensorSpec) -> dict[str, Any]:
    kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape)}
