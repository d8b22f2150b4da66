"""Small programs that ask the driver of the engine what it does."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from repsr_kernels.compile.cache import Entry, cached, key_of
from repsr_kernels.compile.host import host_compiler
from repsr_kernels.compile.program import answer
from repsr_kernels.cpu import build

HERE = Path(__file__).parent


def driver_program(name: str, *sources: str, flags: Sequence[str] = ()) -> Path:
    """A program of this folder with texts of the engine, from the cache.

    Args:
        name: `driver_plans`
        sources: `plan.cpp`
    """
    text, texts, compiler = (HERE / f"{name}.cpp").read_bytes(), build.read_sources(), host_compiler()
    command = [*compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", *flags]

    def make(path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="repsr-driver-") as folder:
            for each, content in {**texts, f"{name}.cpp": text}.items():
                (Path(folder) / each).write_bytes(content)
            build.run([*command, *(f"{folder}/{each}" for each in (f"{name}.cpp", *sources)), "-o", str(path)])

    needed = [texts[each] for each in sorted(texts) if each in sources or each.endswith((".hpp", ".h"))]
    key = key_of(command, answer(*compiler, "--version"), text, needed)
    return cached(Entry(prefix=name, key=key, suffix=""), make)


def said_by(program: Path, *arguments: str, asked: str = "") -> str:
    """What it prints.

    Raises:
        AssertionError: it fails.
    """
    command = [str(program), *arguments]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
