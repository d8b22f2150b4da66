"""The engine's library, made of the texts in `csrc` by whatever C++ compiler there is.

Needs nothing but the standard library, so that `setup.py` can load this file alone, before anything is installed.
`python -m repsr_kernels.cpu.build` puts the library beside this file.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

CSRC = Path(__file__).parent / "csrc"
LIBRARY = Path(__file__).parent / f"librepsr_engine.{'dylib' if sys.platform == 'darwin' else 'so'}"
"""Where the library lies that was made beside the sources, or came in a wheel."""
COMPILERS = ("g++", "clang++", "c++")
FLAGS = (
    "-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-pthread",
)  # fmt: skip
"""Of every text. Multiply-adds are fused where a text says so, and nowhere else: the same bits from every compiler."""
QUICK = ("-O1",)
"""Behind them of texts that compute nothing, which is known by what they include: compiled in half the time."""
TIME_LIMIT_S = 600
_EXPORTED = "repsr_*"
_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.MULTILINE)
_DIGEST = "REPSR_SOURCES"
_COMPUTES = "kernels.hpp"

Item = TypeVar("Item")
Result = TypeVar("Result")


class BuildError(Exception):
    """There is no compiler, or it fails: one line. All that it said is a note."""


class InstructionSet(NamedTuple):
    """What `isa_NAME.cpp` is compiled for."""

    name: str
    flags: tuple[str, ...]
    instruction: str
    """One that only it has: some compilers know a flag and call an assembler that does not."""


_AVX2 = ("-mavx2", "-mfma")
_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma")
_PORTABLE = InstructionSet("portable", (), "nop")
INSTRUCTION_SETS = {
    "x86_64": (
        _PORTABLE,
        InstructionSet("avx2", _AVX2, "vfmadd231ps %ymm0, %ymm1, %ymm2"),
        InstructionSet("avxvnni", (*_AVX2, "-mavxvnni"), "{vex} vpdpbusd %ymm0, %ymm1, %ymm2"),
        InstructionSet("avx512", _AVX512, "vpmaddwd %zmm0, %zmm1, %zmm2"),
        InstructionSet("avx512vnni", (*_AVX512, "-mavx512vnni"), "vpdpbusd %zmm0, %zmm1, %zmm2"),
        InstructionSet(
            "avx512bf16",
            (*_AVX512, "-mavx512vnni", "-mavx512vbmi", "-mavx512bf16"),
            "vdpbf16ps %zmm0, %zmm1, %zmm2",
        ),
    ),
    "aarch64": (
        _PORTABLE,
        InstructionSet("neon", (), "fmla v0.4s, v1.4s, v2.4s"),
        InstructionSet("neon_dotprod", ("-march=armv8.2-a+dotprod",), "sdot v0.4s, v1.16b, v2.16b"),
        InstructionSet("neon_bf16", ("-march=armv8.2-a+dotprod+bf16",), "bfdot v0.4s, v1.8h, v2.8h"),
    ),
}
"""By what the compiler makes programs for; others have the portable one."""
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A text that is compiled on its own."""

    name: str
    """`isa_avx2.cpp`"""
    flags: tuple[str, ...]
    texts: tuple[tuple[str, bytes], ...]
    """Names and contents of it and of everything in `csrc` that it includes: with the flags, all that its object
    depends on."""


class Build:
    """Sources as they were at one moment, and what one compiler makes of them.

    Args:
        sources: names and contents of the texts in `csrc`: `read_sources`.
        folder: an empty one, for copies of them. Whoever edits them meanwhile disturbs nothing.
        compiler: its command.

    Raises:
        BuildError: the compiler does not work.
    """

    def __init__(self, sources: Mapping[str, bytes], folder: Path, compiler: Sequence[str]) -> None:
        self.folder, self.compiler = folder, list(compiler)
        for name, text in sources.items():
            (folder / name).write_bytes(text)
        self.instruction_sets = self._supported(sources)
        """Those of the compiler and of the sources, slowest first."""
        self.units = self._units_of(sources)
        """What takes longest to compile comes first."""

    def compile(self, unit: Unit, made: Path) -> None:
        """Make the object of a unit.

        Raises:
            BuildError: the compiler refuses the text.
        """
        run([*self.compiler, *unit.flags, "-c", str(self.folder / unit.name), "-o", str(made)])

    def link(self, objects: Iterable[Path], made: Path) -> None:
        """Make the library of the units' objects. Only the C functions of `repsr_engine.h` can be seen from outside.

        Raises:
            BuildError: something is missing.
        """
        exports = self.folder / "exports"
        if sys.platform == "darwin":
            exports.write_text(f"_{_EXPORTED}\n")
            flags = [f"-Wl,-exported_symbols_list,{exports}"]
        else:
            exports.write_text(f"{{ global: {_EXPORTED}; local: *; }};\n")
            flags = [f"-Wl,--version-script,{exports}", "-Wl,--no-undefined", "-Wl,--gc-sections"]
        command = [*self.compiler, "-shared", "-pthread", *map(str, objects), *flags, "-o", str(made)]
        try:  # with the C++ library inside, so that it need not be as new where the library is brought
            run([*command, "-static-libstdc++", "-static-libgcc"])
        except BuildError:
            run(command)

    def _units_of(self, sources: Mapping[str, bytes]) -> list[Unit]:
        flags_of = {f"isa_{each.name}.cpp": (*FLAGS, *each.flags) for each in self.instruction_sets}
        there = tuple(f"-DREPSR_HAVE_{each.name.upper()}" for each in self.instruction_sets)
        units: list[Unit] = []
        for name in sources:
            if not name.endswith(".cpp") or (name.startswith("isa_") and name not in flags_of):
                continue
            texts = texts_of(name, sources)
            computes = any(each == _COMPUTES for each, _ in texts)
            flags = flags_of.get(name, (*FLAGS, *there) if computes else (*FLAGS, *there, *QUICK))
            if _DIGEST.encode() in sources[name]:  # only there, or every change would be one of every object
                flags = (*flags, f'-D{_DIGEST}="{digest_of(sources)}"')
            units.append(Unit(name=name, flags=flags, texts=texts))
        return sorted(units, key=lambda unit: (unit.name not in flags_of, unit.name))

    def _supported(self, sources: Mapping[str, bytes]) -> list[InstructionSet]:
        """Whatever the compiler and its assembler accept."""
        machine = run([*self.compiler, "-dumpmachine"]).partition("-")[0]
        known = INSTRUCTION_SETS.get(_MACHINES.get(machine, machine), (_PORTABLE,))
        self._assemble(_PORTABLE)  # says why, where nothing can be compiled
        written = [each for each in known if f"isa_{each.name}.cpp" in sources]
        return [each for each, accepted in zip(written, at_once(self._accepts, written), strict=True) if accepted]

    def _accepts(self, each: InstructionSet) -> bool:
        try:
            self._assemble(each)
        except BuildError:
            return False
        return True

    def _assemble(self, each: InstructionSet) -> None:
        probe = self.folder / f"probe_{each.name}.cc"
        probe.write_text(f'void probe() {{ asm volatile("{each.instruction}"); }}\n')
        run([*self.compiler, *FLAGS, *each.flags, "-c", str(probe), "-o", str(probe.with_suffix(".o"))])


def build(library: Path = LIBRARY, csrc: Path = CSRC, *, said: Callable[[str], object] = str) -> None:
    """Make the library, all of it anew; it appears whole or not at all.

    Args:
        said: is told what was made, line by line, with the time that it took.

    Raises:
        BuildError: no compiler, or it fails.
    """
    compiler = find_compiler()
    with tempfile.TemporaryDirectory(prefix="repsr-build-") as folder:
        work = Build(read_sources(csrc), Path(folder), compiler)
        said(f"{shlex.join(compiler)}: {', '.join(each.name for each in work.instruction_sets)}")

        def object_of(unit: Unit) -> Path:
            begun, made = time.monotonic(), Path(folder) / f"{unit.name}.o"
            work.compile(unit, made)
            said(f"{unit.name} {time.monotonic() - begun:.1f} s")
            return made

        objects = at_once(object_of, work.units)
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=library.parent) as beside:
            made = Path(beside) / library.name
            work.link(objects, made)
            made.replace(library)
    said(f"{library} {library.stat().st_size} bytes")


def load(library: Path) -> tuple[ctypes.CDLL, str]:
    """The library, and `sources_digest` of what it was made of.

    Raises:
        BuildError: it cannot be loaded here, or is something else.
    """
    try:
        loaded = ctypes.CDLL(str(library))
        loaded.repsr_sources.restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        raise BuildError(f"cannot load {library}: {error}") from error
    return loaded, loaded.repsr_sources().decode()


def read_sources(csrc: Path = CSRC) -> dict[str, bytes]:
    """Names and contents of the texts of the engine, in one order everywhere; none where the folder is not there."""
    return {path.name: path.read_bytes() for path in sorted(csrc.glob("*.[ch]*")) if path.is_file()}


def sources_digest(csrc: Path = CSRC) -> str:
    """What `repsr_sources()` of a library says that was made of these texts, with these flags: hexadecimal."""
    return digest_of(read_sources(csrc))


def digest_of(sources: Mapping[str, bytes]) -> str:
    """As `sources_digest`, of texts that were read."""
    return hashlib.sha256(repr((FLAGS, QUICK, INSTRUCTION_SETS, sorted(sources.items()))).encode()).hexdigest()


def find_compiler() -> list[str]:
    """The command of the C++ compiler: `CXX`, or the first of `COMPILERS` that is there.

    Raises:
        BuildError: there is none.
    """
    if chosen := shlex.split(os.environ.get("CXX", "")):
        if shutil.which(chosen[0]) is None:
            raise BuildError(f"CXX names {chosen[0]!r}, which is no program here; expected a C++ compiler")
        return chosen
    for name in COMPILERS:
        if found := shutil.which(name):
            return [found]
    raise BuildError(f"no C++ compiler: none of {', '.join(COMPILERS)} is on PATH; install one, or set CXX")


def run(command: Sequence[str], *, time_limit_s: float = TIME_LIMIT_S) -> str:
    """What a compiler says, on both outputs.

    Raises:
        BuildError: it fails, cannot be started, or takes longer.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise BuildError(f"cannot start {command[0]}: {error.strerror}") from error
    with process:
        try:
            said, _ = process.communicate(timeout=time_limit_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # what does the work are children of the compiler's
            if isinstance(error, subprocess.TimeoutExpired):
                raise BuildError(f"{command[0]} took longer than {time_limit_s} s; stopped") from error
            raise
    if process.returncode:
        error = BuildError(f"{command[0]} failed: {first_error(said) or f'exit code {process.returncode}'}")
        error.add_note(said)
        raise error
    return said


def first_error(said: str) -> str | None:
    """The first line about an error in what a compiler says."""
    lines = [line.strip() for line in said.splitlines()]
    return next((line for line in lines if "error" in line.lower() or "fatal" in line), None)


def at_once(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Results of a function that waits for other programs, called on as many items at a time as there are cores.

    Raises:
        Exception: what the function raises first; items that were not begun never are.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            return list(pool.map(function, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def texts_of(name: str, sources: Mapping[str, bytes]) -> tuple[tuple[str, bytes], ...]:
    """Names and contents of a text and of everything among the sources that it includes, directly or not."""
    found: dict[str, bytes] = {}
    left = [name]
    while left:
        each = left.pop()
        if each in sources and each not in found:
            found[each] = sources[each]
            left += [included.decode() for included in _INCLUDE.findall(sources[each])]
    return tuple(sorted(found.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the library, and say so line by line. Exit code 1 on failure."""
    parser = argparse.ArgumentParser(prog="python -m repsr_kernels.cpu.build", description=__doc__)
    parser.add_argument("--out", type=Path, default=LIBRARY, metavar="PATH", help=f"the library; otherwise {LIBRARY}")
    given = parser.parse_args(arguments)
    try:
        build(given.out, said=lambda line: sys.stdout.write(f"{line}\n"))
    except (BuildError, OSError) as error:
        sys.stderr.write("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
