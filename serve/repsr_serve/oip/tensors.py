"""Which tensors there are, and how their values come out of a request: as JSON, or as bytes behind it."""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.model_info import ModelInfo
from repsr_serve.problems import Problem
from repsr_serve.validation import LONGEST, shown

Datatype = Literal["BYTES", "FP32", "UINT8"]
Values = list[memoryview] | NDArray[Any]
"""Of a tensor: files, or an array; where they came as binary data, in the request's own memory."""

DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}
MAX_PICTURES = 64
"""Most encoded pictures of one request."""
BASE64_STEP = 2**20
"""Characters decoded in one go, so that other threads have their turn."""


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """What metadata says of a tensor."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    """-1: any."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input, and the output that it leads to."""

    input: TensorSpec
    output: TensorSpec


def ports_of(info: ModelInfo) -> tuple[Port, ...]:
    """The inputs that a model takes, of which a request gives one: encoded pictures, or a batch of raw ones.

    The float batch is called as in .onnx files (`input`, `output`). A model of io `image` takes none.
    """
    ports = (
        _port("IMAGE", "UPSCALED", "BYTES", (-1,)),
        _port("pixels", "upscaled_pixels", "UINT8", (-1, -1, -1, 3)),
        _port("input", "output", "FP32", (-1, 3, -1, -1)),
    )
    return ports[:2] if info.io == "image" else ports


def _port(taken: str, given: str, datatype: Datatype, shape: tuple[int, ...]) -> Port:
    return Port(
        input=TensorSpec(name=taken, datatype=datatype, shape=shape),
        output=TensorSpec(name=given, datatype=datatype, shape=shape),
    )


def checked_shape(shape: Any, spec: TensorSpec) -> tuple[int, ...]:
    """The shape that a request states, if the tensor can have it; nothing is allocated by it.

    Raises:
        Problem: another number of dimensions, a side that is no whole number above 0, or more than `MAX_PICTURES`.
    """
    expected = "x".join("N" if side < 0 else str(side) for side in spec.shape)
    sides: list[Any] = shape if isinstance(shape, list) else []
    if (
        len(sides) != len(spec.shape)
        or any(type(side) is not int or side < 1 for side in sides)
        or any(wanted not in (-1, side) for side, wanted in zip(sides, spec.shape, strict=True))
    ):
        raise Problem(
            "parameters", f"Tensor {spec.name} has shape {brief(shape)}; expected {expected}, each N at least 1."
        )
    if spec.datatype == "BYTES" and sides[0] > MAX_PICTURES:
        raise Problem(
            "parameters",
            f"Tensor {spec.name} has {sides[0]} pictures; expected at most {MAX_PICTURES}, send the rest apart.",
        )
    return tuple(sides)


def from_binary(data: memoryview, shape: tuple[int, ...], spec: TensorSpec) -> Values:
    """The values of a tensor in Triton's binary form: little-endian, row-major; BYTES with a length before each.

    Args:
        data: exactly the tensor's bytes.
        shape: by `checked_shape`.

    Raises:
        Problem: another number of bytes than the shape has.
    """
    if spec.datatype == "BYTES":
        values = list(_split(data, spec.name))
        _check_count(len(values), shape, spec, "pictures")
        return values
    dtype = DTYPES[spec.datatype]
    _check_count(len(data), (*shape, dtype.itemsize), spec, "bytes")
    # the tensor starts behind a text of any length: kernels want float32 at multiples of four
    return np.require(np.frombuffer(data, dtype).reshape(shape), requirements="A")


def from_json(data: Any, shape: tuple[int, ...], spec: TensorSpec) -> Values:
    """The values of a tensor in JSON: one list, or lists in lists as the shape says; BYTES as base64 (RFC 4648).

    Raises:
        Problem: not such a list, another number of values, or values of another type or range.
    """
    flat = _flat(data, spec)
    _check_count(len(flat), shape, spec, "values")
    kinds = set(map(type, flat))
    if spec.datatype == "BYTES":
        if kinds != {str}:
            raise Problem("parameters", f"Tensor {spec.name} holds {_names(kinds)}; expected strings in base64.")
        return [memoryview(_from_base64(text, spec.name)) for text in flat]
    whole = spec.datatype == "UINT8"
    if not kinds <= ({int} if whole else {int, float}):
        expected = "whole numbers from 0 to 255" if whole else "numbers"
        raise Problem("parameters", f"Tensor {spec.name} holds {_names(kinds)}; expected {expected}.")
    if whole and not 0 <= min(flat) <= max(flat) <= 255:
        raise Problem("parameters", f"Tensor {spec.name} has values beyond 0 to 255; expected 8 bits.")
    try:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, which is refused
            return np.array(flat, DTYPES[spec.datatype]).reshape(shape)
    except OverflowError:
        raise Problem("parameters", f"Tensor {spec.name} has a value that is no float32; expected 0 to 1.") from None


def check_values(values: NDArray[Any], spec: TensorSpec) -> None:
    """Refuse NaN and infinity.

    Raises:
        Problem: there are some.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Problem("parameters", f"Tensor {spec.name} holds NaN or infinity; expected numbers, 0 to 1.")


def brief(value: Any) -> str:
    """What a stranger's JSON holds, for a message: no text is made of all of a large value."""
    match value:
        case str():
            return shown(value[:LONGEST])
        case int() if abs(value) > 10**LONGEST:  # Python makes no text of very long numbers
            return "a long number"
        case list():
            return f"[{', '.join(map(brief, value[:8]))}{', ...' if len(value) > 8 else ''}]"[:LONGEST]
        case dict():
            return "an object"
        case _:
            return shown(value)


def _split(data: memoryview, name: str) -> Iterator[memoryview]:
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise Problem("bad-request", f"Tensor {name} ends within the length of an element; send all of it.")
        (length,) = struct.unpack_from("<I", data, position)
        position += 4
        if position + length > len(data):
            left = len(data) - position
            raise Problem("bad-request", f"An element of tensor {name} has {length} bytes, but {left} are left.")
        yield data[position : position + length]
        position += length


def _flat(data: Any, spec: TensorSpec) -> list[Any]:
    """All values, whatever lists they are in."""
    flat: Sequence[Any] = data if isinstance(data, list) else [data]
    for _ in spec.shape[1:]:
        if not all(isinstance(item, list) for item in flat):
            break
        flat = list(chain.from_iterable(flat))
    if not isinstance(data, list) or any(isinstance(item, list) for item in flat):
        raise Problem(
            "parameters",
            f"Data of tensor {spec.name} is {'too deep' if isinstance(data, list) else brief(data)}; "
            "expected a list of its values, or lists in lists as its shape says.",
        )
    return list(flat)


def _check_count(found: int, shape: tuple[int, ...], spec: TensorSpec, what: str) -> None:
    expected = math.prod(shape)
    if found != expected:
        raise Problem("parameters", f"Tensor {spec.name} has {found} {what}; expected {expected}, as its shape says.")


def _from_base64(text: str, name: str) -> bytes:
    if len(text) % 4 or "=" in text[:-2]:
        raise Problem("parameters", f"Tensor {name} holds {brief(text)}; expected base64, with padding.")
    try:
        steps = (text[at : at + BASE64_STEP] for at in range(0, len(text), BASE64_STEP))
        return b"".join(binascii.a2b_base64(step, strict_mode=True) for step in steps)
    except ValueError as error:
        raise Problem("parameters", f"Tensor {name} holds {brief(text)}, which is no base64 ({error}).") from error


def _names(kinds: set[type]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in kinds)) or "nothing"
