"""The service on a real Ray cluster on this machine: two replicas, one of them killed under load."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import skimage.data

from repsr_deploy.imaging.image_bytes import decode_image, encode_image
from repsr_deploy.imaging.upscaler import Upscaler

DEPLOY = Path(__file__).parents[3] / "serve" / "deploy"
PICTURE = skimage.data.chelsea()[40:168, 100:263]
pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and processes to be collected
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """URL of a cluster with two replicas for pictures and one for jobs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DEDUP_LOGS", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(DEPLOY), *filter(None, sys.path)]))
        patch.syspath_prepend(str(DEPLOY))
        import ray
        from ray import serve

        ray_app: Any = import_module("ray_app")

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            settings = {"model": ("photo-x2",), "runtime": "onnxruntime"}
            options = ray_app.Options(settings=settings, min_replicas=2, max_replicas=2)
            serve.run(ray_app.upscaling(options), name="upscaling", route_prefix="/")
            folder = tmp_path_factory.mktemp("jobs")
            options = ray_app.Options(settings={**settings, "data_dir": folder})
            serve.run(ray_app.jobs(options), name="jobs", route_prefix="/v1/jobs")
            yield f"http://127.0.0.1:{port}"
        finally:
            serve.shutdown()
            ray.shutdown()


@pytest.fixture(scope="module")
def encoded() -> bytes:
    return bytes(encode_image(PICTURE, "png"))


@pytest.fixture(scope="module")
def expected() -> Any:
    return Upscaler("photo-x2", runtime="onnxruntime").upscale(PICTURE)


def replicas() -> dict[int, str]:
    """Process numbers of the replicas for pictures."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if title.startswith("ray::ServeReplica:upscaling"):
                found[int(entry.name)] = title
    return found


def test_a_replica_is_killed_under_load(cluster: str, encoded: bytes, expected: Any) -> None:
    statuses, right, stop = Counter[int](), Counter[bool](), threading.Event()

    def ask_again_and_again() -> None:
        with httpx.Client(base_url=cluster, timeout=30) as client:
            while not stop.is_set():
                answer = client.post("/v1/upscale", content=encoded)
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    right[bool(np.array_equal(decode_image(answer.content).image_hwc, expected))] += 1

    threads = [threading.Thread(target=ask_again_and_again) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1)
        before = replicas()
        assert len(before) == 2
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(replicas().keys() - {victim}) < 2:
            assert time.monotonic() < deadline, "no new replica"
            time.sleep(0.2)
        time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(right) == {True}
    assert set(statuses) <= {200, 500, 502, 503}
    failed = statuses.total() - statuses[200]
    assert failed <= 8, f"two requests a client may be lost with a replica: {statuses}"
    assert statuses[200] > 10


def test_jobs_have_a_replica_of_their_own(cluster: str, encoded: bytes, expected: Any) -> None:
    with httpx.Client(base_url=cluster, timeout=30) as client:
        made = client.post("/v1/jobs", content=encoded, params={"format": "png"})
        assert made.status_code == 202, made.text
        place = made.headers["Location"]
        state = client.get(place, params={"wait": 10}).json()
        while state["state"] in ("waiting", "running"):
            state = client.get(place, params={"wait": 10}).json()
        assert state["state"] == "done", state
        result = client.get(state["result"])
        np.testing.assert_array_equal(decode_image(result.content).image_hwc, expected)
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/models").json()
