"""Inputs, output and naming rules become jobs; what cannot be meant is refused before any work starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.imaging.folders import Job, check_inputs_survive, find_images, is_folder, plan_jobs


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_folders_are_looked_into_once(tmp_path: Path) -> None:
    a, b, deep = tmp_path / "a.PNG", tmp_path / "b.webp", tmp_path / "deep" / "c.png"
    _touch(a, b, deep, tmp_path / "notes.txt", tmp_path / ".hidden.png")
    found = find_images([tmp_path, a, deep])
    assert found.images == [a, b, deep]
    assert (found.skipped, found.several) == (1, True)
    assert not find_images([a]).several
    assert find_images([tmp_path / "missing.bin"]).images == [tmp_path / "missing.bin"]
    _touch(tmp_path / "texts" / "a.txt")
    with pytest.raises(ImageFileError, match=r"holds no image \(1 other files\)"):
        find_images([tmp_path / "texts"])


def test_names() -> None:
    images = [Path("x/a.png"), Path("b.JPEG"), Path("c.bin")]
    out = Path("out")

    def names(extension: str = "auto", suffix: str = "") -> list[str]:
        jobs = plan_jobs(images, out, into_folder=True, extension=extension, suffix=suffix)
        assert [job.source for job in jobs] == images
        return [job.target.relative_to(out).as_posix() for job in jobs]

    assert names() == ["a.png", "b.JPEG", "c.png"]
    assert names("webp") == ["a.webp", "b.webp", "c.webp"]
    assert names("jpg", "x2") == ["a_x2.jpg", "b_x2.jpg", "c_x2.jpg"]
    for suffix in ("../up", "a/b"):
        with pytest.raises(UsageError, match="expected part of a file name"):
            names(suffix=suffix)
    with pytest.raises(UsageError, match="extension is 'gif'"):
        names("gif")


def test_two_images_for_one_target() -> None:
    images = [Path("x/a.png"), Path("y/a.png")]
    with pytest.raises(UsageError, match=r"x/a\.png and y/a\.png would both be written to out/a\.png"):
        plan_jobs(images, Path("out"), into_folder=True)
    with pytest.raises(UsageError, match="would both"):
        plan_jobs([Path("a.png"), Path("a.jpg")], Path("out"), into_folder=True, extension="webp")


def test_one_file() -> None:
    assert plan_jobs([Path("a.png")], Path("b.webp"), into_folder=False) == [Job(Path("a.png"), Path("b.webp"))]
    with pytest.raises(UsageError, match=r"extension '\.gif'"):
        plan_jobs([Path("a.png")], Path("b.gif"), into_folder=False)
    with pytest.raises(UsageError, match="is no webp file"):
        plan_jobs([Path("a.png")], Path("b.png"), into_folder=False, extension="webp")


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
    check_inputs_survive([Job(a, b), Job(tmp_path / "missing.png", tmp_path / "new.png")])
