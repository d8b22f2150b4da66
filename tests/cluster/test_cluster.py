"""A real Ray cluster on this machine: a worker is killed under way, and all comes out once, as it would without."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from PIL import Image as PillowImage

from repsr_deploy.cli.upscale import main
from repsr_deploy.cluster.order import Answer, Failed
from repsr_deploy.cluster.url import Url, place
from repsr_deploy.cluster.worker import MOST_DEATHS, Ledger, Worker
from repsr_deploy.errors import ImageFileError, RepsrError
from repsr_deploy.imaging.folders import Job
from tests.cluster.work import prepare, prepare_nothing, write_picture
from tests.runtimes.models import plain_model, spec_of

ROOT = Path(__file__).parents[2]
PICTURES = 24
SIZE = (240, 200)
pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and processes to be collected
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::UserWarning"),
]


@dataclass(frozen=True)
class Cluster:
    """A running one."""

    address: str
    ledger: Any


@pytest.fixture(scope="module")
def cluster() -> Generator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
        import ray

        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20
        )
        try:
            ledger = ray.remote(num_cpus=0)(Ledger).remote()
            yield Cluster(ray.get_runtime_context().gcs_address, ledger)
        finally:
            ray.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that lies in no shared folder."""
    path = tmp_path_factory.mktemp("private") / "own.onnx"
    onnx.save_model(plain_model(spec_of(channels=16, blocks=4)), path)
    return path


def workers_of_ray() -> set[int]:
    """Process numbers of workers that enlarge."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if title.startswith("ray::") and "MapWorker" in title:
                found.add(int(entry.name))
    return found


class Killer(threading.Thread):
    """Kills a worker as soon as the first results are there, and notes how many those are."""

    def __init__(self, results: Path) -> None:
        super().__init__()
        self.results, self.there, self.victim = results, 0, 0

    def run(self) -> None:
        deadline = time.monotonic() + 90
        while not (there := len(list(self.results.glob("[!.]*")))):
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        self.victim = min(workers_of_ray())
        os.kill(self.victim, signal.SIGKILL)
        self.there = there


def test_worker_is_killed_and_every_picture_is_done_once(
    cluster: Cluster, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources, alone, spread = tmp_path / "in", tmp_path / "alone", tmp_path / "spread"
    names = [f"{each:02}.png" for each in range(PICTURES)]
    for seed, name in enumerate(names):
        write_picture(sources / "deep" / name, seed, SIZE)
    (sources / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    cmyk = PillowImage.new("CMYK", (20, 10), (10, 20, 30, 40))
    cmyk.save(sources / "print.jpg")
    given = [str(sources), "-r", "-m", str(model), "--runtime", "onnxruntime"]
    given += ["--report", str(tmp_path / "report.json")]
    assert main([*given, "-o", f"{alone}/"]) == 1
    said_here = capsys.readouterr()

    killer = Killer(spread / "deep")
    killer.start()
    code = main([*given, "-o", f"{spread}/", "--ray", cluster.address])
    killer.join()
    said = capsys.readouterr()
    assert 0 < killer.there < PICTURES, "killed before the work was done"
    assert not Path(f"/proc/{killer.victim}").exists()
    assert code == 1
    assert sorted(path.name for path in (spread / "deep").iterdir()) == names
    for path in alone.rglob("*.*"):
        assert (spread / path.relative_to(alone)).read_bytes() == path.read_bytes(), path.name
    report = json.loads((tmp_path / "report.json").read_text())
    assert {key: report["totals"][key] for key in ("done", "failed", "open")} == {"done": 25, "failed": 1, "open": 0}
    assert len({entry["source"] for entry in report["files"]}) == len(report["files"]) == PICTURES + 2
    assert report["runtime"] == "onnxruntime"
    assert said.out.splitlines() == [f"25 of 26 images written to {spread}, 1 failed"]
    assert sorted(said.err.splitlines()) == sorted(said_here.err.splitlines()), "the same words, none of Ray's"
    assert "print.jpg is CMYK" in said.err
    deadline = time.monotonic() + 20
    while workers_of_ray():
        assert time.monotonic() < deadline, "workers are left"
        time.sleep(0.05)


@pytest.fixture
def worker(cluster: Cluster, model: Path) -> Worker:
    """In this process, with the cluster's ledger and object store."""
    import ray

    return Worker(prepare, (model.name, ray.put(model.read_bytes())), cluster.ledger, logging.WARNING)


def answered(worker: Worker, job: Job, index: int = 0) -> Answer | Failed:
    logger = logging.getLogger("repsr_deploy")
    before = logger.level
    (message,) = worker({"index": [index], "job": [pickle.dumps(job)]})["message"]
    assert logger.level == before, "what others log is not changed"
    return pickle.loads(message)


def outcome_of(worker: Worker, job: Job, index: int = 0) -> Any:
    answer = answered(worker, job, index)
    assert isinstance(answer, Answer), answer
    assert answer.outcome.job == job
    return answer.outcome


def test_pictures_are_fetched_from_and_stored_at_urls(worker: Worker, tmp_path: Path) -> None:
    source = write_picture(tmp_path / "in" / "a.png", 1)
    shelf = f"shelf://{str(tmp_path).strip('/')}"
    here = Job(source, tmp_path / "here" / "a.png")
    there = Job(Url(f"{shelf}/in/a.png"), Url(f"{shelf}/there/a.png"))
    assert outcome_of(worker, here).error is None
    outcome = outcome_of(worker, there)
    assert (outcome.status, outcome.size, outcome.new_size) == ("done", (17, 21), (34, 42))
    assert (tmp_path / "there" / "a.png").read_bytes() == here.target.read_bytes()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a.png"]
    assert outcome_of(worker, there).status == "skipped"
    assert outcome_of(worker, here).status == "skipped"


def test_failures_name_what_the_user_named(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    shelf = f"shelf://{str(tmp_path).strip('/')}"
    for name in ("a.png", "missing.png"):
        error = outcome_of(worker, Job(Url(f"{shelf}/{name}"), Url(f"{shelf}/out/{name}"))).error
        assert isinstance(error, RepsrError)
        assert f"{shelf}/{name}" in str(error)
        assert "repsr-" not in str(error)
    error = outcome_of(worker, Job(tmp_path / "missing.png", tmp_path / "out.png")).error
    assert isinstance(error, ImageFileError)
    assert not (tmp_path / "out").exists()
    assert isinstance(place(f"{shelf}/a.png"), Url)


def test_picture_that_workers_die_over_is_given_up(worker: Worker, cluster: Cluster, tmp_path: Path) -> None:
    import ray

    job = Job(write_picture(tmp_path / "a.png", 2), tmp_path / "out.png")
    for deaths in range(MOST_DEATHS):
        assert ray.get(cluster.ledger.begin.remote(7)) == deaths
    error = outcome_of(worker, job, 7).error
    assert f"cannot upscale {job.source}: {MOST_DEATHS} workers died over it" in str(error)
    assert not job.target.exists()
    assert outcome_of(worker, job, 8).error is None, "others go on"
    for _ in range(MOST_DEATHS + 1):
        assert outcome_of(worker, job, 8).error is None, "what has ended was no death"


def test_model_that_cannot_be_opened_ends_all(cluster: Cluster, tmp_path: Path) -> None:
    import ray

    job = Job(write_picture(tmp_path / "a.png", 3), tmp_path / "out.png")
    broken = Worker(prepare, ("own.onnx", ray.put(b"no model")), cluster.ledger, logging.WARNING)
    answer = answered(broken, job)
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, RepsrError)
    defect = answered(Worker(prepare_nothing, None, cluster.ledger, logging.WARNING), job)
    assert isinstance(defect, Failed)
    assert repr(defect.error) == "ValueError('cannot prepare None')"
