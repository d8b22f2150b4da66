"""Random networks through the engine under sanitizers: `python -m tests.kernels.cpu.sanitizers --networks 2000`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from repsr_kernels.cpu import build
from tests.kernels.cpu.native_programs import Tallies, run_native
from tests.kernels.cpu.programs import make_program

SANITIZERS = {
    "memory": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "threads": ("-fsanitize=thread",),
}
"""AddressSanitizer, with LeakSanitizer, and UndefinedBehaviorSanitizer in one; ThreadSanitizer in the other."""
QUICK = {
    "memory": ("isa_portable.cpp", "isa_avx512bf16.cpp", "isa_neon_bf16.cpp"),
    "threads": ("isa_portable.cpp",),
}
"""Kernels that are watched even when time matters: all templates are in them, in all types of numbers."""
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}


@cache
def why_unavailable(name: str) -> str | None:
    """Why no program can be made and run with this sanitizer here; None where one can."""
    with tempfile.TemporaryDirectory(prefix="repsr-sanitizer-") as folder:
        text, program = Path(folder) / "main.cpp", Path(folder) / "main"
        text.write_text("int main() { return 0; }\n")
        try:
            build.run([*build.find_compiler(), *SANITIZERS[name], str(text), "-o", str(program)])
            build.run([str(program)], time_limit_s=60)
        except build.BuildError as error:
            return str(error)
    return None


def sanitized(
    name: str, *, networks: int, seed: int = 1, macs: int | None = None, quick: bool = False, planted: bool = False
) -> tuple[Tallies, str]:
    """What random networks gave under a sanitizer, and its report: empty where it found nothing.

    Args:
        quick: watch over what computes, with `QUICK` kernels, not over what reads models; soon compiled.
        planted: the engine is given buffers that are a byte shorter than it is told.

    Raises:
        BuildError: the program cannot be made.
    """
    watched = (*SANITIZERS[name], "-O0" if quick else "-O1")

    def flags_of(unit: build.Unit) -> Sequence[str]:
        return watched if not quick or unit.name in QUICK[name] else ()

    made = make_program("native_runs", flags_of, link=SANITIZERS[name], whole={"driver": watched})
    command = [str(made), *(["--missing", "1"] if planted else [])]
    return run_native(command, networks=networks, seed=seed, macs=macs, environment=OPTIONS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them one after the other, and print what was run. Exit code 1 where one of them found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.cpu.sanitizers", description=__doc__)
    parser.add_argument("--only", choices=SANITIZERS, help="one of them")
    parser.add_argument("--networks", type=int, default=2000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--macs", type=int, metavar="N", help="multiply-adds for one picture, about")
    given = parser.parse_args(arguments)
    for name in [given.only] if given.only else SANITIZERS:
        begun = time.monotonic()
        try:
            tallies, report = sanitized(name, networks=given.networks, seed=given.seed, macs=given.macs)
        except build.BuildError as error:
            tallies, report = {}, "\n".join([str(error), *getattr(error, "__notes__", ())])
        if report:
            sys.stderr.write(f"{name}: {report}\n")
            return 1
        sys.stdout.write(f"{name}: {given.networks} networks in {time.monotonic() - begun:.0f} s, nothing found\n")
        for (instruction_set, precision), tally in tallies.items():
            sys.stdout.write(f"  {instruction_set} {precision}: {tally.networks} networks, {tally.runs} runs\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
