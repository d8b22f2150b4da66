from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from repsr_serve.jobs.job import GONE_S, ID, MAX_ATTEMPTS, STATES, Job, MoveError, State, new_id
from repsr_serve.problems import Problem
from tests.serve.jobs.job_maker import make_job

ERROR = Problem("damaged", "The picture is cut off.", extra={"bytes": 7})
MOVES: dict[str, tuple[set[State], Callable[[Job], Job]]] = {
    "start": ({"waiting"}, lambda job: job.start(5.0)),
    "stop": ({"running"}, Job.stop),
    "retry": ({"running"}, lambda job: job.retry(ERROR, 5.0, 1.0)),
    "finish": ({"running"}, lambda job: job.finish(9, 5.0, 1.0)),
    "fail": ({"waiting", "running", "done"}, lambda job: job.fail(ERROR, 5.0, 1.0)),
    "cancel": ({"waiting", "running"}, lambda job: job.cancel(5.0, 1.0)),
    "remove": ({"done", "failed", "cancelled"}, lambda job: job.remove(5.0)),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("move", MOVES)
def test_moves_only_from_its_states(move: str, state: State) -> None:
    allowed, act = MOVES[move]
    job = make_job(state=state)
    if state in allowed:
        assert act(job).state != state
    else:
        with pytest.raises(MoveError, match=f"{job.id[:8]} is {state}") as error:
            act(job)
        assert job.id not in str(error.value)  # whoever knows it may remove the job: not for logs


def test_a_job_from_start_to_end() -> None:
    running = make_job(created=10.0).start(20.0)
    assert (running.state, running.started, running.attempts, running.expires) == ("running", 20.0, 1, None)
    done = running.finish(123, 30.0, ttl_s=100.0)
    assert (done.state, done.held_bytes, done.finished, done.expires) == ("done", 123, 30.0, 130.0)
    gone = done.remove(131.0)
    assert (gone.held_bytes, gone.expires) == (0, 131.0 + GONE_S)


def test_a_stop_is_no_attempt_and_a_crash_is_one() -> None:
    job = make_job()
    for _ in range(MAX_ATTEMPTS + 2):
        job = job.start(1.0).stop()
        assert (job.state, job.attempts, job.started) == ("waiting", 0, None)
    for attempt in range(1, MAX_ATTEMPTS):
        job = job.start(1.0).retry(ERROR, 2.0, 100.0)
        assert (job.state, job.attempts) == ("waiting", attempt)
    job = job.start(1.0).retry(ERROR, 2.0, 100.0)
    assert (job.state, job.held_bytes, job.expires) == ("failed", 0, 102.0)
    assert json.loads(job.error or "") == json.loads(ERROR.body())


def test_moves_keep_what_was_asked() -> None:
    job = make_job(model="other", factor=1.5, format="webp", quality=3)
    order = job.order
    assert job.start(1.0).finish(1, 2.0, 3.0).order == order
    assert (order.model, order.factor, order.format, order.quality) == ("other", 1.5, "webp", 3)
    assert dataclasses.replace(job.start(1.0).stop(), attempts=0) == job


def test_ids_are_random_and_of_one_form() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(ID.fullmatch(job_id) for job_id in ids)
    assert len({job_id[:4] for job_id in ids}) > 900  # no part is constant
