"""Inputs, output and naming rules become jobs; what cannot be meant is refused before any work starts."""

from __future__ import annotations

import os
from pathlib import Path

import PIL.Image
import pytest

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.folders import (
    VIDEO_TARGETS,
    FoundFile,
    Job,
    check_inputs_survive,
    earlier_results,
    is_folder,
    plan_jobs,
)
from repsr_deploy.video.containers import CONTAINERS


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def _found(*names: str) -> list[FoundFile]:
    return [FoundFile(Path(name)) for name in names]


def test_names() -> None:
    names = ["x/a.png", "b.JPEG", "c.bin", "d.mov", "e.wmv", "f.gif", "g.tiff"]
    out = Path("out")

    def targets(extension: str = "auto", suffix: str = "") -> list[str]:
        jobs = plan_jobs(_found(*names), out, into_folder=True, extension=extension, suffix=suffix)
        assert [str(job.source) for job in jobs] == names
        assert [job.video for job in jobs] == [name in ("d.mov", "e.wmv") for name in names]
        return [job.target.relative_to(out).as_posix() for job in jobs]

    assert targets() == ["a.png", "b.JPEG", "c.png", "d.mov", "e.mkv", "f.png", "g.tiff"]
    assert targets("webp") == ["a.webp", "b.webp", "c.webp", "d.mov", "e.mkv", "f.webp", "g.webp"]
    assert targets("jpg", "x2")[:4] == ["a_x2.jpg", "b_x2.jpg", "c_x2.jpg", "d_x2.mov"]
    for suffix in ("../up", "a/b"):
        with pytest.raises(UsageError, match="expected part of a file name"):
            targets(suffix=suffix)
    with pytest.raises(UsageError, match="extension is 'gif'"):
        targets("gif")


def test_folders_are_kept() -> None:
    files = [FoundFile(Path("in/a.png")), FoundFile(Path("in/b/c/a.png"), Path("b/c"))]
    jobs = plan_jobs(files, Path("out"), into_folder=True, suffix="x2")
    assert [job.target for job in jobs] == [Path("out/a_x2.png"), Path("out/b/c/a_x2.png")]


def test_videos_go_to_containers_that_can_be_written() -> None:
    assert (*CONTAINERS,) == VIDEO_TARGETS


def test_two_images_for_one_target() -> None:
    with pytest.raises(UsageError, match=r"x/a\.png and y/a\.png would both be written to out/a\.png"):
        plan_jobs(_found("x/a.png", "y/a.png"), Path("out"), into_folder=True)
    with pytest.raises(UsageError, match="would both"):
        plan_jobs(_found("a.png", "a.jpg"), Path("out"), into_folder=True, extension="webp")


def test_one_file(tmp_path: Path) -> None:
    a = _found("a.png")
    assert plan_jobs(a, Path("b.webp"), into_folder=False) == [Job(Path("a.png"), Path("b.webp"))]
    with pytest.raises(UsageError, match=r"extension '\.gif'"):
        plan_jobs(a, Path("b.gif"), into_folder=False)
    with pytest.raises(UsageError, match="is no webp file"):
        plan_jobs(a, Path("b.png"), into_folder=False, extension="webp")
    film = tmp_path / "film.avi"
    film.write_bytes(b"RIFF....AVI LIST")
    assert plan_jobs([FoundFile(film)], Path("b.mkv"), into_folder=False) == [Job(film, Path("b.mkv"), video=True)]
    with pytest.raises(
        UsageError, match=r"b\.png has extension '\.png', and .*film\.avi is a video; expected one of .mp4"
    ):
        plan_jobs([FoundFile(film)], Path("b.png"), into_folder=False)
    frames = [PIL.Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    gif = FoundFile(tmp_path / "a.gif")
    assert plan_jobs([gif], Path("b.gif"), into_folder=False) == [Job(gif.path, Path("b.gif"))]
    assert plan_jobs([gif], Path("out"), into_folder=True) == [Job(gif.path, Path("out/a.gif"))]


def test_results_of_an_earlier_run() -> None:
    jobs = plan_jobs(_found("a.png", "a_x2.png", "b_x2.png", "c.png"), Path(), into_folder=True, suffix="x2")
    assert earlier_results(jobs, "x2") == {Path("a_x2.png")}
    # without a suffix, a.png beside a.jpg is a picture of its own
    jobs = plan_jobs(_found("a.jpg"), Path(), into_folder=True, extension="png")
    assert earlier_results([*jobs, Job(Path("a.png"), Path("other.png"))], "") == set()


def test_which_output_is_a_folder(tmp_path: Path) -> None:
    assert is_folder(str(tmp_path), several=False)
    assert is_folder("new/", several=False)
    assert is_folder("new", several=True)
    assert not is_folder("new.png", several=False)
    with pytest.raises(UsageError, match="has no extension and is no folder; end it with /"):
        is_folder("new", several=False)
    with pytest.raises(UsageError, match="is a file, but the inputs may be several"):
        is_folder("new.png", several=True)


def test_an_input_survives_under_every_name(tmp_path: Path) -> None:
    a, b, link, hard = (tmp_path / name for name in ("a.png", "b.png", "link.png", "hard.png"))
    _touch(a, b)
    link.symlink_to(a)
    os.link(a, hard)
    (tmp_path / "folder").symlink_to(tmp_path)
    for target in (a, link, hard, tmp_path / "folder" / "a.png", tmp_path / "folder" / ".." / tmp_path.name / "a.png"):
        with pytest.raises(UsageError, match=r"is the input .*a\.png itself"):
            check_inputs_survive([Job(a, target)])
    with pytest.raises(UsageError, match=r"is the input .*a\.png itself"):  # another job's input
        check_inputs_survive([Job(a, tmp_path / "new.png"), Job(b, a)])
    with pytest.raises(UsageError, match=r"is the input .*a\.png itself"):  # by what else is written
        check_inputs_survive([Job(a, tmp_path / "new.png")], [link])
    check_inputs_survive([Job(a, b), Job(tmp_path / "missing.png", tmp_path / "new.png")])
    check_inputs_survive([Job(a, tmp_path / ("x" * 300 + ".png"))])  # whose name will be refused later
