"""Libraries for this processor: compiled once, again when anything has changed that they come from."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest

from repsr_kernels.compile.host import host_compiler, host_library
from repsr_kernels.compile.program import CompileError
from repsr_kernels.errors import RuntimeUnavailableError

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library that adds a number from a header beside it, in a cache of its own."""
    monkeypatch.setenv("REPSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "number.h").write_text("#pragma once\n#define NUMBER 40\n")
    path = folder / "adder.cpp"
    path.write_text('#include "number.h"\n#include "params.cuh"\nextern "C" int add(int x) { return x + NUMBER; }\n')
    return path


def add(library: Path, number: int) -> int:
    return ctypes.CDLL(str(library)).add(number)


def test_a_library_is_compiled_once_and_runs(source: Path) -> None:
    library = host_library([source])
    assert add(library, 2) == 42
    assert library.name.startswith("adder-")
    made = library.stat().st_mtime_ns
    assert host_library([source]) == library
    assert library.stat().st_mtime_ns == made


def test_a_change_of_the_text_or_of_a_header_is_seen(source: Path) -> None:
    first = host_library([source])
    (source.parent / "number.h").write_text("#pragma once\n#define NUMBER 400\n")
    second = host_library([source])
    assert (add(first, 2), add(second, 2)) == (42, 402)
    source.write_text(source.read_text().replace("x + NUMBER", "x - NUMBER"))
    assert add(host_library([source]), 2) == -398


def test_flags_and_the_texts_of_their_folders_count(source: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    header = tmp_path / "more" / "more.h"
    header.write_text("#define MORE 1")
    source.write_text('#include "more.h"\nextern "C" int add(int x) { return x + MORE * TIMES; }\n')
    flags = [f"-I{header.parent}", "-DTIMES=3"]
    first = host_library([source], flags=flags)
    header.write_text("#define MORE 2")
    second = host_library([source], flags=flags)
    third = host_library([source], flags=[flags[0], "-DTIMES=5"])
    assert [add(library, 0) for library in (first, second, third)] == [3, 6, 10]


def test_products_are_not_contracted(source: Path) -> None:
    """x * x less what it is rounded to: 0 without fused multiply-adds, the rounding error with them."""
    source.write_text('extern "C" float error(float x, float square) { return x * x - square; }\n')
    x = np.float32(1.0000001)

    def error_of(library: Path) -> float:
        function = ctypes.CDLL(str(library)).error
        function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float, ctypes.c_float]
        return function(x, x * x)

    assert error_of(host_library([source])) == 0
    if " fma " in Path("/proc/cpuinfo").read_text():
        assert error_of(host_library([source], flags=["-ffp-contract=fast"])) != 0


def test_a_text_that_is_refused_is_said_at_once_the_second_time(source: Path) -> None:
    source.write_text("int add(int x) { return y; }\n")
    with pytest.raises(CompileError, match=r"g\+\+ failed: .*adder.cpp:1:\d+: error: .*y.* was not declared") as caught:
        host_library([source])
    assert "return y;" in caught.value.__notes__[0]
    with pytest.raises(RuntimeUnavailableError, match="was not declared"):
        host_library([source])
    source.write_text('extern "C" int add(int x) { return x; }\n')
    assert add(host_library([source]), 1) == 1


def test_the_compiler_that_the_environment_names(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = host_library([source])
    monkeypatch.setenv("CXX", "g++ -fno-fast-math")
    assert host_compiler() == ["g++", "-fno-fast-math"]
    assert host_library([source]) != first
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RuntimeUnavailableError, match="CXX names 'no-such-compiler', which is no program here"):
        host_library([source])


def test_no_compiler(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeUnavailableError, match=r"none of g\+\+, clang\+\+, c\+\+ is on PATH; install one"):
        host_library([source])


def test_the_package_stays_as_it_is(source: Path) -> None:
    import repsr_kernels

    package = Path(repsr_kernels.__file__).parent
    before = sorted(package.rglob("*.so")), sorted((package / "csrc").iterdir())
    host_library([source])
    assert (sorted(package.rglob("*.so")), sorted((package / "csrc").iterdir())) == before
