"""`POST /v1/upscale`, against a real server: the same pixels as the upscaler's, by every way in and out."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import skimage.data

from repsr_deploy.imaging.image_file import read_image, write_image
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.upscaler import Upscaler

PATH = "/v1/upscale"
PNG = "image/png"


@dataclass(frozen=True)
class Photograph:
    """A source, and what must be made of it."""

    file: bytes
    image_hwc: Image
    large_hwc: Image


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Photograph:
    """A part of a photograph, of odd size, enlarged by the upscaler itself."""
    image_hwc = skimage.data.coffee()[101:258, 90:321]
    path = tmp_path_factory.mktemp("photograph") / "photograph.png"
    write_image(path, image_hwc)
    large_hwc = Upscaler("photo-x2", runtime="onnxruntime").upscale(image_hwc)
    return Photograph(path.read_bytes(), image_hwc, large_hwc)


@pytest.fixture(scope="module")
def http(served: str) -> Generator[httpx.Client]:
    """A client of the server."""
    with httpx.Client(base_url=served, timeout=60) as client:
        yield client


def decoded(folder: Path, content: bytes) -> Image:
    """A picture's pixels."""
    path = folder / "answer"
    path.write_bytes(content)
    return read_image(path)


def cause(answer: httpx.Response) -> str:
    """Of a problem document, which must be a whole one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document: dict[str, Any] = answer.json()
    assert document["status"] == answer.status_code
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["detail"].endswith(".")
    return document["type"].removeprefix("urn:repsr:problem:")


def test_raw_form_and_json_give_the_upscalers_pixels(
    http: httpx.Client, photograph: Photograph, tmp_path: Path
) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(photograph.file), 777):
            yield photograph.file[start : start + 777]

    raw = http.post(PATH, content=photograph.file, headers={"Content-Type": "text/plain"})
    chunked = http.post(PATH, content=pieces())
    form = http.post(PATH, files={"image": ("../../photo.exe", photograph.file, "text/html")}, data={"scale": "2"})
    document = http.post(PATH, content=photograph.file, headers={"Accept": "application/json"})
    for answer in (raw, chunked, form):
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == PNG
        assert int(answer.headers["content-length"]) == len(answer.content)
        np.testing.assert_array_equal(decoded(tmp_path, answer.content), photograph.large_hwc)
    assert document.headers["content-type"] == "application/json"
    assert int(document.headers["content-length"]) == len(document.content)
    np.testing.assert_array_equal(decoded(tmp_path, base64.b64decode(document.json()["image"])), photograph.large_hwc)


def test_the_answer_says_how_it_was_made(http: httpx.Client, photograph: Photograph) -> None:
    height, width = photograph.image_hwc.shape[:2]
    answer = http.post(PATH, content=photograph.file, headers={"Accept": "application/json", "X-Request-Id": "mine-7"})
    headers, document = answer.headers, answer.json()
    assert headers["x-repsr-model"] == document["model"] == "photo-x2"
    assert (headers["x-repsr-scale"], document["scale"]) == ("2", 2)
    assert headers["x-repsr-size"] == f"{2 * width}x{2 * height}"
    assert (document["width"], document["height"]) == (2 * width, 2 * height)
    assert document["source"] == {"width": width, "height": height}
    assert (document["format"], document["media_type"]) == ("png", PNG)
    assert headers["x-request-id"] == "mine-7"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    stages = [part.split(";dur=") for part in headers["server-timing"].split(", ")]
    assert [stage for stage, _ in stages] == ["read", "wait", "decode", "upscale", "encode", "total"]
    assert list(document["timings_ms"]) == [stage for stage, _ in stages]
    *parts, total = (float(milliseconds) for _, milliseconds in stages)
    assert min(parts) >= 0
    assert sum(parts) <= total + 1


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>", "ä"])
def test_a_request_id_that_is_not_harmless_is_replaced(http: httpx.Client, given: str) -> None:
    answer = http.get("/healthz", headers={b"X-Request-Id": given.encode()})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("", "image/webp", "image/webp"),
        ("", "image/jpeg, image/png;q=0.5", "image/jpeg"),
        ("", "*/*", PNG),
        ("format=webp", "image/png", "image/webp"),
        ("format=jpeg&quality=60", "*/*", "image/jpeg"),
    ],
)
def test_the_format_is_the_one_asked_for(
    http: httpx.Client, photograph: Photograph, tmp_path: Path, query: str, accept: str, expected: str
) -> None:
    answer = http.post(f"{PATH}?{query}", content=photograph.file, headers={"Accept": accept})
    assert answer.headers["content-type"] == expected
    magic = {PNG: b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "image/webp": b"RIFF"}[expected]
    assert answer.content.startswith(magic)
    made = decoded(tmp_path, answer.content).astype(float)
    assert np.abs(made - photograph.large_hwc).mean() < 5


def test_quality_is_that_of_the_file(http: httpx.Client, photograph: Photograph) -> None:
    sizes = [
        len(http.post(f"{PATH}?format=jpeg&quality={quality}", content=photograph.file).content)
        for quality in (10, 50, 95)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("form", [False, True])
def test_model_and_scale_choose(http: httpx.Client, photograph: Photograph, tmp_path: Path, *, form: bool) -> None:
    small_hwc = photograph.image_hwc[:40, :50]
    write_image(tmp_path / "small.png", small_hwc)
    source = (tmp_path / "small.png").read_bytes()
    for asked, model, factor in (
        ({"scale": "3"}, "photo-x4", 3.0),
        ({"scale": "1.5"}, "photo-x2", 1.5),
        ({"model": "photo-x4"}, "photo-x4", 4.0),
        ({"model": "photo-x2", "scale": "4"}, "photo-x2", 4.0),
    ):
        if form:
            answer = http.post(PATH, data=asked, files={"image": source})
        else:
            answer = http.post(PATH, params=asked, content=source)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-repsr-model"] == model
        expected = Upscaler(model, runtime="onnxruntime").upscale(small_hwc, factor=factor)
        np.testing.assert_array_equal(decoded(tmp_path, answer.content), expected)


@pytest.mark.parametrize("channels", [None, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_alpha_and_16_bits_come_back(
    http: httpx.Client, tmp_path: Path, channels: int | None, dtype: type[np.unsignedinteger[Any]]
) -> None:
    rng = np.random.default_rng(channels)
    shape = (23, 31) if channels is None else (23, 31, channels)
    image_hwc = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    write_image(tmp_path / "source.png", image_hwc)
    answer = http.post(PATH, content=(tmp_path / "source.png").read_bytes())
    made = decoded(tmp_path, answer.content)
    expected = Upscaler("photo-x2", runtime="onnxruntime").upscale(read_image(tmp_path / "source.png"))
    assert made.dtype == expected.dtype == dtype
    np.testing.assert_array_equal(made, expected)


def picture(folder: Path, width: int = 8, height: int = 8) -> bytes:
    """A small PNG."""
    write_image(folder / "picture.png", np.zeros((height, width, 3), np.uint8))
    return (folder / "picture.png").read_bytes()


@pytest.mark.parametrize(
    ("query", "status", "expected", "said"),
    [
        ("scale=abc", 422, "parameters", "scale is 'abc'; expected a valid number"),
        ("scale=nan", 422, "parameters", "scale is 'nan'"),
        ("scale=inf", 422, "parameters", "scale is 'inf'"),
        ("scale=0", 422, "parameters", "greater than 0"),
        ("scale=-2", 422, "parameters", "greater than 0"),
        ("scale=17", 422, "parameters", "less than or equal to 16"),
        ("scale=9", 422, "parameters", "at most 8"),
        ("scale=2&scale=3", 422, "parameters", "'scale' is given twice"),
        ("sclae=2", 422, "parameters", "sclae is unknown; expected model, scale, format, quality"),
        ("quality=0&scale=x", 422, "parameters", "quality is '0'"),
        ("quality=2.5", 422, "parameters", "quality is '2.5'"),
        ("quality=1_0&scale=1_5e-1", 422, "parameters", "quality is '1_0'; expected a number in decimal digits"),
        ("format=gif", 422, "parameters", "expected 'png', 'jpeg' or 'webp'"),
        ("format=", 422, "parameters", "format is ''"),
        ("model=nope", 404, "not-found", "photo-x2, photo-x4"),
        ("model=../../etc/passwd", 404, "not-found", "photo-x2, photo-x4"),
        ("model=" + "x" * 5000, 422, "parameters", "..."),
        ("%00=%0a", 422, "parameters", r"'\x00' is unknown"),
    ],
)
def test_wrong_parameters_are_named(
    http: httpx.Client, tmp_path: Path, query: str, status: int, expected: str, said: str
) -> None:
    answer = http.post(f"{PATH}?{query}", content=picture(tmp_path))
    assert (answer.status_code, cause(answer)) == (status, expected)
    assert said in answer.json()["detail"]
    assert len(answer.content) < 2000


def test_a_parameter_in_query_and_form_is_refused(http: httpx.Client, tmp_path: Path) -> None:
    answer = http.post(f"{PATH}?scale=2", data={"scale": "2"}, files={"image": picture(tmp_path)})
    assert cause(answer) == "parameters"


def test_every_wrong_parameter_is_listed(http: httpx.Client, tmp_path: Path) -> None:
    answer = http.post(f"{PATH}?scale=x&quality=101&colour=red", content=picture(tmp_path))
    assert {error["name"] for error in answer.json()["errors"]} == {"scale", "quality", "colour"}


def test_bodies_that_are_no_picture_are_refused(http: httpx.Client, photograph: Photograph, tmp_path: Path) -> None:
    file = photograph.file
    flipped = file[:5000] + bytes([file[5000] ^ 0xFF]) + file[5001:]
    for body, status, expected in (
        (b"GIF89a" + bytes(100), 415, "unknown-format"),
        (b"just text", 415, "unknown-format"),
        (file[: len(file) // 2], 422, "damaged"),
        (flipped, 422, "damaged"),
        (b"", 422, "parameters"),
        (picture(tmp_path, 4001, 4000), 413, "too-many-pixels"),
    ):
        answer = http.post(PATH, content=body, headers={"Content-Type": PNG})
        assert (answer.status_code, cause(answer)) == (status, expected)


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({"Accept": "image/gif"}, 406, "not-acceptable"),
        ({"Content-Encoding": "gzip"}, 415, "unknown-format"),
        ({"Content-Type": "multipart/form-data"}, 400, "bad-request"),
    ],
)
def test_what_headers_make_impossible_is_said(
    http: httpx.Client, tmp_path: Path, headers: dict[str, str], status: int, expected: str
) -> None:
    answer = http.post(PATH, content=picture(tmp_path), headers=headers)
    assert (answer.status_code, cause(answer)) == (status, expected)


def test_addresses_and_methods_that_there_are_not(http: httpx.Client) -> None:
    nowhere = http.get("/v1/" + "x" * 3000)
    assert (nowhere.status_code, cause(nowhere)) == (404, "not-found")
    assert len(nowhere.content) < 600
    other = http.get(PATH)
    assert (other.status_code, cause(other), other.headers["allow"]) == (405, "method-not-allowed", "POST")
    assert cause(http.get("/docs")) == "not-found"
    assert cause(http.post(f"{PATH}/", content=b"")) == "not-found"


def test_pages_of_other_sites_are_refused_except_to_open_the_page(http: httpx.Client, tmp_path: Path) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    answer = http.post(PATH, content=picture(tmp_path), headers=foreign)
    assert (answer.status_code, cause(answer)) == (403, "forbidden")
    assert http.get("/v1/models", headers=foreign).status_code == 403
    assert http.get("/", headers=foreign).status_code == 200
    assert http.post(PATH, content=picture(tmp_path), headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_refusals_do_not_end_the_connection(http: httpx.Client, photograph: Photograph) -> None:
    with httpx.Client(base_url=str(http.base_url), limits=httpx.Limits(max_connections=1)) as one:
        used: set[object] = set()
        for body in (photograph.file, b"no picture", photograph.file):
            answer = one.post(PATH, content=body)
            used.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            assert "connection" not in answer.headers
        assert len(used) == 1


def test_metrics_know_addresses_by_their_templates(http: httpx.Client) -> None:
    http.get("/v2/models/photo-x2/ready")
    http.get("/no-such-address-1234")
    text = http.get("/metrics").text
    assert 'path="/v2/models/{model}/ready",status="200"' in text
    assert 'path="unknown",status="404"' in text
    assert "no-such-address" not in text
    assert 'rejections_total{cause="not-found"}' in text


def test_openapi_describes_requests_and_refusals(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    operation = document["paths"][PATH]["post"]
    assert set(operation["requestBody"]["content"]) == {PNG, "image/jpeg", "image/webp", "multipart/form-data"}
    assert [parameter["name"] for parameter in operation["parameters"]] == ["model", "scale", "format", "quality"]
    assert "example" in operation["responses"]["200"]["content"]["application/json"]
    for operations in document["paths"].values():
        for each in operations.values():
            for status, answer in each["responses"].items():
                assert int(status) < 400 or list(answer["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in json.dumps(document)
    assert "securitySchemes" not in document["components"]
