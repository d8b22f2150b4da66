"""The service is killed between any two steps; the next start finds the folder as it was then."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)  # fmt: skip

from repsr_serve.buffers import Buffer
from repsr_serve.jobs.archive import Archive
from repsr_serve.jobs.folder import Folder
from repsr_serve.jobs.job import GONE_S, MAX_ATTEMPTS, Job
from repsr_serve.jobs.store import ROW_BYTES, Store
from repsr_serve.problems import Problem
from tests.serve.jobs.job_maker import ALL, RESULT, UPLOAD, Clock, as_after_kill, files, finish, make_job, open_archive

DAMAGED = Problem("damaged", "The picture is cut off.")
STEPS: list[tuple[type, str]] = [
    (Folder, "write"), (Folder, "remove"), (Store, "add"), (Store, "change"), (Store, "forget"),
]  # fmt: skip
ACTIONS: dict[str, Callable[[Archive, Clock, Job, Job], Any]] = {
    "submit": lambda archive, clock, running, done: _submit(archive, make_job()),
    "finish": lambda archive, clock, running, done: finish(archive, running),
    "fail": lambda archive, clock, running, done: archive.fail(running.id, DAMAGED),
    "cancel": lambda archive, clock, running, done: archive.remove(running.id),
    "delete": lambda archive, clock, running, done: archive.remove(done.id),
    "sweep": lambda archive, clock, running, done: (clock.wait(101.0), archive.sweep()),
    "close": lambda archive, clock, running, done: archive.close(),
}


def _submit(archive: Archive, job: Job) -> Job:
    with Buffer.of(UPLOAD) as upload:
        archive.submit(job, upload)
    return job


def check_sound(archive: Archive, root: Path, jobs: list[str]) -> None:
    """Every job has its files, every file its job, and the totals are right."""
    known = [archive.get(job_id) for job_id in jobs if state_of(archive, job_id) not in ("gone", "not-found")]
    assert files(root) == {
        "uploads": {job.id for job in known if job.state in ("waiting", "running")},
        "results": {job.id for job in known if job.state == "done"},
    }
    for job in known:
        if job.state == "waiting":
            with archive.open_upload(job.id) as upload:
                assert upload.map()[:] == UPLOAD
        if job.state == "done":
            with archive.open_result(job.id) as result:
                assert result.map()[:] == RESULT
    rows = sum(archive.counts.values()) * ROW_BYTES
    assert archive.held_bytes == rows + sum(job.held_bytes for job in known)


@pytest.mark.parametrize("action", ACTIONS)
def test_killed_between_any_two_steps(action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    root = tmp_path / "jobs"
    archive = open_archive(root, clock)
    done, running, waiting = (_submit(archive, make_job()) for _ in range(3))
    archive.take(ALL)
    finish(archive, done)
    archive.take(ALL)
    found = [as_after_kill(root)]

    def spied(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def spy(*args: Any, **options: Any) -> Any:
            found.append(as_after_kill(root))
            result = original(*args, **options)
            found.append(as_after_kill(root))
            return result

        monkeypatch.setattr(owner, name, spy)

    def chunks(self: Buffer) -> Generator[bytes]:
        for byte in bytes(self.map()[:]):
            yield bytes([byte])
            found.append(as_after_kill(root))

    with monkeypatch.context():
        for owner, name in STEPS:
            spied(owner, name)
        monkeypatch.setattr(Buffer, "chunks", chunks)
        ACTIONS[action](archive, clock, running, done)
    monkeypatch.undo()
    found.append(as_after_kill(root))
    if action != "close":
        archive.close()
    assert len(found) >= 4
    outcomes: set[tuple[str, ...]] = set()
    for folder in found:
        archive = open_archive(folder, clock)
        archive.sweep()
        jobs = [done.id, running.id, waiting.id, *(path.name for path in (folder / "uploads").iterdir())]
        check_sound(archive, folder, list(dict.fromkeys(jobs)))
        outcomes.add(tuple(state_of(archive, job.id) for job in (done, running, waiting)))
        archive.close()
    assert all(outcome[2] == "waiting" for outcome in outcomes)
    assert len(outcomes) == (1 if action in ("submit", "sweep", "close") else 2)  # before or after, nothing between


def state_of(archive: Archive, job_id: str) -> str:
    try:
        return archive.get(job_id).state
    except Problem as problem:
        return problem.cause


class Life(RuleBasedStateMachine):
    """Any sequence of events, compared with a list of what each job should be."""

    @initialize(folder=st.just(None))
    def start(self, folder: None) -> None:
        self.clock = Clock()
        self.root = Path(_FOLDERS.pop())
        self.archive = open_archive(self.root, self.clock, max_waiting=4)
        self.expected: dict[str, tuple[str, int]] = {}
        """State and attempts of every job, in the order in which they came."""
        self.expires: dict[str, float] = {}

    def _instate_of(self, *states: str) -> list[str]:
        return [job_id for job_id, (state, _) in self.expected.items() if state in states]

    def _set(self, job_id: str, state: str, attempts: int | None = None) -> None:
        self.expected[job_id] = (state, self.expected[job_id][1] if attempts is None else attempts)
        if state in ("done", "failed", "cancelled"):
            self.expires[job_id] = self.clock.now + 100.0
        if state == "gone":
            self.expires[job_id] = self.clock.now + GONE_S

    @rule()
    def submit(self) -> None:
        job = make_job()
        if len(self._instate_of("waiting")) < 4:
            _submit(self.archive, job)
            self.expected[job.id] = ("waiting", 0)
        else:
            with pytest.raises(Problem, match="4 jobs wait"):
                _submit(self.archive, job)

    @rule()
    def take(self) -> None:
        job, waiting = self.archive.take(ALL), self._instate_of("waiting")
        assert (job.id if job else None) == (waiting[0] if waiting else None)
        if job:
            self._set(job.id, "running", self.expected[job.id][1] + 1)

    @precondition(lambda self: self._instate_of("running"))
    @rule(data=st.data(), how=st.sampled_from(["finish", "fail", "retry", "put_back"]))
    def end(self, data: st.DataObject, how: str) -> None:
        job_id = data.draw(st.sampled_from(self._instate_of("running")))
        attempts = self.expected[job_id][1]
        match how:
            case "finish":
                finish(self.archive, self.archive.get(job_id))
                self._set(job_id, "done")
            case "fail":
                self.archive.fail(job_id, DAMAGED)
                self._set(job_id, "failed")
            case "retry":
                self.archive.retry(job_id, DAMAGED)
                self._set(job_id, "waiting" if attempts < MAX_ATTEMPTS else "failed")
            case _:
                self.archive.put_back(job_id)
                self._set(job_id, "waiting", attempts - 1)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(list(self.expected)))
        state = self.expected[job_id][0]
        if state == "gone":
            with pytest.raises(Problem):
                self.archive.remove(job_id)
        else:
            self.archive.remove(job_id)
            if state != "cancelled":
                self._set(job_id, "cancelled" if state in ("waiting", "running") else "gone")

    @rule(seconds=st.sampled_from([1.0, 60.0, 150.0, GONE_S]), sweep=st.booleans())
    def pass_time(self, seconds: float, sweep: bool) -> None:
        self.clock.wait(seconds)
        if sweep:
            while self.archive.sweep(limit=2):
                pass

    @rule(orderly=st.booleans())
    def restart(self, orderly: bool) -> None:
        after_kill = self.root if orderly else as_after_kill(self.root)
        self.archive.close()
        self.root = after_kill
        self.archive = open_archive(self.root, self.clock, max_waiting=4)
        for job_id in self._instate_of("running"):
            attempts = self.expected[job_id][1]
            if orderly:
                self._set(job_id, "waiting", attempts - 1)
            else:
                self._set(job_id, "waiting" if attempts < MAX_ATTEMPTS else "failed")

    @invariant()
    def is_as_expected(self) -> None:
        if not hasattr(self, "archive"):
            return
        for job_id, (state, attempts) in list(self.expected.items()):
            if self.expires.get(job_id, float("inf")) <= self.clock.now:
                assert state_of(self.archive, job_id) in ("gone", "not-found")
                self.expected.pop(job_id)  # swept at some time
            elif state == "gone":
                assert state_of(self.archive, job_id) == "gone"
            else:
                job = self.archive.get(job_id)
                assert (job.state, job.attempts) == (state, attempts)

    def teardown(self) -> None:
        if hasattr(self, "archive"):
            self.clock.wait(1e9)
            while self.archive.sweep():  # first gone, a day later forgotten
                pass
            self.clock.wait(1e9)
            while self.archive.sweep():
                pass
            unfinished = self._instate_of("waiting", "running")
            assert files(self.root) == {"uploads": set(unfinished), "results": set()}
            assert sum(self.archive.counts.values()) == len(unfinished)
            self.archive.close()


_FOLDERS: list[Path] = []


def test_any_life(tmp_path: Path) -> None:
    _FOLDERS[:] = [tmp_path / str(number) / "jobs" for number in range(10_000)]
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=20, stateful_step_count=30, deadline=None, derandomize=True,
        ),
    )  # fmt: skip
