"""What is read from a request: the same from every way of sending it, and a Problem for everything else."""

from __future__ import annotations

import json
import re
import struct
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from repsr_deploy.model_info import ModelInfo
from repsr_serve.oip.request import JSON_ITEMS, InferRequest, parse_request
from repsr_serve.oip.tensors import MAX_PICTURES, ports_of
from repsr_serve.problems import Problem

PORTS = ports_of(ModelInfo(name="Plain", scale=2, halo=7))
RANDOM = np.random.default_rng(7)


def parse(body: bytes, header_length: str | None = None) -> InferRequest:
    return parse_request(memoryview(body), header_length, PORTS)


def document(**changes: Any) -> dict[str, Any]:
    """A request with one pixel, or with other members; None leaves one out."""
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}
    members = {"inputs": [tensor]} | changes
    return {key: value for key, value in members.items() if value is not None}


def tensor(**changes: Any) -> dict[str, Any]:
    members = document()["inputs"][0] | changes
    return document(inputs=[{key: value for key, value in members.items() if value is not None}])


def refused(members: Any, header_length: str | None = None, tail: bytes = b"") -> Problem:
    body = members if isinstance(members, bytes) else json.dumps(members).encode() + tail
    with pytest.raises(Problem) as caught:
        parse(body, header_length)
    return caught.value


ARRAYS = {
    "input": RANDOM.random((2, 3, 5, 7), np.float32),
    "pixels": RANDOM.integers(0, 256, (2, 5, 7, 3), np.uint8),
    "IMAGE": np.array([b"", b"\x00\xff" * 33, b"abc"], np.object_),
}
DATATYPES = {"input": "FP32", "pixels": "UINT8", "IMAGE": "BYTES"}


@pytest.mark.parametrize("name", ARRAYS)
def test_what_tritonclient_writes_as_binary_data_is_read(name: str) -> None:
    array = ARRAYS[name]
    item = InferInput(name, list(array.shape), DATATYPES[name])
    item.set_data_from_numpy(array)
    body, length = InferenceServerClient.generate_request_body([item], request_id="7")
    request = parse(body, str(length))
    assert (request.id, request.port.input.name, request.shape, request.binary) == ("7", name, array.shape, True)
    np.testing.assert_array_equal(np.array(request.values, array.dtype), array)


@pytest.mark.parametrize("name", ["input", "pixels"])
@pytest.mark.parametrize("nested", [False, True])
def test_json_is_read_flat_and_nested(name: str, nested: bool) -> None:
    array = ARRAYS[name]
    data = array.tolist() if nested else array.reshape(-1).tolist()
    request = parse(json.dumps(tensor(name=name, datatype=DATATYPES[name], shape=array.shape, data=data)).encode())
    assert not request.binary
    assert isinstance(request.values, np.ndarray)
    assert request.values.dtype == array.dtype
    np.testing.assert_array_equal(request.values, array)


def test_pictures_in_json_are_base64() -> None:
    files = [RANDOM.bytes(size) for size in (0, 1, 2, 3, 100, 3 * 2**20)]
    data = [b64encode(file).decode() for file in files]
    request = parse(json.dumps(tensor(name="IMAGE", datatype="BYTES", shape=[6], data=data)).encode())
    assert request.values == files


@pytest.mark.parametrize("text", ["a", "abc", "ab=c", "====", "abcd=", "äöüß", "ab c", "abc\n", "-_-_", "QQ=="[:2] * 3])
def test_what_is_no_base64_is_refused(text: str) -> None:
    problem = refused(tensor(name="IMAGE", datatype="BYTES", shape=[1], data=[text]))
    assert problem.cause == "parameters"
    assert "base64" in problem.detail


def test_floats_behind_a_text_of_any_length_are_aligned() -> None:
    array = ARRAYS["input"]
    for padding in range(4):
        text = json.dumps(
            document(
                id="x" * padding,
                inputs=[{"name": "input", "datatype": "FP32", "shape": array.shape,
                         "parameters": {"binary_data_size": array.nbytes}}],
            )
        ).encode()  # fmt: skip
        values = parse(text + array.tobytes(), str(len(text))).values
        assert isinstance(values, np.ndarray)
        assert values.flags.aligned
        np.testing.assert_array_equal(values, array)


def test_options_and_outputs() -> None:
    image = {"name": "IMAGE", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}
    asked = {"scale": 3, "format": "webp", "quality": 71, "priority": 4}
    request = parse(json.dumps(document(inputs=[image], parameters=asked)).encode())
    assert (request.scale, request.format, request.quality, request.binary) == (3.0, "webp", 71, False)
    item = InferInput("pixels", [1, 1, 1, 3], "UINT8")
    item.set_data_from_numpy(np.zeros((1, 1, 1, 3), np.uint8))
    for wanted in (True, False):
        outputs = [InferRequestedOutput("upscaled_pixels", binary_data=wanted)]
        body, length = InferenceServerClient.generate_request_body([item], outputs=outputs)
        assert parse(body, str(length)).binary is wanted


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b'{"id": "\xff"}', "is no JSON"),
        (b'{"inputs": NaN}', "is no JSON"),
        (b"3", "is 3; expected a JSON object"),
        (b"[]", r"is \[\]; expected a JSON object"),
        ({}, "inputs are none; expected one of IMAGE, pixels, input"),
        (document(inputs={}), "inputs is an object; expected a list of objects"),
        (document(inputs=[3]), "expected a list of objects"),
        (document(inputs=document()["inputs"] * 2), "inputs are 'pixels', 'pixels'; expected one of"),
        (tensor(name="image"), "inputs are 'image'; expected one of IMAGE, pixels, input"),
        (tensor(name=["pixels"]), "inputs are"),
        (b'{"id": ' + b"7" * 5000 + b"}", "is no JSON|id is a long number"),
        (document(id=[[[]]] * 30), "id is"),
        (document(id=7), "id is 7; expected a text"),
        (document(id="x" * 2000), "expected a text of up to 1024"),
        (document(parameters=[]), "parameters are"),
        (document(parameters={"scael": 2}), "parameter 'scael' is unknown; expected scale, format, quality"),
        (document(parameters={"scale": 2}), "parameter scale is for IMAGE"),
        (document(parameters={"sequence_id": 2}), "asks for a sequence"),
        (document(parameters={"binary_data_output": 1}), "binary_data_output is 1; expected true or false"),
        (document(outputs=[{"name": "output"}]), "outputs are 'output'; expected upscaled_pixels"),
        (document(outputs=[{"name": "upscaled_pixels", "parameters": {"classification": 3}}]), "'classification'"),
        (tensor(datatype="FP32"), "has datatype 'FP32'; expected UINT8"),
        (tensor(datatype=None), "has datatype None; expected UINT8"),
        (tensor(shape=None), "has shape None; expected NxNxNx3"),
        (tensor(shape=[1, 1, 3]), r"has shape \[1, 1, 3\]; expected NxNxNx3"),
        (tensor(shape=[1, 1, 1, 4]), "expected NxNxNx3"),
        (tensor(shape=[1, -1, -1, 3]), "expected NxNxNx3"),
        (tensor(shape=[0, 1, 1, 3], data=[]), "each N at least 1"),
        (tensor(shape=[True, 1, 1, 3]), "each N at least 1"),
        (tensor(shape=[1.0, 1, 1, 3]), "each N at least 1"),
        (tensor(shape=[2**62, 2**62, 4, 3]), "has 3 values; expected 2552"),
        (tensor(data=None), "neither data nor binary_data_size"),
        (tensor(data=7), "data of tensor pixels is 7"),
        (tensor(data=[1, 2]), "has 2 values; expected 3"),
        (tensor(data=[1, 2, 256]), "beyond 0 to 255"),
        (tensor(data=[1, 2, -1]), "beyond 0 to 255"),
        (tensor(data=[1, 2, 10**400]), "beyond 0 to 255"),
        (tensor(data=[1, 2, 3.0]), "holds float, int; expected whole numbers"),
        (tensor(data=[1, 2, True]), "holds bool, int"),
        (tensor(data=["a", "b", "c"]), "holds str"),
        (tensor(data=[[1], 2, 3]), "too deep"),
        (tensor(data=[[[[[1]]]], 2, 3]), "too deep"),
        (tensor(name="input", datatype="FP32", shape=[1, 3, 1, 1], data=[0, 1, 1e300]), "NaN or infinity"),
        (tensor(name="input", datatype="FP32", shape=[1, 3, 1, 1], data=[0, 1, 10**400]), "no float32"),
        (tensor(name="IMAGE", datatype="BYTES", shape=[3]), "holds int; expected strings in base64"),
        (tensor(name="IMAGE", datatype="BYTES", shape=[65], data=["AAAA"] * 65), f"at most {MAX_PICTURES}"),
        (tensor(parameters={"binary_data_size": 3}), "both data and binary_data_size"),
        (tensor(data=None, parameters={"binary_data_size": 3}), "but 0 bytes follow"),
        (tensor(data=None, parameters={"binary_data_size": "3"}), "binary_data_size '3'"),
        (tensor(data=None, parameters={"shared_memory_region": "x"}), "shared memory"),
        (tensor(data=[0] * (JSON_ITEMS + 1)), "more than 131072 values"),
    ],
)  # fmt: skip
def test_what_fits_not_is_refused_with_the_reason(members: Any, said: str) -> None:
    problem = refused(members)
    assert re.search(said, problem.detail, re.IGNORECASE), problem.detail
    assert 400 <= problem.status < 500


def test_lengths_that_contradict_each_other_are_refused() -> None:
    text = json.dumps(tensor(data=None, parameters={"binary_data_size": 3})).encode()
    assert parse(text + b"\1\2\3", str(len(text))).shape == (1, 1, 1, 3)
    for length in ("-1", "", "1e3", "٣", "0x10", str(len(text) + 4), "9" * 30):
        assert "Inference-Header-Content-Length" in refused(text + b"\1\2\3", length).detail
    assert "binary_data_size" in refused(text + b"\1\2", str(len(text))).detail
    assert "4 bytes follow" in refused(text + b"\1\2\3\4", str(len(text))).detail
    wrong = json.dumps(tensor(shape=[1, 1, 2, 3], data=None, parameters={"binary_data_size": 3})).encode()
    assert "has 3 bytes; expected 6" in refused(wrong + b"\1\2\3", str(len(wrong))).detail


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\1\0\0", "ends within the length"),
        (struct.pack("<I", 5) + b"1234", "has 5 bytes, but 4 are left"),
        (struct.pack("<I", 2**32 - 1), "has 4294967295 bytes, but 0 are left"),
        (struct.pack("<I", 1) + b"1" + struct.pack("<I", 0), "has 2 pictures; expected 1"),
        (b"", "has 0 pictures; expected 1"),
    ],
)
def test_elements_that_do_not_fit_are_refused(data: bytes, said: str) -> None:
    members = tensor(name="IMAGE", datatype="BYTES", shape=[1], data=None, parameters={"binary_data_size": len(data)})
    text = json.dumps(members).encode()
    assert said in refused(text + data, str(len(text))).detail.lower()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["IMAGE", "input", "pixels", "FP32", "UINT8", "BYTES", "UPSCALED", "AAAA"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["IMAGE", "input", "pixels"]) | JSON,
        "datatype": st.sampled_from(["BYTES", "FP32", "UINT8"]) | JSON,
        "shape": st.lists(st.integers(-2, 4) | st.just(3), min_size=1, max_size=4) | JSON,
        "data": st.lists(st.integers(0, 255) | st.floats() | st.text(max_size=4), max_size=30) | JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 40) | JSON}) | JSON,
    },
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "inputs": st.lists(TENSORS, min_size=1, max_size=2) | JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.just("output") | JSON}), max_size=2) | JSON,
        "parameters": st.dictionaries(st.sampled_from(["scale", "format", "quality", "priority"]) | st.text(), JSON),
    },
)


def read_or_refused(body: bytes, header_length: str | None) -> None:
    try:
        request = parse(body, header_length)
    except Problem as problem:
        refusal = problem
    else:
        assert len(request.values) == request.shape[0]
        return
    assert 400 <= refusal.status < 500
    assert len(refusal.detail) < 1000
    json.loads(refusal.body())


@settings(deadline=None, max_examples=250)
@given(REQUESTS, st.binary(max_size=40))
def test_requests_of_any_content_are_read_or_refused(members: Any, tail: bytes) -> None:
    text = json.dumps(members).encode()
    read_or_refused(text + tail, str(len(text)))


SIX = {"name": "input", "datatype": "FP32", "shape": [1, 3, 2, 1], "parameters": {"binary_data_size": 24}}
TEXT = json.dumps(document(inputs=[SIX])).encode()
VALID, LENGTH = TEXT + ARRAYS["input"].tobytes()[:24], len(TEXT)


@settings(deadline=None, max_examples=250)
@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=4), st.integers(-5, 5))
def test_damaged_requests_are_read_or_refused(changes: list[tuple[int, int]], shift: int) -> None:
    body = bytearray(VALID)
    for at, value in changes:
        body[at] = value
    read_or_refused(bytes(body), str(LENGTH + shift))
    read_or_refused(bytes(body[:LENGTH]), None)
