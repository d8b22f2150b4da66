"""Instructions of one picture by function, counted by valgrind's `callgrind`, which knows nothing beyond AVX2."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import RepsrError
from repsr_kernels.cpu.instruction_sets import Precision

OURS = re.compile(r"repsr(::cpu::|_[a-z]+$)")
"""Names of the engine's functions: those of Python, and of what reads models, do not count."""
TIME_LIMIT_S = 300
_LINE = re.compile(r"\s*([\d,]+)(?: \(\s*[\d.]+%\))?\s+[^:\s]*:(.+?)(?: \[.*\])?$")
_CHILD = """
import sys
from pathlib import Path
import numpy as np
from repsr_kernels.cpu.network import Model, Network
file, precision, name, height, width = sys.argv[1:]
network = Network(Model(Path(file).read_bytes()), precision, instruction_set=name)
image = np.random.default_rng(0).integers(0, 256, (int(height), int(width), 3), np.uint8)
scale = network.description.scale
network.upscale_images(image, np.empty((int(height) * scale, int(width) * scale, 3), np.uint8), threads=1)
"""


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """Of the engine's functions, for one picture on one thread."""

    total: int
    functions: tuple[tuple[str, int], ...]
    """Names and numbers, the largest first."""


def count_instructions(file: Path, precision: Precision, instruction_set: str, height: int, width: int) -> Instructions:
    """Enlarge one picture of height x width LR pixels under callgrind; some fifty times as slow as without.

    Raises:
        RepsrError: there is no valgrind here, or it fails.
    """
    return count_of([sys.executable, "-c", _CHILD, str(file), precision, instruction_set, str(height), str(width)])


def count_of(command: list[str]) -> Instructions:
    """What the engine does in a process of this command.

    Raises:
        RepsrError: as `count_instructions`; or the engine does nothing there.
    """
    valgrind, annotate = (_program(name) for name in ("valgrind", "callgrind_annotate"))
    with tempfile.TemporaryDirectory(prefix="repsr-callgrind-") as folder:
        out = Path(folder) / "callgrind.out"
        options = ["--tool=callgrind", f"--callgrind-out-file={out}", "--quiet"]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        _run([valgrind, *options, *command], environment)
        return read_annotation(_run([annotate, "--threshold=100", str(out)], environment))


def read_annotation(text: str) -> Instructions:
    """What `callgrind_annotate` prints.

    Raises:
        RepsrError: it is something else.
    """
    functions: dict[str, int] = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found and OURS.search(found[2]):
            functions[found[2]] = functions.get(found[2], 0) + int(found[1].replace(",", ""))
    if not functions:
        raise RepsrError("callgrind counted nothing in the engine; expected valgrind 3.15 or later, and symbols in it")
    ordered = sorted(functions.items(), key=lambda item: -item[1])
    return Instructions(total=sum(functions.values()), functions=tuple(ordered))


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RepsrError(f"{name} is not installed; expected that of valgrind")
    return found


def _run(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=TIME_LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise RepsrError(f"{Path(command[0]).name} takes longer than {TIME_LIMIT_S} s") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        raise RepsrError(f"{Path(command[0]).name} failed: {last}")
    return done.stdout
