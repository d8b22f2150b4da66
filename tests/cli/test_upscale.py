"""`repsr-upscale` as people run it: what it writes, and one clear line and the right exit code when it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from repsr_deploy.bench.upscaling import peak_memory_bytes
from repsr_deploy.cli.upscale import main
from repsr_deploy.imaging.image_file import read_image, write_image
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import choose, open_runtime
from repsr_deploy.weights import bundled_names
from repsr_kernels.cache_dir import cache_dir
from tests.runtimes.models import plain_model, spec_of

IMAGE = skimage.data.coffee()[100:163, 200:281]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for all tests of this file: their model is measured once."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "kernels").symlink_to(cache_dir("kernels"))  # what was compiled is no choice
    return folder


@pytest.fixture
def here(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image, a model, and what is neither."""
    monkeypatch.setenv("REPSR_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    write_image(Path("a.png"), IMAGE)
    Path("m.onnx").write_bytes(plain_model(spec_of()).SerializeToString())
    Path("empty.png").write_bytes(b"")
    Path("text.png").write_bytes(b"not an image\n")
    Path("cut.png").write_bytes(Path("a.png").read_bytes()[:2000])
    return tmp_path


def _files(folder: Path) -> list[str]:
    return sorted(entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if entry.is_file())


def test_one_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a.png", "-o", "new/größer.png", "-m", "m.onnx", "-t", "32"]) == 0
    np.testing.assert_array_equal(read_image(here / "new" / "größer.png"), Upscaler(here / "m.onnx").upscale(IMAGE))
    captured = capsys.readouterr()
    assert captured.out == "written new/größer.png\n"
    assert captured.err == ""


def test_names_of_other_tools(here: Path) -> None:
    assert main(["-i", "a.png", "-o", "b.png", "-n", "m.onnx", "--outscale", "3"]) == 0
    assert read_image(here / "b.png").shape == (189, 243, 3)


def test_a_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "in").mkdir()
    shutil.copy("a.png", "in/a.png")
    write_image(Path("in/b.jpg"), IMAGE)
    Path("in/notes.txt").write_text("x")
    assert main(["in", "-o", "out", "-m", "m.onnx", "--ext", "webp", "--suffix", "x2", "-v"]) == 0
    assert _files(here / "out") == ["a_x2.webp", "b_x2.webp"]
    captured = capsys.readouterr()
    assert captured.out == "2 of 2 images written to out, 1 other files skipped\n"
    assert "in/a.png 81x63 -> out/a_x2.webp 162x126 in" in captured.err


def test_the_runtime_is_chosen_and_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a.png", "-o", "auto.png", "-m", "m.onnx", "-v"]) == 0
    choice = choose(here / "m.onnx")
    assert f"repsr-upscale: info: m.onnx runs in {choice.reason}\n" in capsys.readouterr().err
    np.testing.assert_array_equal(read_image(here / "auto.png"), Upscaler(choice.runtime).upscale(IMAGE))
    assert main(["a.png", "-o", "b.png", "-m", "m.onnx", "--runtime", "onnxruntime", "--precision", "fp32", "-v"]) == 0
    assert " runs in " not in capsys.readouterr().err
    expected = Upscaler(open_runtime(here / "m.onnx", "onnxruntime")).upscale(IMAGE)
    np.testing.assert_array_equal(read_image(here / "b.png"), expected)


def test_an_existing_output_is_overwritten(here: Path) -> None:
    shutil.copy("text.png", "b.png")
    assert main(["a.png", "-o", "b.png", "-m", "m.onnx"]) == 0
    assert read_image(here / "b.png").shape == (126, 162, 3)


@pytest.mark.skipif("photo-x4" not in bundled_names(), reason="photo-x4 is not bundled yet")
def test_the_model_follows_the_factor(here: Path) -> None:
    for factor, name in (("1.5", "photo-x2"), ("2", "photo-x2"), ("2.5", "photo-x4"), ("4", "photo-x4")):
        assert main(["a.png", "-o", "b.png", "-s", factor, "--runtime", "onnxruntime"]) == 0
        expected = Upscaler(name, runtime="onnxruntime").upscale(IMAGE, factor=float(factor))
        np.testing.assert_array_equal(read_image(here / "b.png"), expected)


BAD_USAGE = [
    ([], "no INPUT is given"),
    (["a.png"], "no output is given; name a file or a folder with -o"),
    (["a.png", "-o", "b.png", "-m", "photo-x9"], "no model 'photo-x9'"),
    (["a.png", "-o", "b.png", "-s", "0"], "factor is 0; expected a number above 0, at most 16"),
    (["a.png", "-o", "b.png", "-s", "17"], "factor is 17"),
    (["a.png", "-o", "b.png", "-s", "nan"], "factor is nan"),
    (["a.png", "-o", "b.png", "-s", "two"], "'--scale'"),
    (["a.png", "-o", "b.png", "-t", "8"], "tile is 8 pixels; expected at least 16"),
    (["a.png", "-o", "b.png", "-t", "-16"], "tile is -16 pixels"),
    (["a.png", "-o", "b.png", "--threads", "0"], "'--threads'"),
    (["a.png", "-o", "b.png", "--quality", "101"], "'--quality'"),
    (["a.png", "-o", "b.png", "--runtime", "torch"], "unknown runtime 'torch'; expected auto or one of onnxruntime, "),
    (["a.png", "-o", "b.png", "--precision", "fp8"], "'--precision'"),
    (["a.png", "-o", "b.gif"], "extension '.gif'; expected one of .png, .jpg, .jpeg, "),
    (["a.png", "-o", "b"], "end it with / to make it one"),
    (["a.png", "-o", "b/", "--ext", "gif"], "extension is 'gif'"),
    (["a.png", "text.png", "-o", "b.png"], "is a file, but the inputs may be several"),
    (["a.png", "-o", "a.png"], "a.png is the input a.png itself"),
    (["a.png", "-o", "."], "a.png is the input a.png itself"),
    (["a.png", "sub/a.png", "-o", "out"], "would both be written to out/a.png"),
    (["a.png", "-o", "b.png", "--frobnicate"], "--frobnicate"),
]

FAILURES = [
    (["none.png", "-o", "b.png"], "none.png does not exist; expected an image file"),
    (["empty.png", "-o", "b.png"], "cannot read empty.png: it is empty; expected "),
    (["text.png", "-o", "b.png"], "cannot read text.png: it starts with b'not an i'; expected a PNG"),
    (["cut.png", "-o", "b.png"], "cannot read cut.png: it is cut off after 2000 bytes"),
    (["a.png", "-o", "b.png", "-m", "a.png"], "a.png is not a complete ONNX model"),
    (["a.png", "-o", "b.png", "-m", "empty.png"], "empty.png is empty; expected an .onnx file"),
    (["a.png", "-o", "b.png", "-m", "net.safetensors"], "fold and export it first: `repsr-fuse export net.safetensors"),
    (["a.png", "-o", "b.png", "-m", "."], ". is a folder; expected an .onnx file"),
    (
        ["a.png", "-o", "b.png", "--precision", "int8"],
        "no runtime computes m.onnx in int8; here are onnxruntime in fp32",
    ),
    (
        ["a.png", "-o", "b.png", "--runtime", "onnxruntime", "--precision", "bf16"],
        "runtime onnxruntime computes Plain-M2C8, a fp32 model, in fp32 on this machine, not in bf16",
    ),
    (["hollow", "-o", "out"], "folder hollow holds no image or video (0 other files)"),
    (["a.png", "-o", "text.png/b.png"], "cannot write text.png/b.png"),
]


@pytest.mark.parametrize(
    ("args", "words", "code"),
    [(*case, 2) for case in BAD_USAGE] + [(*case, 1) for case in FAILURES],
    ids=[" ".join(args) for args, _ in BAD_USAGE + FAILURES],
)
def test_one_clear_line(here: Path, args: list[str], words: str, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "hollow").mkdir()
    (here / "net.safetensors").write_bytes(b"x")
    before = _files(here)
    usual = [] if "-m" in args else ["-m", "m.onnx"]
    assert main([*args, *usual]) == code
    captured = capfd.readouterr()
    assert captured.err.startswith("repsr-upscale: error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert _files(here) == before


def test_in_a_batch_the_others_are_done(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["cut.png", "a.png", "none.png", "text.png", "-o", "out", "-m", "m.onnx"]) == 1
    captured = capfd.readouterr()
    assert [line.split(": ")[1:3] for line in captured.err.splitlines()] == [
        ["error", "cannot read cut.png"],
        ["error", "none.png does not exist; expected an image file"],
        ["error", "cannot read text.png"],
    ]
    assert captured.out == "1 of 4 images written to out, 3 failed\n"
    assert _files(here / "out") == ["a.png"]


def test_a_link_to_the_input_is_the_input(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "link.png").symlink_to("a.png")
    assert main(["a.png", "-o", "link.png", "-m", "m.onnx"]) == 2
    assert "link.png is the input a.png itself" in capsys.readouterr().err
    np.testing.assert_array_equal(read_image(here / "a.png"), IMAGE)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for words in (
        "repsr-upscale photo.jpg -o large.png",
        "--tile",
        "--runtime",
        "--precision",
        "--skip-existing",
        "Quality of JPEG, WebP",
    ):
        assert words in text


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
def test_24_megapixels_within_2_gigabytes(here: Path) -> None:
    """Decoding, upscaling x2 and encoding of 6000 x 4000 pixels, by the process's own peak of resident memory."""
    Path("m16.onnx").write_bytes(plain_model(spec_of(2, 1, 16)).SerializeToString())
    photograph = skimage.data.coffee()
    write_image(here / "large.jpg", np.tile(photograph, (10, 10, 1)))
    peak_bytes = peak_memory_bytes(Path("large.jpg"), Path("out.png"), "m16.onnx")
    assert peak_bytes < 2 * 10**9, f"{peak_bytes / 1e9:.2f} GB"
