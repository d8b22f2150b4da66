"""An inference request: a body becomes a picture order or a batch, or is refused with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast, get_args

import pydantic_core

from repsr_deploy.imaging.container import WebFormat
from repsr_deploy.imaging.image_file import QUALITY
from repsr_deploy.imaging.upscaler import MAX_FACTOR
from repsr_serve.oip.tensors import Port, Values, brief, check_values, checked_shape, from_binary, from_json
from repsr_serve.problems import Problem

JSON_BYTES = 2**24
"""Longest JSON document; one string of base64 may take all of it. Binary tensors behind it do not count."""
JSON_ITEMS = 2**17
"""Most commas, lists and objects in it: they decide how long it takes to read, and what memory that takes."""
ID_CHARACTERS = 1024
RESERVED = ("sequence_id", "sequence_start", "sequence_end")
"""Parameters of the protocol that ask for a state between requests."""
HINTS = ("priority", "timeout")
"""Parameters of the protocol that a server without priorities may leave aside."""
OPTIONS = ("scale", "format", "quality")


@dataclass(frozen=True, kw_only=True)
class InferRequest:
    """What is asked, fully checked."""

    id: str | None
    port: Port
    """Which of the inputs is given."""
    shape: tuple[int, ...]
    values: Values
    """The input: pictures, or a finite array of `shape`."""
    binary: bool
    """Whether the output is wanted as bytes behind the JSON."""
    scale: float | None = None
    """Of pictures, like the two below, as in /v1/upscale."""
    format: WebFormat | None = None
    quality: int = QUALITY


def parse_request(body: memoryview, header_length: str | None, ports: tuple[Port, ...]) -> InferRequest:
    """Read an inference request.

    Args:
        body: JSON, then the binary tensors in the order of the inputs.
        header_length: of the JSON, as `Inference-Header-Content-Length` says; None where all of it is JSON.
        ports: the inputs that the model takes.

    Raises:
        Problem: `bad-request` where it is no such request, `parameters` where its tensors do not fit the model,
            `too-many-bytes` where its JSON is too large.
    """
    text_bytes = _text_bytes(header_length, len(body))
    document = _document(bytes(body[:text_bytes]))
    request_id = document.get("id")
    if request_id is not None and not (isinstance(request_id, str) and len(request_id) <= ID_CHARACTERS):
        raise _malformed(f"The id is {brief(request_id)}; expected a text of up to {ID_CHARACTERS} characters.")
    given = _objects(document, "inputs")
    names = [item.get("name") for item in given[:4]]
    port = next((port for port in ports if [port.input.name] == names), None)
    if port is None:
        expected = ", ".join(port.input.name for port in ports)
        raise Problem("parameters", f"Inputs are {', '.join(map(brief, names)) or 'none'}; expected one of {expected}.")
    parameters = _parameters(document)
    shape, values = _tensor(given[0], port, body[text_bytes:])
    return InferRequest(
        id=request_id,
        port=port,
        shape=shape,
        values=values,
        binary=_binary_output(document, parameters, port),
        **_options(parameters, port),
    )


def _text_bytes(header_length: str | None, body_bytes: int) -> int:
    if header_length is None:
        return body_bytes
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 20):
        raise _malformed(f"Inference-Header-Content-Length is {brief(header_length)}; expected the bytes of the JSON.")
    if int(header_length) > body_bytes:
        raise _malformed(
            f"Inference-Header-Content-Length is {int(header_length)}, but the body has {body_bytes} bytes."
        )
    return int(header_length)


def _document(text: bytes) -> dict[str, Any]:
    if len(text) > JSON_BYTES:
        raise Problem(
            "too-many-bytes",
            f"The request's JSON has {len(text)} bytes; expected at most {JSON_BYTES}, send tensors as binary data.",
        )
    if sum(text.count(mark) for mark in (b",", b"[", b"{")) > JSON_ITEMS:
        raise Problem(
            "too-many-bytes",
            f"The request's JSON has more than {JSON_ITEMS} values; expected fewer, send tensors as binary data.",
        )
    try:
        document = pydantic_core.from_json(text, allow_inf_nan=False, cache_strings="none")
    except ValueError as error:
        raise _malformed(f"The request is no JSON ({error}); expected an inference request.") from error
    if not isinstance(document, dict):
        raise _malformed(f"The request is {brief(document)}; expected a JSON object with inputs.")
    return cast("dict[str, Any]", document)


def _objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items: Any = document.get(key)
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _malformed(f"The member {key} is {brief(items)}; expected a list of objects.")
    return items


def _parameters(owner: dict[str, Any]) -> dict[str, Any]:
    parameters: Any = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise _malformed(f"The parameters are {brief(parameters)}; expected an object.")
    return parameters


def _tensor(item: dict[str, Any], port: Port, binary: memoryview) -> tuple[tuple[int, ...], Values]:
    spec = port.input
    if item.get("datatype") != spec.datatype:
        raise Problem(
            "parameters", f"Tensor {spec.name} has datatype {brief(item.get('datatype'))}; expected {spec.datatype}."
        )
    shape = checked_shape(item.get("shape"), spec)
    parameters = _parameters(item)
    if any(key.startswith("shared_memory") for key in parameters):
        raise Problem("parameters", f"Tensor {spec.name} is in shared memory; expected its data in the request.")
    size = parameters.get("binary_data_size")
    if size is None:
        if len(binary):
            raise _malformed(f"Behind the JSON are {len(binary)} bytes, but no tensor says binary_data_size.")
        if "data" not in item:
            raise _malformed(f"Tensor {spec.name} has neither data nor binary_data_size.")
        values = from_json(item["data"], shape, spec)
    else:
        if "data" in item:
            raise _malformed(f"Tensor {spec.name} has both data and binary_data_size; expected one of them.")
        if type(size) is not int or size != len(binary):
            raise _malformed(
                f"Tensor {spec.name} says binary_data_size {brief(size)}, but {len(binary)} bytes follow the JSON "
                "(Inference-Header-Content-Length)."
            )
        values = from_binary(binary, shape, spec)
    if not isinstance(values, list):
        check_values(values, spec)
    return shape, values


def _binary_output(document: dict[str, Any], parameters: dict[str, Any], port: Port) -> bool:
    """Whether the output is wanted as binary data: as the output says, else as the request says, else not."""
    asked = _objects(document, "outputs")
    default = _flag(parameters, "binary_data_output", default=False)
    if not asked:
        return default
    if len(asked) != 1 or asked[0].get("name") != port.output.name:
        names = ", ".join(brief(item.get("name")) for item in asked[:4])
        raise Problem(
            "parameters", f"Outputs are {names}; expected {port.output.name}, which is what {port.input.name} leads to."
        )
    wanted = _parameters(asked[0])
    for key in wanted:
        if key != "binary_data":
            raise Problem(
                "parameters", f"Output {port.output.name} has parameter {brief(key)}; expected binary_data alone."
            )
    return _flag(wanted, "binary_data", default=default)


def _flag(parameters: dict[str, Any], key: str, *, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise _malformed(f"The member {key} is {brief(value)}; expected true or false.")
    return value


def _options(parameters: dict[str, Any], port: Port) -> dict[str, Any]:
    """What is wanted of pictures: members of `InferRequest`."""
    known = {"binary_data_output", *HINTS}
    options = {key: value for key, value in parameters.items() if key not in known and value is not None}
    for key in options:
        if key in RESERVED:
            raise Problem(
                "parameters", f"Parameter {key} asks for a sequence; models here have no state, leave it out."
            )
        if key not in OPTIONS:
            raise Problem("parameters", f"Parameter {brief(key)} is unknown; expected {', '.join(OPTIONS)}.")
        if port.input.datatype != "BYTES":
            raise Problem(
                "parameters", f"Parameter {key} is for IMAGE; {port.input.name} is enlarged by the model's scale."
            )
    scale, form, quality = (options.get(key) for key in OPTIONS)
    if scale is not None:
        if type(scale) not in (int, float) or not 0 < scale <= MAX_FACTOR:
            raise Problem(
                "parameters", f"The scale is {brief(scale)}; expected a number above 0, up to {MAX_FACTOR:g}."
            )
        options["scale"] = float(scale)
    if form is not None and form not in get_args(WebFormat):
        raise Problem("parameters", f"The format is {brief(form)}; expected {', '.join(get_args(WebFormat))}.")
    if quality is not None and (type(quality) is not int or not 1 <= quality <= 100):
        raise Problem("parameters", f"The quality is {brief(quality)}; expected 1 to 100.")
    return options


def _malformed(detail: str) -> Problem:
    return Problem("bad-request", detail)
