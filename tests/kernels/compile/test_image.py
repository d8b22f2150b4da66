"""Images of kernels: from the cache, from nvcc, from NVRTC, made ahead of time; or an error that names all causes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from repsr_kernels.compile import Image, compile_ahead, compiled
from repsr_kernels.compile import image as image_module
from repsr_kernels.compile.__main__ import main
from repsr_kernels.compile.program import CompileError
from repsr_kernels.compile.toolkit import ARCHITECTURES, Compiler
from repsr_kernels.errors import RuntimeUnavailableError
from repsr_kernels.variants import fused_variant, preprocess_variant

VARIANT = preprocess_variant(out="fp16", planar=True, video=0, padding=1)


class Copier:
    """A compiler that copies the text: what is asked of it is seen in what it makes."""

    def __init__(self, name: str = "copier 13.0", architectures: tuple[int, ...] = (75, 90)) -> None:
        self.name, self.identity, self.toolkit, self.architectures = name, name, (13, 0), architectures
        self.targets: list[str] = []
        self.refuses = False

    def compile(self, text: str, name: str, target: str) -> bytes:
        """As `toolkit.Compiler`."""
        self.targets.append(target)
        if self.refuses:
            raise CompileError(f"{self.name} refuses {name}")
        return text.encode() + b"\n\x00 of " + self.name.encode()


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copier:
    """The only compiler, an empty cache, and texts of kernels that nobody changes meanwhile."""
    monkeypatch.setattr(image_module, "CSRC", tmp_path)
    monkeypatch.setenv("REPSR_CACHE", str(tmp_path / "cache"))
    only = Copier()
    have(monkeypatch, only)
    return only


def have(monkeypatch: pytest.MonkeyPatch, *compilers: Compiler | str) -> None:
    """Let these be the compilers of this machine; a text is why one is missing."""

    def finder(compiler: Compiler | str) -> Compiler:
        if isinstance(compiler, str):
            raise RuntimeUnavailableError(compiler)
        return compiler

    finders = tuple(lambda each=each: finder(each) for each in compilers)
    monkeypatch.setattr(image_module, "_COMPILERS", finders)


def test_an_image_is_made_once_for_each_gpu(first: Copier) -> None:
    image = compiled(VARIANT, 90)
    assert image == Image(
        data=VARIANT.text.encode() + b"\n\x00 of copier 13.0", target="sm_90", compiler="copier 13.0", toolkit=(13, 0)
    )
    assert compiled(VARIANT, 90) == image
    assert compiled(VARIANT, 75).target == "sm_75"
    assert first.targets == ["sm_90", "sm_75"]


def test_text_for_a_gpu_to_come_ends_with_zero(first: Copier) -> None:
    image = compiled(VARIANT, 130)
    assert image.target == "compute_90"
    assert image.data.endswith(b" of copier 13.0\0")


def test_another_compiler_or_text_makes_another_image(first: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled(VARIANT, 90)
    have(monkeypatch, Copier("copier 13.1"))
    assert compiled(VARIANT, 90).compiler == "copier 13.1"
    other = preprocess_variant(out="fp16", planar=True, video=0, padding=2)
    assert compiled(other, 90).data != compiled(VARIANT, 90).data


def test_another_text_of_a_kernel_makes_another_image(first: Copier, tmp_path: Path) -> None:
    for text in ("first", "second", "first"):
        (tmp_path / "common.cuh").write_text(text)
        compiled(VARIANT, 90)
    assert len(first.targets) == 2


def test_the_second_compiler_where_the_first_fails(
    first: Copier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first.refuses = True
    have(monkeypatch, "no zeroth one", first, Copier("other 12.9"))
    with caplog.at_level(logging.INFO, "repsr_kernels"):
        assert compiled(VARIANT, 90).compiler == "other 12.9"
    assert f"because: no zeroth one; copier 13.0 refuses {VARIANT.name}" in caplog.text
    compiled(VARIANT, 90)
    assert first.targets == ["sm_90"]  # what failed is not tried again


def test_all_causes_are_named(first: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, "no nvcc: none on PATH", "no NVRTC (nothing of that name)")
    message = (
        r"cannot compile preprocess: no nvcc: none on PATH; no NVRTC \(nothing of that name\); or run `python -m "
        r"repsr_kernels.compile` where there is a compiler, and bring its cache folder here"
    )
    with pytest.raises(RuntimeUnavailableError, match=message):
        compiled(VARIANT, 90)
    with pytest.raises(RuntimeUnavailableError, match=message):
        compile_ahead(VARIANT, "sm_90")


def test_what_was_made_ahead_needs_no_compiler(first: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compile_ahead(VARIANT, "sm_90")
    have(monkeypatch, "no compiler")
    assert compiled(VARIANT, 90).compiler == "copier 13.0"
    with pytest.raises(RuntimeUnavailableError):
        compiled(VARIANT, 75)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RuntimeUnavailableError):
        compiled(VARIANT, 90)


def test_ahead_again_by_another_compiler(first: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compile_ahead(VARIANT, "sm_90")
    have(monkeypatch, Copier("copier 13.1"))
    assert compiled(VARIANT, 90).compiler == "copier 13.0"
    assert compile_ahead(VARIANT, "sm_90") == path
    assert compiled(VARIANT, 90).compiler == "copier 13.1"


def test_universal_text_stands_in_for_missing_machine_code(first: Copier, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ahead(VARIANT, image_module.UNIVERSAL)
    have(monkeypatch, "no compiler")
    assert [compiled(VARIANT, number).target for number in (75, 90, 130)] == ["compute_75"] * 3


def test_the_command(first: Copier, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    variants = [VARIANT, preprocess_variant(out="fp32", planar=False, video=8, padding=1)]
    monkeypatch.setattr("repsr_kernels.compile.__main__.usual_variants", lambda: variants)
    assert main(["--arch", "90", "75", "--jobs", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("[1/4, ")
    assert sum(f"ahead-{VARIANT.name}-sm_90-" in line for line in lines) == 1
    assert lines[-1].startswith("4 images in ")
    assert main([]) == 0
    everything = [*(f"sm_{number}" for number in ARCHITECTURES), "compute_75"]
    assert sorted(first.targets) == sorted(everything * 2)  # what the first command made was not made again
    have(monkeypatch, "no compiler")
    assert compiled(variants[1], 120).target == "sm_120"
    assert compiled(variants[1], 121).target == "compute_75"


def test_the_command_fails_with_a_line(
    first: Copier, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    have(monkeypatch, "no nvcc", "no NVRTC")
    assert main(["--arch", "90"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("cannot compile ")
    assert captured.err.count("\n") == 1


def test_a_real_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nvcc_here: Compiler) -> None:
    monkeypatch.setenv("REPSR_CACHE", str(tmp_path))
    variant = fused_variant(
        scale=4, channels=1, features="fp16", planar=True, skip=0, image=None, out="uint8", video=0
    )  # fmt: skip
    image = compiled(variant, 90)
    assert image.compiler == nvcc_here.name
    assert f".text.{variant.name}\0".encode() in image.data
