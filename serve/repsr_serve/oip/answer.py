"""The answer to an inference request, piece by piece: nothing large is put together in memory."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from repsr_serve.buffers import CHUNK_BYTES, Buffer
from repsr_serve.oip.metadata import VERSION
from repsr_serve.oip.request import InferRequest
from repsr_serve.oip.tensors import DTYPES

BASE64_CHUNK = 3 * 2**16
"""Bytes; a multiple of three, so that pieces of base64 fit together."""
NUMBERS = 2**12
"""Numbers that are made text in one go, so that other threads have their turn."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is sent."""

    head: bytes
    """JSON, up to where its data begin."""
    pieces: Iterable[bytes]
    """The values."""
    tail: bytes = b""
    """The rest of the JSON; none behind binary data."""
    binary_bytes: int | None = None
    """Size of all pieces where they are binary data; None where they are JSON."""
    files: Sequence[Buffer] = ()
    """That the pieces are read from."""

    def close(self) -> None:
        """Let go of the files."""
        for file in self.files:
            file.close()

    @property
    def headers(self) -> dict[str, str]:
        """Content-Type, and how long it is, as far as that is known."""
        if self.binary_bytes is None:
            return {"Content-Type": "application/json"}
        return {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(self.head)),
            "Content-Length": str(len(self.head) + self.binary_bytes),
        }

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        yield from self.pieces
        yield self.tail


def answer_files(request: InferRequest, model: str, files: Sequence[Buffer]) -> Answer:
    """Pictures, as BYTES; takes the files over."""
    if not request.binary:
        head, tail = _around_data(_document(request, model, (len(files),)))
        return Answer(head=head, pieces=_listed(files), tail=tail, files=files)
    size = sum(4 + file.size for file in files)
    head = _text(_document(request, model, (len(files),), size))
    return Answer(head=head, pieces=_prefixed(files), binary_bytes=size, files=files)


def answer_array(request: InferRequest, model: str, array: NDArray[Any]) -> Answer:
    """A batch of raw pictures, of any order in memory."""
    array = array.astype(DTYPES[request.port.output.datatype], copy=False)
    if not request.binary:
        head, tail = _around_data(_document(request, model, array.shape))
        return Answer(head=head, pieces=_numbers(array), tail=tail)
    head = _text(_document(request, model, array.shape, array.nbytes))
    pieces = (part.tobytes() for part in _parts(array, CHUNK_BYTES // array.itemsize))
    return Answer(head=head, pieces=pieces, binary_bytes=array.nbytes)


def _document(
    request: InferRequest, model: str, shape: tuple[int, ...], binary_data_size: int | None = None
) -> dict[str, Any]:
    spec = request.port.output
    data = {"data": []} if binary_data_size is None else {"parameters": {"binary_data_size": binary_data_size}}
    return {
        "model_name": model,
        "model_version": VERSION,
        **({} if request.id is None else {"id": request.id}),
        "outputs": [{"name": spec.name, "datatype": spec.datatype, "shape": list(shape), **data}],
    }


def _around_data(document: dict[str, Any]) -> tuple[bytes, bytes]:
    """The text before and behind the data, the last member of the only output."""
    text = _text(document)
    end = b"]}]}"
    assert text.endswith(b"[" + end)
    return text[: -len(end)], end


def _text(document: Any) -> bytes:
    return json.dumps(document).encode()


def _numbers(array: NDArray[Any]) -> Iterator[bytes]:
    separator = b""
    for part in _parts(array, NUMBERS):
        yield separator + _text(part.reshape(-1).tolist())[1:-1]
        separator = b","


def _parts(array: NDArray[Any], values: int) -> Iterator[NDArray[Any]]:
    """A batch in pieces of about so many values, in the order of its axes, without a copy of all of it."""
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        yield from (flat[at : at + values] for at in range(0, len(flat), values))
        return
    width = array.shape[3]
    rows = max(1, values // width)
    for plane in (plane for planes in array for plane in planes):
        for row in range(0, len(plane), rows):
            yield from (plane[row : row + rows, at : at + values] for at in range(0, width, values))


def _prefixed(files: Sequence[Buffer]) -> Iterator[bytes]:
    for file in files:
        yield struct.pack("<I", file.size)
        yield from file.chunks()


def _listed(files: Sequence[Buffer]) -> Iterator[bytes]:
    for index, file in enumerate(files):
        yield b',"' if index else b'"'
        yield from map(b64encode, file.chunks(BASE64_CHUNK))
        yield b'"'
