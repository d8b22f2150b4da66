"""The protocol over HTTP: what is refused, and how; what a request may take; what is left when it is given up."""

from __future__ import annotations

import asyncio
import gc
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from repsr_deploy.imaging.upscaler import Upscaler
from repsr_serve.app import create_app
from repsr_serve.problems import MEDIA_TYPE
from repsr_serve.service import Service
from repsr_serve.settings import Settings
from tests.serve.conftest import running

RANDOM = np.random.default_rng(11)
INFER = "/v2/models/photo-x2/infer"
Talk = Callable[[httpx.AsyncClient, Service], Coroutine[Any, Any, None]]


def talk(folder: Path, conversation: Talk, **limits: Any) -> None:
    """Have a conversation with a service in this process."""
    settings = Settings(
        model=("photo-x2",), runtime="onnxruntime", threads=1, workers=1, data_dir=folder / "data", **limits
    )

    async def open_and_talk() -> None:
        app = create_app(settings)
        async with running(app) as http:
            await conversation(http, app.state.service)

    asyncio.run(open_and_talk())


def image(height: int = 19, width: int = 23) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (height, width, 3), np.uint8)


def png(image_hwc: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", image_hwc[:, :, ::-1])[1].tobytes()


def picture(data: bytes) -> NDArray[Any]:
    image_hwc = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image_hwc is not None
    return image_hwc


def files_in_json(*files: bytes, **members: Any) -> dict[str, Any]:
    data = [b64encode(file).decode() for file in files]
    return {"inputs": [{"name": "IMAGE", "datatype": "BYTES", "shape": [len(files)], "data": data}], **members}


def files_as_binary(*files: bytes, **members: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers."""
    data = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    tensor = {"name": "IMAGE", "datatype": "BYTES", "shape": [len(files)]}
    text = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(data)}}], **members}).encode()
    return text + data, {"Inference-Header-Content-Length": str(len(text))}


def check_refused(answer: httpx.Response, status: int, cause: str, said: str) -> dict[str, Any]:
    document = answer.json()
    assert answer.status_code == status, document
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    assert document["type"] == f"urn:repsr:problem:{cause}"
    assert document["error"] == document["detail"]
    assert said in document["detail"]
    return document


def test_pictures_in_json_come_back_in_json(tmp_path: Path) -> None:
    images = [image(), image(31, 8)]

    async def conversation(http: httpx.AsyncClient, service: Service) -> None:
        answer = await http.post(INFER, json=files_in_json(*map(png, images), id="x", parameters={"scale": 3}))
        document = answer.json()
        assert (answer.status_code, document["id"], document["model_name"]) == (200, "x", "photo-x2")
        upscaler = Upscaler("photo-x2", runtime="onnxruntime", threads=1)
        for text, source in zip(document["outputs"][0]["data"], images, strict=True):
            np.testing.assert_array_equal(picture(b64decode(text)), upscaler.upscale(source, factor=3))

    talk(tmp_path, conversation)


def test_refusals_say_why_where_clients_look(tmp_path: Path) -> None:
    pixels = {"name": "pixels", "datatype": "UINT8", "shape": [2, 40, 40, 3], "data": [7] * 9600}

    async def conversation(http: httpx.AsyncClient, service: Service) -> None:
        small, large = png(image(30, 30)), png(image(41, 41))
        check_refused(await http.post(INFER, content=b"{"), 400, "bad-request", "is no JSON")
        check_refused(await http.post(INFER), 400, "bad-request", "is no JSON")
        check_refused(await http.post(INFER, json={"inputs": []}), 422, "parameters", "expected one of IMAGE")
        check_refused(await http.post(INFER, json={"inputs": [pixels]}), 413, "too-many-pixels", "at most 1600")
        check_refused(await http.post(INFER, json=files_in_json(large)), 413, "too-many-pixels", "at most 1600")
        document = check_refused(
            await http.post(INFER, json=files_in_json(small, large)), 413, "too-many-pixels", "at most 1600"
        )
        assert document["index"] == 1
        check_refused(await http.post(INFER, json=files_in_json(small, small)), 413, "too-many-pixels", "together")
        check_refused(await http.post(INFER, json=files_in_json(b"no picture")), 415, "unknown-format", "")
        check_refused(await http.post(INFER, json=files_in_json(small[:-30])), 422, "damaged", "")
        check_refused(
            await http.post(INFER, json=files_in_json(small, parameters={"scale": 5})), 422, "parameters", "at most 4"
        )
        check_refused(await http.post(INFER, content=b" " * 30_001), 413, "too-many-bytes", "30000")
        body, headers = files_as_binary(small)
        headers["Content-Encoding"] = "gzip"
        check_refused(await http.post(INFER, content=body, headers=headers), 415, "unknown-format", "gzip")
        for path in ("", "/ready", "/config", "/versions/1"):
            check_refused(await http.get(f"/v2/models/nothing{path}"), 404, "not-found", "photo-x2")
        check_refused(await http.get("/v2/models/photo-x2/versions/2"), 404, "not-found", "no version '2'")
        check_refused(await http.post("/v2/models/photo-x2/versions/7/infer"), 404, "not-found", "no version '7'")
        assert (await http.post(INFER, json=files_in_json(small))).status_code == 200

    talk(tmp_path, conversation, max_pixels=1600, max_bytes=30_000, max_factor=4)


def test_nothing_is_left_of_requests_that_failed_or_were_given_up(tmp_path: Path) -> None:
    def buffers() -> int:
        """That are open in this process."""
        links = [Path("/proc/self/fd", str(number)) for number in range(1024)]
        return sum("memfd" in str(link.readlink()) for link in links if link.is_symlink())

    async def conversation(http: httpx.AsyncClient, service: Service) -> None:
        body, headers = files_as_binary(*[png(image(200, 200))] * 10, b"no picture")
        before = buffers()
        check_refused(await http.post(INFER, content=body, headers=headers), 415, "unknown-format", "")
        asked = asyncio.create_task(http.post(INFER, content=body, headers=headers))
        while not service.admission.entered:
            await asyncio.sleep(0.001)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        async with asyncio.timeout(20):
            while service.admission.entered or service.admission.reserved_bytes or buffers() > before:
                await asyncio.sleep(0.05)
                gc.collect()  # tracebacks hold frames that hold themselves
        assert (await http.post(INFER, json=files_in_json(png(image())))).status_code == 200

    talk(tmp_path, conversation)


def test_a_server_that_stops_is_not_ready(tmp_path: Path) -> None:
    async def conversation(http: httpx.AsyncClient, service: Service) -> None:
        assert (await http.get("/v2/health/ready")).json() == {"ready": True}
        service.drain()
        check_refused(await http.get("/v2/health/ready"), 503, "stopping", "")
        check_refused(await http.post(INFER, json=files_in_json(b"")), 503, "stopping", "")
        assert (await http.get("/v2/health/live")).json() == {"live": True}

    talk(tmp_path, conversation)
