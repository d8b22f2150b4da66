"""Pictures from file to file: each once, at the same time, bounded, and a failure is one picture's own."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import skimage.data

from repsr_deploy.imaging import batch, picture_work
from repsr_deploy.imaging.batch import BatchOptions, Outcome, Workers, picture_pipeline, upscale_files
from repsr_deploy.imaging.enlargement import Enlargement
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.image_file import read_image, write_image
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.picture_work import is_whole
from repsr_deploy.imaging.strips import upscale_strips
from repsr_deploy.imaging.upscaler import Upscaler
from tests.runtimes.models import plain_model, spec_of

TIMEOUT_S = 30.0
PHOTOGRAPH = skimage.data.coffee()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = {*threading.enumerate()}
    yield
    assert {*threading.enumerate()} <= before


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    file = tmp_path_factory.mktemp("model") / "m.onnx"
    file.write_bytes(plain_model(spec_of()).SerializeToString())
    return Upscaler(file, runtime="onnxruntime", threads=1)


def _photograph(seed: int) -> Any:
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 70, 2)
    top, left = random.integers(0, 300, 2)
    return PHOTOGRAPH[top : top + height, left : left + width]


def _jobs(folder: Path, count: int) -> list[Job]:
    for index in range(count):
        write_image(folder / f"{index}.png", _photograph(index))
    return [Job(folder / f"{index}.png", folder / "out" / f"{index}.png") for index in range(count)]


@pytest.mark.parametrize("workers", [Workers(load=1, process=1, save=1), Workers(load=3, process=2, save=4)])
def test_every_picture_once(upscaler: Upscaler, tmp_path: Path, workers: Workers) -> None:
    jobs = _jobs(tmp_path, 12)
    told: list[float] = []
    with picture_pipeline(upscaler, jobs, BatchOptions(workers=workers), progress=told.append) as pipeline:
        outcomes: dict[Job, Outcome] = {outcome.job: outcome for outcome in pipeline}
        assert [use.items for use in pipeline.use.values()] == [12] * 4
    assert {*outcomes} == {*jobs}
    for index, job in enumerate(jobs):
        image, outcome = _photograph(index), outcomes[job]
        np.testing.assert_array_equal(read_image(job.target), upscaler.upscale(image))
        height, width = image.shape[:2]
        assert (outcome.status, outcome.size, outcome.new_size) == ("done", (width, height), (2 * width, 2 * height))
        assert [*outcome.stages_s] == ["look", "load", "process", "save"]
        assert outcome.seconds == pytest.approx(sum(outcome.stages_s.values()))
    assert told == sorted(told)
    assert told[-1] == 12


def test_decoding_upscaling_and_encoding_overlap(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third picture is decoded while a second one is upscaled and a first one encoded: all three wait for that."""
    meeting = threading.Barrier(3)

    def meeting_at(call: int, real: Callable[..., Any]) -> Callable[..., Any]:
        calls = itertools.count()

        def work(*args: Any, **options: Any) -> Any:
            if next(calls) == call:
                meeting.wait(TIMEOUT_S)
            return real(*args, **options)

        return work

    monkeypatch.setattr(picture_work, "read_picture", meeting_at(2, picture_work.read_picture))
    monkeypatch.setattr(picture_work, "enlarge", meeting_at(1, picture_work.enlarge))
    monkeypatch.setattr(picture_work, "write_picture", meeting_at(0, picture_work.write_picture))
    options = BatchOptions(workers=Workers(load=1, process=1, save=1))
    with picture_pipeline(upscaler, _jobs(tmp_path, 5), options) as pipeline:
        assert [outcome.status for outcome in pipeline] == ["done"] * 5


def test_large_pictures_are_not_in_memory_together(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes bound what is under way, whatever the number of threads; small pictures go along."""
    large, small = PHOTOGRAPH[:100, :100], PHOTOGRAPH[:10, :10]
    lock, together = threading.Lock(), threading.Event()
    inside: list[int] = []
    most = {"bytes": 0}
    read, write = picture_work.read_picture, picture_work.write_picture

    def capacity() -> int:
        return 9 * large.nbytes

    def entering(path: Path, **options: Any) -> Picture:
        picture = read(path, **options)
        with lock:
            inside.append(picture.image_hwc.nbytes)
            most["bytes"] = max(most["bytes"], sum(inside))
            if len(inside) > 1:
                together.set()
        return picture

    def leaving(path: Path, picture: Picture, **options: Any) -> None:
        write(path, picture, **options)
        together.wait(10)  # a fast machine would be done with each before it has read the next
        with lock:
            inside.remove(picture.image_hwc.nbytes // 4)

    monkeypatch.setattr(picture_work, "read_picture", entering)
    monkeypatch.setattr(picture_work, "write_picture", leaving)
    # a picture counts with its x2 and what the encoder makes of that: 9 times
    monkeypatch.setattr(batch, "capacity_bytes", capacity)
    jobs = [Job(tmp_path / f"{index}.png", tmp_path / "out" / f"{index}.png") for index in range(16)]
    for index, job in enumerate(jobs):
        write_image(job.source, small if index % 4 else large)
    with picture_pipeline(upscaler, jobs, BatchOptions(workers=Workers(load=4, process=4, save=4))) as pipeline:
        assert [outcome.status for outcome in pipeline] == ["done"] * 16
    assert large.nbytes <= most["bytes"] < 2 * large.nbytes
    assert together.is_set()


def test_a_failure_is_one_pictures_own(upscaler: Upscaler, tmp_path: Path) -> None:
    jobs = _jobs(tmp_path, 8)
    jobs[1].source.write_bytes(jobs[1].source.read_bytes()[:-20])
    jobs[2].source.write_bytes(b"")
    jobs[3].source.unlink()
    jobs[4].source.unlink()
    jobs[4].source.mkdir()
    jobs[5] = Job(jobs[5].source, tmp_path / ("x" * 252 + ".png"))
    jobs[6] = Job(tmp_path / ("y" * 252 + ".png"), jobs[6].target)
    outcomes: dict[Job, Outcome] = {outcome.job: outcome for outcome in upscale_files(upscaler, jobs)}
    words = ["", "cut off", "is empty", "does not exist", "is a folder", "File name too long", "File name too long", ""]
    for job, word in zip(jobs, words, strict=True):
        error = outcomes[job].error
        assert (error is None) == (not word)
        assert outcomes[job].status == ("failed" if word else "done")
        if error is not None:
            assert word in str(error)
            assert error.__traceback__ is None  # its frames would keep the picture
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "7.png"]


def test_too_many_pixels(upscaler: Upscaler, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PHOTOGRAPH[:30, :40])
    job = Job(tmp_path / "a.png", tmp_path / "b.png")
    for limit, status in ((1199, "failed"), (1200, "done"), (None, "done")):
        with picture_pipeline(upscaler, [job], BatchOptions(max_pixels=limit)) as pipeline:
            assert [outcome.status for outcome in pipeline] == [status]


def test_a_defect_ends_all(upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(picture_work, "enlarge", broken)
    with pytest.raises(ZeroDivisionError):
        list(upscale_files(upscaler, _jobs(tmp_path, 30)))


def test_leaving_gives_up_pictures_under_way(upscaler: Upscaler, tmp_path: Path) -> None:
    """At the next tile: the second picture has thousands, and is never finished."""
    write_image(tmp_path / "small.png", PHOTOGRAPH[:20, :20])
    write_image(tmp_path / "large.png", np.tile(PHOTOGRAPH, (3, 3, 1)))
    many = Upscaler(upscaler.runtime, tile=16)
    jobs = [Job(tmp_path / name, tmp_path / "out" / name) for name in ("small.png", "large.png")]
    begun = threading.Event()

    def told(done: float) -> None:
        if 1 < done < 2:
            begun.set()

    with picture_pipeline(many, jobs, progress=told) as pipeline:
        assert next(iter(pipeline)).job == jobs[0]
        assert begun.wait(TIMEOUT_S)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.png"]


def test_what_is_finished_while_the_pipeline_stops_is_told(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a report of an interrupted run says of every file that is there that it is done."""
    saving, stopping, told = threading.Event(), threading.Event(), list[Outcome]()
    write = picture_work.write_picture

    def slow(path: Path, picture: Picture, **options: Any) -> None:
        saving.set()
        assert stopping.wait(TIMEOUT_S)
        write(path, picture, **options)

    monkeypatch.setattr(picture_work, "write_picture", slow)
    timer = threading.Timer(0.1, stopping.set)
    with picture_pipeline(upscaler, _jobs(tmp_path, 1), ended=told.append):
        assert saving.wait(TIMEOUT_S)
        timer.start()
    timer.join()
    assert [(outcome.status, outcome.job.target.exists()) for outcome in told] == [("done", True)]


def test_a_pipe_is_no_picture(upscaler: Upscaler, tmp_path: Path) -> None:
    """Opening one waits for who writes to it, for ever."""
    os.mkfifo(tmp_path / "pipe.png")
    (outcome,) = upscale_files(upscaler, [Job(tmp_path / "pipe.png", tmp_path / "a.png")])
    assert "pipe.png is no file; expected an image file" in str(outcome.error)


def test_what_is_there_and_whole_is_skipped(upscaler: Upscaler, tmp_path: Path) -> None:
    jobs = _jobs(tmp_path, 5)
    done: list[Outcome] = [*upscale_files(upscaler, jobs)]
    assert len(done) == 5
    whole = [job.target.read_bytes() for job in jobs]
    jobs[1].target.unlink()
    jobs[2].target.write_bytes(b"")
    jobs[3].target.write_bytes(whole[3][:-5])
    jobs[4].target.write_bytes(whole[4].replace(b"IDAT", b"IDAX"))
    before = jobs[0].target.stat().st_mtime_ns
    with picture_pipeline(upscaler, jobs, BatchOptions(skip_existing=True)) as pipeline:
        outcomes: dict[Job, Outcome] = {outcome.job: outcome for outcome in pipeline}
    assert [outcomes[job].status for job in jobs] == ["skipped", "done", "done", "done", "done"]
    assert [job.target.read_bytes() for job in jobs] == whole
    assert jobs[0].target.stat().st_mtime_ns == before


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif", ".bmp", ".avif"])
def test_what_is_cut_off_is_not_whole(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write_image(path, PHOTOGRAPH[:60, :80])
    data = path.read_bytes()
    assert is_whole(path)
    for part in (0, 1, 20, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:part])
        assert not is_whole(path), part
    assert not is_whole(tmp_path / "missing.png")
    assert not is_whole(tmp_path)


def test_what_is_written_is_told(upscaler: Upscaler, tmp_path: Path) -> None:
    jobs = _jobs(tmp_path, 3)
    told: list[tuple[Job, tuple[int, ...], tuple[int, ...]]] = []

    def written(job: Job, before: Picture, after: Picture) -> None:
        assert job.target.exists()
        told.append((job, before.image_hwc.shape, after.image_hwc.shape))

    with picture_pipeline(upscaler, jobs, BatchOptions(written=written)) as pipeline:
        assert len([*pipeline]) == 3
    for job, (height, width, _), after in told:
        assert job in jobs
        assert after == (2 * height, 2 * width, 3)


def test_an_animation_keeps_its_frames(upscaler: Upscaler, tmp_path: Path) -> None:
    frames = [PIL.Image.fromarray(PHOTOGRAPH[i : i + 20, i : i + 30]) for i in (0, 50, 90)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=70)
    job = Job(tmp_path / "a.webp", tmp_path / "b.png")
    (outcome,) = upscale_files(upscaler, [job], Enlargement(factor=3))
    assert (outcome.error, outcome.size, outcome.new_size) == (None, (30, 20), (90, 60))
    with PIL.Image.open(job.target) as image:
        assert (image.size, getattr(image, "n_frames", 1)) == ((90, 60), 3)


def test_large_pictures_go_in_strips(upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the result is a TIFF file of the model's own factor; others fit memory, or are told what would help."""
    pytest.importorskip("pyvips")
    in_strips: list[Path] = []

    def strips(source: Path, target: Path, *args: Any, **options: Any) -> Any:
        in_strips.append(target)
        return upscale_strips(source, target, *args, **options)

    monkeypatch.setattr(picture_work, "upscale_strips", strips)
    monkeypatch.setattr(picture_work, "is_large", lambda path=Path(): path.exists())
    image = PHOTOGRAPH[:40, :50]
    write_image(tmp_path / "a.png", image)
    tif, png, tripled = (Job(tmp_path / "a.png", tmp_path / name) for name in ("a.tif", "b.png", "c.tif"))

    def run(job: Job, **options: Any) -> Outcome:
        with picture_pipeline(upscaler, [job], BatchOptions(**options)) as pipeline:
            (outcome,) = pipeline
        return outcome

    made = run(tif, max_pixels=10)
    assert (made.status, made.size, made.new_size) == ("done", (50, 40), (100, 80))
    np.testing.assert_array_equal(read_image(tif.target), upscaler.upscale(image))
    assert run(tripled, enlargement=Enlargement(factor=3)).new_size == (150, 120)
    assert run(png).status == "done"
    assert in_strips == [tif.target]
    for job, words in ((png, "expected a TIFF file"), (tripled, "expected no other factor")):
        options = {"enlargement": Enlargement(factor=3)} if job is tripled else {}
        error = run(job, max_pixels=1999, **options).error
        assert words in str(error)
