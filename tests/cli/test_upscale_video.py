"""`repsr-upscale` with videos, as people run it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from repsr_deploy.cli.upscale import main
from repsr_deploy.cli.video_bar import words_of
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.video.progress import VideoProgress
from repsr_deploy.video.segments import parts_path
from tests.runtimes.models import plain_model, spec_of
from tests.video.clips import write_clip

MODEL = ("-m", "m.onnx", "--runtime", "onnxruntime", "--threads", "1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and a video of one second."""
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(plain_model(spec_of()).SerializeToString())
    write_clip(Path("clip.mkv"), frames=24)
    return tmp_path


def _decoded(path: str) -> list[tuple[Fraction, bytes]]:
    with av.open(path) as container:
        video = container.streams.video[0]
        return [
            (Fraction((frame.pts or 0) * (video.time_base or 1)), frame.to_ndarray().tobytes())
            for frame in container.decode(video)
        ]


def _command(*args: str) -> list[str]:
    script = "import sys; from repsr_deploy.cli.upscale import main; sys.exit(main())"
    return [sys.executable, "-c", script, *args, *MODEL]


def test_one_video(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clip.mkv", "-o", "new/größer.mp4", "-v", "--dedup", "-j", "2:1:2", *MODEL]) == 0
    captured = capsys.readouterr()
    assert captured.out == "written new/größer.mp4\n"
    line = captured.err.splitlines()[-1]
    assert line.startswith("repsr-upscale: info: clip.mkv 64x48 -> new/größer.mp4 128x96: 24 frames in ")
    assert " fps, libx264 yuv420p, limited by: " in line
    assert [when for when, _ in _decoded("new/größer.mp4")] == [when for when, _ in _decoded("clip.mkv")]


def test_a_folder_of_all_kinds(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What fails stops nothing; names keep their extension where a video can be written so."""
    for name in ("in", "in/below"):
        Path(name).mkdir()
    write_clip(Path("in/a.mp4"), frames=3)
    write_clip(Path("in/below/b.avi"), frames=3, options={"bf": "0"})
    Path("in/c.mkv").write_bytes(b"")
    Path("in/d.mov").write_bytes(Path("clip.mkv").read_bytes()[:300])
    write_image(Path("in/e.png"), np.zeros((9, 8, 3), np.uint8))
    assert main(["in", "-r", "-o", "out", "--ext", "png", *MODEL]) == 1
    captured = capsys.readouterr()
    assert sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file()) == [
        "a.mp4", "below/b.mkv", "e.png",
    ]  # fmt: skip
    assert "error: cannot open c.mkv as a video: " in captured.err
    assert "error: cannot open d.mov as a video: " in captured.err
    assert "3 of 5 files written to out, 2 failed" in captured.out
    assert len(_decoded("out/below/b.mkv")) == 3


def test_a_result_that_is_there_is_skipped(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(Path("there.mkv"), frames=2)
    write_clip(Path("slow.mkv"), frames=24, rate=Fraction(6))
    assert main(["slow.mkv", "-o", "cut.mp4", *MODEL]) == 0
    whole = Path("cut.mp4").read_bytes()  # begins with its index, and so opens however it is cut
    Path("cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    capsys.readouterr()
    args = ["clip.mkv", "--skip-existing", *MODEL]
    assert main([*args, "-o", "there.mkv"]) == 0
    assert len(_decoded("there.mkv")) == 2
    assert "there.mkv is there and whole" in capsys.readouterr().out
    assert main([*args, "-o", "cut.mp4"]) == 0
    assert len(_decoded("cut.mp4")) == 24


def test_a_preview(here: Path) -> None:
    assert main(["clip.mkv", "-o", "preview.mkv", "--preview", "0.25", *MODEL]) == 0
    with av.open("preview.mkv") as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (256, 96)
        assert len([*container.decode(video=0)]) == 6


BAD_USAGE = [
    (["--compare"], "--compare shows pictures; for a video, expected --preview SECONDS; leave it out"),
    (["--depth", "16"], "--depth is for pictures; for a video, expected --pix-fmt"),
    (["--raw", "64x48:yuv420p:25"], "--raw says what standard input holds, and the input is a file"),
    (["--pipe", "raw"], "--pipe is for standard output, and the output is a file"),
]


@pytest.mark.parametrize(("args", "words"), BAD_USAGE, ids=[args[0] for args, _ in BAD_USAGE])
def test_bad_usage(here: Path, args: Sequence[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clip.mkv", "-o", "out.mkv", *args, *MODEL]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not Path("out.mkv").exists()


FAILURES = [
    (["--codec", "divx"], "no encoder 'divx'"),
    (["--max-pixels", "100"], "clip.mkv has frames of 64 x 48 pixels; expected at most 100"),
    (["-s", "9", "--pix-fmt", "yuv17"], "--pix-fmt yuv17"),
]


@pytest.mark.parametrize(("args", "words"), FAILURES, ids=[args[0] for args, _ in FAILURES])
def test_failures(here: Path, args: Sequence[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clip.mkv", "-o", "out.mkv", *args, *MODEL]) == 1
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not Path("out.mkv").exists()


SLOW = ("-s", "8", "--codec", "ffv1", "--segment", "0.04")
"""Some time for every frame, each a segment: there is a middle to be killed in."""


def _end_in_the_middle(number: signal.Signals) -> tuple[int, str]:
    """Send a signal to a run when a segment is finished, and named so; its exit code, and what it said."""
    with subprocess.Popen(_command("short.mkv", "-o", "out.mkv", *SLOW), stderr=subprocess.PIPE, text=True) as process:
        try:
            while not [*parts_path(Path("out.mkv")).glob("*/000001.seg")]:
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(number)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert not Path("out.mkv").exists()
    return process.returncode, stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_killed_and_run_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(Path("short.mkv"), frames=12)
    assert _end_in_the_middle(signal.SIGKILL) == (-signal.SIGKILL, "")
    assert main(["short.mkv", "-o", "out.mkv", *SLOW, "-v", *MODEL]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if " of an earlier run) in " in line]) == 1
    assert main(["short.mkv", "-o", "whole.mkv", *SLOW, *MODEL]) == 0
    assert len(_decoded("out.mkv")) == 12
    assert _decoded("out.mkv") == _decoded("whole.mkv")
    assert not parts_path(Path("out.mkv")).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_an_interrupt_says_how_to_go_on(here: Path) -> None:
    write_clip(Path("short.mkv"), frames=12)
    code, stderr = _end_in_the_middle(signal.SIGINT)
    assert code == 130
    warning, error = stderr.splitlines()
    assert warning.startswith("repsr-upscale: warning: out.mkv is not finished; its first ")
    assert warning.endswith(" frames are kept, and the same command continues after them")
    assert error == "repsr-upscale: error: interrupted"
    assert [*parts_path(Path("out.mkv")).glob("*/000000.seg")]


def test_words_of_progress() -> None:
    def progress(**changes: Any) -> str:
        values: dict[str, Any] = {
            "frames": 30, "total": 150, "new_frames": 20, "seconds": 10.0, "limiting": "upscale", **changes
        }  # fmt: skip
        return words_of(VideoProgress(**values))

    assert progress() == "30/150 frames, 2 fps, 0:01:00 left, limited by: upscale"
    assert progress(total=None) == "30 frames, 2 fps, limited by: upscale"
    assert progress(new_frames=0) == "30/150 frames"
    assert progress(frames=151, total=150) == "151/150 frames, 2 fps, 0:00:00 left, limited by: upscale"
