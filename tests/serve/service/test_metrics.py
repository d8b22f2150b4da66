"""What Prometheus is told after known work."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from repsr_serve.buffers import Buffer
from repsr_serve.metrics import Metrics
from repsr_serve.pictures import Order
from repsr_serve.service import Service
from tests.serve.service.running_service import file_of, noise, running_service, settings, until, value


def test_pictures_are_counted_by_model_stage_and_tile() -> None:
    async def serve() -> None:
        async with running_service(model=("photo-x2", "photo-x4"), tile=64, batch=4) as service:
            before = {name: value(service, "pixels_total", model=name) for name in service.models}
            assert all(value(service, "model_loaded", model=name) == 1 for name in service.models)
            tiles = value(service, "tiles_total", model="photo-x2")
            for height, width in ((64, 64), (100, 130), (20, 33)):
                with Buffer.of(file_of(noise(height, width))) as encoded:
                    result = await service.upscale(encoded, Order(model="photo-x2"), max_pixels=10**6)
                result.encoded.close()
            # sides of 64 with a halo of 6 leave 52: 1, 2 x 3 and 1 tiles
            assert value(service, "tiles_total", model="photo-x2") - tiles == 8
            pixels = value(service, "pixels_total", model="photo-x2") - before["photo-x2"]
            assert pixels == 64 * 64 * 7 + 20 * 33
            assert value(service, "pixels_total", model="photo-x4") == before["photo-x4"]
            for stage in ("wait", "decode", "upscale", "encode", "total"):
                assert value(service, "stage_seconds_count", stage=stage) == 3
            assert value(service, "stage_seconds_sum", stage="total") > value(
                service, "stage_seconds_sum", stage="encode"
            )
            batches = value(service, "batch_size_count", model="photo-x2")
            assert value(service, "batch_size_sum", model="photo-x2") == value(service, "tiles_total", model="photo-x2")
            assert value(service, "inference_duration_seconds_count", model="photo-x2") == batches
            fill = value(service, "batch_fill_ratio_sum", model="photo-x2")
            assert fill == value(service, "tiles_total", model="photo-x2") / 4
            await service.stop()
            assert value(service, "model_loaded", model="photo-x2") == 0

    asyncio.run(serve())


def children() -> set[int]:
    """Of the thread that asks."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def test_queues_memory_and_deaths() -> None:
    others = children()

    async def serve() -> None:
        async with running_service(memory=2**28, max_pixels=2_000_000, max_bytes=2**25) as service:
            assert value(service, "memory_budget_bytes") == 2**28 * 7 / 8
            async with service.admission.enter(7):
                assert value(service, "queue_depth", queue="requests", model="") == 1
                assert value(service, "uploads_reserved_bytes") == 7
            resident = value(service, "resident_bytes")
            assert resident > 50e6
            os.kill(min(children() - others), signal.SIGKILL)
            await until(lambda: value(service, "worker_deaths_total") == 1)
            assert value(service, "uptime_seconds") > 0
            assert value(service, "queue_depth", queue="tiles", model="photo-x2") == 0

    asyncio.run(serve())


def test_labels_are_bounded() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.request_done(method=f"BREW{number}", path="/v1/upscale", status=405, seconds=0.1)
    metrics.request_done(method="GET", path="/healthz", status=200, seconds=0.001)
    metrics.rejected("overloaded")
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    methods = {sample.labels["method"]: sample.value for sample in families["repsr_serve_http_requests"].samples}
    assert {method: count for method, count in methods.items() if count > 1} == {"other": 100}
    assert families["repsr_serve_rejections"].samples[0].labels == {"cause": "overloaded"}
    buckets = [
        float(sample.labels["le"])
        for sample in families["repsr_serve_request_duration_seconds"].samples
        if sample.name.endswith("_bucket") and sample.labels["path"] == "/healthz"
    ]
    assert buckets[0] == 0.001
    assert buckets[-2:] == [60, float("inf")]


def test_gauges_are_read_when_asked_for() -> None:
    metrics, states = Metrics(), {"waiting": 2.0}
    metrics.watch("jobs", "Jobs by state.", "state", lambda: states)
    metrics.watch("held", "Held.", None, lambda: {"": 5})
    metrics.watch_queue("jobs", lambda: int(states["waiting"]))
    states["done"] = 3
    read = metrics.registry.get_sample_value
    assert read("repsr_serve_jobs", {"state": "done"}) == 3
    assert read("repsr_serve_held") == 5
    assert read("repsr_serve_queue_depth", {"queue": "jobs", "model": ""}) == 2
    with pytest.raises(ValueError, match="Duplicated"):
        metrics.watch("jobs", "Again.", None, dict)


def test_services_do_not_share_metrics() -> None:
    first, second = Service(settings()), Service(settings())
    first.metrics.rejected("damaged")
    assert value(first, "rejections_total", cause="damaged") == 1
    assert second.metrics.registry.get_sample_value("repsr_serve_rejections_total", {"cause": "damaged"}) is None
