"""The engine's library: what compilers are asked, what is compiled anew, what can be seen from outside."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from repsr_kernels.compile.host import host_library
from repsr_kernels.cpu import build, shared_library
from repsr_kernels.cpu.build import Build, BuildError, digest_of, read_sources

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

X86 = ["portable", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"]
NAMES = [each.name for known in build.INSTRUCTION_SETS.values() for each in known]
API = b'extern "C" __attribute__((visibility("default"))) '
SOURCES = {
    "api.cpp": b'#include "api.hpp"\n' + API + b"const char* repsr_sources() { return REPSR_SOURCES; }\n",
    "api.hpp": b'#pragma once\n  # include "deep.hpp"\n#include <cstdint>\n',
    "deep.hpp": b'#pragma once\n#include "kernels.hpp"\n#define DEEP 1\n',
    "kernels.hpp": b"",
    "other.cpp": b'#include "missing.h"\n',
    **{f"isa_{name}.cpp": b"" for name in NAMES},
}


def compiler(folder: Path, script: str) -> list[str]:
    """A compiler that does what a line of bash says before it is g++."""
    path = folder / "compiler"
    path.write_text(f'#!/usr/bin/env bash\n{script}\nexec g++ "$@"\n')
    path.chmod(0o755)
    return [str(path)]


def folder_of(sources: Mapping[str, bytes], path: Path) -> Path:
    path.mkdir()
    for name, text in sources.items():
        (path / name).write_bytes(text)
    return path


def made(folder: Path, command: list[str], sources: Mapping[str, bytes] = SOURCES) -> Build:
    path = folder / "work"
    path.mkdir()
    return Build(sources, path, command)


def names(work: Build) -> list[str]:
    return [each.name for each in work.instruction_sets]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", X86),
        ('[[ "$*" == *-mavxvnni* ]] && exit 1', [name for name in X86 if name != "avxvnni"]),
        ('[[ "$*" == *avx512bf16* ]] && exit 1', X86[:-1]),
        ('[[ "$*" == -dumpmachine ]] && { echo riscv64-linux-gnu; exit; }', ["portable"]),
        ('[[ "$*" == -dumpmachine ]] && { echo amd64-unknown-freebsd; exit; }', X86),
    ],
)
def test_instruction_sets_are_those_that_the_compiler_accepts(script: str, expected: list[str], tmp_path: Path) -> None:
    if "x86_64" not in build.run(["g++", "-dumpmachine"]):
        pytest.skip("a compiler for other processors")
    work = made(tmp_path, compiler(tmp_path, script))
    assert names(work) == expected
    isa = [unit.name for unit in work.units if unit.name.startswith("isa_")]
    assert sorted(isa) == sorted(f"isa_{name}.cpp" for name in expected)
    assert [unit.name for unit in work.units][len(isa) :] == ["api.cpp", "other.cpp"]  # behind what takes long


def test_an_assembler_that_knows_less_than_its_compiler(tmp_path: Path) -> None:
    if "x86_64" not in build.run(["g++", "-dumpmachine"]):
        pytest.skip("a compiler for other processors")
    assert names(made(tmp_path, ["g++", "-Wa,-march=generic64+avx2+fma"])) == ["portable", "avx2"]


def test_another_processor(tmp_path: Path) -> None:
    if shutil.which("aarch64-linux-gnu-g++") is None:
        pytest.skip("no aarch64-linux-gnu-g++")
    assert names(made(tmp_path, ["aarch64-linux-gnu-g++"])) == ["portable", "neon", "neon_dotprod", "neon_bf16"]


def test_flags_say_what_there_is(tmp_path: Path) -> None:
    sources = {name: text for name, text in SOURCES.items() if not name.startswith("isa_")} | {"isa_portable.cpp": b""}
    work = made(tmp_path, ["g++"], sources)
    flags = {unit.name: unit.flags for unit in work.units}
    digest = f'-DREPSR_SOURCES="{digest_of(sources)}"'
    assert flags["other.cpp"] == (*build.FLAGS, "-DREPSR_HAVE_PORTABLE", *build.QUICK)
    assert flags["api.cpp"] == (*build.FLAGS, "-DREPSR_HAVE_PORTABLE", digest)
    assert flags["isa_portable.cpp"] == build.FLAGS


def test_an_object_depends_on_what_its_text_includes(tmp_path: Path) -> None:
    texts = {unit.name: [name for name, _ in unit.texts] for unit in made(tmp_path, ["g++"]).units}
    assert texts["api.cpp"] == ["api.cpp", "api.hpp", "deep.hpp", "kernels.hpp"]
    assert texts["other.cpp"] == ["other.cpp"]


def test_the_digest_is_of_names_and_texts(tmp_path: Path) -> None:
    folder = folder_of({"b.hpp": b"2", "a.cpp": b"1"}, tmp_path / "csrc")
    first = build.sources_digest(folder)
    assert first == digest_of({"a.cpp": b"1", "b.hpp": b"2"})
    assert re.fullmatch("[0-9a-f]{64}", first)
    (folder / "notes.md").write_text("no text of a program")
    assert build.sources_digest(folder) == first
    others = (
        {"a.cpp": b"1", "b.hpp": b"3"},
        {"a.cpp": b"1", "c.hpp": b"2"},
        {"a.cpp": b"1"},
        {"a.cpp": b"12", "b.hpp": b""},
    )
    assert len({first, *map(digest_of, others)}) == 5


def test_the_digest_is_of_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    first = digest_of(SOURCES)
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-g"))
    assert digest_of(SOURCES) != first


def test_a_library_says_what_it_was_made_of_and_shows_only_its_functions(tmp_path: Path) -> None:
    hidden = b"#include <string>\nstd::string secret() { return std::to_string(7); }\n" + API + b"int more = 1;\n"
    csrc = folder_of({**SOURCES, "other.cpp": hidden}, tmp_path / "csrc")
    library, said = tmp_path / "new" / "library.so", list[str]()
    build.build(library, csrc, said=said.append)
    assert build.load(library)[1] == build.sources_digest(csrc)
    assert exported(library) == {"repsr_sources"}
    assert [path.name for path in library.parent.iterdir()] == ["library.so"]
    assert said[0].startswith(f"{shutil.which('g++')}: portable")
    assert {line.partition(" ")[0] for line in said[1:-1]} >= {"api.cpp", "other.cpp", "isa_portable.cpp"}
    assert said[-1] == f"{library} {library.stat().st_size} bytes"


def exported(library: Path) -> set[str]:
    listed = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in listed.splitlines()}


def test_the_engine_shows_the_functions_of_its_header_and_no_others() -> None:
    header = read_sources()["repsr_engine.h"].decode()
    declared = set(re.findall(r"^REPSR_API [^;(]*?(repsr_\w+)\(", header, re.MULTILINE))
    assert declared == shared_library.FUNCTIONS.keys()
    assert exported(Path(shared_library.library()._name)) == declared


def test_the_engine_needs_no_library_of_its_compiler() -> None:
    path = shared_library.library()._name
    listed = subprocess.run(["objdump", "-p", path], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"NEEDED +(\w+)", listed)
    assert needed
    assert not {"libstdc", "libgcc_s"} & set(needed)


STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "repsr_message": shared_library.Message,
    "repsr_description": shared_library.Description,
    "repsr_job": shared_library.Job,
}
CONSTANTS = {
    name: getattr(shared_library, name.removeprefix("REPSR_"))
    for name in (
        *("REPSR_OK", "REPSR_BAD_MODEL", "REPSR_NOT_PLAIN", "REPSR_BAD_ARGUMENT", "REPSR_UNSUPPORTED"),
        *("REPSR_OUT_OF_MEMORY", "REPSR_NOT_FINITE", "REPSR_BYTES", "REPSR_FLOATS", "REPSR_FEATURES"),
    )
}


def test_structures_and_numbers_are_those_of_the_header(tmp_path: Path) -> None:
    said: list[str] = []
    expected: list[int] = []
    for name, structure in STRUCTURES.items():
        fields = [field[0] for field in structure._fields_]
        said += [f"sizeof({name})", *(f"offsetof({name}, {field})" for field in fields)]
        expected += [ctypes.sizeof(structure), *(getattr(structure, field).offset for field in fields)]
    said += [*CONSTANTS, *(f"REPSR_{name}" for name in ("FP32", "BF16", "INT8", "NO_SKIP", "NEAREST", "BILINEAR"))]
    said += [*(f"REPSR_IO_{name}" for name in ("FLOAT", "IMAGE", "FEATURES")), "sizeof(repsr_status)"]
    expected += [*CONSTANTS.values(), *range(3), *range(3), *range(3), ctypes.sizeof(ctypes.c_int)]
    source = tmp_path / "layout.cpp"
    source.write_text(f'#include "repsr_engine.h"\nextern "C" const long layout[] = {{{", ".join(said)}}};\n')
    library = ctypes.CDLL(str(host_library([source], flags=[f"-I{build.CSRC}"])))
    assert list((ctypes.c_long * len(expected)).in_dll(library, "layout")) == expected


def test_a_text_that_is_refused(tmp_path: Path) -> None:
    csrc = folder_of({**SOURCES, "other.cpp": b"int f() { return y; }\n"}, tmp_path / "csrc")
    library = tmp_path / "library.so"
    library.write_text("of before")
    with pytest.raises(BuildError, match=r"g\+\+ failed: .*other.cpp:1:\d+: error: .*y.* was not declared") as caught:
        build.build(library, csrc)
    assert "return y;" in caught.value.__notes__[0]
    assert library.read_text() == "of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["csrc", "library.so"]


def test_a_function_that_is_nowhere_is_missed_when_linking(tmp_path: Path) -> None:
    text = b"int nowhere();\n" + API + b"int repsr_call() { return nowhere(); }\n"
    csrc = folder_of({**SOURCES, "other.cpp": text}, tmp_path / "csrc")
    with pytest.raises(BuildError, match="undefined reference to `nowhere"):
        build.build(tmp_path / "library.so", csrc)


def test_a_compiler_that_refuses_everything(tmp_path: Path) -> None:
    script = '[[ "$*" == -dumpmachine ]] || { echo "fatal: no licence"; exit 1; }'
    with pytest.raises(BuildError, match="compiler failed: fatal: no licence"):
        made(tmp_path, compiler(tmp_path, script))


def test_compilers_are_looked_for_by_these_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BuildError, match=r"no C\+\+ compiler: none of g\+\+, clang\+\+, c\+\+ is on PATH; install one"):
        build.find_compiler()
    for name in ("c++", "clang++", "g++"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
        assert build.find_compiler() == [str(tmp_path / name)]
    monkeypatch.setenv("CXX", "c++ -g0")
    assert build.find_compiler() == ["c++", "-g0"]
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BuildError, match="CXX names 'no-such-compiler', which is no program here"):
        build.find_compiler()


def test_the_command_says_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "false")
    assert build.main(["--out", str(tmp_path / "library.so")]) == 1
    assert capsys.readouterr().err == "error: false failed: exit code 1\n\n"
    assert not list(tmp_path.iterdir())


def test_what_was_not_begun_when_something_fails_never_is() -> None:
    begun: list[int] = []

    def fail(number: int) -> None:
        begun.append(number)
        time.sleep(0.02)
        raise BuildError(str(number))

    with pytest.raises(BuildError, match="0"):
        build.at_once(fail, range(1000))
    assert len(begun) <= 3 * (os.cpu_count() or 1)
