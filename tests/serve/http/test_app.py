"""The application within this process: who may ask what, defects, and what it leaves behind."""

from __future__ import annotations

import asyncio
import base64
import errno
import logging
import re
import secrets
import threading
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI

from repsr_deploy.errors import RepsrError
from repsr_deploy.imaging.image_file import write_image
from repsr_serve.app import create_app
from repsr_serve.buffers import Buffer
from repsr_serve.http.auth import OPEN_PATHS
from repsr_serve.settings import Settings
from tests.serve.conftest import Client, ServiceClient

KEY = secrets.token_hex(20)
ROUTE = re.compile(r"\{[^}]*\}")


def every_request(app: FastAPI) -> list[tuple[str, str]]:
    """Method and address of everything that there is, and of something that is not."""
    described = [(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]
    hidden = [
        ("GET", "/"),
        ("GET", "/assets/app.js"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
        ("PUT", "/healthz"),
    ]
    return [(method, ROUTE.sub("x", path)) for method, path in (*described, *hidden)]


@pytest.mark.parametrize("jobs", [False, True])
def test_nothing_but_health_answers_without_a_key(tmp_path: Path, client: Client, *, jobs: bool) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# team\n{secrets.token_hex(20)}\n{KEY}\n")
    path.chmod(0o600)
    wrong = [
        {},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Digest {KEY}"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()},  # as the user, not the password
        {"X-API-Key": ""},
        {"X-API-Key": "# team"},
        {"Cookie": f"key={KEY}"},
    ]
    right = [
        {"Authorization": f"Bearer {KEY}"},
        {"X-API-Key": KEY},
        {"Authorization": "Basic " + base64.b64encode(f"anybody:{KEY}".encode()).decode()},
    ]

    async def scenario() -> None:
        async with client(model=("photo-x2",), api_key_file=path, jobs=jobs) as http:
            asked = every_request(http.app)
            assert len(asked) > 15
            for method, address in asked:
                is_open = address in OPEN_PATHS and method == "GET"
                for headers in wrong:
                    answer = await http.request(method, address, headers=headers)
                    assert (answer.status_code == 200) if is_open else (answer.status_code == 401), (method, address)
                    if not is_open:
                        assert answer.headers["www-authenticate"].startswith("Bearer")
                        assert answer.json()["type"] == "urn:repsr:problem:unauthorized"
                        assert KEY not in answer.text
                for headers in right:
                    assert (await http.request(method, address, headers=headers)).status_code not in (401, 403, 500)
                query = await http.request(method, address, params={"api_key": KEY, "key": KEY})
                assert is_open or query.status_code == 401

    asyncio.run(scenario())


def test_a_description_of_a_guarded_service_says_how_to_show_a_key(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(KEY)
    path.chmod(0o600)
    document = create_app(Settings(runtime="onnxruntime", api_key_file=path, data_dir=tmp_path / "data")).openapi()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header", "basic"}
    assert document["security"]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/upscale"]["post"]
    assert KEY not in str(document)


def test_a_key_file_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(RepsrError, match="No such file"):
        create_app(Settings(api_key_file=tmp_path / "none", data_dir=tmp_path / "data"))


def test_a_defect_is_answered_logged_and_counted(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with client(model=("photo-x2",), jobs=False) as http:

            @http.app.get("/defect")
            async def defect() -> None:  # pyright: ignore[reportUnusedFunction] - called by the application
                raise ZeroDivisionError("planted")

            with caplog.at_level(logging.ERROR):
                answer = await http.get("/defect")
            document = answer.json()
            assert (answer.status_code, document["type"]) == (500, "urn:repsr:problem:internal")
            assert document["request_id"] == answer.headers["x-request-id"]
            assert "planted" not in answer.text
            assert document["request_id"] in caplog.text
            assert "ZeroDivisionError: planted" in caplog.text
            metrics = (await http.get("/metrics")).text
            assert 'http_requests_total{method="GET",path="/defect",status="500"} 1.0' in metrics
            assert 'rejections_total{cause="internal"} 1.0' in metrics

    asyncio.run(scenario())


def test_a_request_is_one_line_of_the_log_without_its_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with ServiceClient(create_app(Settings(data_dir=tmp_path / "data"))) as http:
            await http.request("EVIL\x1b[31m", "/secret-path?key=secret", headers={"User-Agent": "secret"})
            await http.get("/healthz", headers={"X-Request-Id": "mine"})

    with caplog.at_level(logging.INFO, "repsr_serve"):
        asyncio.run(scenario())
    lines = [record.getMessage() for record in caplog.records if record.name == "repsr_serve.http.access"]
    assert len(lines) == 2
    assert re.fullmatch(r"127\.0\.0\.1 \? unknown 404 \d+ bytes \d+\.\d ms [0-9a-f]{32}", lines[0])
    assert re.fullmatch(r"127\.0\.0\.1 GET /healthz 200 15 bytes \d+\.\d ms mine", lines[1])


def test_memory_that_ends_while_a_body_is_received_is_no_defect(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Buffer, data: bytes) -> None:
        raise OSError(errno.ENOMEM, "planted")

    async def scenario() -> None:
        async with client(model=("photo-x2",), jobs=False) as http:
            with monkeypatch.context() as patch:
                patch.setattr(Buffer, "write", full)
                answer = await http.post("/v1/upscale", content=b"x")
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:repsr:problem:overloaded"
            assert answer.headers["retry-after"]
            admission = http.app.state.service.admission
            assert (admission.entered, admission.reserved_bytes) == (0, 0)

    asyncio.run(scenario())


def test_a_request_has_its_time(client: Client, tmp_path: Path) -> None:
    async def scenario() -> None:
        write_image(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8))
        async with client(model=("photo-x4",), jobs=False, timeout=0.15) as http:
            answer = await http.post("/v1/upscale", content=(tmp_path / "noise.png").read_bytes())
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:repsr:problem:too-late"
            assert "0.15 s" in answer.json()["detail"]

    asyncio.run(scenario())


def test_a_service_that_starts_answers_health_and_refuses_the_rest(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = Settings(
            runtime="onnxruntime", threads=1, workers=1, model=("photo-x2",), data_dir=tmp_path / "data"
        )
        app = create_app(settings)
        async with app.router.lifespan_context(app), ServiceClient(app) as http:
            assert (await http.get("/healthz")).status_code == 200
            for answer in (await http.get("/readyz"), await http.post("/v1/upscale", content=b"x")):
                assert answer.status_code == 503
                assert answer.json()["type"] == "urn:repsr:problem:starting"
                assert answer.headers["retry-after"]
            await app.state.started
            assert (await http.get("/readyz")).status_code == 200
            app.state.service.drain()
            assert (await http.get("/readyz")).json()["type"] == "urn:repsr:problem:stopping"
            assert (await http.get("/healthz")).status_code == 200

    asyncio.run(scenario())


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        app = create_app(Settings(model=("no-such-model",), data_dir=tmp_path / "data"))
        async with app.router.lifespan_context(app):
            with pytest.raises(RepsrError, match="no-such-model"):
                await app.state.started

    asyncio.run(scenario())
    assert threading.active_count() == 1


def test_a_lifespan_that_ends_early_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = Settings(
            runtime="onnxruntime", threads=1, workers=1, model=("photo-x2",), data_dir=tmp_path / "data"
        )
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0.05)

    def held() -> set[str]:
        links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        return {link for link in links if link.startswith(("/memfd", "socket", str(tmp_path)))}

    before = held()
    asyncio.run(scenario())
    assert [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()] == []
    assert held() <= before
