"""A real service is killed in the middle of a job, and started again."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.serve.conftest import serving
from tests.serve.jobs.job_pictures import encoded


@pytest.mark.slow  # starts the service three times
def test_jobs_survive_the_service(tmp_path: Path) -> None:
    settings = {"model": "photo-x2", "workers": 1, "data_dir": tmp_path / "state"}
    # above a megapixel, and slow enough to be caught in the middle
    noise = np.random.default_rng(2).integers(0, 256, (1200, 1310, 3), np.uint8)
    picture, other = encoded(noise, ".jpg"), encoded(noise[:900], ".jpg")
    with serving(tmp_path, **settings) as served, httpx.Client(base_url=served.url, timeout=60) as http:
        expected = http.post("/v1/upscale", params={"format": "jpeg"}, content=picture).content
        job_id = http.post("/v1/jobs", content=picture).json()["id"]
        waiting_id = http.post("/v1/jobs", content=other).json()["id"]
        document = {"state": "waiting", "progress": 0.0}
        while document["progress"] == 0.0:
            document = http.get(f"/v1/jobs/{job_id}", params={"wait": 20}).json()
        assert document["state"] == "running"
        assert served.end(signal.SIGKILL) == -signal.SIGKILL
    with serving(tmp_path, **settings) as served, httpx.Client(base_url=served.url, timeout=60) as http:
        document = http.get(f"/v1/jobs/{job_id}").json()
        while document["progress"] in (0.0, 1.0):  # SIGTERM comes in the middle, too
            assert document["state"] in ("waiting", "running")
            document = http.get(f"/v1/jobs/{job_id}", params={"wait": 20}).json()
        assert served.end() == 0
    with serving(tmp_path, **settings) as served, httpx.Client(base_url=served.url, timeout=60) as http:
        for known in (job_id, waiting_id):
            document = {"state": "waiting"}
            while document["state"] in ("waiting", "running"):
                document = http.get(f"/v1/jobs/{known}", params={"wait": 20}).json()
            assert document["state"] == "done"
        assert http.get(f"/v1/jobs/{job_id}/result").content == expected
    assert [path.name for path in (tmp_path / "state" / "uploads").iterdir()] == []
    assert {path.name for path in (tmp_path / "state" / "results").iterdir()} == {job_id, waiting_id}
