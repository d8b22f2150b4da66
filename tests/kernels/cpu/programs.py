"""C++ programs of these tests: texts of this folder with texts of the engine, each with whatever flags.

Programs and objects are kept in the cache, under what they were made of: a text of the engine without further flags is
the object that the engine itself has, and nothing is compiled twice.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from repsr_kernels.compile.cache import CSRC, Entry, cached, key_of
from repsr_kernels.compile.host import host_compiler
from repsr_kernels.cpu import build
from repsr_kernels.cpu.shared_library import identity_of, object_of

HERE = Path(__file__).parent
FLAGS = ("-std=c++17", "-ffp-contract=off", "-pthread", "-Wall", "-Wextra")
"""Of the texts of this folder."""
PARTS = {
    "reader": ("onnx", "tensors", "moves", "recogniser", "operands", "layers", "levels", "places", "shapes", "ending"),
    "driver": ("api", "job", "network", "pack", "picture", "plan", "processor", "skip", "strip"),
}
"""What `read_model` is made of, and all else but kernels."""
Flags = Callable[[build.Unit], Sequence[str] | None]


def make_program(
    name: str,
    engine: Flags,
    *,
    flags: Sequence[str] = ("-O1",),
    link: Sequence[str] = (),
    whole: Mapping[str, Sequence[str]] | None = None,
    objects: Sequence[Path] = (),
    compiler: Sequence[str] | None = None,
    only: str | None = None,
) -> Path:
    """The program of `NAME.cpp` in this folder.

    Args:
        engine: flags of a text of the engine behind its own ones; None where it is not part of the program.
        flags: of the program's own text, behind `FLAGS`.
        link: of the linker.
        whole: flags of those `PARTS` of the engine that are compiled as one text each, which takes half the time.
        objects: more to link with.
        compiler: its command; otherwise the engine's.
        only: the instruction set that the engine has; otherwise all that the compiler knows.

    Raises:
        BuildError: the compiler does not work, or refuses a text.
    """
    command = tuple(compiler or host_compiler())
    work = _engine(command, only)
    whole = whole or {}
    there = [f"-DREPSR_HAVE_{each.name.upper()}" for each in work.instruction_sets]
    own = {f"{name}.cpp": flags, **{f"whole_{part}.cpp": (*there, *given) for part, given in whole.items()}}
    known = build.read_sources(work.folder)
    apart = [unit for unit in work.units if not any(unit.name.removesuffix(".cpp") in PARTS[part] for part in whole)]
    units = [
        *(
            build.Unit(name=each, flags=(*FLAGS, *given), texts=build.texts_of(each, known))
            for each, given in own.items()
        ),
        *(replace(unit, flags=(*unit.flags, *more)) for unit in apart if (more := engine(unit)) is not None),
    ]

    def make(path: Path) -> None:
        made = [*build.at_once(partial(object_of, work), units), *objects]
        build.run([*command, "-pthread", *map(str, made), *link, "-o", str(path)])

    key = key_of(identity_of(command), units, tuple(link), [each.read_bytes() for each in objects])
    return cached(Entry(prefix=name, key=key, suffix=""), make)


def objects_of_kernels() -> dict[str, Path]:
    """The engine's own objects of all instruction sets that the compiler knows, by name."""
    work = _engine(tuple(host_compiler()), None)
    units = {unit.name.removeprefix("isa_").removesuffix(".cpp"): unit for unit in work.units if is_kernels(unit)}
    return dict(zip(units, build.at_once(partial(object_of, work), list(units.values())), strict=True))


def planted_object(name: str, file: str, right: str, wrong: str) -> Path:
    """The object of an instruction set, quickly compiled, with an error in one of its texts."""
    texts = build.read_sources()
    text = texts[file].decode()
    assert text.count(right) == 1, f"{right!r} is not once in {file}"
    with tempfile.TemporaryDirectory(prefix="repsr-planted-") as folder:
        planted = {**_with_kernels(texts, name), file: text.replace(right, wrong).encode()}
        work = build.Build(planted, Path(folder), host_compiler())
        (unit,) = filter(is_kernels, work.units)
        return object_of(work, replace(unit, flags=(*unit.flags, "-O0")))


def said_by(made: Path, *arguments: str, asked: str = "") -> str:
    """What a program prints.

    Raises:
        AssertionError: it fails.
    """
    command = [str(made), *arguments]
    done = subprocess.run(
        command, input=asked, capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def nothing_else(unit: build.Unit) -> None:
    """For programs without a text of the engine."""
    del unit


def is_kernels(unit: build.Unit) -> bool:
    """Whether it is the text of an instruction set."""
    return unit.name.startswith("isa_")


@cache
def _engine(compiler: tuple[str, ...], only: str | None) -> build.Build:
    """The engine's texts for a compiler, which is asked once what it knows; beside them lie those that tests add."""
    folder = Path(tempfile.mkdtemp(prefix="repsr-programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path in (*HERE.glob("*.[ch]pp"), CSRC / "host_threads.hpp"):
        shutil.copy(path, folder)
    for part, names in PARTS.items():
        (folder / f"whole_{part}.cpp").write_text("".join(f'#include "{name}.cpp"\n' for name in names))
    return build.Build(_with_kernels(build.read_sources(), only), folder, compiler)


def _with_kernels(texts: Mapping[str, bytes], only: str | None) -> dict[str, bytes]:
    return {
        name: text
        for name, text in texts.items()
        if only is None or not name.startswith("isa_") or name == f"isa_{only}.cpp"
    }
