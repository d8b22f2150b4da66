from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from repsr_deploy.errors import RepsrError
from repsr_serve.jobs.job import Job, MoveError, new_id
from repsr_serve.jobs.store import ROW_BYTES, VERSION, Queue, Store
from repsr_serve.problems import Problem
from tests.serve.jobs.job_maker import ALL, make_job


@pytest.fixture
def store(tmp_path: Path) -> Generator[Store]:
    """An empty store."""
    store = Store(tmp_path / "jobs.sqlite")
    yield store
    store.close()


def add(store: Store, job: Job) -> Job:
    store.reserve(job, max_waiting=1000, max_bytes=10**9)
    store.add(job)
    return job


def test_a_job_is_read_as_it_was_written(store: Store, tmp_path: Path) -> None:
    full = make_job(
        state="failed", attempts=2, width=30, height=40, started=1.25, finished=1e9 + 0.5, expires=2e9, factor=1 / 3,
        error='{"detail": "Ümlaut"}',
    )  # fmt: skip
    plain = make_job()
    for job in (full, plain):
        assert store.get(add(store, job).id) == job
    store.close()
    again = Store(tmp_path / "jobs.sqlite")
    assert [again.get(full.id), again.get(plain.id), again.get(new_id())] == [full, plain, None]
    again.close()


def test_totals_are_those_of_all_rows(store: Store, tmp_path: Path) -> None:
    random_ = random.Random(1)
    jobs = [add(store, make_job(held_bytes=random_.randrange(10**6))) for _ in range(20)]
    for job in jobs[:9]:
        store.change(job.id, lambda job: job.start(1.0))
    for job in jobs[:5]:
        store.change(job.id, lambda job: job.finish(77, 2.0, 3.0))
    store.change(jobs[0].id, lambda job: job.remove(4.0))
    for _ in range(2):  # once more is nothing
        store.forget(jobs[3].id)
    expected = Counter(gone=1, done=3, running=4, waiting=11)
    held = 3 * 77 + sum(job.held_bytes for job in jobs[5:]) + 19 * ROW_BYTES
    assert (+store.counts, store.held_bytes) == (expected, held)
    store.close()
    again = Store(tmp_path / "jobs.sqlite")
    assert (again.counts, again.held_bytes) == (expected, held)
    again.close()


def test_queues_are_first_in_first_out(store: Store) -> None:
    small, large = (
        Queue(above=above, up_to=up_to, at_once=1, background=False) for above, up_to in ((0, 35), (35, 99))
    )
    sizes = [(9, 9), (7, 5), (5, 7), (6, 6), (1, 1)]
    jobs = [add(store, make_job(source_width=width, source_height=height)) for width, height in sizes]
    assert [store.ahead(job, small if small.holds(job) else large) for job in jobs] == [0, 0, 1, 1, 2]
    taken = [store.take(queue, 1.0) for queue in (small, large, small, large, large, small, small)]
    order = [jobs[1], jobs[0], jobs[2], jobs[3], None, jobs[4], None]
    assert [job and job.id for job in taken] == [job and job.id for job in order]
    assert [job.id for job in store.in_state("running")] == [job.id for job in jobs]


def test_a_job_that_is_put_back_keeps_its_place(store: Store) -> None:
    first, second = add(store, make_job()), add(store, make_job())
    assert store.take(ALL, 1.0)
    store.change(first.id, Job.stop)
    assert store.ahead(second, ALL) == 1
    assert getattr(store.take(ALL, 1.0), "id", None) == first.id


def test_bounds_count_what_is_on_its_way(store: Store) -> None:
    jobs = [make_job(held_bytes=1000) for _ in range(4)]
    limits = {"max_waiting": 3, "max_bytes": 3 * (1000 + ROW_BYTES)}
    for job in jobs[:3]:
        store.reserve(job, **limits)
    with pytest.raises(Problem, match="3 jobs wait") as refused:
        store.reserve(jobs[3], **limits)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "10")
    store.release(jobs[0])
    store.add(jobs[1])
    store.reserve(jobs[3], **limits)
    store.release(jobs[3])
    store.change(jobs[1].id, lambda job: job.start(1.0))  # waits no more, but has its bytes
    with pytest.raises(Problem, match="bytes on the disk, and other jobs have") as refused:
        store.reserve(make_job(held_bytes=1001), **limits)
    assert refused.value.cause == "no-space"
    with pytest.raises(Problem, match="send a smaller picture") as refused:
        store.reserve(make_job(held_bytes=limits["max_bytes"]), **limits)
    assert (refused.value.status, refused.value.retry_after_s) == (413, None)


def test_a_move_that_is_not_allowed_changes_nothing(store: Store) -> None:
    job = add(store, make_job())
    before = (store.get(job.id), store.counts.copy(), store.held_bytes)
    with pytest.raises(MoveError):
        store.change(job.id, lambda job: job.remove(1.0))
    with pytest.raises(MoveError, match="forgotten"):
        store.change(new_id(), Job.stop)
    assert (store.get(job.id), store.counts, store.held_bytes) == before


def test_expired_jobs_come_oldest_first(store: Store) -> None:
    jobs = [add(store, make_job(state="done", expires=expires)) for expires in (30.0, 10.0, 20.0)]
    add(store, make_job())
    assert [job.id for job in store.expired(20.0, 5)] == [jobs[1].id, jobs[2].id]
    assert [job.id for job in store.expired(99.0, 2)] == [jobs[1].id, jobs[2].id]


def test_a_newer_or_strange_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    with pytest.raises(RepsrError, match=f"newer repsr-serve .version {VERSION + 1} .*--data-dir"):
        Store(path)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(RepsrError, match=r"cannot use .*file is not a database; move it away"):
        Store(path)
    assert path.read_bytes() == b"no database" * 1000
