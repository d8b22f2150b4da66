"""A run that ends before its end is continued, to the same bits; one of anything else starts anew."""

from __future__ import annotations

import fcntl
import json
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from repsr_deploy.errors import ImageFileError, RepsrError, UsageError
from repsr_deploy.imaging.strips import upscale_strips
from repsr_deploy.imaging.upscaler import Upscaler
from tests.imaging.strips.small_cases import BLOCK_BYTES, image_of, run, upscaler_of, write_tiff
from tests.runtimes.models import plain_model, spec_of

IMAGE = image_of(90, 60, 3)
KILLED = """
import os, signal, sys
from pathlib import Path
from repsr_deploy.imaging.strips import upscale_strips
from repsr_deploy.imaging.upscaler import Upscaler

def kill_in_the_middle(done, todo):
    if done > todo / 3:
        os.kill(os.getpid(), signal.SIGKILL)

folder, block_bytes = Path(sys.argv[1]), int(sys.argv[2])
upscaler = Upscaler(folder / "model.onnx", runtime="onnxruntime", threads=1)
upscale_strips(folder / "a.tif", folder / "b.tif", upscaler, progress=kill_in_the_middle, block_bytes=block_bytes)
"""


class StoppedError(Exception):
    """Ends a run in the middle."""


def stop_at(share: float, error: type[BaseException] = StoppedError) -> Callable[[int, int], None]:
    """Progress that ends the run."""

    def progress(done: int, todo: int) -> None:
        if done >= share * todo:
            raise error

    return progress


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Path, Path]:
    """A source, and a target of which a part is done."""
    source, target = write_tiff(tmp_path / "a.tif", IMAGE), tmp_path / "b.tif"
    with pytest.raises(StoppedError):
        run(source, target, progress=stop_at(0.5))
    assert not target.exists()
    return source, target


def workplace(folder: Path) -> Path:
    (found,) = folder.glob(".*.strips")
    return found


def result_is_right(target: Path, image: Any = IMAGE, upscaler: Upscaler | None = None) -> bool:
    left = [path for path in target.parent.iterdir() if path.suffix == ".strips"]
    return not left and np.array_equal(tifffile.imread(target), (upscaler or upscaler_of()).upscale(image))


def test_a_killed_process_is_continued(tmp_path: Path) -> None:
    source = write_tiff(tmp_path / "a.tif", IMAGE)
    (tmp_path / "model.onnx").write_bytes(plain_model(spec_of(2, 1, 4)).SerializeToString())
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path, str(BLOCK_BYTES)], check=False)
    assert killed.returncode == -9
    assert not (tmp_path / "b.tif").exists()
    upscaler = Upscaler(tmp_path / "model.onnx", runtime="onnxruntime", threads=1)
    calls: list[tuple[int, int]] = []
    outcome = run(source, tmp_path / "b.tif", upscaler, progress=lambda done, todo: calls.append((done, todo)))
    assert outcome.resumed_at_row is not None
    assert 0 < outcome.resumed_at_row < 45
    assert calls[0][0] > 90 * 60 / 3
    assert calls[-1] == (90 * 60, 90 * 60)
    assert calls == sorted(calls)
    assert result_is_right(tmp_path / "b.tif", upscaler=upscaler)


def test_what_was_done_is_not_made_again(stopped: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    """A tile that is changed in the partial picture stays so: nothing but the journal says what is in it."""
    source, target = stopped
    picture = workplace(target.parent) / "picture.partial"
    before = picture.read_bytes()
    run(source, target)
    assert "continued" in caplog.text
    assert target.read_bytes()[8 : len(before)] == before[8:]
    assert result_is_right(target)


@pytest.mark.parametrize("torn", ["line", "cut line", "bytes", "picture", "no journal", "no picture", "nonsense"])
def test_what_was_being_written_is_made_again(stopped: tuple[Path, Path], torn: str) -> None:
    source, target = stopped
    journal, picture = (workplace(target.parent) / name for name in ("journal", "picture.partial"))
    match torn:
        case "line":
            journal.write_bytes(journal.read_bytes() + b"[100, 1")
        case "cut line":
            journal.write_bytes(journal.read_bytes()[:-3])
        case "bytes":
            picture.write_bytes(picture.read_bytes() + bytes(1000))
        case "picture":
            picture.write_bytes(picture.read_bytes()[:-1])
        case "no journal":
            journal.unlink()
        case "no picture":
            picture.unlink()
        case _:
            journal.write_bytes(b"\0\xff" * 50 + b"\n" + journal.read_bytes())
    outcome = run(source, target)
    assert (outcome.resumed_at_row is None) is (torn in ("no journal", "no picture", "nonsense"))
    assert result_is_right(target)


def test_a_run_may_be_interrupted_again_and_again(tmp_path: Path) -> None:
    source, target = write_tiff(tmp_path / "a.tif", IMAGE), tmp_path / "b.tif"
    rows: list[int] = []
    for share in (0.2, 0.4, 0.6, 0.8, 1):
        with pytest.raises(StoppedError):
            run(source, target, progress=stop_at(share))
        rows.append(len((workplace(tmp_path) / "journal").read_bytes().splitlines()))
    assert rows == sorted(set(rows))
    assert run(source, target).resumed_at_row == 90  # only the directory was missing
    assert result_is_right(target)


def test_anything_else_starts_anew_and_says_why(
    stopped: tuple[Path, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = stopped
    other = image_of(90, 60, 3, seed=1)
    with pytest.raises(StoppedError):
        run(write_tiff(source, other), target, progress=stop_at(0.5))
    assert "other picture" in caplog.text
    with pytest.raises(StoppedError):
        run(source, target, upscaler_of(seed=1), progress=stop_at(0.5))
    assert "other model" in caplog.text
    with pytest.raises(StoppedError):
        run(source, target, upscaler_of(seed=1), progress=stop_at(0.5), block_bytes=2 * BLOCK_BYTES)
    assert "other blocks" in caplog.text
    monkeypatch.setattr("repsr_deploy.imaging.strips.identity.__version__", "0.0.0")
    assert run(source, target, upscaler_of(seed=1), block_bytes=2 * BLOCK_BYTES).resumed_at_row is None
    assert "other version" in caplog.text
    assert result_is_right(target, other, upscaler_of(seed=1))


def test_restart_ignores_what_was_done(stopped: tuple[Path, Path]) -> None:
    source, target = stopped
    assert run(source, target, restart=True).resumed_at_row is None
    assert result_is_right(target)


def test_the_same_under_another_name_is_continued(stopped: tuple[Path, Path]) -> None:
    """The content counts, not name and time."""
    source, target = stopped
    moved = source.rename(source.with_name("c.tif"))
    assert run(moved, target).resumed_at_row is not None
    assert result_is_right(target)


def test_interrupted_it_says_so_and_leaves_no_thread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = threading.active_count()
    source, target = write_tiff(tmp_path / "a.tif", IMAGE), tmp_path / "b.tif"
    with pytest.raises(KeyboardInterrupt):
        run(source, target, progress=stop_at(0.3, KeyboardInterrupt))
    assert threading.active_count() == before
    assert "run again to go on" in caplog.text
    assert run(source, target).resumed_at_row is not None
    assert result_is_right(target)


def test_a_full_disk_is_said_and_the_run_continued_when_there_is_room(tmp_path: Path) -> None:
    source, target = write_tiff(tmp_path / "a.tif", IMAGE), tmp_path / "b.tif"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
        with pytest.raises(RepsrError, match=r"cannot write .*b\.tif.*run again"):
            run(source, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not target.exists()
    assert (workplace(tmp_path) / "picture.partial").stat().st_size == 30_000
    assert run(source, target).resumed_at_row is not None
    assert result_is_right(target)


def test_a_disk_that_may_be_too_small_is_said_beforehand(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = write_tiff(tmp_path / "a.tif", IMAGE), tmp_path / "b.tif"
    run(source, target)
    assert "free there" not in caplog.text
    usage = shutil.disk_usage(tmp_path)._replace(free=60_000)

    def nearly_full(_path: Path) -> Any:
        return usage

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    run(source, target)
    assert "free there" in caplog.text
    assert result_is_right(target)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    source, target = write_tiff(tmp_path / "a.tif", IMAGE), tmp_path / "b.tif"
    with pytest.raises(StoppedError):
        run(source, target, progress=stop_at(0.3))
    with (workplace(tmp_path) / "journal").open("rb") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process"):
            run(source, target)
    assert run(source, target).resumed_at_row is not None


def test_a_picture_that_changes_meanwhile_gives_no_result(tmp_path: Path) -> None:
    source, target = write_tiff(tmp_path / "a.tif", IMAGE), tmp_path / "b.tif"

    def change(done: int, _todo: int) -> None:
        if done:
            source.touch()

    with pytest.raises(ImageFileError, match="was changed"):
        run(source, target, progress=change)

    def remove(done: int, _todo: int) -> None:
        if done:
            source.unlink(missing_ok=True)

    with pytest.raises(ImageFileError, match="was changed"):
        run(source, target, progress=remove, restart=True)
    assert not target.exists()


def test_an_old_result_stays_until_the_new_one_is_whole(stopped: tuple[Path, Path]) -> None:
    source, target = stopped
    target.write_text("old")
    with pytest.raises(StoppedError):
        run(source, target, progress=stop_at(0.9))
    assert target.read_text() == "old"
    run(source, target)
    assert result_is_right(target)


def test_names_of_any_length(tmp_path: Path) -> None:
    source = write_tiff(tmp_path / "a.tif", IMAGE[:20])
    for name in ("ä" * 125 + ".tif", "x" * 251 + ".tif", "\N{GRINNING FACE}\n.tiff"):
        run(source, tmp_path / "new" / name)
        assert result_is_right(tmp_path / "new" / name, IMAGE[:20])


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    source = write_tiff(tmp_path / "a.tif", IMAGE)
    (tmp_path / "file").touch()
    with pytest.raises(RepsrError, match="writable place"):
        upscale_strips(source, tmp_path / "file" / "b.tif", upscaler_of())


def test_the_journal_is_for_people_too(stopped: tuple[Path, Path]) -> None:
    _, target = stopped
    first, *blocks = (workplace(target.parent) / "journal").read_text().splitlines()
    assert json.loads(first).keys() == {"version", "picture", "model", "runtime", "blocks"}
    lengths = [sum(json.loads(line)) for line in blocks]
    assert (workplace(target.parent) / "picture.partial").stat().st_size == 8 + sum(lengths)
