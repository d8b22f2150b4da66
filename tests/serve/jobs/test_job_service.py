"""Jobs in this process: bounds, time, starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from repsr_deploy.errors import RepsrError
from repsr_serve.app import create_app
from repsr_serve.buffers import Buffer
from repsr_serve.jobs import JobService, watch
from repsr_serve.jobs import runner as runner_module
from repsr_serve.jobs import service as service_module
from repsr_serve.pictures import Order, Progress, Result
from repsr_serve.plan import Plan
from repsr_serve.problems import Problem
from repsr_serve.service import Service
from repsr_serve.settings import Settings
from tests.serve.conftest import Client, running
from tests.serve.jobs.job_maker import Clock, files
from tests.serve.jobs.job_pictures import encoded

NOISE = np.random.default_rng(0).integers(0, 256, (37, 29, 3), np.uint8)


def test_time_and_limits_over_http(client: Client, tmp_path: Path) -> None:
    async def check() -> None:
        limits = {"job_bytes": 10**6, "job_ttl": 0.3, "max_job_pixels": 2_000_000}
        async with client(model=("photo-x2",), **limits) as http:
            too_large = await http.post("/v1/jobs", content=encoded(np.zeros((1414, 1415), np.uint8), ".png"))
            assert (too_large.status_code, too_large.json()["max_pixels"]) == (413, 2_000_000)
            never = await http.post("/v1/jobs", params={"scale": "8"}, content=encoded(NOISE.repeat(9, 0), ".png"))
            assert (never.status_code, never.json()["max_job_bytes"]) == (413, 10**6)
            job = (await http.post("/v1/jobs", content=encoded(NOISE, ".png"))).headers["location"]
            document = {"state": "waiting"}
            while document["state"] != "done":
                document = (await http.get(job, params={"wait": 9})).json()
            await asyncio.sleep(0.4)
            assert (await http.get(job)).status_code == 410
            assert (await http.get(f"{job}/result")).status_code == 410

    asyncio.run(check())


class Script:
    """Stands in for `Service`: does with each job what a test says. Its pictures are made of nothing."""

    def __init__(self, *acts: Problem | Exception | float) -> None:
        self.acts = list(acts)
        self.asked: list[tuple[Order, bool]] = []
        self.ready = True
        self.metrics = self
        self.admission = self

    def watch(self, name: str, documentation: str, label: str | None, read: Callable[[], Any]) -> None:
        """As `Metrics.watch`."""

    def check_open(self) -> None:
        """As `Admission.check_open`."""

    async def plan(self, encoded: Buffer, order: Order, *, max_pixels: int) -> tuple[Any, Plan]:
        """Of a picture as large as its file is long."""
        from repsr_serve.codec import Header

        source = Header(format="png", width=encoded.size, height=1, channels=3, sample_bytes=1)
        plan = Plan(source=source, factor=2.0, passes=(1,), network_pixels=1, size=(2 * encoded.size, 2), format="png")
        return type("Model", (), {"name": order.model or "m"})(), plan

    async def upscale(
        self, encoded: Buffer, order: Order, *, max_pixels: int, background: bool, patient: bool, progress: Progress
    ) -> Result:
        """Fail as the script says, or take so many seconds."""
        assert patient
        self.asked.append((order, background))
        act = self.acts.pop(0) if self.acts else 0.0
        if isinstance(act, BaseException):
            raise act
        progress(0.5)
        await asyncio.sleep(act)
        result = Buffer.of(bytes(encoded.map())[::-1])
        return Result(encoded=result, format="png", model="m", factor=2.0, source_size=(1, 1), size=(2, 2))


@contextlib.asynccontextmanager
async def jobs_of(
    folder: Path, script: Script, clock: Callable[[], float] | None = None, **settings: Any
) -> AsyncGenerator[JobService]:
    """Jobs that run by a script."""
    given: dict[str, Any] = {"data_dir": folder, "model": ("photo-x2",), **settings}
    options: dict[str, Any] = {} if clock is None else {"clock": clock}
    jobs = JobService(Settings(**given), cast("Service", script), **options)
    await jobs.open()
    jobs.begin()
    try:
        yield jobs
    finally:
        await jobs.stop()


async def submit(jobs: JobService, content: bytes = b"picture", **order: Any) -> str:
    with Buffer.of(content) as upload:
        return (await jobs.submit(upload, Order(**order))).id


async def ended(jobs: JobService, job_id: str) -> Any:
    """The job when it is finished."""
    async with asyncio.timeout(20):
        while True:
            job = (await jobs.view(job_id, wait_s=20)).job
            if job.state not in ("waiting", "running"):
                return job


def in_use() -> tuple[int, int]:
    """Threads and descriptors of this process."""
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def run(check: Callable[[], Awaitable[None]]) -> None:
    """In an event loop; nothing is left behind: no thread, no descriptor."""

    async def timed() -> None:
        async with asyncio.timeout(60):
            await check()

    gc.collect()
    before = in_use()
    asyncio.run(timed())
    assert in_use() == before


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short."""
    monkeypatch.setattr(runner_module, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(runner_module, "RETRY_S", 0.01)


def test_who_is_at_fault_decides_what_is_tried_again(tmp_path: Path) -> None:
    broken = Problem("damaged", "The picture is cut off.")
    busy = Problem("too-late", "It took too long.", retry_after_s=5)
    stopping = Problem("stopping", "The service is stopping.", retry_after_s=5)
    cases: list[tuple[list[Any], str, str | None, int]] = [
        ([0.0], "done", None, 1),
        ([broken], "failed", "damaged", 1),
        ([ValueError("a defect")], "failed", "internal", 1),
        ([busy, 0.0], "done", None, 2),
        ([busy, busy, busy, 0.0], "failed", "too-late", 3),
        ([stopping] * 7 + [0.0], "done", None, 8),
    ]

    async def check() -> None:
        for number, (acts, state, cause, asked) in enumerate(cases):
            script = Script(*acts)
            async with jobs_of(tmp_path / str(number), script) as jobs:
                job = await ended(jobs, await submit(jobs))
                assert (job.state, len(script.asked)) == (state, asked)
                assert cause is None or f"urn:repsr:problem:{cause}" in job.error
                # what took too long as a request gets all the time it needs
                assert [background for _, background in script.asked] == [
                    job.attempts > 1 and number > 0 for number in range(asked)
                ]

    run(check)


def test_a_large_job_does_not_hold_up_small_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        service_module,
        "QUEUES",
        (
            runner_module.Queue(above=0, up_to=10, at_once=1, background=False),
            runner_module.Queue(above=10, up_to=99, at_once=1, background=True),
        ),
    )

    async def check() -> None:
        script = Script(1000.0)
        async with jobs_of(tmp_path, script) as jobs:
            first, second, third = [await submit(jobs, b"large picture") for _ in range(3)]
            small = [await submit(jobs, b"small", model=str(number)) for number in range(5)]
            assert {(await ended(jobs, job_id)).state for job_id in small} == {"done"}
            assert [order.model for order, background in script.asked if not background] == list("01234")
            views = [await jobs.view(job_id) for job_id in (first, second, third)]
            assert [(view.job.state, view.position) for view in views] == [
                ("running", None), ("waiting", 1), ("waiting", 2),
            ]  # fmt: skip
            assert views[0].progress == 0.5
            await jobs.remove(first)
            assert (await ended(jobs, third)).state == "done"
            assert (await jobs.view(first)).job.state == "cancelled"

    run(check)


def test_a_stop_puts_back_what_runs(tmp_path: Path) -> None:
    async def check() -> None:
        script = Script(*[1000.0] * 4)
        async with jobs_of(tmp_path, script) as jobs:
            ids = [await submit(jobs, bytes([1, number])) for number in range(6)]
            while len(script.asked) < 4:
                await asyncio.sleep(0.01)
            assert [(await jobs.view(job_id)).job.attempts for job_id in ids] == [1, 1, 1, 1, 0, 0]
            waits = [asyncio.create_task(jobs.view(job_id, 20)) for job_id in ids]
            await asyncio.sleep(0)
            script.ready = False
            async with asyncio.timeout(5):
                views = await asyncio.gather(*waits)  # nobody is kept waiting by a service that stops
            assert [view.job.state for view in views] == ["running"] * 4 + ["waiting"] * 2
        for call in (jobs.view(ids[0]), jobs.remove(ids[0]), submit(jobs)):
            with pytest.raises(Problem):
                await call
        async with jobs_of(tmp_path, script := Script()) as jobs:
            done = [await ended(jobs, job_id) for job_id in ids]
            assert [(job.state, job.attempts) for job in done] == [("done", 1)] * 6
            _, content = await jobs.open_result(ids[5])
            with content:
                assert bytes(content.map()) == bytes([5, 1])

    run(check)


def test_no_more_than_allowed(tmp_path: Path) -> None:
    async def check() -> None:
        script = Script(*[1000.0] * 4)
        async with jobs_of(tmp_path, script, job_queue=2, job_bytes=10**6) as jobs:
            ids: list[str] = []
            for number in range(6):  # four of them run
                ids.append(await submit(jobs))
                while number < 4 and (await jobs.view(ids[-1])).job.state == "waiting":
                    await asyncio.sleep(0.001)
            with pytest.raises(Problem, match="2 jobs wait") as refused:
                await submit(jobs)
            assert (refused.value.cause, refused.value.status) == ("overloaded", 503)
            await jobs.remove(ids[5])
            with pytest.raises(Problem, match="other jobs have") as refused:
                await submit(jobs, bytes(12_000))
            assert (refused.value.cause, refused.value.status) == ("no-space", 503)
            with pytest.raises(Problem, match="all jobs together have 1000000") as refused:
                await submit(jobs, bytes(22_000))
            assert (refused.value.cause, refused.value.status) == ("too-many-pixels", 413)
            assert len(files(tmp_path)["uploads"]) == 5

    run(check)


def test_no_longer_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "SWEEP_S", 0.01)
    clock = Clock()

    async def check() -> None:
        async with jobs_of(tmp_path, Script(), clock, job_ttl=50) as jobs:
            job = await ended(jobs, await submit(jobs))
            assert job.expires == clock.now + 50
            clock.wait(49.9)
            (await jobs.open_result(job.id))[1].close()
            clock.wait(0.1)
            with pytest.raises(Problem) as gone:
                await jobs.open_result(job.id)
            assert gone.value.cause == "gone"
            while files(tmp_path)["results"]:
                await asyncio.sleep(0.01)

    run(check)


def test_a_full_disk_delays_jobs_and_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Problem("no-space", "The disk of the jobs is full.", 60)
    attempts = 0

    async def check() -> None:
        nonlocal attempts
        async with jobs_of(tmp_path, Script(ValueError("a defect"))) as jobs:
            archive = cast("Any", jobs)._opened

            def failing(name: str) -> None:
                original = getattr(archive, name)

                def call(*args: Any) -> Any:
                    nonlocal attempts
                    attempts += 1
                    if attempts % 3:
                        raise full
                    return original(*args)

                monkeypatch.setattr(archive, name, call)

            for name in ("take", "fail", "finish"):
                failing(name)
            failed, done = await submit(jobs), await submit(jobs)
            assert (await ended(jobs, failed)).state == "failed"
            assert (await ended(jobs, done)).state in ("done", "failed")

    run(check)
    assert attempts >= 6


def test_listeners_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        monkeypatch.setattr(service_module, "Watch", lambda: watch.Watch(limit=2))
        monkeypatch.setattr(service_module, "LOOK_S", 20)  # nobody looks by himself: all are told
        async with jobs_of(tmp_path, Script(1000.0)) as jobs:
            job_id = await submit(jobs)
            while (await jobs.view(job_id)).job.state != "running":
                await asyncio.sleep(0.01)
            waiting = [asyncio.create_task(jobs.view(job_id, 20)) for _ in range(2)]
            await asyncio.sleep(0.1)
            async with asyncio.timeout(1):
                assert (await jobs.view(job_id, 20)).job.state == "running"  # answered at once
            waiting[0].cancel()  # and its place is free
            await asyncio.wait(waiting[:1])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await jobs.view(job_id, 20)
            await jobs.remove(job_id)
            async with asyncio.timeout(5):
                assert (await waiting[1]).job.state == "cancelled"

    run(check)


def test_two_services_on_one_folder(tmp_path: Path) -> None:
    async def check() -> None:
        async with jobs_of(tmp_path, Script(0.2)) as jobs:
            job_id = await submit(jobs)
            app = create_app(Settings(data_dir=tmp_path, model=("photo-x2",)))
            with pytest.raises(RepsrError, match=r"another repsr-serve .*--data-dir"):
                await _start(app)
            assert (await ended(jobs, job_id)).state == "done"

    run(check)


async def _start(app: FastAPI) -> None:
    async with running(app) as http:
        assert isinstance(http, httpx.AsyncClient)


def test_ids_are_not_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    async def check() -> None:
        busy = Problem("too-late", "It took too long.", retry_after_s=5)
        async with jobs_of(tmp_path, Script(ValueError("a defect"), busy)) as jobs:
            for job_id in [await submit(jobs), await submit(jobs)]:
                await ended(jobs, job_id)
                assert job_id[:8] in caplog.text

    run(check)
    assert not re.search(r"[0-9a-f]{32}", caplog.text)
