"""nvcc and NVRTC: both make images of one text, and say what they refuse."""

from __future__ import annotations

import re
import stat
import sys
import time
from pathlib import Path

import pytest

from repsr_kernels.compile import nvcc as nvcc_module
from repsr_kernels.compile import nvrtc as nvrtc_module
from repsr_kernels.compile import program as program_module
from repsr_kernels.compile.nvcc import Nvcc, find_nvcc
from repsr_kernels.compile.nvrtc import Nvrtc
from repsr_kernels.compile.program import CompileError
from repsr_kernels.compile.toolkit import ARCHITECTURES, Compiler, target_among, target_of
from repsr_kernels.errors import RuntimeUnavailableError
from repsr_kernels.variants import Variant, usual_variants

TEXT = """#include "params.cuh"
extern "C" __global__ void product(const repsr::Preprocess params) {
    float* out = static_cast<float*>(params.out.data);
    out[threadIdx.x] = params.low * out[threadIdx.x] + params.span;
}
"""


@pytest.fixture(params=["nvcc", "nvrtc"])
def compiler(request: pytest.FixtureRequest) -> Compiler:
    return request.getfixturevalue(f"{request.param}_here")


def test_machine_code_for_every_gpu(compiler: Compiler) -> None:
    assert set(ARCHITECTURES) <= set(compiler.architectures)
    for architecture in (ARCHITECTURES[0], ARCHITECTURES[-1]):
        image = compiler.compile(TEXT, "product", target_of(architecture, compiler))
        assert image.startswith(b"\x7fELF")
        assert b".text.product\0" in image


def test_text_for_gpus_to_come(compiler: Compiler) -> None:
    newest = max(compiler.architectures)
    target = target_of(newest + 10, compiler)
    assert target == f"compute_{newest}"
    image = compiler.compile(TEXT, "product", target).decode()
    assert f".target sm_{newest}" in image
    assert ".entry product(" in image


def test_products_are_not_contracted(compiler: Compiler) -> None:
    image = compiler.compile(TEXT, "product", "compute_75").decode()
    assert re.search(r"\bmul\.f(tz\.)?f?32|\bmul(\.rn)?\.f32", image)
    assert "fma" not in image


def test_what_is_refused(compiler: Compiler) -> None:
    with pytest.raises(CompileError, match=r'failed: .*product.cu\(4\): error: .*"lowest"') as caught:
        compiler.compile(TEXT.replace("params.low", "params.lowest"), "product", "sm_80")
    assert "params.lowest * out" in caught.value.__notes__[0]
    with pytest.raises(CompileError, match=f"{compiler.name[:4]}.* failed: .*arch"):
        compiler.compile(TEXT, "product", "sm_10")


def test_a_compiler_says_who_it_is(compiler: Compiler) -> None:
    major, minor = compiler.toolkit
    assert major >= 12
    assert compiler.name in (f"nvcc {major}.{minor}", f"NVRTC {major}.{minor}")
    assert f"{major}.{minor}" in compiler.identity


def test_targets() -> None:
    known = (75, 80, 89)
    assert [target_among(number, known, "it") for number in (75, 89)] == ["sm_75", "sm_89"]
    assert [target_among(number, known, "it") for number in (86, 90, 121)] == ["compute_80", "compute_89", "compute_89"]
    with pytest.raises(
        RuntimeUnavailableError, match=r"it does not know GPUs as old as compute capability 7.0; .* 7.5"
    ):
        target_among(70, known, "it")


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment without any compiler."""
    for name in ("CUDA_HOME", "CUDA_PATH", "CUDA_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(nvcc_module, "_USUAL", tmp_path / "usual" / "bin" / "nvcc")
    monkeypatch.setattr(nvrtc_module, "NAMES", ("libnvrtc.so.99",))
    return tmp_path


def test_where_nvcc_is_looked_for(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"no nvcc: none in PATH, .*usual/bin; install a CUDA toolkit"):
        find_nvcc()
    usual = program(nowhere / "usual" / "bin" / "nvcc", "exit 0")
    assert find_nvcc() == str(usual)
    on_path = program(nowhere / "empty" / "nvcc", "exit 0")
    assert find_nvcc() == str(on_path)
    for name in ("CUDA_ROOT", "CUDA_PATH", "CUDA_HOME"):  # the later ones come first
        folder = nowhere / name
        monkeypatch.setenv(name, str(folder))
        assert find_nvcc() != str(folder / "bin" / "nvcc")
        program(folder / "bin" / "nvcc", "exit 0")
        assert find_nvcc() == str(folder / "bin" / "nvcc")


def test_an_nvcc_that_does_not_work(nowhere: Path) -> None:
    broken = program(nowhere / "nvcc", "echo 'nvcc fatal: it is broken'; exit 3")
    with pytest.raises(CompileError, match="nvcc failed: nvcc fatal: it is broken"):
        Nvcc(str(broken))
    silent = program(nowhere / "silent", "exit 3")
    with pytest.raises(CompileError, match="silent failed: exit code 3"):
        Nvcc(str(silent))
    other = program(nowhere / "other", "echo something else")
    with pytest.raises(CompileError, match="does not say which release it is: something else"):
        Nvcc(str(other))


def test_a_compiler_that_takes_too_long(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that it started are stopped with it."""
    trace = nowhere / "trace"
    slow = program(nowhere / "slow", f"/bin/sh -c '/bin/sleep 0.8; echo late > {trace}' & wait")
    monkeypatch.setattr(program_module, "TIME_LIMIT_S", 0.2)
    with pytest.raises(CompileError, match=r"slow took longer than 0.2 s; stopped"):
        program_module.run([str(slow)])
    time.sleep(1)
    assert not trace.exists()


def test_no_nvrtc(nowhere: Path) -> None:
    message = (
        r"no NVRTC \(libnvrtc.so.99: cannot open.*; install nvidia-cuda-nvrtc \(CUDA 13\) or nvidia-cuda-nvrtc-cu12"
    )
    with pytest.raises(RuntimeUnavailableError, match=message):
        nvrtc_module.nvrtc()


@pytest.mark.parametrize("place", ["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib", "torch/lib", "toolkit/lib64"])
def test_where_nvrtc_is_looked_for(nowhere: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """The loader of programs is given the file: what it says of one that is no library names it."""
    file = nowhere / place / ("libnvrtc-0123abcd.so.99" if place == "torch/lib" else "libnvrtc.so.99")
    file.parent.mkdir(parents=True)
    file.write_text("no library")
    (file.parent / "libnvrtc-builtins.so.99").write_text("no library")
    for package in ("nvidia", "torch"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    (nowhere / "torch").mkdir(exist_ok=True)
    (nowhere / "torch" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(nowhere)])
    monkeypatch.setenv("CUDA_HOME", str(nowhere / "toolkit"))
    with pytest.raises(RuntimeUnavailableError) as caught:
        nvrtc_module.nvrtc()
    assert f"{file}: " in str(caught.value)
    assert "builtins" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [usual_variants()[0], usual_variants()[-1]])
def test_kernels_need_no_standard_library(nvrtc_here: Nvrtc, variant: Variant) -> None:
    """NVRTC comes without one, and does not know all that nvcc knows."""
    assert f".text.{variant.name}\0".encode() in nvrtc_here.compile(variant.text, variant.name, "sm_90")


def test_an_nvrtc_is_loaded_once(nvrtc_here: Nvrtc, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nvrtc_here.identity.split()[0]
    monkeypatch.setattr(nvrtc_module, "NAMES", (path,))
    assert nvrtc_module.nvrtc() is nvrtc_here
