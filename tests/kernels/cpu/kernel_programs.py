"""The kernels' objects as the engine has them, and `kernels_check.cpp` with them as one program."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from repsr_kernels.compile.cache import Entry, cached, key_of
from repsr_kernels.compile.host import host_compiler
from repsr_kernels.compile.program import answer
from repsr_kernels.cpu import build

HERE = Path(__file__).parent
CHECK = HERE / "kernels_check.cpp"


def kernel_objects() -> dict[str, Path]:
    """Objects of all instruction sets that the compiler knows, by name. The engine's cache has them if it was used."""
    compiler = host_compiler()
    identity = (compiler, shutil.which(compiler[0]), answer(*compiler, "--version"))
    with tempfile.TemporaryDirectory(prefix="repsr-kernels-") as folder:
        work = build.Build(build.read_sources(), Path(folder), compiler)

        def object_of(unit: build.Unit) -> Path:
            entry = Entry(prefix=f"engine-{Path(unit.name).stem}", key=key_of(identity, unit), suffix=".o")
            return cached(entry, lambda path: work.compile(unit, path))

        units = [unit for unit in work.units if unit.name.startswith("isa_")]
        return {
            Path(unit.name).stem.removeprefix("isa_"): made
            for unit, made in zip(units, build.at_once(object_of, units), strict=True)
        }


def check_program(objects: Mapping[str, Path]) -> Path:
    """The program with these instruction sets, from the cache."""
    texts = build.read_sources() | {path.name: path.read_bytes() for path in (CHECK, *sorted(HERE.glob("*.hpp")))}
    check = _compiled(CHECK.name, texts, ("-O1", "-Wall", "-Wextra", "-Wshadow"))
    processor = _compiled("processor.cpp", texts, [f"-DREPSR_HAVE_{name.upper()}" for name in sorted(objects)])
    parts, compiler = [check, processor, *objects.values()], host_compiler()
    key = key_of(compiler, answer(*compiler, "--version"), [part.read_bytes() for part in parts])

    def make(path: Path) -> None:
        build.run([*compiler, *map(str, parts), "-o", str(path)])

    return cached(Entry(prefix="kernels_check", key=key, suffix=""), make)


def _compiled(name: str, texts: Mapping[str, bytes], flags: Sequence[str]) -> Path:
    """The object of one text among these, from the cache."""
    compiler = host_compiler()
    command = [*compiler, "-std=c++17", "-ffp-contract=off", *flags]

    def make(path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="repsr-kernels-") as folder:
            for each, text in texts.items():
                (Path(folder) / each).write_bytes(text)
            build.run([*command, "-c", f"{folder}/{name}", "-o", str(path)])

    headers = [text for each, text in sorted(texts.items()) if each.endswith((".hpp", ".h"))]
    key = key_of(command, answer(*compiler, "--version"), texts[name], headers)
    return cached(Entry(prefix=f"check-{Path(name).stem}", key=key, suffix=".o"), make)


def planted_object(name: str, file: str, right: str, wrong: str, folder: Path) -> Path:
    """The object of an instruction set, quickly compiled, with an error in one of its texts."""
    texts = build.read_sources()
    text = texts[file].decode()
    assert text.count(right) == 1, f"{right!r} is not once in {file}"
    work = build.Build({**texts, file: text.replace(right, wrong).encode()}, folder, host_compiler())
    unit = next(unit for unit in work.units if unit.name == f"isa_{name}.cpp")
    made = folder / f"isa_{name}.o"
    work.compile(replace(unit, flags=(*unit.flags, "-O0")), made)
    return made


def said_by(program: Path, seed: int, rounds: int) -> tuple[int, str]:
    """Exit code and what it prints."""
    command = [str(program), str(seed), str(rounds)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", timeout=120)
    return done.returncode, done.stdout + done.stderr
