"""`/v1/jobs` against a real server."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import skimage.data

from repsr_serve.jobs.job import new_id
from tests.serve.jobs.job_pictures import encoded, png_header

PATH = "/v1/jobs"
LARGE = (2400, 2100)


@pytest.fixture(scope="module")
def http(served: str) -> Generator[httpx.Client]:
    """A client of the server."""
    with httpx.Client(base_url=served, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """A part of a photograph, of odd size."""
    return encoded(skimage.data.coffee()[101:238, 90:271], ".png")


def done(http: httpx.Client, job_id: str) -> dict[str, Any]:
    """The document of a job that is waited for."""
    document: dict[str, Any] = {"state": "waiting"}
    while document["state"] in ("waiting", "running"):
        document = http.get(f"{PATH}/{job_id}", params={"wait": 20}).json()
    return document


def cause(answer: httpx.Response) -> str:
    """Of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    return document["type"].removeprefix("urn:repsr:problem:")


@pytest.mark.parametrize(
    "query", [{}, {"model": "photo-x4"}, {"scale": "1.5", "format": "jpeg", "quality": "31"}, {"format": "webp"}]
)
def test_a_result_is_what_a_request_is_answered(http: httpx.Client, photograph: bytes, query: dict[str, str]) -> None:
    expected = http.post("/v1/upscale", params=query, content=photograph)
    before = datetime.now(UTC)
    accepted = http.post(PATH, params=query, content=photograph)
    assert accepted.status_code == 202
    job = accepted.json()
    assert accepted.headers["location"] == f"{PATH}/{job['id']}"
    assert int(accepted.headers["retry-after"]) > 0
    assert (job["state"], job["position"], job["result"]) in (("waiting", 1, None), ("running", None, None))
    after = done(http, job["id"])
    assert (after["state"], after["progress"], after["position"], after["error"]) == ("done", 1.0, None, None)
    result = http.get(after["result"])
    assert result.content == expected.content
    assert result.headers["content-type"] == expected.headers["content-type"]
    assert int(result.headers["content-length"]) == after["bytes"] == len(expected.content)
    name = result.headers["content-disposition"]
    assert re.fullmatch(r'attachment; filename="upscaled-[0-9a-f]{8}\.(png|jpg|webp)"', name)
    assert f"{after['width']}x{after['height']}" == expected.headers["x-repsr-size"]
    assert (after["model"], f"{after['scale']:g}") == (
        expected.headers["x-repsr-model"],
        expected.headers["x-repsr-scale"],
    )
    assert after["source"] == {"width": 181, "height": 137}
    times = [datetime.fromisoformat(after[name]) for name in ("created", "started", "finished", "expires")]
    assert times == sorted(times)
    assert all(after[name].endswith("Z") for name in ("created", "started", "finished", "expires"))
    assert before - timedelta(seconds=1) < times[0] < times[2] < datetime.now(UTC) + timedelta(seconds=1)


def test_parameters_of_a_form(http: httpx.Client, photograph: bytes) -> None:
    form: dict[str, Any] = {
        "files": {"image": ("../../etc/passwd", photograph)},
        "data": {"format": "jpeg", "scale": "2"},
    }
    accepted = http.post(PATH, **form)
    assert (accepted.status_code, accepted.json()["format"]) == (202, "jpeg")
    result = http.get(done(http, accepted.json()["id"])["result"])
    assert result.content == http.post("/v1/upscale", **form).content


def test_parts_of_a_result(http: httpx.Client, photograph: bytes) -> None:
    job = done(http, http.post(PATH, content=photograph).json()["id"])
    whole = http.get(job["result"])
    size = len(whole.content)
    tag = whole.headers["etag"]
    parts = {
        "0-0": slice(0, 1), "7-99": slice(7, 100), f"{size - 5}-": slice(-5, None), "-11": slice(-11, None),
        f"3-{size * 9}": slice(3, None), f"-{size * 9}": slice(None),
    }  # fmt: skip
    for asked, part in parts.items():
        answer = http.get(job["result"], headers={"Range": f"bytes={asked}", "If-Range": tag})
        assert answer.status_code == 206
        assert answer.content == whole.content[part]
        first, last, length = map(int, re.findall(r"\d+", answer.headers["content-range"]))
        assert (first, last, length) == (range(size)[part][0], range(size)[part][-1], size)
    for asked in ("bytes=0-1,4-5", "bytes=5-2", "pixels=0-1", "bytes=-", "bytes=a-b", f"bytes={'9' * 30}-"):
        answer = http.get(job["result"], headers={"Range": asked})
        assert (answer.status_code, answer.content) == (200, whole.content)
    answer = http.get(job["result"], headers={"Range": "bytes=0-1", "If-Range": '"of another file"'})
    assert (answer.status_code, answer.content) == (200, whole.content)
    for asked in (f"{size}-", "-0"):
        assert cause(http.get(job["result"], headers={"Range": f"bytes={asked}"})) == "range"


def test_delete_when_done(http: httpx.Client, photograph: bytes) -> None:
    job = done(http, http.post(PATH, content=photograph).json()["id"])
    assert http.get(job["result"]).status_code == 200
    assert http.delete(f"{PATH}/{job['id']}").status_code == 204
    for answer in (http.get(f"{PATH}/{job['id']}"), http.get(job["result"]), http.delete(f"{PATH}/{job['id']}")):
        assert (answer.status_code, cause(answer)) == (410, "gone")


def test_a_large_picture_in_the_background(http: httpx.Client, photograph: bytes) -> None:
    """Its progress is told as it comes; small pictures pass it; cancelling stops it at once."""
    noise = np.random.default_rng(1).integers(0, 256, (LARGE[0] // 8, LARGE[1] // 8, 3), np.uint8)
    picture = encoded(cv2.resize(noise, LARGE[::-1], interpolation=cv2.INTER_CUBIC), ".jpg")
    running, waiting = (http.post(PATH, params={"model": "photo-x4"}, content=picture).json()["id"] for _ in range(2))
    seen: list[float] = []
    while len(set(seen)) < 3:
        started = time.monotonic()
        document = http.get(f"{PATH}/{running}", params={"wait": 15}).json()
        assert time.monotonic() - started < 10  # told by the change, not by the end of the wait
        assert document["state"] in ("waiting", "running")
        seen.append(document["progress"])
    assert seen == sorted(seen)
    unfinished = http.get(f"{PATH}/{running}/result")
    assert (unfinished.status_code, cause(unfinished)) == (409, "not-finished")
    assert "retry-after" in unfinished.headers
    assert http.get(f"{PATH}/{waiting}").json()["position"] == 1
    assert done(http, http.post(PATH, content=photograph).json()["id"])["state"] == "done"
    assert http.get(f"{PATH}/{waiting}").json()["state"] == "waiting"
    for job_id in (waiting, running):
        assert http.delete(f"{PATH}/{job_id}").status_code == 204
        document = http.get(f"{PATH}/{job_id}").json()
        assert (document["state"], document["position"], document["result"]) == ("cancelled", None, None)
        assert http.delete(f"{PATH}/{job_id}").status_code == 204
        assert cause(http.get(f"{PATH}/{job_id}/result")) == "gone"
    metrics = http.get("/metrics").text
    assert 'repsr_serve_jobs{state="running"} 0.0' in metrics
    assert 'repsr_serve_jobs{state="waiting"} 0.0' in metrics


@pytest.mark.parametrize(
    ("content", "query", "expected"),
    [
        (b"no picture", {}, (415, "unknown-format")),
        (png_header(30_000, 30_000), {}, (413, "too-many-pixels")),
        (encoded(np.zeros((9, 9, 3), np.uint8), ".png")[:-20], {}, (422, "damaged")),
        (encoded(np.zeros((9, 9, 3), np.uint8), ".png"), {"scale": "99"}, (422, "parameters")),
        (encoded(np.zeros((9, 9, 3), np.uint8), ".png"), {"model": "none"}, (404, "not-found")),
        (encoded(np.zeros((9, 9, 3), np.uint8), ".png"), {"wait": "1"}, (422, "parameters")),
        (b"", {}, (422, "parameters")),
    ],
)  # fmt: skip
def test_nonsense_is_refused_at_once(
    http: httpx.Client, content: bytes, query: dict[str, str], expected: tuple[int, str]
) -> None:
    answer = http.post(PATH, params=query, content=content)
    assert (answer.status_code, cause(answer)) == expected


@pytest.mark.parametrize(
    "name",
    [
        "0" * 32, new_id(), "A" * 32, "a" * 31, "a" * 33, "..", "%2e%2e", "..%2f..%2fjobs.sqlite", "jobs.sqlite", "%00",
        "a" * 32 + "%0a", "' OR 1=1 --", "%ff%fe", "x" * 5000, "uploads%2F" + "a" * 32,
    ],
)  # fmt: skip
def test_ids_that_are_none(http: httpx.Client, name: str) -> None:
    for method, path in (("GET", name), ("GET", f"{name}/result"), ("DELETE", name)):
        answer = http.request(method, f"{PATH}/{name.replace(' ', '%20')}" + path.removeprefix(name))
        assert (answer.status_code, cause(answer)) == (404, "not-found")


@pytest.mark.parametrize("wait", ["-1", "20.5", "nan", "inf", "soon", ""])
def test_waits_that_are_none(http: httpx.Client, wait: str) -> None:
    assert cause(http.get(f"{PATH}/{new_id()}", params={"wait": wait})) == "parameters"


def test_there_is_no_list(http: httpx.Client) -> None:
    answer = http.get(PATH)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
