"""The nvcc of the simulated GPU: the real one does all, and what it makes of kernels also runs on a processor.

A cubin gets a tail: a mark, a size, and a library that g++ made of the same text, with the same macros and folders, and
`cuda_on_host.h` before it. Drivers of real GPUs do not look behind the end of a cubin; the simulated one does
(`driver/modules.cpp`). As nobody runs the cubin itself, it is made without optimisation, in a seventh of the time. What
was made of the same texts before is taken from the cache.

Started by `bin/nvcc`, with the standard library alone, in an environment that `scripts/simulated_gpu` makes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MARK = b"repsr-emulation\0"
FLAGS = (
    "-x", "c++", "-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC",
    "-include", str(HERE / "cuda_on_host.h"),
)  # fmt: skip
QUICK = "-Ofc=max"
_VALUED = ("-o", "-D", "-I")


def main(arguments: list[str]) -> int:
    """What nvcc does."""
    program = os.environ["SIMULATED_GPU_NVCC"]
    if "-cubin" not in arguments and "--cubin" not in arguments:
        result = subprocess.run([program, *arguments], check=False)
        if "--version" in arguments:  # whoever keeps what a compiler makes asks it who it is
            print(f"simulated GPU {_digest(_own_texts())[:16]}")  # noqa: T201 # a program
        return result.returncode
    source, output, shared = _parsed(arguments)
    kept = (
        Path(os.environ["SIMULATED_GPU_CACHE"]) / f"{source.stem[:60]}-{_key(program, arguments, source, shared)[:32]}"
    )
    if not kept.is_file():
        with tempfile.TemporaryDirectory(prefix="simulated-gpu-") as folder:
            cubin, library = Path(folder) / "cubin", Path(folder) / "library"
            others = [argument for argument in arguments if argument not in ("-o", str(output))]
            commands = (
                [program, *others, QUICK, "-o", str(cubin)],
                ["g++", *FLAGS, *shared, "-o", str(library), str(source)],
            )
            processes = [subprocess.Popen(command) for command in commands]
            if failed := [status for process in processes if (status := process.wait()) != 0]:
                return failed[0]
            _write(kept, cubin.read_bytes() + _tail(library.read_bytes()))
    output.write_bytes(kept.read_bytes())
    return 0


def _parsed(arguments: list[str]) -> tuple[Path, Path, list[str]]:
    """The text, the result, and what both compilers are told: macros and folders."""
    sources = [Path(argument) for argument in arguments if argument.endswith(".cu")]
    values: dict[str, list[str]] = {name: [] for name in _VALUED}
    rest = iter(arguments)
    for argument in rest:
        for name in _VALUED:
            if argument.startswith(name):
                values[name].append(argument[len(name) :] or next(rest))
    if len(sources) != 1 or len(values["-o"]) != 1:
        sys.exit(f"simulated GPU: expected one .cu and one -o; nvcc was called with {' '.join(arguments)}")
    shared = [name + value for name in ("-D", "-I") for value in values[name]]
    return sources[0], Path(values["-o"][0]), shared


def _tail(library: bytes) -> bytes:
    return MARK + len(library).to_bytes(8, "little") + library


def _key(program: str, arguments: list[str], source: Path, shared: list[str]) -> str:
    """Of everything that may change the result; not of where the text and the result lie."""
    compilers = [
        subprocess.run([name, "--version"], capture_output=True, check=True).stdout for name in (program, "g++")
    ]
    flags = [argument for argument in arguments if argument.startswith("-") and argument != "-o"]
    folders = [Path(item[2:]) for item in shared if item.startswith("-I")]
    texts = [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.[ch]*"))]
    return _digest(
        [repr((flags, shared, source.name)).encode(), source.read_bytes(), *compilers, *texts, *_own_texts()]
    )


def _own_texts() -> list[bytes]:
    return [path.read_bytes() for path in (*sorted(HERE.glob("*.h")), Path(__file__))]


def _digest(parts: list[bytes]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
