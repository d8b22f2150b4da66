"""The engine and `native_runs.cpp` as one program, with whatever flags: under a sanitizer, or for another processor."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repsr_kernels.compile.cache import Entry, cached, key_of
from repsr_kernels.compile.program import answer
from repsr_kernels.cpu import build

HERE = Path(__file__).parent
_LINE = re.compile(r"(\w+) (\w+) networks=(\d+) runs=(\d+) checksum=(\w+) bound_used=([\d.]+)")

Flags = Callable[[build.Unit], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What `native_runs` says about one instruction set in one precision."""

    networks: int
    runs: int
    checksum: str
    """Of all results."""
    bound_used: float
    """By the result that came nearest to its own."""


Tallies = dict[tuple[str, str], Tally]
"""By instruction set and precision."""


def native_program(compiler: Sequence[str], flags_of: Flags, link: Sequence[str] = ()) -> Path:
    """The program, from the cache, as are its objects: those without flags of their own are the library's.

    Args:
        compiler: its command.
        flags_of: flags of a text behind the engine's own.
        link: of the linker.

    Raises:
        BuildError: the compiler does not work, or refuses a text.
    """
    sources = build.read_sources() | {path.name: path.read_bytes() for path in sorted(HERE.glob("native_*.[ch]*"))}
    identity = (list(compiler), shutil.which(compiler[0]), answer(*compiler, "--version"))
    with tempfile.TemporaryDirectory(prefix="repsr-native-") as folder:
        work = build.Build(sources, Path(folder), compiler)
        units = [replace(unit, flags=(*unit.flags, *flags_of(unit))) for unit in work.units]

        def object_of(unit: build.Unit) -> Path:
            entry = Entry(prefix=f"engine-{Path(unit.name).stem}", key=key_of(identity, unit), suffix=".o")
            return cached(entry, lambda made: work.compile(unit, made))

        def make(path: Path) -> None:
            objects = build.at_once(object_of, units)
            build.run([*compiler, "-pthread", *link, *map(str, objects), "-o", str(path)])

        return cached(Entry(prefix="native_runs", key=key_of(identity, tuple(link), units), suffix=""), make)


def is_native(unit: build.Unit) -> bool:
    """Whether it is of the program, not of the engine."""
    return unit.name.startswith("native_")


def run_native(
    command: Sequence[str],
    *,
    networks: int,
    seed: int = 1,
    macs: int | None = None,
    environment: Mapping[str, str] | None = None,
    time_limit_s: float = 7200,
) -> tuple[Tallies, str]:
    """Run it on random networks: what it counted, and all that it says to be wrong, which is nothing at best.

    Args:
        macs: multiply-adds for one picture, about.
    """
    options = ["--seed", str(seed), "--networks", str(networks), *([] if macs is None else ["--macs", str(macs)])]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        env=os.environ | dict(environment or {}),
    ) as process:  # fmt: skip
        try:
            said, wrong = process.communicate(timeout=time_limit_s)
        except BaseException:
            process.kill()
            raise
    if process.returncode and not wrong:
        wrong = f"exit code {process.returncode}"
    tallies = {
        (name, precision): Tally(networks=int(count), runs=int(runs), checksum=checksum, bound_used=float(used))
        for name, precision, count, runs, checksum, used in _LINE.findall(said)
    }
    return tallies, wrong
