"""`repsr-upscale` in chains of programs: `-` for standard input and output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tty
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from repsr_deploy.cli.upscale import main
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.video.colour import Colour, to_frame
from repsr_deploy.video.pixel_formats import planes_of
from repsr_deploy.video.source import open_video
from tests.runtimes.models import plain_model, spec_of
from tests.video.clips import write_clip

MODEL = ("-m", "m.onnx", "--runtime", "onnxruntime", "--threads", "1")
Y4M = b"YUV4MPEG2 W32 H18 F25:1 Ip A1:1 C420mpeg2\n" + b"".join(b"FRAME\n" + bytes([50 * n]) * 864 for n in (1, 2, 3))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and a stream of three frames."""
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(plain_model(spec_of()).SerializeToString())
    Path("in.y4m").write_bytes(Y4M)
    return tmp_path


@contextmanager
def _stdin(path: str) -> Generator[None]:
    """A file as standard input of this process."""
    before, file = os.dup(0), os.open(path, os.O_RDONLY)
    os.dup2(file, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(file)


def _command(*args: str) -> list[str]:
    script = "import sys; from repsr_deploy.cli.upscale import main; sys.exit(main())"
    return [sys.executable, "-c", script, *args, *MODEL]


def test_nothing_but_video_goes_out(here: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with _stdin("in.y4m"):
        assert main(["-i", "-", "-o", "-", "-v", *MODEL]) == 0
    captured = capfdbinary.readouterr()
    assert captured.out.startswith(b"YUV4MPEG2 W64 H36 F25:1 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2\nFRAME\n")
    assert len(captured.out) == captured.out.index(b"\n") + 1 + 3 * (len(b"FRAME\n") + 64 * 36 * 3 // 2)
    assert b"info: standard input 32x18 -> standard output 64x36: 3 frames in " in captured.err
    print("afterwards, standard output is as before", flush=True)  # noqa: T201
    assert capfdbinary.readouterr().out == b"afterwards, standard output is as before\n"


def test_what_others_print_goes_to_standard_error(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As libraries do that are not Python's."""
    original = Upscaler.upscale

    def chatty(*args: object, **options: object) -> object:
        os.write(1, b"said past Python")
        return original(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Upscaler, "upscale", chatty)
    with _stdin("in.y4m"):
        assert main(["-", "-o", "-", *MODEL]) == 0
    captured = capfdbinary.readouterr()
    assert b"said past Python" not in captured.out
    assert captured.err.count(b"said past Python") == 3


def test_from_a_pipe_to_a_file(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with _stdin("in.y4m"):
        assert main(["-", "-o", "out.mkv", *MODEL]) == 0
    captured = capfd.readouterr()
    assert captured.out == "written out.mkv\n"
    assert captured.err == ""
    with av.open("out.mkv") as container:
        assert len([*container.decode(video=0)]) == 3


def test_from_a_file_to_raw_frames(here: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_clip(Path("clip.mkv"), frames=3)
    assert main(["clip.mkv", "-o", "-", "--pipe", "raw", "--pix-fmt", "yuv444p", *MODEL]) == 0
    out = capfdbinary.readouterr().out
    upscaler = Upscaler("m.onnx", runtime="onnxruntime", threads=1)
    with open_video(Path("clip.mkv")) as video:
        frames = [to_frame(upscaler.upscale(one.image_hwc), video.info.colour, "yuv444p") for one in video.frames()]
    expected = np.concatenate([plane.ravel() for frame in frames for plane in planes_of(frame)])
    np.testing.assert_array_equal(np.frombuffer(out, np.uint8), expected)


def test_a_stream_that_is_cut_off(here: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    Path("cut.y4m").write_bytes(Y4M[:-1])
    with _stdin("cut.y4m"):
        assert main(["-", "-o", "-", *MODEL]) == 1
    captured = capfdbinary.readouterr()
    assert captured.out.count(b"FRAME\n") == 2
    assert captured.err == (
        b"repsr-upscale: error: standard input ends within frame 3, after 863 of 864 bytes; the frames before it are "
        b"done\n"
    )


FFMPEG = shutil.which("ffmpeg")


@pytest.mark.skipif(FFMPEG is None, reason="needs the ffmpeg program")
def test_between_two_ffmpegs(here: Path) -> None:
    pix_fmt = "yuv422p10le"
    write_clip(Path("clip.mkv"), frames=4, pix_fmt=pix_fmt, colour=Colour(matrix=6, chroma_location="left"))
    assert FFMPEG is not None
    quiet = [FFMPEG, "-nostdin", "-v", "error"]
    reader = [*quiet, "-i", "clip.mkv", "-strict", "-1", "-f", "yuv4mpegpipe", "-"]
    writer = [*quiet, "-i", "-", "-c:v", "ffv1", "out.mkv"]
    with (
        subprocess.Popen(reader, stdout=subprocess.PIPE) as first,
        subprocess.Popen(_command("-", "-o", "-"), stdin=first.stdout, stdout=subprocess.PIPE) as second,
        subprocess.Popen(writer, stdin=second.stdout) as third,
    ):
        for pipe in (first.stdout, second.stdout):
            assert pipe is not None
            pipe.close()  # theirs alone
        assert [process.wait(60) for process in (first, second, third)] == [0, 0, 0]
    upscaler = Upscaler("m.onnx", runtime="onnxruntime", threads=1)
    with open_video(Path("clip.mkv")) as before, av.open("out.mkv") as after:
        made = [*after.decode(video=0)]
        assert after.streams.video[0].average_rate == before.info.rate
        expected = [to_frame(upscaler.upscale(one.image_hwc), before.info.colour, pix_fmt) for one in before.frames()]
    assert len(made) == 4
    for one, frame in zip(made, expected, strict=True):
        assert one.format.name == pix_fmt
        for plane, other in zip(planes_of(one), planes_of(frame), strict=True):
            np.testing.assert_array_equal(plane, other)


def test_nobody_reads_on(here: Path) -> None:
    Path("long.y4m").write_bytes(Y4M[:42] + Y4M[42:] * 400)
    with (
        Path("long.y4m").open("rb") as stream,
        subprocess.Popen(
            _command("-", "-o", "-"), stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(9) == b"YUV4MPEG2"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


BAD_USAGE = [
    (["-", "a.mkv", "-o", "-"], "- stands for one video, and 2 inputs are given"),
    (["-", "-o", "-", "--codec", "h264"], "--codec is for results in files, and the output is a pipe"),
    (["-", "-o", "-", "--preview", "3"], "--preview does not go with a pipe"),
    (["-", "-o", "a.mkv", "--restart"], "--restart does not go with a pipe"),
    (["-", "-o", "a.mkv", "--deinterlace"], "--deinterlace does not go with standard input"),
    (["-", "-o", "a.mkv", "--pipe", "raw"], "--pipe is for standard output, and the output is a file"),
    (["-", "-o", "./"], "output ./ is a folder, and standard input has no name"),
    (["-", "-o", "-", "--compare"], "--compare shows pictures"),
    (
        ["a.mkv", "-o", "-", "--raw", "64x48:yuv420p:25"],
        "--raw says what standard input holds, and the input is a file",
    ),
    (["-", "-o", "-", "--raw", "64x48:yuv17:25"], "pixel format is 'yuv17'"),
    (["-", "-o", "a.png"], "cannot write a video as 'a.png'"),
]


@pytest.mark.parametrize(("args", "words"), BAD_USAGE, ids=[" ".join(args) for args, _ in BAD_USAGE])
def test_bad_usage(here: Path, args: Sequence[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(here.iterdir())
    with _stdin("in.y4m"):
        assert main([*args, *MODEL]) == 2
    captured = capfd.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert sorted(here.iterdir()) == before


def test_a_terminal_is_no_pipe(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    with _stdin(os.ttyname(theirs)):
        assert main(["-", "-o", "-", *MODEL]) == 2
    assert "standard input is a terminal; expected a video" in capfd.readouterr().err
    os.close(ours)
    os.close(theirs)


def test_a_frame_that_is_too_large(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("large.y4m").write_bytes(b"YUV4MPEG2 W99999 H99999 F25:1\n")
    with _stdin("large.y4m"):
        assert main(["-", "-o", "-", *MODEL]) == 1
    assert "standard input has frames of 99999 x 99999 pixels; expected at most " in capfd.readouterr().err
