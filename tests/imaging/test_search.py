"""What inputs stand for: files in folders, each once, and nothing that systems left there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.search import FoundFile, find_images


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


def test_videos_when_asked_for(tmp_path: Path) -> None:
    _touch(tmp_path / "a.png", tmp_path / "b.MKV")
    assert find_images([tmp_path]).images == [tmp_path / "a.png"]
    assert find_images([tmp_path], videos=True).images == [tmp_path / "a.png", tmp_path / "b.MKV"]


def test_folders_in_folders(tmp_path: Path) -> None:
    names = ["a.png", "b/a.png", "b/c/d.jpg", "e/f/g.png"]
    _touch(*(tmp_path / name for name in names), tmp_path / "b" / "notes.txt")
    found = find_images([tmp_path], recursive=True)
    assert found.files == [FoundFile(tmp_path / name, Path(name).parent) for name in names]
    assert found.skipped == 1
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageFileError, match=r"\(0 other files\).*; --recursive looks into its 2 folders"):
        find_images([tmp_path])


def test_what_systems_leave_is_not_there(tmp_path: Path) -> None:
    _touch(
        *(tmp_path / name for name in ("a.png", "Thumbs.db", "desktop.ini", ".DS_Store", "._a.png")),
        *(tmp_path / name for name in ("__MACOSX/._a.png", "__MACOSX/b.png", ".git/c.png")),
    )
    found = find_images([tmp_path], recursive=True)
    assert found.images == [tmp_path / "a.png"]
    assert found.skipped == 0


def test_links(tmp_path: Path) -> None:
    """In circles, to themselves, out of the folder, and to nowhere: a picture that is gone will be missed."""
    top, outside = tmp_path / "top", tmp_path / "outside"
    _touch(top / "a.png", top / "sub" / "b.png", outside / "c.png")
    (top / "sub" / "up").symlink_to(top)
    (top / "self").symlink_to("self")
    (top / "self.png").symlink_to("self.png")
    (top / "gone.png").symlink_to("nowhere.png")
    (top / "out").symlink_to(outside)
    (top / "out again").symlink_to(outside)
    names = ["a.png", "gone.png", "self.png", "out/c.png", "sub/b.png"]
    assert find_images([top], recursive=True).images == [top / name for name in names]


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    _touch(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    assert find_images([tmp_path]).images == [tmp_path / "a.png"]


def test_results_are_not_entered(tmp_path: Path) -> None:
    _touch(tmp_path / "a.png", tmp_path / "out" / "a.png")
    (tmp_path / "alias").symlink_to(tmp_path / "out")
    assert find_images([tmp_path], recursive=True, without=tmp_path / "out").images == [tmp_path / "a.png"]
    # what is named is meant
    assert find_images([tmp_path / "out"], without=tmp_path / "out").images == [tmp_path / "out" / "a.png"]


@pytest.fixture
def deepest(tmp_path: Path) -> Iterator[Path]:
    """A folder whose path is longer than systems take (4096 bytes): nobody, not even root, can look into it."""
    top = tmp_path / "top"
    _touch(top / "a.png", top / "z" / "b.png")
    before = os.open(top, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=before)
        after = os.open("d" * 250, os.O_RDONLY, dir_fd=before)
        os.close(before)
        before = after
    os.close(before)
    yield top
    shutil.rmtree(top)


def test_a_folder_that_cannot_be_read_stops_no_other(deepest: Path) -> None:
    found = find_images([deepest], recursive=True)
    assert found.images == [deepest / "a.png", deepest / "z" / "b.png"]
    (error,) = found.unreadable
    assert "cannot read folder" in str(error)
    assert "File name too long" in str(error)
