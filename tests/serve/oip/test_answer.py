"""Answers, read by tritonclient: binary data and JSON, arrays of any order in memory, files that are let go."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferResult

from repsr_deploy.model_info import ModelInfo
from repsr_serve.buffers import CHUNK_BYTES, Buffer
from repsr_serve.oip.answer import Answer, answer_array, answer_files
from repsr_serve.oip.request import InferRequest
from repsr_serve.oip.tensors import ports_of

PORTS = {port.input.name: port for port in ports_of(ModelInfo(name="Plain", scale=2, halo=7))}
RANDOM = np.random.default_rng(3)


def request(name: str, *, binary: bool, request_id: str | None = "a/ä") -> InferRequest:
    return InferRequest(id=request_id, port=PORTS[name], shape=(1,), values=[], binary=binary)


def read(answer: Answer) -> Any:
    body = b"".join(answer)
    headers = answer.headers
    assert headers.get("Content-Length", str(len(body))) == str(len(body))
    length = headers.get("Inference-Header-Content-Length")
    return InferResult.from_response_body(body, header_length=None if length is None else int(length))


ARRAYS = {
    "planes": RANDOM.random((2, 3, 37, 41), np.float32),
    "turned": RANDOM.random((2, 37, 41, 3), np.float32).transpose(0, 3, 1, 2),
    "long rows": RANDOM.random((1, 2, CHUNK_BYTES // 2, 3), np.float32).transpose(0, 3, 1, 2),
    "pixels": RANDOM.integers(0, 256, (2, 37, 41, 3), np.uint8),
}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_are(name: str, binary: bool) -> None:
    array = ARRAYS[name]
    asked = request("pixels" if name == "pixels" else "input", binary=binary)
    if not binary:
        array = array[:, :, :40]
    result = read(answer_array(asked, "photo-x2", array))
    np.testing.assert_array_equal(result.as_numpy(asked.port.output.name), array)
    said = result.get_response()
    assert (said["model_name"], said["model_version"], said["id"]) == ("photo-x2", "1", "a/ä")


def test_no_piece_is_large() -> None:
    for array in (ARRAYS["turned"].repeat(3, axis=2), ARRAYS["long rows"]):
        answer = answer_array(request("input", binary=True), "m", array)
        assert max(map(len, answer.pieces)) <= CHUNK_BYTES


@pytest.mark.parametrize("binary", [True, False])
def test_files_come_back_as_they_are_and_are_closed(binary: bool) -> None:
    contents = [RANDOM.bytes(size) for size in (0, 1, 3 * 2**16 - 1, 3 * 2**16, 3 * 2**16 + 1, CHUNK_BYTES + 5)]
    files = [Buffer.of(content) for content in contents]
    answer = answer_files(request("IMAGE", binary=binary, request_id=None), "m", files)
    result = read(answer)
    given = result.as_numpy("UPSCALED").tolist()
    assert (given if binary else [b64decode(text, validate=True) for text in given]) == contents
    assert "id" not in result.get_response()
    answer.close()
    assert {file.fd for file in files} == {-1}


def test_json_is_one_document() -> None:
    answer = answer_array(request("pixels", binary=False), "m", ARRAYS["pixels"])
    document = json.loads(b"".join(answer))
    assert document["outputs"][0]["data"] == ARRAYS["pixels"].reshape(-1).tolist()
    assert document["outputs"][0]["shape"] == [2, 37, 41, 3]
