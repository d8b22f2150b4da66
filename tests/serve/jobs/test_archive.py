from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from repsr_deploy.errors import RepsrError
from repsr_serve.buffers import Buffer
from repsr_serve.jobs import archive as archive_module
from repsr_serve.jobs.folder import Folder, default_folder
from repsr_serve.jobs.job import GONE_S, MAX_ATTEMPTS, MoveError, new_id
from repsr_serve.problems import Problem
from tests.serve.jobs.job_maker import ALL, RESULT, UPLOAD, Clock, as_after_kill, files, finish, open_archive, submit

DAMAGED = Problem("damaged", "The picture is cut off.")


def test_a_job_leaves_only_its_result_then_nothing(tmp_path: Path) -> None:
    clock = Clock()
    archive = open_archive(tmp_path, clock)
    job = submit(archive)
    assert files(tmp_path) == {"uploads": {job.id}, "results": set()}
    taken = archive.take(ALL)
    assert taken is not None
    with archive.open_upload(taken.id) as upload:
        assert upload.map()[:] == UPLOAD
    finish(archive, job)
    assert files(tmp_path) == {"uploads": set(), "results": {job.id}}
    done = archive.get(job.id)
    assert (done.state, done.held_bytes) == ("done", len(RESULT))
    with archive.open_result(done.id) as result:
        assert result.map()[:] == RESULT
        assert archive.remove(job.id).state == "gone"
        assert result.map()[:] == RESULT  # who downloads it is not interrupted
    assert files(tmp_path) == {"uploads": set(), "results": set()}
    with pytest.raises(Problem, match="deleted"):
        archive.open_result(done.id)
    archive.close()


def test_time_passes(tmp_path: Path) -> None:
    clock = Clock()
    archive = open_archive(tmp_path, clock, ttl_s=100.0)
    job = submit(archive)
    clock.now += 1e6
    assert archive.get(job.id).state == "waiting"  # only what is finished grows old
    archive.take(ALL)
    finish(archive, job)
    clock.now += 99.9
    archive.sweep()
    assert archive.get(job.id).state == "done"
    clock.now += 0.1
    for _ in range(2):  # before and after it is swept
        with pytest.raises(Problem) as gone:
            archive.get(job.id)
        assert gone.value.status == 410
        archive.sweep()
    assert files(tmp_path) == {"uploads": set(), "results": set()}
    clock.now += GONE_S
    archive.sweep()
    with pytest.raises(Problem) as unknown:
        archive.get(job.id)
    assert unknown.value.status == 404
    assert archive.held_bytes == 0
    archive.close()


def test_a_sweep_is_bounded_and_so_is_the_memory_of_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_GONE", 4)
    clock = Clock()
    archive = open_archive(tmp_path, clock)
    jobs = [submit(archive) for _ in range(7)]
    for job in jobs:
        archive.fail(job.id, DAMAGED)
        clock.now += 1
    clock.now += 1000
    calls = 1
    while archive.sweep(limit=3):
        calls += 1
    assert calls >= 3
    assert archive.counts["gone"] == 4
    causes: list[str] = []
    for job in jobs:
        with pytest.raises(Problem) as problem:
            archive.get(job.id)
        causes.append(problem.value.cause)
    assert causes == ["not-found"] * 3 + ["gone"] * 4
    archive.close()


def test_cancelled_is_final(tmp_path: Path) -> None:
    archive = open_archive(tmp_path, Clock())
    waiting, running = submit(archive), submit(archive)
    assert archive.remove(waiting.id).state == "cancelled"
    taken = archive.take(ALL)
    assert taken is not None
    assert taken.id == running.id
    assert archive.remove(running.id).state == "cancelled"
    assert archive.remove(running.id).state == "cancelled"
    with pytest.raises(MoveError):
        archive.open_upload(taken.id)
    with pytest.raises(MoveError):
        finish(archive, running)
    with pytest.raises(MoveError):
        archive.fail(running.id, DAMAGED)
    assert files(tmp_path) == {"uploads": set(), "results": set()}
    assert archive.take(ALL) is None
    archive.close()


def test_the_next_start_goes_on(tmp_path: Path) -> None:
    clock = Clock()
    archive = open_archive(tmp_path, clock)
    jobs = [submit(archive) for _ in range(3)]
    archive.take(ALL)
    archive.close()
    archive = open_archive(tmp_path, clock)
    assert [archive.get(job.id).attempts for job in jobs] == [0, 0, 0]
    taken = [archive.take(ALL) for _ in range(4)]
    assert [job and job.id for job in taken] == [*(job.id for job in jobs), None]
    archive.close()


def test_a_picture_that_kills_the_service_does_so_three_times(tmp_path: Path) -> None:
    clock = Clock()
    archive = open_archive(tmp_path / "0", clock)
    poison, other = submit(archive), submit(archive)
    root = tmp_path / "0"
    for attempt in range(1, MAX_ATTEMPTS + 1):
        taken = archive.take(ALL)
        assert taken is not None
        assert (taken.id, taken.attempts) == (poison.id, attempt)
        root = as_after_kill(root)
        archive.close()
        archive = open_archive(root, clock)
    failed = archive.get(poison.id)
    assert failed.state == "failed"
    assert "died 3 times" in (failed.error or "")
    assert files(root)["uploads"] == {other.id}
    archive.close()


def test_lost_files_and_files_without_a_job(tmp_path: Path) -> None:
    clock = Clock()
    archive = open_archive(tmp_path, clock)
    done, cut, missing, whole, old = (submit(archive) for _ in range(5))
    for job in (done, old):
        archive.take(ALL)
        archive.fail(job.id, DAMAGED) if job is old else finish(archive, job)
    archive.close()
    (tmp_path / "results" / done.id).unlink()
    (tmp_path / "uploads" / cut.id).write_bytes(UPLOAD[:-1])
    (tmp_path / "uploads" / missing.id).unlink()
    for stray in (tmp_path / "uploads" / new_id(), tmp_path / "results" / new_id(), tmp_path / "results" / whole.id):
        stray.write_bytes(b"half")
    mine = tmp_path / "uploads" / "holiday.jpg"
    mine.write_bytes(b"somebody pointed --data-dir at his own folder")
    archive = open_archive(tmp_path, clock)
    for job in (done, cut, missing):
        assert archive.get(job.id).state == "failed"
        assert "lost" in (archive.get(job.id).error or "")
    assert archive.get(whole.id).state == "waiting"
    assert files(tmp_path) == {"uploads": {whole.id, mine.name}, "results": set()}
    archive.close()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = open_archive(tmp_path, Clock())
    job = submit(archive)
    archive.take(ALL)

    def chunks(self: Buffer) -> Any:
        yield b"some of it"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    held = archive.held_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Buffer, "chunks", chunks)
        for act in (lambda: submit(archive), lambda: finish(archive, job)):
            with pytest.raises(Problem, match="disk of the jobs is full") as full:
                act()
            assert (full.value.cause, full.value.status) == ("no-space", 503)
    assert files(tmp_path) == {"uploads": {job.id}, "results": set()}
    assert archive.held_bytes == held
    submit(archive, held_bytes=10**7 - 2 * 4096 - held + 4096)  # nothing is reserved any more
    finish(archive, job)
    archive.close()


_FILL = """
import resource, sys
from pathlib import Path
from repsr_serve.buffers import Buffer
from repsr_serve.problems import Problem
from tests.serve.jobs.job_maker import *
archive = open_archive(Path(sys.argv[1]), Clock(), max_waiting=10**6, max_bytes=10**12)
uploads = [Buffer.of(b"x" * size) for size in (300_000, 300_001)]
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
for upload, expected in zip(uploads, (None, "no-space"), strict=True):
    cause = None
    try:
        archive.submit(make_job(upload_bytes=upload.size), upload)
    except Problem as problem:
        cause = problem.cause
    assert cause == expected, (upload.size, cause)
count = 0
try:
    while True:
        submit(archive)
        count += 1
except Problem as problem:
    assert problem.cause == "no-space", problem
assert count > 10, count
assert len(files(Path(sys.argv[1]))["uploads"]) == count + 1
archive.close()
"""


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """The system itself refuses: first a picture, then the store's own file."""
    done = subprocess.run(
        [sys.executable, "-c", _FILL, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    archive = open_archive(tmp_path, Clock())
    assert archive.counts["waiting"] == len(files(tmp_path)["uploads"]) > 10
    archive.close()


def test_one_service_for_one_folder(tmp_path: Path) -> None:
    archive = open_archive(tmp_path, Clock())
    with pytest.raises(RepsrError, match=rf"another repsr-serve .process {os.getpid()}. .*{tmp_path}.*--data-dir"):
        open_archive(tmp_path, Clock())
    job = submit(archive)  # the first one is not disturbed
    archive.close()
    archive = open_archive(tmp_path, Clock())
    assert archive.get(job.id).state == "waiting"
    archive.close()


def test_a_failed_start_lets_go_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(RepsrError, match="not a database"):
        open_archive(tmp_path, Clock())
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    root = tmp_path / "state" / "jobs"
    previous = os.umask(0)
    try:
        archive = open_archive(root, Clock())
        job = submit(archive)
        archive.take(ALL)
        finish(archive, job)
        submit(archive)
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
        archive.close()
    finally:
        os.umask(previous)
    assert len(modes) >= 8  # the root, two folders, lock, database with its WAL, two files
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


@pytest.mark.parametrize("name", ["", "..", "../lock", "a" * 31, "A" * 32, "a" * 33, "a" * 32 + "\n", "/etc/passwd"])
def test_only_ids_become_paths(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path)
    with pytest.raises(ValueError, match="no id of a job"):
        folder.path("uploads", name)
    folder.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RepsrError, match=r"cannot keep jobs in .*file/jobs: Not a directory; .*--data-dir"):
        open_archive(tmp_path / "file" / "jobs", Clock())


def test_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "repsr-serve"
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_STATE_HOME", ignored)
        assert default_folder() == tmp_path / ".local" / "state" / "repsr-serve"
