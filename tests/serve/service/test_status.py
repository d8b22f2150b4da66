"""Models, health, readiness and metrics over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import onnx
from prometheus_client.parser import text_string_to_metric_families

from repsr_serve.app import create_app
from repsr_serve.problems import MEDIA_TYPE
from repsr_serve.service import Service
from tests.runtimes.models import plain_model, spec_of
from tests.serve.conftest import running
from tests.serve.service.running_service import settings


def test_what_a_service_says_of_itself(tmp_path: Path) -> None:
    onnx.save(plain_model(spec_of(3, 1, 4, "y")), tmp_path / "luma.onnx")
    app = create_app(
        settings(model=("photo-x2", str(tmp_path / "luma.onnx")), workers=1, data_dir=tmp_path, max_pixels=1_234_567)
    )
    service: Service = app.state.service

    async def talk() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://repsr") as early:
            assert (await early.get("/healthz")).json() == {"status": "ok"}
            for path in ("/readyz", "/v1/models"):
                refused(await early.get(path), "starting")
        async with running(app) as http:
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()) == (200, {"status": "ok"})
            assert ready.headers["cache-control"] == "no-store"
            described = (await http.get("/v1/models")).json()
            assert described["limits"] == {
                "max_bytes": 2**26, "max_pixels": 1_234_567, "max_job_pixels": 100_000_000, "max_factor": 8.0,
                "formats": ["png", "jpeg", "webp"],
            }  # fmt: skip
            photo, luma = described["models"]
            assert photo == {
                "name": "photo-x2", "network": "Plain-M4C16", "scale": 2, "halo": 6, "colour": "rgb",
                "precision": "fp32", "runtime": "onnxruntime", "io": "float", "limits": None,
                "licence": service.models["photo-x2"].info.data_licence,
            }  # fmt: skip
            assert "CC0" in photo["licence"]
            assert (luma["name"], luma["colour"], luma["scale"], luma["licence"]) == ("luma", "y", 3, "")
            metrics = await http.get("/metrics")
            assert metrics.headers["content-type"].startswith("text/plain; version=")
            families = {family.name for family in text_string_to_metric_families(metrics.text)}
            assert {"repsr_serve_http_requests", "repsr_serve_model_loaded", "repsr_serve_resident_bytes"} <= families
            described_by_openapi((await http.get("/openapi.json")).json())
            service.drain()
            refused(await http.get("/readyz"), "stopping")
            assert (await http.get("/healthz")).status_code == 200
            assert (await http.get("/v1/models")).status_code == 200

    asyncio.run(talk())


def refused(answer: httpx.Response, cause: str) -> None:
    assert answer.status_code == 503
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["type"].endswith(f":{cause}")
    assert int(answer.headers["retry-after"]) >= 1


def described_by_openapi(openapi: dict[str, Any]) -> None:
    for path in ("/v1/models", "/healthz", "/readyz", "/metrics"):
        assert openapi["paths"][path]["get"]["summary"]
    fields = openapi["components"]["schemas"]["Model"]["properties"]
    assert all(field["examples"] for field in fields.values())
