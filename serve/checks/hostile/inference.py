"""Families of Open Inference Protocol requests whose tensors are not what they say."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Any

from checks.hostile.case import Case
from checks.hostile.files import honest
from checks.wire import post

TARGET = "/v2/models/photo-x2/infer"
TYPES = ("FP64", "UINT8", "INT128", "", None, 5)
NUMBERS = (0, -1, 2**31, 2**63, 2**64, 1.5, "3", None, True, [], 10**400)


def _tensor(**about: Any) -> dict[str, Any]:
    return {"name": "input", "datatype": "FP32", "shape": [1, 3, 2, 2], "data": [0.5] * 12} | about


def _case(name: str, document: Any, **about: Any) -> Case:
    return Case(name=f"infer/{name}", pieces=[post(TARGET, json.dumps(document).encode(), "application/json")], **about)


def documents(random: Random) -> Case:
    """JSON that asks for nothing, or for the impossible."""
    shape = [random.choice(NUMBERS) for _ in range(random.randrange(6))]
    data = base64.b64encode(honest()[0]).decode()
    image = {"name": "IMAGE", "datatype": "BYTES", "shape": [1]}
    kinds: Mapping[str, Any] = {
        "nothing": {}, "array": [], "text": "x", "null": None, "no inputs": {"inputs": []},
        "inputs are text": {"inputs": "x"},
        "shape": {"inputs": [_tensor(shape=shape)]},
        "shape lies": {"inputs": [_tensor(shape=[1, 3, random.choice([1, 3, 10**6]), 2])]},
        "data type": {"inputs": [_tensor(datatype=random.choice(TYPES), data=[300.5] * 12)]},
        "not numbers": {"inputs": [_tensor(data=["a"] * 12)]},
        "nested": {"inputs": [_tensor(data=[[[0.5]] * 3] * 4)]},
        "ragged": {"inputs": [_tensor(data=[[0.5, [1]], 2])]},
        "out of range": {"inputs": [_tensor(data=[random.choice([-1.0, 2.0, 1e308])] * 12)]},
        "too many inputs": {"inputs": [_tensor(name=f"input{index}") for index in range(1000)]},
        "same name": {"inputs": [_tensor(), _tensor()]},
        "other name": {"inputs": [_tensor(name=random.choice(["../x", "", "a" * 5000, "\0"]))]},
        "other output": {"inputs": [_tensor()], "outputs": [{"name": "../../etc/passwd"}]},
        "no picture": {"inputs": [image | {"data": ["bm90aGluZw=="]}]},
        "many pictures": {"inputs": [image | {"shape": [10**9], "data": [data]}]},
        "no base64": {"inputs": [image | {"data": ["%%%"]}]},
        "parameters": {"inputs": [_tensor()], "parameters": {"binary_data_output": "maybe", "scale": [1]}},
    }  # fmt: skip
    name = random.choice([*kinds])
    return _case(name, kinds[name], may_succeed=name in ("nested", "parameters", "out of range"))


def texts(random: Random) -> Case:
    """What JSON readers stumble over."""
    kinds: Mapping[str, bytes] = {
        "deep array": b"[" * 100_000, "deep object": b'{"a":' * 100_000, "cut off": b'{"inputs": [{"name": "in',
        "nan": json.dumps({"inputs": [_tensor(data=[float("nan")] * 12)]}).encode(),
        "long number": b'{"inputs": [{"name": "input", "datatype": "FP32", "data": [' + b"9" * 10_000 + b"]}]}",
        "not utf-8": b'{"inputs": "\xff\xfe"}', "surrogate": rb'{"inputs": [{"name": "\ud800"}]}', "zeros": bytes(1000),
        "utf-16": '{"inputs": []}'.encode("utf-16"), "same key": b'{"inputs": 1, "inputs": []}', "nothing": b"",
    }  # fmt: skip
    name = random.choice([*kinds])
    return Case(name=f"infer/{name}", pieces=[post(TARGET, kinds[name], "application/json")])


def binaries(random: Random) -> Case:
    """Binary tensors whose lengths lie."""
    size = random.choice([0, -1, 47, 49, 2**31, 2**64, "48", 1.5, None])
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 3, 2, 2], "parameters": {"binary_data_size": size}}
    document = json.dumps({"inputs": [tensor]}).encode()
    length = str(random.choice([len(document), 0, -1, 10**9, "NaN", "", len(document) + 1, len(document) - 1]))
    body = document + bytes(48)
    return Case(name="infer/binary", pieces=[post(TARGET, body, Inference_Header_Content_Length=length)])


def encoded(random: Random) -> Case:
    """Binary pictures whose own length lies, or that are damaged."""
    picture = bytearray(honest()[0])
    claimed = random.choice([0, len(picture) - 1, len(picture) + 1, 2**32 - 1, len(picture)])
    if claimed == len(picture):
        del picture[random.randrange(8, len(picture)) :]
        claimed = len(picture)
    content = struct.pack("<I", claimed) + picture
    tensor = {"name": "IMAGE", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(content)}}
    document = json.dumps({"inputs": [tensor]}).encode()
    return Case(
        name="infer/picture",
        pieces=[post(TARGET, document + content, Inference_Header_Content_Length=str(len(document)))],
    )


def compressed(random: Random) -> Case:
    """Compressed bodies that are damaged, or unpack to a hundred megabytes."""
    kinds: Mapping[str, Callable[[], bytes]] = {
        "bomb": lambda: gzip_zeros(10**8), "cut off": lambda: gzip_zeros(10**6)[:-9],
        "noise": lambda: random.randbytes(100),
        "twice": lambda: gzip.compress(gzip_zeros(10**6), mtime=0), "zeros": lambda: gzip_zeros(1000),
    }  # fmt: skip
    name = random.choice([*kinds])
    coding = random.choice(["gzip", "gzip", "deflate", "br", "gzip, gzip"])
    return Case(name=f"infer/compressed, {name}", pieces=[post(TARGET, kinds[name](), Content_Encoding=coding)])


@cache
def gzip_zeros(size: int) -> bytes:
    """So many zeros, about a thousandth of their length."""
    return gzip.compress(bytes(size), mtime=0)


def models(random: Random) -> Case:
    """Models that there are not."""
    name = random.choice(
        [
            "../x",
            "..%2f..%2fetc",
            "nothing",
            "photo-x2%00",
            "a" * 4096,
            "photo-x2/versions/999",
            "photo-x2/versions/..%2f",
        ]
    )
    return Case(name="infer/model", pieces=[post(f"/v2/models/{name}/infer", b"{}", "application/json")])


FAMILIES: Mapping[Callable[[Random], Case], int] = {
    documents: 8,
    texts: 4,
    binaries: 4,
    encoded: 3,
    models: 3,
    compressed: 2,
}
"""Each with its share of the requests."""
