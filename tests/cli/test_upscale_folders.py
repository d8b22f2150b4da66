"""`repsr-upscale` over folders: their structure, restarts, reports, odd names, rights, and an end in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest
import skimage.data

from repsr_deploy._version import __version__
from repsr_deploy.cli.upscale import main
from repsr_deploy.imaging.image_file import read_image, write_image
from tests.runtimes.models import plain_model, spec_of

IMAGE = skimage.data.coffee()[100:131, 200:247]
MODEL = ("-m", "m.onnx", "--runtime", "onnxruntime")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model."""
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(plain_model(spec_of()).SerializeToString())
    return tmp_path


def _write(*names: str) -> None:
    for name in names:
        write_image(Path(name), IMAGE)


def _files(folder: str | Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def _report() -> dict[str, Any]:
    return json.loads(Path("report.json").read_text())


def test_folders_in_folders_are_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice, into a folder inside of them: what the first run wrote is not upscaled by the second."""
    _write("in/a.png", "in/b/a.png", "in/b/c/d.jpg")
    Path("in/b/Thumbs.db").write_bytes(b"x")
    Path("in/b/notes.txt").write_bytes(b"x")
    for _ in range(2):
        assert main(["-r", "in", "-o", "in/out", *MODEL]) == 0
        assert _files("in/out") == ["a.png", "b/a.png", "b/c/d.jpg"]
        assert capsys.readouterr().out == "3 of 3 images written to in/out, 1 other files skipped\n"
    assert read_image("in/out/b/a.png").shape == (62, 94, 3)


def test_as_with_other_tools(here: Path) -> None:
    """The options of realesrgan-ncnn-vulkan."""
    _write("in/a.jpg", "in/b.webp")
    args = ["-i", "in", "-o", "out/", "-n", "m.onnx", "-s", "2", "-t", "0", "-j", "1:2:2", "-f", "png", "-x", "-v"]
    assert main([*args, "--runtime", "onnxruntime"]) == 0
    assert _files("out") == ["a.png", "b.png"]


def test_a_restart_does_what_is_missing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(*(f"in/{name}.png" for name in "abcd"))
    assert main(["in", "-o", "out", *MODEL]) == 0
    whole = {name: Path("out", name).read_bytes() for name in _files("out")}
    Path("out/b.png").unlink()
    Path("out/c.png").write_bytes(whole["c.png"][:-1])
    capsys.readouterr()
    assert main(["in", "-o", "out", *MODEL, "--skip-existing", "-v", "--report", "report.json"]) == 0
    assert {name: Path("out", name).read_bytes() for name in _files("out")} == whole
    captured = capsys.readouterr()
    assert captured.out == "2 of 4 images written to out, 2 already there\n"
    assert "in/a.png: out/a.png is there and whole\n" in captured.err
    assert [entry["status"] for entry in _report()["files"]] == ["skipped", "done", "done", "skipped"]
    assert main(["in/a.png", "-o", "out", *MODEL, "--skip-existing"]) == 0
    assert capsys.readouterr().out == "out/a.png is there and whole\n"


def test_a_restart_beside_the_originals(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results are told from originals by the suffix, their comparisons, too; without --skip-existing, it is refused."""
    _write("a.png", "b.png")
    Path("m.onnx").rename("../m.onnx")
    args = [".", "-o", ".", "-m", "../m.onnx", "--runtime", "onnxruntime", "--suffix", "x2", "--compare"]
    assert main(args) == 0
    before = _files(here)
    assert main(args) == 2
    assert "is the input" in capsys.readouterr().err
    assert main([*args, "--skip-existing"]) == 0
    assert capsys.readouterr().out == "0 of 2 images written to ., 2 already there, 2 other files skipped\n"
    assert _files(here) == before


def test_the_report(here: Path) -> None:
    _write("in/a.png", "in/sub/c.png")
    Path("in/b.png").write_bytes(b"")
    args = ["-r", "in", "-o", "out", *MODEL, "-s", "3", "--quality", "80", "--report", "report.json"]
    assert main(args) == 1
    report = _report()
    assert report["version"] == __version__
    assert (report["command"], report["model"]) == ("repsr-upscale", "Plain-M2C8")
    assert (report["runtime"], report["precision"]) == ("onnxruntime", "fp32")
    assert (report["options"]["quality"], report["options"]["enlargement"]["factor"]) == (80, 3.0)
    assert report["options"]["inputs"] == ["in"]
    assert report["started"] < report["ended"]
    assert not report["interrupted"]
    first, second, third = report["files"]
    assert (first["source"], first["target"], first["status"]) == ("in/a.png", "out/a.png", "done")
    assert (first["size"], first["new_size"], first["error"]) == ([47, 31], [141, 93], None)
    assert first["seconds"] == pytest.approx(sum(first["stages_s"].values()), abs=0.001)
    assert (second["status"], second["size"]) == ("failed", None)
    assert "in/b.png: it is empty" in second["error"]
    assert (third["source"], third["target"]) == ("in/sub/c.png", "out/sub/c.png")
    assert [report["totals"][key] for key in ("done", "skipped", "failed", "open")] == [2, 0, 1, 0]
    assert [*report["stages"]] == ["look", "load", "process", "save"]
    assert report["limiting"] in report["stages"]
    assert report["stages"]["save"]["workers"] == os.cpu_count()


def test_a_report_that_cannot_be_written_is_refused_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write("a.png")
    Path("file").write_bytes(b"")
    for name, code, words in (
        ("file/report.json", 1, "cannot write file/report.json"),
        ("a.png", 2, "a.png is the input a.png itself"),
        ("out/a.png", 2, "would both be written to out/a.png"),
    ):
        assert main(["a.png", "-o", "out/a.png", *MODEL, "--report", name]) == code
        assert words in capsys.readouterr().err
    assert not Path("out").exists()


def test_what_cannot_be_kept_apart(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write("in/a.png", "in/a.jpg")
    assert main(["in", "-o", "out", *MODEL, "--ext", "webp"]) == 2
    assert "in/a.jpg and in/a.png would both be written to out/a.webp" in capsys.readouterr().err
    assert main(["in", "-o", "out", *MODEL, "--compare"]) == 2
    assert "would both be written to out/a.compare.html" in capsys.readouterr().err
    assert not Path("out").exists()


NAMES = [
    "\U0001f600 \u202egnp.exe.png",
    "two\nlines\r\x1b[2J.png",
    "-r.png",
    " .png",
    "'$(x)`\".png",
    os.fsdecode(b"latin-\xe9.png"),
    "e" * 251 + ".png",
    "\U0001f600" * 62 + ".png",
]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_of_all_kinds(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In folders and named, done and failed: results have the same names, and every message is one line of text."""
    for name in NAMES:
        _write(f"in/{name}")
        Path("broken").mkdir(exist_ok=True)
        Path("broken", name).write_bytes(b"x")
    assert main(["in", "-o", "out", *MODEL, "-v", "--report", "report.json"]) == 0
    assert {*_files("out")} == {*NAMES}
    assert {entry["source"] for entry in _report()["files"]} == {f"in/{name}" for name in NAMES}
    captured = capfd.readouterr()
    assert captured.out == "8 of 8 images written to out\n"
    assert captured.err.count("\n") == len(NAMES)
    assert "in/two\\nlines\\r\\x1b[2J.png 47x31 -> " in captured.err
    assert main([*(f"in/{name}" for name in NAMES), "-o", "again", *MODEL]) == 0
    assert {*_files("again")} == {*NAMES}
    assert main(["broken", "-o", "none", *MODEL]) == 1
    captured = capfd.readouterr()
    assert captured.err.count("\n") == len(NAMES)
    assert not any(character in captured.err for character in "\r\x1b\u202e")
    os.chdir("in")
    assert main(["-o", "../single.png", "-m", "../m.onnx", "--runtime", "onnxruntime", "--", "-r.png"]) == 0


def test_a_name_that_gets_too_long(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write("in/a.png", "in/" + "e" * 251 + ".png")
    assert main(["in", "-o", "out", *MODEL, "--suffix", "x2"]) == 1
    assert "_x2.png: File name too long; choose another name or place" in capsys.readouterr().err
    assert _files("out") == ["a_x2.png"]


@pytest.fixture
def as_nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like `here`, and rights that bind, also where tests are run as root."""
    if not hasattr(os, "setresuid"):
        pytest.skip("needs Linux's users")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        monkeypatch.chdir(name)
        Path("m.onnx").write_bytes(plain_model(spec_of()).SerializeToString())
        Path("m.onnx").chmod(0o644)
        _write("in/a.png", "in/b.png", "in/closed/c.png")
        if os.getuid() != 0:
            yield Path(name)
            return
        os.setresuid(65534, 65534, 0)
        try:
            yield Path(name)
        finally:
            os.setresuid(0, 0, 0)


def test_rights(as_nobody: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir(mode=0o777)
    try:
        os.seteuid(0)
        Path("in/b.png").chmod(0o000)
        Path("in/closed").chmod(0o000)
        Path("locked").mkdir(mode=0o555)
    finally:
        os.seteuid(65534)
    assert main(["-r", "in", "-o", "out", *MODEL]) == 1
    captured = capsys.readouterr()
    assert captured.out == "1 of 2 images written to out, 1 failed\n"
    assert captured.err.splitlines() == [
        "repsr-upscale: error: cannot read folder in/closed: Permission denied; expected a readable one",
        "repsr-upscale: error: cannot read in/b.png: Permission denied; expected a readable image file",
    ]
    assert _files("out") == ["a.png"]
    assert main(["in/a.png", "-o", "locked/new/a.png", *MODEL]) == 1
    assert "cannot write to folder locked: it is read-only, or its rights forbid it" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
def test_a_disk_that_is_full_in_the_middle(here: Path) -> None:
    """A limit on file sizes stands in for it: what fits is written, the rest is reported, and nothing is half."""
    import resource

    write_image(Path("in/a.png"), IMAGE[:3, :3])
    write_image(Path("in/b.png"), np.tile(IMAGE, (3, 3, 1)))
    write_image(Path("in/c.png"), IMAGE[:3, :3])

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    args = ["in", "-o", "out", *MODEL, "--report", "report.json"]
    done = subprocess.run(_command(*args), capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 1
    assert "cannot write out/b.png: File too large; choose a writable place with free space" in done.stderr
    assert done.stderr.count("\n") == 1
    assert _files("out") == ["a.png", "c.png"]
    assert [entry["status"] for entry in _report()["files"]] == ["done", "failed", "done"]


def _command(*args: str) -> list[str]:
    script = "import sys; from repsr_deploy.cli.upscale import main; sys.exit(main())"
    return [sys.executable, "-c", script, *args]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_an_interrupt(here: Path) -> None:
    """What is done stays, what is under way is given up, and the report says which is which; then it goes on."""
    _write("in/a.png", "in/c.png")
    write_image(Path("in/b.png"), np.tile(IMAGE, (48, 48, 1)))
    args = ["in", "-o", "out", *MODEL, "-j", "1:1:1", "--report", "report.json"]
    with subprocess.Popen(_command(*args, "-t", "16", "-x"), stderr=subprocess.PIPE, text=True) as process:
        try:
            while not Path("out/a.png").exists():  # then the large one is being done
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert stderr == "repsr-upscale: error: interrupted\n"
    assert _files("out") == ["a.png"]
    report = _report()
    assert report["interrupted"]
    assert report["ended"] is not None
    assert [entry["status"] for entry in report["files"]] == ["done", "open", "open"]
    Path("in/b.png").unlink()
    assert main([*args, "--skip-existing"]) == 0
    assert [entry["status"] for entry in _report()["files"]] == ["skipped", "done"]
    assert _files("out") == ["a.png", "c.png"]


def test_the_bar(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it says how many are done and what limits, and is gone in the end; failures come after it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    _write("in/a.png", "in/b.png")
    Path("in/c.png").write_bytes(b"")
    assert main(["in", "-o", "out", *MODEL]) == 1
    bar, _, after = capsys.readouterr().err.rpartition("\x1b[2K")  # the line is cleared
    assert "3/3" in bar
    assert re.search(r"upscaling \((look|load|process|save) limits\)", bar)
    assert after.startswith("repsr-upscale: error: cannot read in/c.png: it is empty; expected ")
    assert after.count("\n") == 1


def test_videos_among_pictures(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By content: a film under a picture's name is one, and a picture under a film's name is none."""
    _write("in/a.png", "in/b/photo.png")
    Path("in/b/photo.png").rename("in/b/photo.mp4")
    for name in ("in/film.avi", "in/film.png"):
        with av.open(name, "w", format="avi") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"  # type: ignore[attr-defined]
            for _ in range(3):
                container.mux(stream.encode(av.VideoFrame(48, 32, "yuv420p")))  # type: ignore[attr-defined]
            container.mux(stream.encode(None))  # type: ignore[attr-defined]
    Path("in/film.png").rename("in/still.png")
    args = ["-r", "in", "-o", "out", *MODEL, "--codec", "ffv1", "--report", "report.json"]
    assert main([*args, "--compare"]) == 2
    assert "--compare shows pictures" in capsys.readouterr().err
    assert not Path("out").exists()
    assert main(args) == 0
    assert capsys.readouterr().out == "4 of 4 files written to out\n"
    assert _files("out") == ["a.png", "b/photo.png", "film.mkv", "still.mkv"]
    with av.open("out/film.mkv") as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(96, 64)] * 3
    assert [entry["status"] for entry in _report()["files"]] == ["done"] * 4
    assert main([*args, "--skip-existing"]) == 0
    assert capsys.readouterr().out == "0 of 4 files written to out, 4 already there\n"


def test_comparisons(here: Path) -> None:
    _write("in/a.png")
    assert main(["in", "-o", "out", *MODEL, "--compare"]) == 0
    assert _files("out") == ["a.compare.html", "a.compare.png", "a.difference.png", "a.png"]


def test_animations_and_stills(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [PIL.Image.fromarray(IMAGE[i : i + 20, i : i + 30]) for i in (0, 5, 9)]
    Path("in").mkdir()
    for name in ("a.gif", "b.webp", "c.png"):
        frames[0].save(f"in/{name}", save_all=True, append_images=frames[1:], duration=70)
    frames[0].save("in/still.gif")
    assert main(["in", "-o", "out", *MODEL]) == 0
    assert _files("out") == ["a.gif", "b.webp", "c.png", "still.png"]
    for name in ("a.gif", "b.webp", "c.png"):
        with PIL.Image.open(f"out/{name}") as image:
            assert (image.size, getattr(image, "n_frames", 1)) == ((60, 40), 3)
    assert read_image("out/still.png").shape[:2] == (40, 60)
    assert main(["in/a.gif", "-o", "out/a.jpg", *MODEL]) == 0
    assert "of the 3 frames of in/a.gif the first is written" in capsys.readouterr().err


def test_more_pixels_than_allowed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write("a.png")
    assert main(["a.png", "-o", "b.png", *MODEL, "--max-pixels", "1456"]) == 1
    assert "a.png claims 47 x 31 pixels; expected at most 1456 in all" in capsys.readouterr().err
    assert main(["a.png", "-o", "b.png", *MODEL, "--max-pixels", "0"]) == 0
